/** The scales of a chart: their range, and the labels of their ticks. */
import { decimalsBetween, numberText, scaleOf } from "../../lib/format";
import { quantityOf, type Quantity } from "../../lib/points";
import { dayText, localTime, minuteText, timeText } from "../../lib/zone";

const MINUTE = 60_000;
const DAY = 86_400_000;

/**
 * Labels of the time axis, by the site's clock: the time of day, and the date where a day begins or
 * where ticks are days. `step` is the distance between ticks.
 */
export function markWords(marks: number[], step: number, zone: string): string[] {
  return marks.map((at) => {
    const { hour, minute, second } = localTime(at, zone);
    const isMidnight = hour === 0 && minute === 0 && second === 0;
    if (step >= DAY || isMidnight) return dayText(at, zone);
    return step < MINUTE ? timeText(at, zone) : minuteText(at, zone);
  });
}

/**
 * Smallest range of the scale, in the quantity's unit, so that noise around a constant does not look
 * significant.
 */
const SPAN_MIN: Record<Quantity, number> = {
  power: 10,
  voltage: 2,
  current: 1,
  frequency: 0.1,
  temperature: 1,
  energy: 10,
  share: 10,
  other: 1,
};

/** Quantities with a natural zero are drawn from zero; others fill the height. */
const FROM_ZERO: Quantity[] = ["power", "current", "share"];

/** Bottom and top of the scale. */
export function heights(unit: string, low: number | null, high: number | null): [number, number] {
  const quantity = quantityOf(unit);
  const span = SPAN_MIN[quantity];
  if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high)) return [0, span];
  if (FROM_ZERO.includes(quantity)) {
    const top = Math.max(high, span);
    return [low < -0.05 * top ? low * 1.08 : low < 0 ? -0.05 * top : 0, top * 1.08];
  }
  const middle = (low + high) / 2;
  const half = Math.max(high - low, Math.abs(high) * 0.002, span) * 0.62;
  // A quantity that is never negative has no scale below zero.
  return low >= 0 && middle < half ? [0, 2 * half] : [middle - half, middle + half];
}

/** Labels of an amount's ticks, in the unit that makes the largest of them short. */
export function amountMarks(marks: number[], step: number, unit: string): string[] {
  const { factor, unit: scaled } = scaleOf(Math.max(...marks.map(Math.abs), 0), unit);
  const decimals = decimalsBetween(step / factor);
  return marks.map((mark) => {
    const text = numberText(mark / factor, decimals);
    return scaled === unit ? text : `${text}\u202f${scaled}`;
  });
}
