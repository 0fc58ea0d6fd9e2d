import { describe, expect, it } from "vitest";
import { exactText, inputText, instantOf, isoDate, isZone, localTime, offsetAt, parseInput, startOfDay } from "./zone";

const BERLIN = "Europe/Berlin";
const HOUR = 3_600_000;
const at = (text: string) => Date.parse(text);

describe("local time", () => {
  it("is ahead of UTC by one hour in winter and two in summer in Berlin", () => {
    expect(offsetAt(at("2025-01-15T12:00:00Z"), BERLIN)).toBe(HOUR);
    expect(offsetAt(at("2025-07-15T12:00:00Z"), BERLIN)).toBe(2 * HOUR);
  });

  it("knows offsets that are not whole hours, and fractions of a second do not disturb it", () => {
    expect(offsetAt(at("2025-01-15T12:00:00.987Z"), "Asia/Kolkata")).toBe(5.5 * HOUR);
    expect(offsetAt(at("2025-01-15T12:00:00Z"), "Asia/Kathmandu")).toBe(5.75 * HOUR);
  });

  it("writes midnight as hour 0 of the day that begins", () => {
    expect(localTime(at("2025-06-13T22:00:00Z"), BERLIN)).toEqual({
      year: 2025,
      month: 6,
      day: 14,
      hour: 0,
      minute: 0,
      second: 0,
    });
  });
});

describe("start of day", () => {
  it("is the site's midnight, not UTC's", () => {
    expect(startOfDay(at("2025-06-14T22:30:00Z"), BERLIN)).toBe(at("2025-06-14T22:00:00Z"));
    expect(startOfDay(at("2025-06-14T01:00:00Z"), "America/Los_Angeles")).toBe(at("2025-06-13T07:00:00Z"));
  });

  it("makes the day of the change to summer time 23 hours long, and that of the change back 25", () => {
    const spring = startOfDay(at("2025-03-30T12:00:00Z"), BERLIN);
    expect(startOfDay(spring, BERLIN, 1) - spring).toBe(23 * HOUR);
    const autumn = startOfDay(at("2025-10-26T12:00:00Z"), BERLIN);
    expect(startOfDay(autumn, BERLIN, 1) - autumn).toBe(25 * HOUR);
  });

  it("is one o'clock where the clock jumps over midnight", () => {
    // Chile moved its clocks forward at midnight of 8 September 2024.
    const start = startOfDay(at("2024-09-08T15:00:00Z"), "America/Santiago");
    expect(localTime(start, "America/Santiago").hour).toBe(1);
    expect(isoDate(start, "America/Santiago")).toBe("2024-09-08");
    expect(isoDate(start - 1, "America/Santiago")).toBe("2024-09-07");
  });

  it("counts days over the ends of months and years", () => {
    expect(isoDate(startOfDay(at("2024-12-31T12:00:00Z"), BERLIN, 1), BERLIN)).toBe("2025-01-01");
    expect(isoDate(startOfDay(at("2024-03-01T12:00:00Z"), BERLIN, -1), BERLIN)).toBe("2024-02-29");
  });
});

describe("instant of a local time", () => {
  const local = { year: 2025, month: 10, day: 26, hour: 2, minute: 30, second: 0 };

  it("is the earlier of two where the clock is set back", () => {
    expect(instantOf(local, BERLIN)).toBe(at("2025-10-26T00:30:00Z"));
  });

  it("is an hour later where the clock jumps over it", () => {
    const skipped = { ...local, month: 3, day: 30 };
    expect(localTime(instantOf(skipped, BERLIN), BERLIN).hour).toBe(3);
  });

  it("comes back from an input's text", () => {
    for (const text of ["2025-06-14T06:41", "2025-12-31T23:59", "2025-03-30T03:00"]) {
      expect(inputText(parseInput(text, BERLIN)!, BERLIN)).toBe(text);
    }
    expect(parseInput("2025-06-14", BERLIN)).toBeNull();
  });
});

it("names the zone with the exact instant", () => {
  expect(exactText(at("2025-06-14T09:30:08Z"), BERLIN)).toBe("Sat 14 Jun 2025 11:30:08 CEST");
});

it("tells a zone from other words", () => {
  expect(isZone("Europe/Berlin")).toBe(true);
  expect(isZone("Berlin")).toBe(false);
});
