/** The scale of the bars. */
import { numberText } from "../../../lib/format";

export interface Scale {
  /** In watt-hours. */
  top: number;
  marks: { at: number; text: string }[];
  /** Of the labels. */
  unit: "Wh" | "kWh" | "MWh";
}

/** A scale without a number, for days without readings. */
const EMPTY: Scale = { top: 1, marks: [{ at: 0, text: "" }], unit: "kWh" };

/** A round top and ticks for bars of at most this many watt-hours; `null` without readings. */
export function scale(most: number | null): Scale {
  if (most === null) return EMPTY;
  const wanted = (most > 0 ? most : 1_000) / 5;
  const power = 10 ** Math.floor(Math.log10(wanted));
  // Counters have whole watt-hours.
  const step = Math.max(1, [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= wanted) ?? wanted);
  const count = Math.max(1, Math.ceil((most > 0 ? most : 1_000) / step));
  const top = count * step;
  const [factor, unit] = top >= 10_000_000 ? ([1e6, "MWh"] as const) : top >= 1_000 ? ([1e3, "kWh"] as const) : ([1, "Wh"] as const);
  const decimals = step % factor === 0 ? 0 : step % (factor / 10) === 0 ? 1 : 2;
  const marks = Array.from({ length: count + 1 }, (_, place) => ({
    at: place * step,
    text: numberText((place * step) / factor, decimals),
  }));
  return { top, marks, unit };
}
