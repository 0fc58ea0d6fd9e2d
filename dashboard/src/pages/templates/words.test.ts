import { expect, it } from "vitest";
import { affectedText, followText, usersText } from "./words";

it("says who uses a template and how far they are", () => {
  expect([0, 1, 120].map(usersText)).toEqual(["No device uses it", "1 device uses it", "120 devices use it"]);
  expect(followText(0, 0)).toBe("");
  expect(followText(1, 0)).toBe("It has the newest values");
  expect(followText(5, 0)).toBe("All have the newest values");
  expect(followText(5, 2)).toBe("2 devices yet to follow");
});

it("says how many devices a change would change, and no number that is not known", () => {
  expect(affectedText(0, 0, false)).toContain("No device uses the template");
  expect(affectedText(3, 0, false)).toContain("values of its own");
  expect(affectedText(300, 0, true)).toContain("so far");
  expect(affectedText(3, 1, false)).toBe("1 device would change.");
  expect(affectedText(300, 100, true)).toBe("At least 100 devices would change.");
});
