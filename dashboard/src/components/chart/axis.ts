/** Marks of the time axis, by the site's clock. */
import { dayText, localTime, minuteText, timeText } from "../../lib/zone";

const MINUTE = 60_000;
const DAY = 86_400_000;

/**
 * Words for the marks: the time of day, and the date where a day begins or where marks are days.
 * `step` is the distance between marks.
 */
export function markWords(marks: number[], step: number, zone: string): string[] {
  return marks.map((at) => {
    const { hour, minute, second } = localTime(at, zone);
    const isMidnight = hour === 0 && minute === 0 && second === 0;
    if (step >= DAY || isMidnight) return dayText(at, zone);
    return step < MINUTE ? timeText(at, zone) : minuteText(at, zone);
  });
}
