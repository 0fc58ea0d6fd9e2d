import { expect, it } from "vitest";
import type { PointValue } from "../api/types";
import { freshness } from "./freshness";

const NOW = Date.parse("2025-06-14T12:00:00Z");
const point = (more: Partial<PointValue>): PointValue => ({
  point: "ac.power",
  unit: "W",
  decimals: 0,
  value: 1,
  read_at: "2025-06-14T11:59:50.000Z",
  quality: "good",
  ...more,
});

it("a recent reading is fresh, also where its point was not due since", () => {
  expect(freshness(point({}), NOW)).toBe("fresh");
  expect(freshness(point({ quality: "not_due" }), NOW)).toBe("fresh");
});

it("an old reading is stale, though nothing failed", () => {
  expect(freshness(point({ read_at: "2025-06-14T11:00:00.000Z" }), NOW)).toBe("stale");
});

it("a failed attempt is bad, however recent the value before it", () => {
  expect(freshness(point({ quality: "timeout" }), NOW)).toBe("bad");
});

it("a sleeping inverter is no failure", () => {
  expect(freshness(point({ quality: "asleep" }), NOW)).toBe("asleep");
});

it("the nameplate does not age", () => {
  expect(freshness(point({ point: "info.serial", read_at: "2024-01-01T00:00:00.000Z" }), NOW)).toBe("fresh");
});
