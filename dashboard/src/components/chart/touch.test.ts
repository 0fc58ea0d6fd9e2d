import { expect, it } from "vitest";
import { pinched } from "./touch";

it("what was under the fingers stays under them", () => {
  const stretch = pinched([100, 200], 50, 150, 300);
  expect(stretch).toEqual({ from: 50, to: 350 });
});

it("fingers moved apart narrow the range, moved together widen it", () => {
  const span = (x1: number, x2: number) => {
    const stretch = pinched([100, 200], x1, x2, 300)!;
    return stretch.to - stretch.from;
  };
  expect(span(0, 300)).toBeLessThan(span(50, 150));
  expect(span(90, 110)).toBeGreaterThan(span(50, 150));
});

it("fingers on one spot, or crossed, change nothing", () => {
  expect(pinched([100, 200], 50, 52, 300)).toBeNull();
  expect(pinched([100, 200], 150, 50, 300)).toBeNull();
});
