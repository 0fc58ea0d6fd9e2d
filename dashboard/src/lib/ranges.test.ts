import { expect, it } from "vitest";
import { liveWindow, rangeAt } from "./ranges";

const BERLIN = "Europe/Berlin";
const NOW = Date.parse("2025-03-31T10:00:00Z");

it("today and yesterday are the site's days, also beside a change of the clock", () => {
  expect(rangeAt("today", NOW, BERLIN, 1)).toEqual({
    name: "today",
    from: Date.parse("2025-03-30T22:00:00Z"),
    to: Date.parse("2025-03-31T22:00:00Z"),
  });
  expect(rangeAt("yesterday", NOW, BERLIN, 1)).toEqual({
    name: "yesterday",
    from: Date.parse("2025-03-29T23:00:00Z"),
    to: Date.parse("2025-03-30T22:00:00Z"),
  });
});

it("the live window is about five minutes of the world, in round figures of the server's time", () => {
  expect(liveWindow(1)).toBe(5 * 60_000);
  expect(liveWindow(48)).toBe(4 * 3_600_000);
  expect(liveWindow(3_600)).toBe(12 * 3_600_000);
});
