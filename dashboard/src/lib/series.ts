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
  /** How long a row's value stands for: a bucket's length, nothing for a reading as taken. */
  spanMs: number;
  /** Least and greatest in each bucket; absent for samples as taken. */
  band: { min: Cell[]; max: Cell[] } | null;
}

export interface Table {
  t: number[];
  columns: Column[];
  /** Where rows from the live stream begin, which are readings as taken whatever the others are. */
  tailFrom: number;
}

export interface Stretch {
  from: number;
  to: number;
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
function breakRows(t: number[], limit: number): { t: number[]; source: number[] } {
  const rows: number[] = [];
  const source: number[] = [];
  t.forEach((at, index) => {
    const previous = t[index - 1];
    if (previous !== undefined && at - previous > limit) {
      rows.push(previous + (at - previous) / 2);
      source.push(-1);
    }
    rows.push(at);
    source.push(index);
  });
  return { t: rows, source };
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
      spanMs: isRaw ? 0 : STEP_MS[telemetry.resolution],
      band: series.min && series.max ? { min: spread(series.min), max: spread(series.max) } : null,
    };
  });
  return { t: rows.t, columns, tailFrom: Infinity };
}

export interface Tail {
  t: number;
  values: ReadonlyMap<string, number>;
}

/**
 * Adds samples that came by the live stream after the last row. They are further apart than rows, and
 * hold good readings only: a point that was not read for longer than `limit` failed.
 */
export function withTail(table: Table, tail: readonly Tail[], limit: number): Table {
  const last = table.t.at(-1) ?? -Infinity;
  const later = tail.filter(({ t }) => t > last);
  if (later.length === 0) return table;
  const t = [...table.t];
  const readAt = table.columns.map(({ value }) => table.t[value.findLastIndex((cell) => cell != null)]);
  const columns = table.columns.map((column) => ({
    ...column,
    value: [...column.value],
    band: column.band && { min: [...column.band.min], max: [...column.band.max] },
  }));
  const push = (at: number, cell: (point: string, place: number) => Cell) => {
    t.push(at);
    for (const [place, column] of columns.entries()) {
      const value = cell(column.point, place);
      column.value.push(value);
      column.band?.min.push(value);
      column.band?.max.push(value);
    }
  };
  for (const sample of later) {
    const previous = t.at(-1);
    if (previous !== undefined && sample.t - previous > limit) {
      push(previous + (sample.t - previous) / 2, () => null);
    }
    push(sample.t, (point, place) => {
      const value = sample.values.get(point);
      if (value !== undefined) readAt[place] = sample.t;
      else if (sample.t - (readAt[place] ?? -Infinity) > limit) return null;
      return value;
    });
  }
  return { t, columns, tailFrom: later[0]!.t };
}

/** Between two messages of a healthy device; a longer silence is shown as it goes on. */
export const PATIENCE_MS = 3 * 60_000;

/**
 * The stretches of `within` in which a column has no reading: exactly those over which its line is
 * broken, and what lies before its first reading and after its last one.
 */
function gapsOfColumn({ t, tailFrom }: Table, column: Column, within: Stretch): Stretch[] {
  const gaps: Stretch[] = [];
  const leastEdge = column.spanMs > 0 ? column.spanMs : STEP_MS.raw * GAP_STEPS;
  let end: number | undefined;
  let isBroken = false;
  t.forEach((at, row) => {
    const cell = column.value[row];
    if (cell === null) isBroken = true;
    if (cell == null) return;
    if (end === undefined) {
      if (at - within.from >= leastEdge) gaps.push({ from: within.from, to: at });
    } else if (isBroken) {
      gaps.push({ from: end, to: at });
    }
    end = at + (at >= tailFrom ? 0 : column.spanMs);
    isBroken = false;
  });
  if (end === undefined) gaps.push(within);
  else if (isBroken || within.to - end > Math.max(leastEdge, PATIENCE_MS)) gaps.push({ from: end, to: within.to });
  return gaps
    .map(({ from, to }) => ({ from: Math.max(from, within.from), to: Math.min(to, within.to) }))
    .filter(({ from, to }) => from < to);
}

function overlap(a: Stretch[], b: Stretch[]): Stretch[] {
  const found: Stretch[] = [];
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    const from = Math.max(a[i]!.from, b[j]!.from);
    const to = Math.min(a[i]!.to, b[j]!.to);
    if (from < to) found.push({ from, to });
    if (a[i]!.to < b[j]!.to) i += 1;
    else j += 1;
  }
  return found;
}

/** The stretches of `within` in which none of some columns has a reading. */
export function gapsOf(table: Table, columns: Column[], within: Stretch): Stretch[] {
  if (within.from >= within.to) return [];
  return columns.map((column) => gapsOfColumn(table, column, within)).reduce(overlap, [within]);
}
