import { describe, expect, it } from "vitest";
import type { EnergyDay } from "../../../api/types";
import { daysOf } from "./days";
import { scale } from "./scale";

const ZONE = "Europe/Berlin";
const at = (text: string) => Date.parse(text);

describe("the scale", () => {
  const words = (most: number | null) => scale(most).marks.map(({ text }) => text);

  it("has different words at different marks, from nothing to a power station", () => {
    for (const most of [0, 1, 2, 3, 7, 49, 400, 999, 1_000, 1_001, 4_321, 38_760, 999_999, 12_345_678, 987_654_321]) {
      const marks = words(most);
      expect(new Set(marks).size, `${most} Wh: ${marks.join(" ")}`).toBe(marks.length);
      expect(scale(most).top).toBeGreaterThanOrEqual(most);
      expect(marks.length).toBeLessThanOrEqual(12);
    }
  });

  it("is one of kilowatt-hours where every day made nothing", () => {
    expect(words(0)).toEqual(["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
  });

  it("says no number where nothing was measured", () => {
    expect(words(null)).toEqual([""]);
  });
});

describe("the days", () => {
  const day = (date: string): EnergyDay => ({ date, energy_wh: 1, source: "counter", gaps: [] });
  const from = at("2026-06-17T22:00:00Z");
  const partial = (measured: EnergyDay[], created: string) =>
    daysOf(measured, { from, count: 5, zone: ZONE, created: at(created), gapsListedUntil: null }).map(({ isPartial }) => isPartial);
  const all = ["2026-06-18", "2026-06-19", "2026-06-20", "2026-06-21", "2026-06-22"].map(day);

  it("are whole but for the present one", () => {
    expect(partial(all, "2026-05-01T10:00:00Z")).toEqual([false, false, false, false, true]);
  });

  it("are in part on the day of the enrolment, by the site's calendar", () => {
    // Half past midnight of the 20th in Berlin.
    expect(partial(all.slice(2), "2026-06-19T22:30:00Z")).toEqual([false, false, true, false, true]);
  });

  it("do not claim to be without gaps where the answer lists none", () => {
    const shown = daysOf(all, { from, count: 5, zone: ZONE, created: 0, gapsListedUntil: at("2026-06-20T09:00:00Z") });
    expect(shown.map(({ gapMs }) => gapMs)).toEqual([0, 0, null, null, null]);
  });

  it("are in part on the day of the first reading, if that came later", () => {
    expect(partial(all.slice(2), "2026-06-19T08:00:00Z")).toEqual([false, true, true, false, true]);
  });
});
