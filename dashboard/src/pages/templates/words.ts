/** The wording of a template's devices. */
import { countText } from "../../lib/format";

export function usersText(devices: number): string {
  return devices === 0 ? "No device uses it" : `${countText(devices, "device")} ${devices === 1 ? "uses" : "use"} it`;
}

/** How far the devices are with the newest version; empty if no device uses the template. */
export function followText(devices: number, outdated: number): string {
  if (devices === 0) return "";
  if (outdated === 0) return devices === 1 ? "It has the newest values" : "All have the newest values";
  return `${countText(outdated, "device")} yet to follow`;
}

/** How many devices a change would change, as far as they are known. */
export function affectedText(users: number, listed: number, hasMore: boolean): string {
  if (users === 0) return "No device uses the template, so no device would change.";
  if (listed === 0 && hasMore) return "None of the devices checked so far would change.";
  if (listed === 0) return "No device would change: each has values of its own for these settings.";
  return `${hasMore ? "At least " : ""}${countText(listed, "device")} would change.`;
}
