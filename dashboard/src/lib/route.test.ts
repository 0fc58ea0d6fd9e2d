import { expect, it } from "vitest";
import { safeNext } from "./route";

it("after log-in only addresses of the dashboard itself are followed", () => {
  expect(safeNext("/devices/dev-1?range=7d")).toBe("/devices/dev-1?range=7d");
  for (const other of [null, "", "https://elsewhere.example", "//elsewhere.example", "/\\elsewhere.example"]) {
    expect(safeNext(other)).toBe("/");
  }
});
