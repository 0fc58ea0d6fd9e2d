import { describe, expect, it } from "vitest";
import type { Command, CommandArgument, CommandKind } from "../../../api/types";
import { allowedText, commandText, EMPTY, nameText, newKey, outcomeText, requestOf } from "./composing";

const number: CommandArgument = { name: "watts", kind: "number", unit: "W", min: 0, max: 10_000_000, decimals: 0, choices: [], default: null };
const kind = (more: Partial<CommandKind>): CommandKind => ({
  name: "set_power",
  summary: "",
  scope: "inverter",
  arguments: [number],
  needs_expert: false,
  ...more,
});

const command: Command = {
  id: "cmd-1",
  device: "dev-1",
  kind: "set_power",
  inverter: 0,
  arguments: { watts: "3000" },
  priority: 5,
  state: "failed",
  since: "",
  created: "",
  by: "",
  not_before: null,
  deadline: "",
  failure: "exception",
  exception: 2,
  registers: [],
};

describe("requests", () => {
  it("have what was typed, and nothing that does not belong to the kind", () => {
    const draft = { ...EMPTY, inverter: "1", values: { watts: " 3000 ", count: "4" }, isUrgent: true };
    expect(requestOf(kind({}), draft, "k")).toEqual({
      kind: "set_power",
      arguments: { watts: "3000" },
      inverter: 1,
      priority: 9,
      valid_for_s: 900,
      key: "k",
    });
    const reboot = kind({ name: "reboot", scope: "device", arguments: [] });
    expect(requestOf(reboot, draft, "k")).toEqual({ kind: "reboot", arguments: {}, priority: 9, valid_for_s: 900, key: "k" });
  });

  it("name a point by its own name", () => {
    const write = kind({ name: "write", arguments: [{ ...number, name: "POINT", kind: "point" }] });
    const draft = { ...EMPTY, values: { POINT: "50" }, point: "control.p_limit" };
    expect(requestOf(write, draft, "k").arguments).toEqual({ "control.p_limit": "50" });
  });

  it("have keys that differ", () => {
    expect(newKey()).toMatch(/^[0-9a-f]{32}$/);
    expect(newKey()).not.toBe(newKey());
  });
});

describe("words", () => {
  it("say what is so", () => {
    expect(nameText("set_power_percentage")).toBe("Set power percentage");
    expect(allowedText(number)).toBe("0 to 10,000,000 W");
    expect(commandText(command)).toBe("Set power, watts=3000, inverter 0");
    expect(outcomeText(command)).toBe("Failed: exception 2");
    expect(outcomeText({ ...command, state: "succeeded", failure: null, exception: null })).toBe("Succeeded");
  });
});
