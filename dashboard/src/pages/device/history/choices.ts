/** The points and the range chosen in the address. */
import type { InverterSummary } from "../../../api/types";
import { defaultPoints } from "../../../lib/points";
import { isRangeName, rangeAt, type Range } from "../../../lib/ranges";

export interface Chosen {
  range: Range;
  points: string[];
  /** The range was picked by hand, on the chart or in the form. */
  isZoomed: boolean;
}

export function writeInstant(ms: number): string {
  return new Date(Math.round(ms)).toISOString();
}

function readInstant(text: string | null): number | null {
  const ms = text ? Date.parse(text) : NaN;
  return Number.isFinite(ms) ? ms : null;
}

export function choicesIn(
  params: URLSearchParams,
  inverter: InverterSummary,
  now: number,
  zone: string,
  speed: number,
): Chosen {
  const offered = new Set(inverter.points.map(({ point }) => point));
  const wanted = params.get("points");
  const points =
    wanted === null
      ? defaultPoints(inverter.points)
      : wanted.split(",").filter((point) => offered.has(point));
  const from = readInstant(params.get("from"));
  const to = readInstant(params.get("to"));
  if (from !== null && to !== null && from < to) {
    return { range: { name: "custom", from, to }, points, isZoomed: true };
  }
  const name = params.get("range");
  const base = isRangeName(name) && name !== "custom" ? name : "today";
  return { range: rangeAt(base, now, zone, speed), points, isZoomed: false };
}
