/** Instants and calendar time in a site's zone. Instants are Unix milliseconds. */

export interface LocalTime {
  year: number;
  /** 1 to 12. */
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
}

/** The browser's own. */
export function ownZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}

const DAY_MS = 86_400_000;

const formats = new Map<string, Intl.DateTimeFormat>();

function format(zone: string, kind: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${kind}|${zone}`;
  let found = formats.get(key);
  if (!found) {
    found = new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone });
    formats.set(key, found);
  }
  return found;
}

/** Local date and time. */
export function localTime(ms: number, zone: string): LocalTime {
  const parts = format(zone, "parts", {
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  }).formatToParts(ms);
  const read = (type: string) => Number(parts.find((part) => part.type === type)?.value);
  return {
    year: read("year"),
    month: read("month"),
    day: read("day"),
    hour: read("hour"),
    minute: read("minute"),
    second: read("second"),
  };
}

function asUtc(local: LocalTime): number {
  return Date.UTC(local.year, local.month - 1, local.day, local.hour, local.minute, local.second);
}

/** Milliseconds that the zone is ahead of UTC at this instant. */
export function offsetAt(ms: number, zone: string): number {
  const whole = Math.floor(ms / 1000) * 1000;
  return asUtc(localTime(whole, zone)) - whole;
}

/**
 * The instant at which the local clock shows `local`. Of two such instants the earlier; where the
 * clock jumps over `local`, as much later as it jumps.
 */
export function instantOf(local: LocalTime, zone: string): number {
  const utc = asUtc(local);
  const before = utc - offsetAt(utc - DAY_MS, zone);
  const after = utc - offsetAt(utc + DAY_MS, zone);
  const candidates = [before, after].filter((at) => at + offsetAt(at, zone) === utc);
  return candidates.length > 0 ? Math.min(...candidates) : before;
}

/** The first instant of the local day, `days` days later. */
export function startOfDay(ms: number, zone: string, days = 0): number {
  const { year, month, day } = localTime(ms, zone);
  const date = new Date(Date.UTC(year, month - 1, day + days));
  return instantOf(
    {
      year: date.getUTCFullYear(),
      month: date.getUTCMonth() + 1,
      day: date.getUTCDate(),
      hour: 0,
      minute: 0,
      second: 0,
    },
    zone,
  );
}

/** `2025-03-30`. */
export function isoDate(ms: number, zone: string): string {
  const { year, month, day } = localTime(ms, zone);
  return `${year}-${String(month).padStart(2, "0")}-${String(day).padStart(2, "0")}`;
}

/** `2025-03-30T06:41`, as an input of type `datetime-local` has it. */
export function inputText(ms: number, zone: string): string {
  return `${isoDate(ms, zone)}T${timeText(ms, zone).slice(0, 5)}`;
}

/** The instant of an input's text, if it is one. */
export function parseInput(text: string, zone: string): number | null {
  const match = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2})(?::(\d{2}))?/.exec(text);
  if (!match) return null;
  const [year, month, day, hour, minute, second] = match.slice(1).map((part) => Number(part ?? 0));
  return instantOf(
    { year: year!, month: month!, day: day!, hour: hour!, minute: minute!, second: second || 0 },
    zone,
  );
}

/** `06:41:12`. */
export function timeText(ms: number, zone: string): string {
  return format(zone, "time", {
    hourCycle: "h23",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  }).format(ms);
}

/** `06:41`. */
export function minuteText(ms: number, zone: string): string {
  return timeText(ms, zone).slice(0, 5);
}

/** `30 Mar`. */
export function dayText(ms: number, zone: string): string {
  return format(zone, "day", { day: "numeric", month: "short" }).format(ms);
}

/** `Sun 30 Mar 2025`. */
export function dateText(ms: number, zone: string): string {
  return format(zone, "date", {
    weekday: "short",
    day: "numeric",
    month: "short",
    year: "numeric",
  })
    .format(ms)
    .replace(",", "");
}

/** `Sun 30 Mar 2025 06:41:12 CEST`: the exact instant, for hovering. */
export function exactText(ms: number, zone: string): string {
  const name = format(zone, "name", { timeZoneName: "short" })
    .formatToParts(ms)
    .find((part) => part.type === "timeZoneName")?.value;
  return `${dateText(ms, zone)} ${timeText(ms, zone)} ${name ?? zone}`;
}

/** Whether the browser knows this zone. */
export function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat("en-GB", { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}
