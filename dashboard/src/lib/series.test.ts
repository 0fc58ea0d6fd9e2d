import { describe, expect, it } from "vitest";
import type { Series, Telemetry } from "../api/types";
import { gapLimit, gapsOf, tableOf, withTail } from "./series";
import type { Table } from "./series";

const S = 1_000;

function series(value: (number | null)[], more: Partial<Series> = {}): Series {
  return { point: "ac.power", unit: "W", decimals: 0, value, ...more };
}

function telemetry(t_ms: number[], columns: Series[], resolution: Telemetry["resolution"] = "raw"): Telemetry {
  return { device: "dev-1", inverter: 0, resolution, from: "", to: "", t_ms, series: columns, truncated: false };
}

function gaps(table: Table, from: number, to: number) {
  return gapsOf(table, table.columns, { from, to });
}

describe("the stretches without readings", () => {
  const M = 60 * S;
  const HOUR = 60 * M;
  /** A reading every 5 s, failed in the rows given. */
  const failing = (rows: number, failed: (row: number) => boolean, reason = "timeout") => {
    const t = Array.from({ length: rows }, (_, i) => i * 5 * S);
    const not_good = t.flatMap((_, i): [number, string][] => (failed(i) ? [[i, reason]] : []));
    return tableOf(telemetry(t, [series(t.map((_, i) => (failed(i) ? null : 1)), { not_good })]));
  };

  it("begin with the first failed read, not where back-off thins the rows out", () => {
    const t = [0, 5, 10, 15, 20, 40, 80, 160, 165].map((s) => s * S);
    const failed = series([1, 1, null, null, null, null, null, 1, 1], {
      not_good: [2, 3, 4, 5, 6].map((i): [number, string] => [i, "timeout"]),
    });
    expect(gaps(tableOf(telemetry(t, [failed])), 0, 165 * S)).toEqual([{ from: 5 * S, to: 160 * S }]);
  });

  it("are there for one failed read, whatever it failed with", () => {
    for (const reason of ["timeout", "exception", "garbled", "unreachable", "out_of_range"]) {
      expect(gaps(failing(9, (row) => row === 4, reason), 0, 40 * S)).toEqual([{ from: 15 * S, to: 25 * S }]);
    }
    expect(gaps(failing(9, (row) => row === 4, "not_due"), 0, 40 * S)).toEqual([]);
  });

  it("go on to the present while reads fail", () => {
    expect(gaps(failing(9, (row) => row > 6), 0, 41 * S)).toEqual([{ from: 30 * S, to: 41 * S }]);
  });

  it("go on to the present after the last message, once it is later than the next one should be", () => {
    const table = failing(9, () => false);
    expect(gaps(table, 0, 40 * S + 2 * M)).toEqual([]);
    expect(gaps(table, 0, HOUR)).toEqual([{ from: 40 * S, to: HOUR }]);
  });

  it("are the whole range where there is nothing, and never more than it", () => {
    expect(gaps(tableOf(telemetry([], [series([])])), 7, 9)).toEqual([{ from: 7, to: 9 }]);
    expect(gaps(failing(9, (row) => row > 2 && row < 6), 20 * S, 25 * S)).toEqual([{ from: 20 * S, to: 25 * S }]);
    expect(gaps(failing(9, () => false), 9, 9)).toEqual([]);
  });

  it("lie before the first reading of a range", () => {
    const late = telemetry([HOUR, HOUR + 5 * S], [series([1, 2])]);
    expect(gaps(tableOf(late), 0, HOUR + 5 * S)).toEqual([{ from: 0, to: HOUR }]);
  });

  it("of buckets lie between the end of one and the start of the next", () => {
    const buckets = telemetry([0, M, 4 * M, 5 * M], [series([1, 2, 3, 4])], "1m");
    expect(gaps(tableOf(buckets), 0, 6 * M)).toEqual([{ from: 2 * M, to: 4 * M }]);
    const quarters = telemetry([0, 15 * M, 45 * M], [series([1, null, 3])], "15m");
    expect(gaps(tableOf(quarters), 0, 60 * M)).toEqual([{ from: 15 * M, to: 45 * M }]);
  });

  it("of several points are those that all of them share", () => {
    const t = [0, 5, 10, 15, 20, 25].map((s) => s * S);
    const bad = (rows: number[], point: string) =>
      series(
        t.map((_, i) => (rows.includes(i) ? null : 1)),
        { point, not_good: rows.map((i): [number, string] => [i, "timeout"]) },
      );
    const table = tableOf(telemetry(t, [bad([1, 2, 3], "ac.power"), bad([3, 4], "pv.power")]));
    expect(gaps(table, 0, 25 * S)).toEqual([{ from: 10 * S, to: 20 * S }]);
    expect(gapsOf(table, table.columns.slice(0, 1), { from: 0, to: 25 * S })).toEqual([{ from: 0, to: 20 * S }]);
  });

  it("in the live stream begin where a point was read last", () => {
    const table = tableOf(telemetry([0, 5 * S], [series([1, 2])]));
    const empty = (t: number) => ({ t, values: new Map<string, number>() });
    const followed = withTail(table, [empty(65 * S), empty(125 * S), empty(200 * S)], 3 * M);
    expect(gaps(followed, 0, 201 * S)).toEqual([{ from: 5 * S, to: 201 * S }]);
  });
});

describe("readings as taken", () => {
  it("are one line while samples follow one another, give or take a missed one", () => {
    const t = [0, 5 * S, 10 * S, 20 * S, 25 * S];
    const table = tableOf(telemetry(t, [series([1, 2, 3, 4, 5])]));
    expect(table.t).toEqual(t);
    expect(table.columns[0]?.value).toEqual([1, 2, 3, 4, 5]);
    expect(gaps(table, 0, 25 * S)).toEqual([]);
  });

  it("break where samples are missing, and the gap is named", () => {
    const table = tableOf(telemetry([0, 5 * S, 10 * S, 60 * S, 65 * S], [series([1, 2, 3, 4, 5])]));
    expect(table.t).toEqual([0, 5 * S, 10 * S, 35 * S, 60 * S, 65 * S]);
    expect(table.columns[0]?.value).toEqual([1, 2, 3, null, 4, 5]);
    expect(gaps(table, 0, 65 * S)).toEqual([{ from: 10 * S, to: 60 * S }]);
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
    expect(gaps(followed, 0, 105 * S)).toEqual([{ from: 5 * S, to: 105 * S }]);
  });

  it("leave the table as it was where there are none", () => {
    expect(withTail(table, [], 20 * S)).toBe(table);
  });
});

it("an empty answer is an empty table", () => {
  expect(tableOf(telemetry([], [series([])])).t).toEqual([]);
  expect(gapLimit([], "raw")).toBeGreaterThan(0);
});
