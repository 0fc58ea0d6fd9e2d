/**
 * Telemetry as aligned columns for drawing. In a column a number is a reading, `undefined` means
 * that the point was not due in this row (the line runs on), and `null` breaks the line: there was
 * no good reading although there should have been one.
 */
import type { Series, Telemetry } from "../api/types";
import { STEP_MS } from "./resolution";

export type Cell = number | null | undefined;

export interface Column {
  point: string;
  unit: string;
  decimals: number;
  value: Cell[];
  /** Least and greatest in each bucket; absent for samples as taken. */
  band: { min: Cell[]; max: Cell[] } | null;
}

export interface Table {
  t: number[];
  columns: Column[];
  /** Stretches without any row, within the rows. */
  gaps: { from: number; to: number }[];
}

/** A step this many times the usual one is a gap. */
const GAP_STEPS = 3.5;
/** Buckets are regular: a missing one is a gap. */
const GAP_BUCKETS = 1.5;

function median(values: number[]): number | null {
  if (values.length === 0) return null;
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

function steps(t: number[]): number[] {
  const found: number[] = [];
  for (let i = 1; i < t.length; i += 1) found.push(t[i]! - t[i - 1]!);
  return found;
}

/** The longest step between two rows that belong to one line. */
export function gapLimit(t: number[], resolution: Telemetry["resolution"]): number {
  if (resolution !== "raw") return STEP_MS[resolution] * GAP_BUCKETS;
  return Math.max(STEP_MS.raw, median(steps(t)) ?? 0) * GAP_STEPS;
}

/** Rows between which a row of `null` is put, so that every line breaks there. */
function breakRows(t: number[], limit: number): { t: number[]; source: number[]; gaps: Table["gaps"] } {
  const rows: number[] = [];
  const source: number[] = [];
  const gaps: Table["gaps"] = [];
  t.forEach((at, index) => {
    const previous = t[index - 1];
    if (previous !== undefined && at - previous > limit) {
      rows.push(previous + (at - previous) / 2);
      source.push(-1);
      gaps.push({ from: previous, to: at });
    }
    rows.push(at);
    source.push(index);
  });
  return { t: rows, source, gaps };
}

/**
 * Whether each absent reading of a raw series breaks its line. A reading that was not due does not;
 * nor does one that is merely unlisted between two readings of a slower point.
 */
function breaks(series: Series, t: number[]): (index: number) => boolean {
  const reasons = new Map(series.not_good ?? []);
  const read = t.filter((_, index) => series.value[index] != null);
  const limit = Math.max(STEP_MS.raw, median(steps(read)) ?? 0) * GAP_STEPS;
  const before: (number | undefined)[] = [];
  let last: number | undefined;
  t.forEach((at, index) => {
    before[index] = last;
    if (series.value[index] != null) last = at;
  });
  let next: number | undefined;
  const wide: boolean[] = [];
  for (let index = t.length - 1; index >= 0; index -= 1) {
    const previous = before[index];
    wide[index] = next !== undefined && previous !== undefined && next - previous > limit;
    if (series.value[index] != null) next = t[index];
  }
  return (index) => {
    const reason = reasons.get(index);
    if (reason !== undefined && reason !== "not_due") return true;
    return wide[index] === true;
  };
}

export function tableOf(telemetry: Telemetry): Table {
  const isRaw = telemetry.resolution === "raw";
  const rows = breakRows(telemetry.t_ms, gapLimit(telemetry.t_ms, telemetry.resolution));
  const columns = telemetry.series.map((series): Column => {
    const isBreak = isRaw ? breaks(series, telemetry.t_ms) : () => true;
    const spread = (cells: (number | null)[]): Cell[] =>
      rows.source.map((index) => {
        if (index < 0) return null;
        return cells[index] ?? (isBreak(index) ? null : undefined);
      });
    return {
      point: series.point,
      unit: series.unit,
      decimals: series.decimals,
      value: spread(series.value),
      band: series.min && series.max ? { min: spread(series.min), max: spread(series.max) } : null,
    };
  });
  return { t: rows.t, columns, gaps: rows.gaps };
}

export interface Tail {
  t: number;
  values: ReadonlyMap<string, number>;
}

/** Adds samples that came by the live stream after the last row. */
export function withTail(table: Table, tail: readonly Tail[], limit: number): Table {
  const last = table.t.at(-1) ?? -Infinity;
  const later = tail.filter(({ t }) => t > last);
  if (later.length === 0) return table;
  const t = [...table.t];
  const gaps = [...table.gaps];
  const columns = table.columns.map((column) => ({
    ...column,
    value: [...column.value],
    band: column.band && { min: [...column.band.min], max: [...column.band.max] },
  }));
  const push = (at: number, cell: (point: string) => Cell) => {
    t.push(at);
    for (const column of columns) {
      const value = cell(column.point);
      column.value.push(value);
      column.band?.min.push(value);
      column.band?.max.push(value);
    }
  };
  for (const sample of later) {
    const previous = t.at(-1);
    if (previous !== undefined && sample.t - previous > limit) {
      push(previous + (sample.t - previous) / 2, () => null);
      gaps.push({ from: previous, to: sample.t });
    }
    push(sample.t, (point) => sample.values.get(point));
  }
  return { t, columns, gaps };
}
