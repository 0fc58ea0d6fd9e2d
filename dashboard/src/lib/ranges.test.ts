import { describe, expect, it } from "vitest";
import { liveWindow, rangeAt, stepped } from "./ranges";

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

describe("stepping through time", () => {
  const at = (text: string) => Date.parse(text);
  const HOUR = 3_600_000;

  it("stops at the present, however often one steps on", () => {
    let range = { from: NOW - 5 * HOUR, to: NOW - 3 * HOUR };
    const ends: number[] = [];
    for (let next = stepped(range, 1, NOW, BERLIN); next; next = stepped(range, 1, NOW, BERLIN)) {
      range = next;
      ends.push(range.to);
      expect(ends.length).toBeLessThan(9);
    }
    expect(ends).toEqual([NOW - HOUR, NOW]);
    expect(range.from).toBe(NOW - 2 * HOUR);
  });

  it("has no step from a range that holds the present or lies after it", () => {
    expect(stepped({ from: NOW - HOUR, to: NOW + HOUR }, 1, NOW, BERLIN)).toBeNull();
    expect(stepped({ from: NOW + HOUR, to: NOW + 2 * HOUR }, 1, NOW, BERLIN)).toBeNull();
    expect(stepped({ from: NOW + HOUR, to: NOW + 2 * HOUR }, -1, NOW, BERLIN)).toEqual({ from: NOW, to: NOW + HOUR });
  });

  it("keeps whole days whole beside a change of the clock, and ends with the present day", () => {
    const saturday = { from: at("2025-03-28T23:00:00Z"), to: at("2025-03-29T23:00:00Z") };
    const sunday = { from: at("2025-03-29T23:00:00Z"), to: at("2025-03-30T22:00:00Z") };
    const monday = { from: at("2025-03-30T22:00:00Z"), to: at("2025-03-31T22:00:00Z") };
    expect(stepped(saturday, 1, NOW, BERLIN)).toEqual(sunday);
    expect(stepped(sunday, 1, NOW, BERLIN)).toEqual(monday);
    expect(stepped(monday, 1, NOW, BERLIN)).toBeNull();
    expect(stepped(monday, -1, NOW, BERLIN)).toEqual(sunday);
    expect(stepped(sunday, -1, NOW, BERLIN)).toEqual(saturday);
  });
});
