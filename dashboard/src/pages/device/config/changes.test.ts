import { describe, expect, it } from "vitest";
import type { DeviceConfig, Setting, SettingStatus } from "../../../api/types";
import { allowedText, changesOf, changeText, requestOf, rowsOf } from "./changes";

const value = (text: string) => ({ value: 1, text });

const SETTINGS: Setting[] = [
  { name: "sampling_interval", summary: "", kind: "duration", scope: "inverter", min: value("200ms"), max: value("15m"), choices: [] },
  { name: "log_level", summary: "", kind: "one_of", scope: "device", min: null, max: null, choices: ["error", "warn"] },
];

function config(settings: Partial<SettingStatus>[]): DeviceConfig {
  const own = { state: "own_configuration", desired: null, in_use: null } as const;
  return { generation: 3, pending: false, changed: null, by: null, report: null, settings: settings.map((one) => ({ name: "", ...own, ...one })) };
}

const HELD = config([
  { name: "sampling_interval", desired: value("5s"), state: "in_use" },
  { name: "sampling_interval", inverter: 4, desired: value("1s"), state: "pending" },
  { name: "log_level" },
]);

describe("the rows of the form", () => {
  it("has one for each inverter only where there are several, and for each with a value of its own", () => {
    const keys = (inverters: number[]) => rowsOf(SETTINGS, HELD, inverters).map(({ key }) => key);
    expect(keys([0])).toEqual(["sampling_interval", "sampling_interval@4", "log_level"]);
    expect(keys([0, 1])).toEqual(["sampling_interval", "sampling_interval@0", "sampling_interval@1", "sampling_interval@4", "log_level"]);
  });
});

describe("an edit", () => {
  const rows = rowsOf(SETTINGS, HELD, [0]);

  it("changes only what differs", () => {
    expect(changesOf(rows, new Map())).toEqual([]);
    expect(changesOf(rows, new Map([["sampling_interval", " 5s "], ["log_level", ""]]))).toEqual([]);
  });

  it("sets and unsets, for the generation that was shown", () => {
    const draft = new Map([["sampling_interval", "2s"], ["sampling_interval@4", ""], ["log_level", "warn"]]);
    const changes = changesOf(rows, draft);
    expect(changes[0]).toEqual({ key: "sampling_interval", before: "5s", after: "2s" });
    expect(requestOf(changes, 3)).toEqual({
      set: { sampling_interval: "2s", log_level: "warn" },
      unset: ["sampling_interval@4"],
      generation: 3,
    });
  });
});

it("says what is allowed and what changed", () => {
  expect(SETTINGS.map(allowedText)).toEqual(["200ms to 15m", "error, warn"]);
  expect(changeText({ before: null, after: value("2s") })).toBe("own configuration → 2s");
});
