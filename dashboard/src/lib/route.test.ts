import { expect, it } from "vitest";
import { deviceIn, safeNext, templateIn } from "./route";

it("after sign-in only addresses of the dashboard itself are followed", () => {
  expect(safeNext("/devices/dev-1?range=7d")).toBe("/devices/dev-1?range=7d");
  for (const other of [null, "", "https://elsewhere.example", "//elsewhere.example", "/\\elsewhere.example"]) {
    expect(safeNext(other)).toBe("/");
  }
});

it("a device's page has its name in the address", () => {
  expect(deviceIn("/devices/dev-1")).toBe("dev-1");
  expect(deviceIn("/devices/dev-1/")).toBe("dev-1");
  expect(deviceIn("/devices/caf%C3%A9")).toBe("café");
});

it("an address that cannot be decoded names no device", () => {
  for (const path of ["/devices/%", "/devices/%E0%A4%A", "/devices/%FF", "/devices/dev-1%zz", "/devices/", "/devices/a/b"]) {
    expect(deviceIn(path)).toBeNull();
  }
});

it("a template's page has its name in the address", () => {
  expect(templateIn("/templates/mobile-uplink")).toBe("mobile-uplink");
  for (const path of ["/templates", "/templates/", "/templates/%", "/devices/modem"]) expect(templateIn(path)).toBeNull();
});
