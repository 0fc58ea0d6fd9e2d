/** Which devices are listed, and in what order. */
import type { Device } from "../../api/types";
import { STATES } from "../../components/State";

export type SortKey = "name" | "site" | "state" | "power" | "energy" | "seen";

export interface Sort {
  by: SortKey;
  isDown: boolean;
}

const KEYS: SortKey[] = ["name", "site", "state", "power", "energy", "seen"];

/** What is wanted first of a column: the most power, the worst state, the first name. */
export function isDownFirst(by: SortKey): boolean {
  return by === "power" || by === "energy" || by === "seen";
}

export function readSort(text: string | null): Sort {
  const isDown = text?.startsWith("-") ?? false;
  const by = KEYS.find((key) => key === text?.replace(/^-/, ""));
  return by ? { by, isDown } : { by: "name", isDown: false };
}

export function writeSort({ by, isDown }: Sort): string | null {
  if (by === "name" && !isDown) return null;
  return (isDown ? "-" : "") + by;
}

export function matches(device: Device, search: string): boolean {
  const text = `${device.name} ${device.id} ${device.site.name}`.toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

const names = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function compare(a: Device, b: Device, by: SortKey): number {
  switch (by) {
    case "name":
      return names.compare(a.name, b.name);
    case "site":
      return names.compare(a.site.name, b.site.name);
    case "state":
      return STATES.indexOf(a.state) - STATES.indexOf(b.state);
    case "power":
      return (a.power_w ?? -Infinity) - (b.power_w ?? -Infinity);
    case "energy":
      return (a.energy_today_wh ?? -Infinity) - (b.energy_today_wh ?? -Infinity);
    case "seen":
      return (a.last_seen ?? "").localeCompare(b.last_seen ?? "");
  }
}

export function order(devices: Device[], sort: Sort): Device[] {
  const sign = sort.isDown ? -1 : 1;
  return devices.toSorted(
    (a, b) =>
      sign * (compare(a, b, sort.by) || 0) || names.compare(a.name, b.name) || names.compare(a.id, b.id),
  );
}
