import { describe, expect, it } from "vitest";
import { amountMarks, heights } from "./axis";

const plain = (texts: string[]) => texts.map((text) => text.replaceAll("\u202f", " "));

describe("heights", () => {
  it("span enough where all values are zero, and start at zero", () => {
    for (const unit of ["W", "V", "A", "Hz", "degC", "Wh", "%", ""]) {
      const [bottom, top] = heights(unit, 0, 0);
      expect(bottom, unit).toBe(0);
      expect(top, unit).toBeGreaterThanOrEqual(0.1);
    }
  });

  it("do not magnify the noise of a dark string", () => {
    const [bottom, top] = heights("V", 0, 0.002);
    expect(bottom).toBe(0);
    expect(top).toBeGreaterThanOrEqual(2);
  });

  it("fill the height with what varies", () => {
    const [bottom, top] = heights("V", 228, 236);
    expect(bottom).toBeGreaterThan(220);
    expect(top).toBeLessThan(245);
  });

  it("reach below zero only for values below zero", () => {
    expect(heights("degC", -4, 3)[0]).toBeLessThan(-4);
    expect(heights("W", -3_000, 2_000)[0]).toBeLessThan(-3_000);
    // Two watts of standby are no reason for a scale that goes down to a tenth of the height.
    expect(heights("W", -2, 8_000)[0]).toBeGreaterThan(-500);
  });

  it("have a result without any value", () => {
    expect(heights("V", null, null)).toEqual([0, 2]);
    expect(heights("W", NaN, NaN)).toEqual([0, 10]);
  });
});

describe("marks", () => {
  it("are in the unit that makes them short", () => {
    expect(plain(amountMarks([0, 5_000, 10_000], 5_000, "W"))).toEqual(["0 kW", "5 kW", "10 kW"]);
    expect(plain(amountMarks([0, 2_000, 4_000], 2_000, "W"))).toEqual(["0", "2,000", "4,000"]);
    expect(plain(amountMarks([17_310_000, 17_320_000], 10_000, "Wh"))).toEqual(["17.31 MWh", "17.32 MWh"]);
    expect(plain(amountMarks([230, 230.5], 0.5, "V"))).toEqual(["230.0", "230.5"]);
    expect(amountMarks([], 1, "V")).toEqual([]);
  });
});
