/** Numbers with their units, and ages, as people read them. */

/** Shown for an absent value. */
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
  // A value that rounds to zero has no sign; the minus is as wide as a digit.
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

/** Decimals needed to distinguish values that are `step` apart. */
export function decimalsBetween(step: number): number {
  const decimals = [0, 1, 2, 3].find((count) => {
    const scaled = step * 10 ** count;
    return Math.abs(scaled - Math.round(scaled)) < 1e-6;
  });
  return decimals ?? 4;
}

/** Units that get a prefix, and from which size on. */
const PREFIXED: Record<string, number> = { W: 10_000, VA: 10_000, var: 10_000, Wh: 1_000 };

/** The unit in which an amount of this size is short, and its size in the plain unit. */
export function scaleOf(size: number, unit: string): { factor: number; unit: string } {
  const from = PREFIXED[unit];
  if (from === undefined || size < from) return { factor: 1, unit: unitText(unit) };
  return size < 10_000_000 ? { factor: 1e3, unit: `k${unit}` } : { factor: 1e6, unit: `M${unit}` };
}

/** A reading in a short form: 17.31 MWh rather than 17,310,880 Wh. */
export function readable(value: number, unit: string, decimals: number): Amount {
  const { factor, unit: scaled } = scaleOf(Math.abs(value), unit);
  return { number: numberText(value / factor, factor === 1 ? decimals : 2), unit: scaled };
}

/** Whole watts up to 10 kW, above that fewer digits. */
export function power(watts: number): Amount {
  return readable(watts, "W", 0);
}

/** More than an inverter draws for itself; less than a battery is charged with. */
const STANDBY_MAX_W = 50;

/** The standby power of this many inverters, if a negative power is small enough to be that. */
export function standby(watts: number, count: number): number | null {
  const drawn = -Math.round(watts);
  return drawn > 0 && drawn <= STANDBY_MAX_W * Math.max(1, count) ? drawn : null;
}

export function energy(wattHours: number): Amount {
  return readable(wattHours, "Wh", 0);
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
