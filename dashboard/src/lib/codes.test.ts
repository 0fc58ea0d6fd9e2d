import { expect, it } from "vitest";
import { codeText, isCode } from "./codes";

it("no alarm is shown as none", () => {
  expect(codeText("alarm.1", 0, "sunspec/generic-pv")).toBe("none");
  expect(codeText("alarm.3", 0, "huawei/sun2000")).toBe("none");
});

it("alarms that are standardised are in words, others in the spelling of the manual", () => {
  expect(codeText("alarm.1", 1, "sunspec/generic-pv")).toBe("ground fault");
  expect(codeText("alarm.1", 0x8082, "sunspec/generic-pv")).toBe(
    "DC over-voltage, over temperature, hardware test failed",
  );
  expect(codeText("alarm.1", 2 ** 31, "sunspec/generic-pv")).toBe("bit 31");
  expect(codeText("alarm.1", 18, "huawei/sun2000")).toBe("code 18 (0x0012)");
});

it("amounts and states are not codes", () => {
  expect(isCode({ point: "alarm.1", unit: "" })).toBe(true);
  expect(isCode({ point: "state", unit: "" })).toBe(false);
  expect(isCode({ point: "control.p_limit", unit: "%" })).toBe(false);
});
