import { expect, it } from "vitest";
import { factName, factValue } from "./facts";

const plain = (text: string) => text.replaceAll("\u202f", " ");

it("what a device reports is shown with names and units", () => {
  expect(factName("spool_capacity_bytes")).toBe("Spool holds at most");
  expect(plain(factValue("spool_capacity_bytes", "67108864"))).toBe("64.0 MiB");
  expect(factName("inverter_0_failures")).toBe("Inverter 1, failed requests");
  expect(factValue("inverter_0_failures", "1234")).toBe("1,234");
  expect(factValue("boot_reason", "unclean")).toBe("after a cut");
  expect(plain(factValue("clock_deviation_ms", "-12"))).toBe("−12 ms");
  expect(plain(factValue("clock_deviation_ms", "-90000"))).toBe("−1 min");
});

it("unknown names are shown as they are", () => {
  expect(factName("radio.retries")).toBe("Radio retries");
  expect(plain(factValue("uptime_s", "7260"))).toBe("2 h 1 min");
  expect(factValue("note", "")).toBe("");
  expect(factValue("version", "1.2.3")).toBe("1.2.3");
});
