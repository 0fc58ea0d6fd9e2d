import { expect, it } from "vitest";
import { chooseResolution, STEP_MS } from "./resolution";

const HOUR = 3_600_000;
const DESK = 700;
const PHONE = 330;

it("the last hour is drawn from readings as taken, on any screen", () => {
  expect(chooseResolution(HOUR, DESK)).toBe("raw");
  expect(chooseResolution(HOUR, PHONE)).toBe("raw");
});

it("a day is drawn from minutes, on any screen, also when it has 25 hours on a desk's", () => {
  expect(chooseResolution(24 * HOUR, DESK)).toBe("1m");
  expect(chooseResolution(24 * HOUR, PHONE)).toBe("1m");
  expect(chooseResolution(25 * HOUR, DESK)).toBe("1m");
});

it("several hours are drawn from minutes: single readings would be noise", () => {
  expect(chooseResolution(4 * HOUR, DESK)).toBe("1m");
});

it("weeks and a month are drawn from quarter hours, years from days", () => {
  expect(chooseResolution(7 * 24 * HOUR, PHONE)).toBe("15m");
  expect(chooseResolution(30 * 24 * HOUR, PHONE)).toBe("15m");
  expect(chooseResolution(365 * 24 * HOUR, DESK)).toBe("1d");
});

it("never asks for more rows than an answer holds", () => {
  for (let span = HOUR; span < 3_000 * 24 * HOUR; span *= 1.3) {
    const resolution = chooseResolution(span, 10_000);
    if (resolution !== "1d") expect(span / STEP_MS[resolution]).toBeLessThanOrEqual(10_000);
  }
});

it("a wider range is never drawn finer", () => {
  const order = ["raw", "1m", "15m", "1d"];
  let coarsest = 0;
  for (let span = 60_000; span < 3_000 * 24 * HOUR; span *= 1.2) {
    const place = order.indexOf(chooseResolution(span, DESK));
    expect(place).toBeGreaterThanOrEqual(coarsest);
    coarsest = place;
  }
});
