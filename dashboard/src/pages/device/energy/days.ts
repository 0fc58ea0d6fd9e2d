/** The days of the picture, those without readings included. */
import type { EnergyDay } from "../../../api/types";
import { dayText, isoDate, startOfDay } from "../../../lib/zone";

export interface Day {
  date: string;
  /** `14 Jun`. */
  label: string;
  start: number;
  isToday: boolean;
  /** `null` where the server has no figure. */
  measured: EnergyDay | null;
  gapMs: number;
}

/** Time in gaps, where gaps of several inverters at once count once each. */
function gapMs(day: EnergyDay | undefined): number {
  return (day?.gaps ?? []).reduce((sum, { from, to }) => sum + Date.parse(to) - Date.parse(from), 0);
}

export function daysOf(measured: EnergyDay[], from: number, count: number, zone: string): Day[] {
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
      measured: day ?? null,
      gapMs: gapMs(day),
    };
  });
}
