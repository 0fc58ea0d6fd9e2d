/** Alarm and fault registers in words. */
import { groupOf } from "./points";

/** Bits of `Evt1` in the SunSpec inverter models 101 to 113. */
const SUNSPEC_EVENTS = [
  "ground fault",
  "DC over-voltage",
  "AC disconnect open",
  "DC disconnect open",
  "grid disconnected",
  "cabinet open",
  "manual shutdown",
  "over temperature",
  "over-frequency",
  "under-frequency",
  "AC over-voltage",
  "AC under-voltage",
  "blown string fuse",
  "under temperature",
  "memory loss",
  "hardware test failed",
];

/** Whether a point holds a code rather than an amount. */
export function isCode({ point, unit }: { point: string; unit: string }): boolean {
  const [head = ""] = point.split(".");
  return unit === "" && groupOf(point) === "state" && ["alarm", "fault", "event"].includes(head);
}

/** `none`, the meaning of its bits if it is known, or else the code as manuals print it. */
export function codeText(point: string, value: number, profile: string): string {
  if (value === 0) return "none";
  const bits = Array.from({ length: 32 }, (_, bit) => bit).filter((bit) => Math.floor(value / 2 ** bit) % 2 === 1);
  if (profile.startsWith("sunspec/") && point === "alarm.1") {
    return bits.map((bit) => SUNSPEC_EVENTS[bit] ?? `bit ${bit}`).join(", ");
  }
  return `code ${value} (0x${value.toString(16).toUpperCase().padStart(4, "0")})`;
}
