import { describe, expect, it } from "vitest";
import type { Series, Telemetry } from "../api/types";
import { gapLimit, tableOf, withTail } from "./series";

const S = 1_000;

function series(value: (number | null)[], more: Partial<Series> = {}): Series {
  return { point: "ac.power", unit: "W", decimals: 0, value, ...more };
}

function telemetry(t_ms: number[], columns: Series[], resolution: Telemetry["resolution"] = "raw"): Telemetry {
  return { device: "dev-1", inverter: 0, resolution, from: "", to: "", t_ms, series: columns, truncated: false };
}

describe("readings as taken", () => {
  it("are one line while samples follow one another, give or take a missed one", () => {
    const t = [0, 5 * S, 10 * S, 20 * S, 25 * S];
    const table = tableOf(telemetry(t, [series([1, 2, 3, 4, 5])]));
    expect(table.t).toEqual(t);
    expect(table.columns[0]?.value).toEqual([1, 2, 3, 4, 5]);
    expect(table.gaps).toEqual([]);
  });

  it("break where samples are missing, and the gap is named", () => {
    const table = tableOf(telemetry([0, 5 * S, 10 * S, 60 * S, 65 * S], [series([1, 2, 3, 4, 5])]));
    expect(table.t).toEqual([0, 5 * S, 10 * S, 35 * S, 60 * S, 65 * S]);
    expect(table.columns[0]?.value).toEqual([1, 2, 3, null, 4, 5]);
    expect(table.gaps).toEqual([{ from: 10 * S, to: 60 * S }]);
  });

  it("break where a reading failed", () => {
    const failed = series([1, null, 3], { not_good: [[1, "timeout"]] });
    expect(tableOf(telemetry([0, 5 * S, 10 * S], [failed])).columns[0]?.value).toEqual([1, null, 3]);
  });

  it("run on where a point was not due", () => {
    const t = Array.from({ length: 25 }, (_, i) => i * 5 * S);
    const value = t.map((at) => (at % (60 * S) === 0 ? at : null));
    const not_good = t.flatMap((at, i): [number, string][] => (at % (60 * S) === 0 ? [] : [[i, "not_due"]]));
    const table = tableOf(telemetry(t, [series(value, { not_good })]));
    expect(table.columns[0]?.value.filter((cell) => cell === null)).toEqual([]);
    expect(table.columns[0]?.value.filter((cell) => cell !== undefined)).toEqual([0, 60 * S, 120 * S]);
  });

  it("of a slow point break where several of its own readings are missing", () => {
    const t = Array.from({ length: 97 }, (_, i) => i * 5 * S);
    const read = new Set([0, 60 * S, 120 * S, 420 * S, 480 * S]);
    const value = t.map((at) => (read.has(at) ? 1 : null));
    const cells = tableOf(telemetry(t, [series(value)])).columns[0]!.value;
    expect(cells.slice(1, 12).every((cell) => cell === undefined)).toBe(true);
    expect(cells[t.indexOf(240 * S)]).toBeNull();
  });
});

describe("buckets", () => {
  it("break at one that is missing, in the band as well", () => {
    const M = 60 * S;
    const columns = [series([1, 2, 4], { min: [0, 1, 3], max: [2, 3, 5] })];
    const table = tableOf(telemetry([0, M, 3 * M], columns, "1m"));
    expect(table.columns[0]?.value).toEqual([1, 2, null, 4]);
    expect(table.columns[0]?.band).toEqual({ min: [0, 1, null, 3], max: [2, 3, null, 5] });
  });

  it("break where a bucket has no good reading", () => {
    const M = 60 * S;
    const columns = [series([1, null, 3], { min: [1, null, 3], max: [1, null, 3] })];
    expect(tableOf(telemetry([0, M, 2 * M], columns, "1m")).columns[0]?.value).toEqual([1, null, 3]);
  });
});

describe("samples from the live stream", () => {
  const table = tableOf(telemetry([0, 5 * S], [series([1, 2])]));
  const sample = (t: number, value: number) => ({ t, values: new Map([["ac.power", value]]) });

  it("follow the last row, older ones are left out", () => {
    const followed = withTail(table, [sample(5 * S, 9), sample(10 * S, 3)], 20 * S);
    expect(followed.t).toEqual([0, 5 * S, 10 * S]);
    expect(followed.columns[0]?.value).toEqual([1, 2, 3]);
  });

  it("break the line after a pause", () => {
    const followed = withTail(table, [sample(105 * S, 3)], 20 * S);
    expect(followed.columns[0]?.value).toEqual([1, 2, null, 3]);
    expect(followed.gaps).toEqual([{ from: 5 * S, to: 105 * S }]);
  });

  it("leave the table as it was where there are none", () => {
    expect(withTail(table, [], 20 * S)).toBe(table);
  });
});

it("an empty answer is an empty table", () => {
  expect(tableOf(telemetry([], [series([])])).t).toEqual([]);
  expect(gapLimit([], "raw")).toBeGreaterThan(0);
});
