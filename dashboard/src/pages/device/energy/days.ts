/** The days of the chart, including those without readings. */
import type { EnergyDay } from "../../../api/types";
import { dayText, isoDate, startOfDay } from "../../../lib/zone";

export interface Day {
  date: string;
  /** `14 Jun`. */
  label: string;
  start: number;
  isToday: boolean;
  /** Not measured from start to end: today, and the day of the enrolment. */
  isPartial: boolean;
  /** `null` if the server has no figure. */
  measured: EnergyDay | null;
  /** `null` if the answer does not list the gaps. */
  gapMs: number | null;
}

/** Time in gaps, where gaps of several inverters at once count once each. */
function gapMs(day: EnergyDay | undefined): number {
  return (day?.gaps ?? []).reduce((sum, { from, to }) => sum + Date.parse(to) - Date.parse(from), 0);
}

export interface Shown {
  from: number;
  count: number;
  zone: string;
  created: number;
  /** The instant from which on the answer lists no gaps, if it could not list all. */
  gapsListedUntil: number | null;
}

/** The last `count` days from `from` on of a device that was enrolled at `created`. */
export function daysOf(
  measured: EnergyDay[],
  { from, count, zone, created, gapsListedUntil }: Shown,
): Day[] {
  // Where the device is older than the days shown, the first figure among them is of a whole day.
  const isBegun = created >= from;
  const first = isBegun ? measured.map(({ date }) => date).sort()[0] : undefined;
  const enrolled = isoDate(created, zone);
  const byDate = new Map(measured.map((day) => [day.date, day]));
  return Array.from({ length: count }, (_, place) => {
    const start = startOfDay(from, zone, place);
    const date = isoDate(start, zone);
    const day = byDate.get(date);
    return {
      date,
      label: dayText(start, zone),
      start,
      isToday: place === count - 1,
      isPartial: place === count - 1 || date === enrolled || date === first,
      measured: day ?? null,
      gapMs: gapsListedUntil !== null && startOfDay(start, zone, 1) > gapsListedUntil ? null : gapMs(day),
    };
  });
}
