/** What operators do on the pages, end to end. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { DEADLINE_MS, DESK, launch, PHONE, picture } from "./browser";
import { demo, firstDevice, signedIn, visit, type Visit } from "./demo";

const device = `/devices/${firstDevice}`;
const range = (page: Page) => page.getByTestId("range");

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

/** Opens a visit, does the work, and closes it whatever happens. */
async function during(opening: Promise<Visit>, work: (visit: Visit) => Promise<void>): Promise<void> {
  const opened = await opening;
  try {
    await work(opened);
  } finally {
    await opened.context.close();
  }
}

async function span(page: Page): Promise<number> {
  const { from, to } = await range(page).evaluate((element) => ({
    from: Number(element.dataset.from),
    to: Number(element.dataset.to),
  }));
  return to - from;
}

/** Repeats a request until the answer is as expected. */
async function eventually<T>(ask: () => Promise<T>, isWanted: (answer: T) => boolean): Promise<T> {
  const end = Date.now() + DEADLINE_MS;
  for (;;) {
    const answer = await ask();
    if (isWanted(answer)) return answer;
    if (Date.now() > end) throw new Error(`still ${JSON.stringify(answer)} after ${DEADLINE_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

it("the demonstration's link signs in, and the token leaves the address", () =>
  during(signedIn(browser, DESK), async ({ page, context }) => {
    expect(page.url()).toBe(new URL("/", demo.url).href);
    const cookie = (await context.cookies()).find(({ name }) => name === "ecowatt_session");
    expect(cookie).toMatchObject({ httpOnly: true, sameSite: "Strict" });
    const kept = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }));
    expect(kept).not.toContain(demo.token);
  }));

it("every device of the demonstration is on the fleet page, with its first reading", () =>
  during(signedIn(browser, DESK), async ({ page }) => {
    for (const { id } of demo.devices) {
      const row = page.getByRole("row").filter({ has: page.locator(`[href="/devices/${id}"]`) });
      const text = await eventually(
        () => row.getByTestId("power").innerText(),
        (words) => /\d/.test(words),
      );
      expect(text).toMatch(/W$/);
    }
  }));

it("a simulated clock is named as such and ticks", () =>
  during(signedIn(browser, DESK), async ({ page }) => {
    const clock = page.getByTestId("simulated").locator("time");
    const before = await clock.innerText();
    await eventually(
      () => clock.innerText(),
      (after) => after !== before,
    );
    expect(await page.getByTestId("simulated").innerText()).toContain("demonstration");
  }));

it("a value on the device page changes by itself", () =>
  during(signedIn(browser, DESK), async ({ page }) => {
    await page.goto(device);
    await page.getByTestId("live").getByText("Live", { exact: true }).waitFor();
    const values = page.getByRole("region", { name: "Latest values" }).locator("td:nth-child(2)");
    await values.first().waitFor();
    const before = await values.allInnerTexts();
    expect(before.some((text) => /\d/.test(text))).toBe(true);
    await eventually(
      () => values.allInnerTexts(),
      (after) => after.join() !== before.join(),
    );
  }));

it("dragging across the chart narrows the range, and Escape brings it back", () =>
  during(signedIn(browser, DESK), async ({ page }) => {
    await page.goto(device);
    const plot = page.locator(".u-over").first();
    const box = await plot.boundingBox();
    expect(box).not.toBeNull();
    const { x, y, width, height } = box!;
    const day = await span(page);
    await page.mouse.move(x + 4, y + height / 2);
    await page.mouse.down();
    await page.mouse.move(x + width / 8, y + height / 2, { steps: 8 });
    await page.mouse.up();
    const zoomed = await eventually(
      () => span(page),
      (now) => now < day / 4,
    );
    expect(page.url()).toContain("from=");
    await page.reload();
    await plot.waitFor();
    expect(await span(page)).toBe(zoomed);
    await page.keyboard.press("Escape");
    await eventually(
      () => span(page),
      (now) => now === day,
    );
  }));

it("pinching on a phone narrows the range", () =>
  during(signedIn(browser, PHONE), async ({ page, context }) => {
    await page.goto(device);
    const plot = page.locator(".u-over").first();
    await plot.scrollIntoViewIfNeeded();
    const box = (await plot.boundingBox())!;
    const day = await span(page);
    const fingers = await context.newCDPSession(page);
    const y = box.y + box.height / 2;
    const at = (apart: number) => [
      { x: box.x + box.width * 0.3 - apart, y, id: 1 },
      { x: box.x + box.width * 0.3 + apart, y, id: 2 },
    ];
    await fingers.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: at(12) });
    for (const apart of [20, 32, 48]) {
      await fingers.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: at(apart) });
    }
    await fingers.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
    await eventually(
      () => span(page),
      (now) => now < day / 2,
    );
  }));

it("a finer range is drawn from finer readings", () =>
  during(signedIn(browser, DESK), async ({ page }) => {
    const resolution = () => page.getByTestId("resolution").getAttribute("data-resolution");
    await page.goto(device);
    await eventually(resolution, (now) => now === "1m");
    await page.getByRole("button", { name: "1 h", exact: true }).click();
    await eventually(resolution, (now) => now === "raw");
    await page.getByRole("button", { name: "30 d" }).click();
    await eventually(resolution, (now) => now === "15m");
  }));

it("choosing a quantity adds its chart, and the address keeps it", () =>
  during(signedIn(browser, DESK), async ({ page }) => {
    await page.goto(device);
    await page.locator(".u-over").first().waitFor();
    await page.getByRole("button", { name: "Voltage" }).click();
    await eventually(
      () => page.locator(".u-over").count(),
      (count) => count > 1,
    );
    expect(page.url()).toContain("voltage");
  }));

it("the search narrows the list from the keyboard, and shows when nothing matches", () =>
  during(signedIn(browser, DESK), async ({ page }) => {
    const rows = page.locator("tbody tr");
    await rows.first().waitFor();
    const all = await rows.count();
    await page.keyboard.press("/");
    await page.keyboard.type(firstDevice);
    await eventually(
      () => rows.count(),
      (count) => count >= 1 && (count < all || all === 1),
    );
    expect(page.url()).toContain(`search=${firstDevice}`);
    await page.keyboard.type("no such device");
    await page.getByText("No device matches.").waitFor();
    await page.getByRole("button", { name: "Show all", exact: true }).click();
    await eventually(
      () => rows.count(),
      (count) => count === all,
    );
  }));

it("g f goes to the fleet", () =>
  during(signedIn(browser, DESK), async ({ page }) => {
    await page.goto(device);
    await page.getByRole("button", { name: "Measurements" }).waitFor();
    await page.keyboard.press("g");
    await page.keyboard.press("f");
    await page.getByRole("heading", { name: "Fleet" }).waitFor();
  }));

it("without a session a page leads to the sign-in page and, once in, back to itself", () =>
  during(visit(browser, DESK), async ({ page }) => {
    await page.goto(`${device}?tab=energy`);
    await page.getByLabel("Token").fill("not-a-token");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("alert").waitFor();
    await page.getByLabel("Token").fill(demo.token);
    await page.keyboard.press("Enter");
    await page.getByRole("region", { name: "Energy per day" }).waitFor();
    expect(new URL(page.url()).pathname).toBe(device);
  }));

it("after signing out nothing is shown", () =>
  during(signedIn(browser, PHONE), async ({ page, context }) => {
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Token").waitFor();
    await page.goto("/");
    await page.getByLabel("Token").waitFor();
    const answer = await context.request.get("/api/v1/devices");
    expect(answer.status()).toBe(401);
  }));

it("a broken stream is shown clearly and recovers by itself", () =>
  during(signedIn(browser, DESK), async ({ page }) => {
    await page.route("**/api/v1/events*", (route) => route.abort());
    await page.reload();
    await page.getByText(/No connection since \d\d:\d\d/).waitFor();
    await picture(page, "no-connection");
    await page.unroute("**/api/v1/events*");
    await page.getByTestId("live").getByText("Live", { exact: true }).waitFor();
    expect(await page.getByText(/No connection since/).count()).toBe(0);
  }));

it("an error is shown with a way to try again", () =>
  during(signedIn(browser, DESK), async ({ page }) => {
    await page.route("**/api/v1/devices?*", (route) => route.abort());
    await page.reload();
    await page.getByText("The fleet could not be loaded.").waitFor();
    await page.unroute("**/api/v1/devices?*");
    await page.getByRole("button", { name: "Try again" }).last().click();
    await page.locator("tbody tr").first().waitFor();
  }));

it("a claim code is made and shown once", () =>
  during(signedIn(browser, DESK), async ({ page }) => {
    await page.getByRole("button", { name: "Add device" }).click();
    await page.getByLabel("Name").fill("Made in a test");
    await page.getByLabel("Inverter's address").fill("192.0.2.10");
    await page.getByLabel("Model").selectOption({ label: "Any SunSpec PV inverter" });
    await page.getByRole("button", { name: "Create claim code" }).click();
    const code = await page.getByLabel("Claim code").innerText();
    expect(code).toMatch(/^([0-9A-Z]{5}-){3}[0-9A-Z]{5}$/);
    const configuration = await page.getByLabel("Configuration").innerText();
    for (const line of ['data = "/var/lib/ecowatt-agent"', `claim_code = "${code}"`, 'transport = "tcp://192.0.2.10:502"', 'profile = "sunspec/generic-pv"']) {
      expect(configuration).toContain(line);
    }
    expect(await page.getByLabel("Command").innerText()).toContain("ecowatt agent --config");
    await page.getByRole("button", { name: "Done" }).click();
    await page.getByRole("link", { name: "Made in a test" }).first().waitFor();
    expect(await page.content()).not.toContain(code);
  }));

it("the theme is switched and kept", () =>
  during(signedIn(browser, DESK), async ({ page }) => {
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await background();
    await page.getByRole("button", { name: /Switch to light/ }).click();
    await page.getByRole("button", { name: /Switch to dark/ }).click();
    const dark = await background();
    expect(dark).not.toBe(light);
    await page.reload();
    expect(await background()).toBe(dark);
  }));

it.each([DESK, PHONE])("a template is created, used, checked, changed, taken away and deleted ($name)", (view) =>
  during(signedIn(browser, view), async ({ page, errors }) => {
    const name = `e2e-${view.name}-${Date.now()}`;
    const checkAndSave = async (affected: string, shot: string) => {
      await page.getByRole("button", { name: "Check devices" }).click();
      await page.getByText(affected).waitFor();
      await picture(page, shot);
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByRole("region", { name: "Changes to save" }).waitFor({ state: "detached" });
    };
    await page.getByRole("link", { name: "Templates" }).click();
    await page.getByRole("button", { name: "New template" }).click();
    await page.getByLabel("Name").fill(name);
    await picture(page, `template-new-${view.name}`);
    await page.getByRole("button", { name: "Create" }).click();
    await page.getByLabel("Batch rows").fill("77");
    await checkAndSave("No device uses the template", `template-unused-${view.name}`);

    await page.goto(`${device}?tab=configuration`);
    await page.getByLabel("Template", { exact: true }).selectOption(name);
    await picture(page, `template-choice-${view.name}`);
    await page.getByRole("button", { name: "Use template" }).click();
    await page.getByText(`From template ${name}: 77.`).waitFor();
    await picture(page, `template-chosen-${view.name}`);

    await page.getByRole("link", { name, exact: true }).click();
    await page.getByText("1 device uses it").waitFor();
    await page.getByLabel("Batch rows").fill("78");
    await checkAndSave("1 device would change.", `template-affected-${view.name}`);
    await page.getByRole("region", { name: "History" }).getByText("batch_rows: 77 → 78").waitFor();
    await picture(page, `template-${view.name}`);
    await page.getByRole("link", { name: "All templates" }).click();
    await page.getByRole("list", { name: "All templates" }).getByRole("link", { name, exact: true }).waitFor();
    await picture(page, `templates-list-${view.name}`);

    await page.goto(`${device}?tab=configuration`);
    await page.getByText(`From template ${name}: 78.`).waitFor();
    await page.getByLabel("Template", { exact: true }).selectOption("None");
    await page.getByRole("button", { name: "Remove template" }).click();
    await page.getByText(`From template ${name}`).waitFor({ state: "detached" });
    await page.goto(`/templates/${name}`);
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.getByRole("heading", { name: "Templates" }).waitFor();
    await page.getByRole("link", { name, exact: true }).waitFor({ state: "detached" });
    expect(errors).toEqual([]);
  }),
);
