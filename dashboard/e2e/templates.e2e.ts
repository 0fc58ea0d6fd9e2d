/** The pages of templates, with answers that the test chooses. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ConfigTemplate, Setting } from "../src/api/types";
import { DESK, expectAccessible, expectNoSideways, launch, PHONE, type View } from "./browser";
import { iso, NOW, Refusal, stage, type Stage } from "./stage";

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

const value = (number: number, text: string) => ({ value: number, text });

const SETTINGS: Setting[] = [
  { name: "upload_interval", summary: "Time between two uploads of samples.", kind: "duration", scope: "device", min: value(1_000, "1s"), max: value(900_000, "15m"), choices: [] },
  { name: "log_level", summary: "The least severe messages that the device logs.", kind: "one_of", scope: "device", min: null, max: null, choices: ["error", "warn", "info", "debug"] },
];

const MINUTE = value(60_000, "1m");
const FIVE = value(300_000, "5m");

function template(more: Partial<ConfigTemplate> = {}): ConfigTemplate {
  const settings = [{ name: "upload_interval", value: FIVE }];
  return { name: "modem", version: 2, changed: iso(NOW - 60_000), by: "token 2 (Anna)", settings, devices: 3, outdated: 0, ...more };
}

const PATH = "/config/templates/modem";

async function on(view: View, address: string, work: (stage: Stage) => Promise<void>): Promise<void> {
  const opened = await stage(browser, view);
  opened.answers["GET /settings"] = { settings: SETTINGS };
  opened.answers["GET /config/templates"] = { templates: [template(), template({ name: "roof", devices: 120, outdated: 20 })] };
  opened.answers[`GET ${PATH}`] = template();
  opened.answers[`GET ${PATH}/history`] = {
    changes: [
      { version: 2, at: iso(NOW - 60_000), by: "token 2 (Anna)", settings: [{ name: "upload_interval", before: MINUTE, after: FIVE }] },
      { version: 1, at: iso(NOW - 90_000), by: "token 1 (set-up)", settings: [{ name: "upload_interval", before: null, after: MINUTE }] },
    ],
  };
  try {
    await opened.page.goto(address);
    await work(opened);
    expect(opened.errors).toEqual([]);
  } finally {
    await opened.close();
  }
}

describe("the list of templates", () => {
  it.each([DESK, PHONE])("says who uses each, and how far they are ($name)", (view) =>
    on(view, "/", async ({ page }) => {
      await page.getByRole("link", { name: "Templates" }).click();
      const list = page.getByRole("list", { name: "All templates" });
      await list.waitFor();
      const [modem, roof] = await list.getByRole("listitem").allInnerTexts();
      expect(modem).toContain("3 devices use it");
      expect(modem).toContain("by token 2 (Anna)");
      expect(roof).toContain("20 devices yet to follow");
      await expectAccessible(page);
      await expectNoSideways(page);
      await list.getByRole("link", { name: "modem" }).click();
      await page.getByRole("heading", { name: "modem" }).waitFor();
    }),
  );

  it.each([DESK, PHONE])("creates one, and says why it cannot ($name)", (view) =>
    on(view, "/templates", async ({ page, answers, asked }) => {
      answers["GET /config/templates"] = { templates: [] };
      await page.reload();
      await page.getByText("There is no template yet.").waitFor();
      await page.getByRole("button", { name: "New template" }).click();
      await page.getByLabel("Name").fill("modem");
      answers["POST /config/templates"] = new Refusal(409, "template_name_taken", "the name is taken");
      await page.getByRole("button", { name: "Create" }).click();
      await page.getByText("Not created: the name is taken.").waitFor();
      await expectAccessible(page);
      answers["POST /config/templates"] = template({ version: 1, settings: [], devices: 0 });
      await page.getByRole("button", { name: "Create" }).click();
      await page.getByRole("heading", { name: "modem" }).waitFor();
      expect(asked.findLast(({ route }) => route === "POST /config/templates")!.body).toEqual({ name: "modem" });
    }),
  );

  it("says that it could not be loaded, and tries again", () =>
    on(PHONE, "/templates", async ({ page, answers }) => {
      const { [`GET /config/templates`]: before } = answers;
      answers["GET /config/templates"] = new Refusal(400, "overloaded", "the server has more to do than it can");
      await page.reload();
      await page.getByText("The templates could not be loaded.").waitFor();
      answers["GET /config/templates"] = before;
      await page.getByRole("button", { name: "Try again" }).click();
      await page.getByText("3 devices use it").waitFor();
    }));
});

describe("a template", () => {
  it.each([DESK, PHONE])("shows what a change would do before it is saved ($name)", (view) =>
    on(view, "/templates/modem", async ({ page, answers, asked }) => {
      await page.getByLabel("Upload interval").fill("1m");
      await page.getByLabel("Log level").selectOption("debug");
      expect(await page.getByRole("button", { name: "Save" }).count()).toBe(0);
      const settings = [{ name: "upload_interval", before: FIVE, after: MINUTE }];
      answers[`POST ${PATH}/preview`] = ({ url }: { url: URL }) =>
        url.searchParams.get("cursor") === "dev-1"
          ? { devices: [{ device: "dev-2", settings }] }
          : { devices: [{ device: "dev-1", settings }], next_cursor: "dev-1" };
      await page.getByRole("button", { name: "Check devices" }).click();
      await page.getByText("At least 1 device would change.").waitFor();
      await page.getByRole("button", { name: "Show more devices" }).click();
      await page.getByText("2 devices would change.", { exact: true }).waitFor();
      const affected = page.getByRole("list", { name: "Devices that would change" });
      expect(await affected.innerText()).toContain("upload_interval: 5m → 1m");
      await expectAccessible(page);
      await expectNoSideways(page);
      // Another edit asks for another check.
      await page.getByLabel("Log level").selectOption("warn");
      await affected.waitFor({ state: "detached" });
      await page.getByRole("button", { name: "Check devices" }).click();
      const saved = template({ version: 3, outdated: 2, settings: [{ name: "upload_interval", value: MINUTE }] });
      answers[`PATCH ${PATH}`] = saved;
      answers[`GET ${PATH}`] = saved;
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByText("2 devices yet to follow").waitFor();
      const change = { set: { upload_interval: "1m", log_level: "warn" }, unset: [], version: 2 };
      expect(asked.find(({ route }) => route === `PATCH ${PATH}`)!.body).toEqual(change);
      expect(asked.findLast(({ route }) => route === `POST ${PATH}/preview`)!.body).toEqual(change);
      expect(await page.getByRole("region", { name: "History" }).innerText()).toContain("upload_interval: 1m → 5m");
    }),
  );

  it("keeps what was typed when the check or the change is refused", () =>
    on(DESK, "/templates/modem", async ({ page, answers }) => {
      await page.getByLabel("Upload interval").fill("1h");
      answers[`POST ${PATH}/preview`] = new Refusal(400, "invalid_setting", "`upload_interval` is a duration from 1s to 15m, not `1h`");
      await page.getByRole("button", { name: "Check devices" }).click();
      await page.getByText("The change could not be checked.").waitFor();
      await page.getByText("a duration from 1s to 15m").waitFor();
      await page.getByLabel("Upload interval").fill("1m");
      answers[`POST ${PATH}/preview`] = { devices: [] };
      await page.getByRole("button", { name: "Check devices" }).click();
      await page.getByText("No device would change: each has values of its own").waitFor();
      answers[`PATCH ${PATH}`] = new Refusal(409, "config_changed", "the template has version 3");
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByText("Not saved: the settings have been changed in the meantime.").waitFor();
      expect(await page.getByLabel("Upload interval").inputValue()).toBe("1m");
    }));

  it("can be deleted once no device uses it", () =>
    on(PHONE, "/templates/modem", async ({ page, answers, asked }) => {
      await page.getByText("3 devices use it").waitFor();
      expect(await page.getByRole("button", { name: "Delete" }).isDisabled()).toBe(true);
      answers[`GET ${PATH}`] = template({ devices: 0 });
      answers[`DELETE ${PATH}`] = null;
      await page.reload();
      await page.getByRole("button", { name: "Delete" }).click();
      answers["GET /config/templates"] = { templates: [] };
      await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
      await page.getByText("There is no template yet.").waitFor();
      expect(asked.some(({ route }) => route === `DELETE ${PATH}`)).toBe(true);
    }));

  it.each([DESK, PHONE])("can be viewed and not changed by a viewer ($name)", (view) =>
    on(view, "/templates/modem", async ({ page, answers }) => {
      answers["GET /session"] = { role: "viewer", token_name: "test" };
      await page.reload();
      await page.getByText("Only an owner can change templates.").waitFor();
      expect(await page.locator("[data-setting]").first().innerText()).toContain("5m");
      expect(await page.locator("[data-setting] input, [data-setting] select").count()).toBe(0);
      expect(await page.getByRole("button", { name: "Delete" }).count()).toBe(0);
      await expectAccessible(page);
      await expectNoSideways(page);
    }),
  );
});
