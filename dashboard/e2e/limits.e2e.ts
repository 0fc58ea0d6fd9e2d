/** The leases of a device, with answers that the test chooses. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Lease, LeaseList, LimitChange } from "../src/api/types";
import { DESK, expectAccessible, expectNoSideways, launch, PHONE, type View } from "./browser";
import { detail, inverter, iso, NOW, point, Refusal, stage, telemetry, type Stage } from "./stage";

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

const MINUTE = 60_000;
const PATH = "/devices/dev-1/leases";

function lease(number: number, from: number, to: number, more: Partial<Lease> = {}): Lease {
  return {
    id: `lease-${number}`,
    device: "dev-1",
    inverter: null,
    limit: "50%",
    from: iso(NOW + from * MINUTE),
    to: iso(NOW + to * MINUTE),
    ramp_s: 0,
    link_loss_s: 900,
    then: null,
    priority: 5,
    made_at: iso(NOW - 40 * MINUTE),
    made_by: "token 1 (set-up)",
    state: "active",
    refusal: null,
    released_at: null,
    released_by: null,
    ...more,
  };
}

const CHANGE: LimitChange = {
  inverter: 0,
  at: iso(NOW - 30 * MINUTE),
  lease: "lease-1",
  cause: "lease",
  limit_percent: 50,
  failure: null,
  detail: null,
  confirmed_ms: 120,
  power_w: 2_480,
  power_ms: 3_900,
};

const FOUND: LeaseList = {
  leases: [
    lease(3, 20, 200, { limit: "0%", state: "pending" }),
    lease(2, -10, 50, { limit: "3000W", then: "0%", state: "refused", refusal: "no_inverter" }),
    lease(1, -30, 30),
  ],
  changes: [{ ...CHANGE, at: iso(NOW - MINUTE), cause: "fallback", limit_percent: 0, failure: "no_answer", confirmed_ms: null, power_w: null, power_ms: null }, CHANGE],
  reported_at: iso(NOW - MINUTE),
};

async function on(view: View, found: LeaseList, work: (stage: Stage) => Promise<void>): Promise<void> {
  const opened = await stage(browser, view);
  opened.answers["GET /devices/dev-1"] = detail({}, [inverter([point("ac.power", 1_500)])]);
  opened.answers[`GET ${PATH}`] = found;
  const t = Array.from({ length: 60 }, (_, minute) => NOW - (60 - minute) * MINUTE);
  const value = t.map((at) => (at < NOW - 30 * MINUTE ? 4_800 : 2_480));
  opened.answers["GET /devices/dev-1/telemetry"] = telemetry(t, [{ value, min: value, max: value }], "1m");
  try {
    await opened.page.goto("/devices/dev-1?tab=limits");
    await opened.page.getByRole("heading", { name: "Leases and measured power" }).waitFor();
    await work(opened);
    expect(opened.errors).toEqual([]);
  } finally {
    await opened.close();
  }
}

describe("the leases of a device", () => {
  it.each([DESK, PHONE])("are on a time line with the power and its proof ($name)", (view) =>
    on(view, FOUND, async ({ page }) => {
      const bars = page.getByRole("list", { name: "Leases over time" }).getByRole("listitem");
      await bars.nth(2).waitFor();
      const folder = process.env["ECOWATT_SCREENSHOTS"];
      if (folder) await page.screenshot({ path: `${folder}/device-leases-${view.name}.png`, fullPage: true });
      expect(await bars.allInnerTexts()).toEqual([
        "0%, lease-3: Not reported by the device yet",
        "3000W, lease-2: Refused by the device: no inverter",
        "50%, lease-1: In force",
      ]);
      const power = page.getByRole("img", { name: "Measured power" });
      await power.waitFor();
      expect(await power.getAttribute("aria-label")).toMatch(/^Measured power, at most 4[.,]80+/);
      const changes = page.getByRole("region", { name: "Changes" });
      expect((await changes.innerText()).replaceAll(/\s+/g, " ")).toContain("Read back after 0.1 s; 2,480 W after 3.9 s");
      expect(await changes.innerText()).toContain("Not done: no answer");
      await expectAccessible(page);
      await expectNoSideways(page);
    }),
  );

  it("are shown without a word on the power while it cannot be loaded", () =>
    on(DESK, FOUND, async ({ page, answers, errors }) => {
      await page.getByRole("img", { name: "Measured power" }).waitFor();
      answers["GET /devices/dev-1/telemetry"] = new Refusal(503, "overloaded", "the server has more to do than it can");
      await page.reload();
      await page.getByText("The power could not be loaded.").waitFor();
      expect(await page.getByText("No power was measured").count()).toBe(0);
      // The browser itself reports the answers that the test asked for.
      errors.length = 0;
    }),
  );

  it.each([DESK, PHONE])("are made and released ($name)", (view) =>
    on(view, { leases: [], changes: [], reported_at: null }, async ({ page, answers, asked }) => {
      await page.getByText("No lease was made yet.").waitFor();
      await page.getByText("The device has not reported leases.").waitFor();
      await page.getByLabel("Limit", { exact: true }).fill("30");
      await page.getByLabel("Then").fill("0");
      answers[`POST ${PATH}`] = new Refusal(409, "too_many_leases", "a device keeps 4 leases; release one first");
      await page.getByRole("button", { name: "Limit the power" }).click();
      await page.getByText("Not made: a device keeps 4 leases").waitFor();
      const made = lease(1, 0, 60, { limit: "30%", then: "0%", state: "pending" });
      answers[`POST ${PATH}`] = made;
      answers[`GET ${PATH}`] = { leases: [made], changes: [], reported_at: null };
      await page.getByRole("button", { name: "Limit the power" }).click();
      const line = page.locator('[data-lease="lease-1"]');
      await line.getByText("Not reported by the device yet").waitFor();
      const body = asked.filter(({ route }) => route === `POST ${PATH}`).at(-1)!.body;
      expect(body).toEqual({ limit: "30%", for_s: 3_600, then: "0%" });
      const released = { ...made, state: "released", released_by: "token 1 (set-up)" };
      answers["POST /leases/lease-1/release"] = released;
      answers[`GET ${PATH}`] = { leases: [released], changes: [], reported_at: null };
      await line.getByRole("button", { name: "Release" }).click();
      await line.getByText("Released", { exact: true }).waitFor();
      expect(await line.getByRole("button", { name: "Release" }).count()).toBe(0);
    }),
  );
});
