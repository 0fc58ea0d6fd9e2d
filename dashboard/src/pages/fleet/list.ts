/** Which devices are listed, and in what order. */
import type { Device, DeviceState } from "../../api/types";

export type SortKey = "name" | "site" | "state" | "power" | "energy" | "seen";

export interface Sort {
  by: SortKey;
  isDown: boolean;
}

const KEYS: SortKey[] = ["state", "name", "site", "power", "energy", "seen"];

/** Worst first: devices that need attention, then those that make no power while others do, then healthy ones. */
const BY_BADNESS: DeviceState[] = ["faulty", "silent", "waiting", "idle", "producing", "asleep"];

/** The orders offered as one choice. */
export const ORDERS: { sort: Sort; label: string }[] = [
  { sort: { by: "state", isDown: false }, label: "Worst first" },
  { sort: { by: "name", isDown: false }, label: "Name" },
  { sort: { by: "site", isDown: false }, label: "Site" },
  { sort: { by: "power", isDown: true }, label: "Most power" },
  { sort: { by: "power", isDown: false }, label: "Least power" },
  { sort: { by: "energy", isDown: true }, label: "Most energy today" },
  { sort: { by: "energy", isDown: false }, label: "Least energy today" },
  { sort: { by: "seen", isDown: false }, label: "Longest not seen" },
  { sort: { by: "seen", isDown: true }, label: "Last seen" },
];

/** The default direction of a column: most power, worst state, first name. */
export function isDownFirst(by: SortKey): boolean {
  return by === "power" || by === "energy" || by === "seen";
}

export function readSort(text: string | null): Sort {
  const isDown = text?.startsWith("-") ?? false;
  const by = KEYS.find((key) => key === text?.replace(/^-/, ""));
  return by ? { by, isDown } : { by: "state", isDown: false };
}

export function writeSort({ by, isDown }: Sort): string | null {
  if (by === "state" && !isDown) return null;
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
      return BY_BADNESS.indexOf(a.state) - BY_BADNESS.indexOf(b.state);
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
