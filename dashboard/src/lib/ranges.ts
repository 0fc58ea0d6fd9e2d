/** The ranges that history is shown over, by the server's time and the site's days. */
import type { Stretch } from "./series";
import { startOfDay } from "./zone";

export type RangeName = "live" | "1h" | "today" | "yesterday" | "7d" | "30d" | "custom";

export const RANGES: { name: Exclude<RangeName, "custom">; label: string; title: string }[] = [
  { name: "live", label: "Live", title: "The last minutes, moving" },
  { name: "1h", label: "1 h", title: "The last hour" },
  { name: "today", label: "Today", title: "Today at the site" },
  { name: "yesterday", label: "Yesterday", title: "Yesterday at the site" },
  { name: "7d", label: "7 d", title: "Today and the six days before" },
  { name: "30d", label: "30 d", title: "Today and the 29 days before" },
];

export interface Range {
  name: RangeName;
  from: number;
  to: number;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const LIVE_WORLD_MS = 5 * MINUTE;
const LIVE_WINDOWS = [5, 10, 15, 30, 60, 120, 240, 360, 720].map((minutes) => minutes * MINUTE);

/** Shortest range that can be zoomed to. */
export const RANGE_MIN_MS = 10_000;

/** About five real minutes, as a round figure of the server's time. */
export function liveWindow(speed: number): number {
  const wanted = LIVE_WORLD_MS * Math.max(1, speed);
  return LIVE_WINDOWS.find((window) => window >= wanted) ?? LIVE_WINDOWS.at(-1)!;
}

export function isRangeName(text: string | null): text is RangeName {
  return text === "custom" || RANGES.some(({ name }) => name === text);
}

/** The bounds of a named range at this moment. */
export function rangeAt(name: Exclude<RangeName, "custom">, now: number, zone: string, speed: number): Range {
  switch (name) {
    case "live":
      return { name, from: now - liveWindow(speed), to: now };
    case "1h":
      return { name, from: now - HOUR, to: now };
    case "today":
      return { name, from: startOfDay(now, zone), to: startOfDay(now, zone, 1) };
    case "yesterday":
      return { name, from: startOfDay(now, zone, -1), to: startOfDay(now, zone) };
    case "7d":
      return { name, from: startOfDay(now, zone, -6), to: startOfDay(now, zone, 1) };
    case "30d":
      return { name, from: startOfDay(now, zone, -29), to: startOfDay(now, zone, 1) };
  }
}

/**
 * The range before or after one: days for whole days, else as long as it is. Nothing was measured in
 * the future, so the last one ends at the present, or holds it if it is of whole days; `null` after that.
 */
export function stepped(range: Stretch, direction: -1 | 1, now: number, zone: string): Stretch | null {
  const { from, to } = range;
  // The present moves on with each look; the last minute is not worth a step.
  if (direction > 0 && to > now - MINUTE) return null;
  const isWhole = startOfDay(from, zone) === from && startOfDay(to, zone) === to;
  if (isWhole) {
    const days = Math.round((to - from) / DAY) * direction;
    return { from: startOfDay(from, zone, days), to: startOfDay(to, zone, days) };
  }
  const span = to - from;
  const end = direction > 0 ? Math.min(to + span, now) : from;
  return { from: end - span, to: end };
}

/** Whether the range's end moves with the clock. */
export function isMoving(name: RangeName): boolean {
  return name === "live" || name === "1h";
}
