/** What the time line of leases shows, and where. */
import type { CreateLease, Lease, LimitChange } from "../../../api/types";
import type { Cell, Stretch } from "../../../lib/series";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** Shown before and after now if no lease reaches further. */
const AROUND_MS = HOUR_MS;
/** No lease stretches the line further than this from now: an hour would be too narrow to see. */
const FURTHEST_MS = 24 * HOUR_MS;
/** Part of the line that is free at either end. */
const MARGIN = 0.04;

/** When a lease no longer limits anything: what it states for afterwards holds until it is released. */
function endOf(lease: Lease): number {
  return lease.state === "afterwards" ? Infinity : Date.parse(lease.to);
}

/** The leases that the line shows: those that are not released and are not over for long. */
export function shown(leases: readonly Lease[], now: number): Lease[] {
  return leases.filter(
    (lease) => lease.state !== "released" && Date.parse(lease.from) - now < FURTHEST_MS && now - endOf(lease) < FURTHEST_MS,
  );
}

/** From when to when the line reaches. */
export function reach(leases: readonly Lease[], now: number): Stretch {
  const instants = leases.flatMap(({ from, to }) => [Date.parse(from), Date.parse(to)]);
  const from = Math.max(now - FURTHEST_MS, Math.min(now - AROUND_MS, ...instants));
  const to = Math.min(now + FURTHEST_MS, Math.max(now + AROUND_MS, ...instants));
  const margin = (to - from) * MARGIN;
  return { from: from - margin, to: to + margin };
}

/** Where a lease is on the line, in percent of its width. */
export function place(lease: Lease, range: Stretch): { left: number; width: number } {
  const at = (instant: number) => ((Math.min(Math.max(instant, range.from), range.to) - range.from) / (range.to - range.from)) * 100;
  const left = at(Date.parse(lease.from));
  return { left, width: Math.max(0.5, at(endOf(lease)) - left) };
}

/** The path of a power on a field of this size; `null` breaks it. */
export function powerPath(t: readonly number[], watts: readonly Cell[], range: Stretch, most: number, width: number, height: number): string {
  let path = "";
  let isOpen = false;
  t.forEach((at, index) => {
    const value = watts[index];
    if (value === undefined) return;
    if (value === null || at < range.from || at > range.to) {
      isOpen = false;
      return;
    }
    const x = ((at - range.from) / (range.to - range.from)) * width;
    const y = height - (Math.min(Math.max(value, 0), most) / most) * (height - 2) - 1;
    path += `${isOpen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    isOpen = true;
  });
  return path;
}

const STATES: Record<Lease["state"], string> = {
  pending: "Not reported by the device yet",
  refused: "Refused by the device",
  scheduled: "Scheduled",
  active: "In force",
  afterwards: "What holds afterwards",
  over: "Over",
  released: "Released",
};

export function stateText({ state, refusal }: Lease): string {
  return refusal ? `${STATES[state]}: ${refusal.replaceAll("_", " ")}` : STATES[state];
}

const CAUSES: Record<LimitChange["cause"], string> = {
  lease: "lease",
  fallback: "connection lost",
  afterwards: "after the lease",
  released: "released",
  other: "unknown cause",
};

function seconds(ms: number): string {
  return `${(ms / 1000).toLocaleString("en", { maximumFractionDigits: 1 })} s`;
}

/** What was ordered and why, in one line. */
export function changeText({ limit_percent, cause, lease, inverter }: LimitChange): string {
  const limit = limit_percent == null ? "As found before" : `${limit_percent.toLocaleString("en")} %`;
  return [limit, CAUSES[cause], ...(lease ? [lease] : []), `inverter ${inverter}`].join(", ");
}

/** The proof of a change, or why it could not be made. */
export function proofText({ failure, detail, confirmed_ms, power_w, power_ms }: LimitChange): string {
  if (failure) return `Not done: ${failure.replaceAll("_", " ")}${detail == null ? "" : ` ${detail}`}`;
  if (confirmed_ms == null) return "Not read back";
  const read = `Read back after ${seconds(confirmed_ms)}`;
  if (power_w == null || power_ms == null) return `${read}; power not measured`;
  return `${read}; ${power_w.toLocaleString("en")} W after ${seconds(power_ms)}`;
}

/** What the form holds, as it was typed. */
export interface Draft {
  limit: string;
  unit: "%" | "W";
  hours: string;
  inverter: string;
  then: string;
}

export const EMPTY: Draft = { limit: "50", unit: "%", hours: "1", inverter: "", then: "" };

export function requestOf({ limit, unit, hours, inverter, then }: Draft): CreateLease {
  return {
    limit: `${limit.trim()}${unit}`,
    for_s: Math.round(Number(hours) * 3_600),
    ...(inverter === "" ? {} : { inverter: Number(inverter) }),
    ...(then.trim() === "" ? {} : { then: `${then.trim()}${unit}` }),
  };
}
