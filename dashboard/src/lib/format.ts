/** Numbers with their units, and ages, as people read them. */

/** What stands where there is no value. */
export const ABSENT = "–";

const NARROW_SPACE = "\u202f";
const numbers = new Map<number, Intl.NumberFormat>();

/** Grouped thousands and exactly this many decimals. */
export function numberText(value: number, decimals: number): string {
  let format = numbers.get(decimals);
  if (!format) {
    format = new Intl.NumberFormat("en-GB", {
      minimumFractionDigits: decimals,
      maximumFractionDigits: decimals,
    });
    numbers.set(decimals, format);
  }
  const text = format.format(value);
  if (!text.startsWith("-")) return text;
  // Nothing is less than zero once it is rounded to it; and a minus is as wide as a figure.
  return /[1-9]/.test(text) ? `\u2212${text.slice(1)}` : text.slice(1);
}

/** The symbol as it is printed; the API writes ASCII. */
export function unitText(unit: string): string {
  return unit === "degC" ? "°C" : unit;
}

/** A number and its unit apart, so that they can be set differently. */
export interface Amount {
  number: string;
  unit: string;
}

export function amountText(amount: Amount): string {
  return amount.unit ? `${amount.number}${NARROW_SPACE}${amount.unit}` : amount.number;
}

/** A reading in its own unit and with its own decimals. */
export function reading(value: number, unit: string, decimals: number): Amount {
  return { number: numberText(value, decimals), unit: unitText(unit) };
}

/** Whole watts up to 10 kW, then as many figures as are told apart at a glance. */
export function power(watts: number): Amount {
  const size = Math.abs(watts);
  if (size >= 10_000_000) return { number: numberText(watts / 1e6, 2), unit: "MW" };
  if (size >= 10_000) return { number: numberText(watts / 1e3, 2), unit: "kW" };
  return { number: numberText(watts, 0), unit: "W" };
}

export function energy(wattHours: number): Amount {
  const size = Math.abs(wattHours);
  if (size >= 10_000_000) return { number: numberText(wattHours / 1e6, 2), unit: "MWh" };
  if (size >= 1_000) return { number: numberText(wattHours / 1e3, 2), unit: "kWh" };
  return { number: numberText(wattHours, 0), unit: "Wh" };
}

export function bytes(count: number): Amount {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = count;
  let place = 0;
  while (value >= 1024 && place < units.length - 1) {
    value /= 1024;
    place += 1;
  }
  return { number: numberText(value, place === 0 ? 0 : 1), unit: units[place]! };
}

/** `12 s`, `3 min`, `2 h 5 min`, `4 d`. */
export function durationText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds}${NARROW_SPACE}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}${NARROW_SPACE}min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) {
    const rest = minutes % 60;
    const head = `${hours}${NARROW_SPACE}h`;
    return rest > 0 && hours < 6 ? `${head} ${rest}${NARROW_SPACE}min` : head;
  }
  return `${numberText(Math.floor(hours / 24), 0)}${NARROW_SPACE}d`;
}

/** An age; an instant slightly ahead of the clock is now. */
export function ageText(ms: number): string {
  return ms < 2_000 ? "just now" : `${durationText(ms)} ago`;
}

/** `1 device`, `3 devices`. */
export function countText(count: number, noun: string): string {
  return `${numberText(count, 0)} ${noun}${count === 1 ? "" : "s"}`;
}
