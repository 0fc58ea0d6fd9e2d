/** What fits on a screen, and the size of touch targets. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { expectNoSideways, expectTouchable, launch, PHONE, PHONE_SIDEWAYS, TABLET, WALL } from "./browser";
import { firstDevice, signedIn, visit } from "./demo";

const device = `/devices/${firstDevice}`;

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

it.each([PHONE, PHONE_SIDEWAYS])("a phone's first screen holds the whole chart ($name)", async (view) => {
  const { page, context } = await signedIn(browser, view);
  try {
    await page.goto(device);
    const plot = page.locator(".u-over").first();
    await plot.waitFor();
    const box = (await plot.boundingBox())!;
    expect(box.height).toBeGreaterThan(80);
    expect(box.y + box.height).toBeLessThanOrEqual(view.height);
  } finally {
    await context.close();
  }
});

it.each(["/", device, `${device}?tab=energy`, `${device}?tab=diagnostics`, `${device}?tab=management`, "/access", "/templates", `${device}?from=2026-06-21T03:00:00Z&to=2026-06-21T04:00:00Z`])(
  "everything on a phone's %s is as large as a fingertip",
  async (path) => {
    for (const view of [PHONE, PHONE_SIDEWAYS]) {
      const { page, context } = await signedIn(browser, view);
      try {
        await page.goto(path);
        await page.locator("main h1").waitFor();
        await page.waitForLoadState("networkidle").catch(() => {});
        await expectTouchable(page);
        await expectNoSideways(page);
      } finally {
        await context.close();
      }
    }
  },
);

it("so is everything in a phone's sheets and on the sign-in page", async () => {
  const { page, context } = await signedIn(browser, PHONE);
  try {
    await page.goto(device);
    await page.getByRole("button", { name: "Choose what is shown" }).click();
    await page.getByRole("dialog").getByRole("group", { name: "What is shown" }).waitFor();
    await expectTouchable(page);
  } finally {
    await context.close();
  }
  const outside = await visit(browser, PHONE);
  try {
    await outside.page.goto("/login");
    await outside.page.getByLabel("Token").waitFor();
    await expectTouchable(outside.page);
  } finally {
    await outside.context.close();
  }
});

it.each([TABLET, WALL])("nothing sticks out at the side ($name)", async (view) => {
  const { page, context } = await signedIn(browser, view);
  try {
    for (const path of ["/", device, `${device}?tab=energy`, `${device}?tab=diagnostics`]) {
      await page.goto(path);
      await page.locator("main h1").waitFor();
      await expectNoSideways(page);
    }
  } finally {
    await context.close();
  }
});
