/** The configuration of a device, with answers that the test chooses. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ConfigTemplate, DeviceConfig, Setting, SettingStatus } from "../src/api/types";
import { DESK, expectAccessible, expectNoSideways, launch, PHONE, type View } from "./browser";
import { detail, inverter, iso, NOW, point, Refusal, stage, type Stage } from "./stage";

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

const value = (number: number, text: string) => ({ value: number, text });

const SETTINGS: Setting[] = [
  { name: "sampling_interval", summary: "Time between two samples of an inverter.", kind: "duration", scope: "inverter", min: value(200, "200ms"), max: value(900_000, "15m"), choices: [] },
  { name: "upload_interval", summary: "Time between two uploads of samples.", kind: "duration", scope: "device", min: value(1_000, "1s"), max: value(900_000, "15m"), choices: [] },
  { name: "batch_rows", summary: "Samples after which a batch is written to storage.", kind: "count", scope: "device", min: value(1, "1"), max: value(1_024, "1024"), choices: [] },
  { name: "log_level", summary: "The least severe messages that the device logs.", kind: "one_of", scope: "device", min: null, max: null, choices: ["error", "warn", "info", "debug"] },
];

const OWN = { desired: null, in_use: null, state: "own_configuration" } as const;

function config(more: Partial<DeviceConfig>, settings: Partial<SettingStatus>[]): DeviceConfig {
  const rows = SETTINGS.map(({ name }) => ({ name, ...OWN, ...settings.find((one) => one.name === name) }));
  return { generation: 0, changed: null, by: null, pending: false, report: null, settings: rows, ...more };
}

const THIRTY = value(30_000, "30s");
const MINUTE = value(60_000, "1m");

const APPLIED = config(
  {
    generation: 3,
    changed: iso(NOW - 60_000),
    by: "token 1 (set-up)",
    report: { generation: 3, state: "applied", received: iso(NOW - 55_000) },
  },
  [
    { name: "upload_interval", desired: THIRTY, in_use: THIRTY, state: "in_use" },
    { name: "batch_rows", desired: value(9, "9"), in_use: value(60, "60"), state: "refused", refused: "out_of_bounds" },
    { name: "log_level", in_use: value(2, "info") },
  ],
);

const TEMPLATES: ConfigTemplate[] = ["modem", "roof"].map((name) => ({
  name,
  version: 1,
  changed: iso(NOW),
  by: "token 1 (set-up)",
  settings: [],
  devices: 0,
  outdated: 0,
}));

const PATH = "/devices/dev-1/config";

async function on(view: View, inverters: number, work: (stage: Stage) => Promise<void>): Promise<void> {
  const opened = await stage(browser, view);
  const all = Array.from({ length: inverters }, (_, number) => inverter([point("ac.power", 1_500)], { number }));
  opened.answers["GET /devices/dev-1"] = detail({}, all);
  opened.answers["GET /settings"] = { settings: SETTINGS };
  opened.answers[`GET ${PATH}`] = APPLIED;
  opened.answers[`GET ${PATH}/history`] = {
    changes: [
      { generation: 3, at: iso(NOW - 60_000), by: "token 1 (set-up)", settings: [{ name: "upload_interval", before: MINUTE, after: THIRTY }] },
      { generation: 2, at: iso(NOW - 90_000), by: "token 2 (Anna)", settings: [{ name: "batch_rows", before: null, after: value(9, "9") }] },
    ],
  };
  opened.answers["GET /config/templates"] = { templates: TEMPLATES };
  try {
    await opened.page.goto("/devices/dev-1?tab=configuration");
    await opened.page.getByTestId("config-standing").waitFor();
    await work(opened);
    expect(opened.errors).toEqual([]);
  } finally {
    await opened.close();
  }
}

const row = (page: Page, key: string) => page.locator(`[data-setting="${key}"]`);

describe("the configuration of a device", () => {
  it.each([DESK, PHONE])("has what is desired beside what is in use, with each state ($name)", (view) =>
    on(view, 1, async ({ page }) => {
      const text = async (key: string) => (await row(page, key).innerText()).replaceAll(/\s+/g, " ");
      expect(await text("upload_interval")).toContain("In use 30s In use");
      expect(await page.getByLabel("Upload interval").inputValue()).toBe("30s");
      expect(await text("batch_rows")).toContain("In use 60 Refused: out of bounds");
      expect(await text("log_level")).toContain("In use info Own configuration");
      expect(await text("sampling_interval")).toContain("In use not reported");
      expect(await page.getByTestId("config-standing").innerText()).toContain("refused a part of generation 3");
      const history = await page.getByRole("region", { name: "History" }).innerText();
      expect(history).toContain("upload_interval: 1m → 30s");
      expect(history).toContain("batch_rows: own configuration → 9");
      await expectAccessible(page);
      await expectNoSideways(page);
    }),
  );

  it.each([DESK, PHONE])("shows the difference before it is saved, and how far the device is after ($name)", (view) =>
    on(view, 1, async ({ page, answers, asked, send }) => {
      await page.getByLabel("Upload interval").fill("1m");
      await page.getByLabel("Log level").selectOption("debug");
      await page.getByLabel("Batch rows").fill("");
      const diff = page.getByRole("region", { name: "Changes to save" });
      expect((await diff.getByRole("listitem").allInnerTexts()).sort()).toEqual([
        "batch_rows: 9 → own configuration",
        "log_level: own configuration → debug",
        "upload_interval: 30s → 1m",
      ]);
      const pending = config({ generation: 4, pending: true, changed: iso(NOW), report: APPLIED.report }, [
        { name: "upload_interval", desired: MINUTE, in_use: THIRTY, state: "pending" },
        { name: "log_level", desired: value(3, "debug"), in_use: value(2, "info"), state: "pending" },
      ]);
      answers[`PATCH ${PATH}`] = pending;
      answers[`GET ${PATH}`] = pending;
      await page.getByRole("button", { name: "Save" }).click();
      await row(page, "upload_interval").getByText("Pending").waitFor();
      expect(asked.find(({ route }) => route === `PATCH ${PATH}`)!.body).toEqual({
        set: { upload_interval: "1m", log_level: "debug" },
        unset: ["batch_rows"],
        generation: 3,
      });
      expect(await diff.count()).toBe(0);
      expect(await page.getByTestId("config-standing").innerText()).toContain("with the reply to its next message");
      // The device reports, and the page follows.
      answers[`GET ${PATH}`] = config({ generation: 4, report: { generation: 4, state: "applied", received: iso(NOW) } }, [
        { name: "upload_interval", desired: MINUTE, in_use: MINUTE, state: "in_use" },
      ]);
      send("config", { device: "dev-1" });
      await row(page, "upload_interval").getByText("In use", { exact: true }).nth(1).waitFor();
      expect(await page.getByTestId("config-standing").innerText()).toContain("The device applied generation 4");
    }),
  );

  it.each([DESK, PHONE])("tells the template's values from those of the device ($name)", (view) =>
    on(view, 1, async ({ page, answers, asked, send }) => {
      answers[`GET ${PATH}`] = config({ generation: 4, template: "modem", report: { generation: 4, state: "applied", received: iso(NOW) } }, [
        { name: "upload_interval", desired: MINUTE, in_use: MINUTE, state: "in_use", origin: "template" },
        { name: "batch_rows", desired: value(9, "9"), in_use: value(9, "9"), state: "in_use", origin: "device" },
      ]);
      send("config", { device: "dev-1" });
      await page.getByText("The device follows template modem.").waitFor();
      const upload = page.getByLabel("Upload interval");
      expect(await row(page, "upload_interval").innerText()).toContain("From template modem: 1m.");
      expect([await upload.inputValue(), await upload.getAttribute("placeholder")]).toEqual(["", "1m from template modem"]);
      expect(await page.getByLabel("Batch rows").inputValue()).toBe("9");
      await upload.fill("30s");
      await page.getByLabel("Batch rows").fill("");
      const diff = page.getByRole("region", { name: "Changes to save" });
      expect((await diff.getByRole("listitem").allInnerTexts()).sort()).toEqual([
        "batch_rows: 9 → left to template modem",
        "upload_interval: 1m from template modem → 30s",
      ]);
      answers[`PATCH ${PATH}`] = answers[`GET ${PATH}`];
      await page.getByRole("button", { name: "Save" }).click();
      await diff.waitFor({ state: "detached" });
      expect(asked.find(({ route }) => route === `PATCH ${PATH}`)!.body).toEqual({
        set: { upload_interval: "30s" },
        unset: ["batch_rows"],
        generation: 4,
      });
      await expectAccessible(page);
      await expectNoSideways(page);
    }),
  );

  it.each([DESK, PHONE])("gives the device a template, and takes it away ($name)", (view) =>
    on(view, 1, async ({ page, answers, asked }) => {
      const assigned = `PUT ${PATH}/template`;
      const choice = page.getByLabel("Template", { exact: true });
      await choice.selectOption("modem");
      await expectAccessible(page);
      await expectNoSideways(page);
      answers[assigned] = new Refusal(404, "template_unknown", "there is no such template");
      await page.getByRole("button", { name: "Use template" }).click();
      await page.getByText("Not saved: there is no such template.").waitFor();
      const given = { ...APPLIED, template: "modem" };
      answers[assigned] = given;
      answers[`GET ${PATH}`] = given;
      await page.getByRole("button", { name: "Use template" }).click();
      await page.getByText("The device follows template modem.").waitFor();
      await choice.selectOption("None");
      answers[assigned] = APPLIED;
      answers[`GET ${PATH}`] = APPLIED;
      await page.getByRole("button", { name: "Remove template" }).click();
      await page.getByText("The device follows template modem.").waitFor({ state: "detached" });
      const bodies = asked.filter(({ route }) => route === assigned).map(({ body }) => body);
      expect(bodies).toEqual([{ template: "modem" }, { template: "modem" }, { template: null }]);
    }),
  );

  it("keeps what was typed when the server refuses it, and names the bound", () =>
    on(DESK, 1, async ({ page, answers }) => {
      await page.getByLabel("Upload interval").fill("1h");
      answers[`PATCH ${PATH}`] = new Refusal(400, "invalid_setting", "`upload_interval` is a duration from 1s to 15m, not `1h`");
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByText("Not saved: `upload_interval` is a duration from 1s to 15m, not `1h`.").waitFor();
      expect(await page.getByLabel("Upload interval").inputValue()).toBe("1h");
      answers[`PATCH ${PATH}`] = new Refusal(409, "config_changed", "the configuration has generation 4");
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByText("Not saved: the settings have been changed in the meantime.").waitFor();
      await page.getByRole("button", { name: "Discard" }).click();
      expect(await page.getByLabel("Upload interval").inputValue()).toBe("30s");
    }));

  it("has a row for each of several inverters", () =>
    on(DESK, 2, async ({ page, answers, asked }) => {
      await page.getByLabel("Sampling interval, inverter 1").fill("1s");
      answers[`PATCH ${PATH}`] = APPLIED;
      await page.getByRole("button", { name: "Save" }).click();
      await expect.poll(() => asked.find(({ route }) => route === `PATCH ${PATH}`)?.body).toEqual({
        set: { "sampling_interval@1": "1s" },
        unset: [],
        generation: 3,
      });
    }));

  it("can be viewed and not changed by a viewer", () =>
    on(PHONE, 1, async ({ page, answers }) => {
      answers["GET /session"] = { role: "viewer", token_name: "test" };
      await page.reload();
      await page.getByText("Only an owner can change settings.").waitFor();
      expect(await row(page, "upload_interval").innerText()).toContain("30s");
      expect(await page.locator("[data-setting] input, [data-setting] select").count()).toBe(0);
      expect(await page.getByLabel("Template", { exact: true }).count()).toBe(0);
      await expectAccessible(page);
    }));
});
