/** Signing in and out, and revoked access; a device from its claim code to its first reading. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DESK, expectAccessible, expectNoSideways, expectTouchable, launch, PHONE, VIEWS } from "./browser";
import { demo, signedIn, visit } from "./demo";

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

const panel = (page: Page, name: string) => page.getByRole("region", { name });

async function signInWith(page: Page, token: string): Promise<void> {
  await page.goto(`/#token=${token}`);
}

async function makeToken(page: Page, name: string, allows: string): Promise<string> {
  await page.getByRole("button", { name: "New token" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill(name);
  await dialog.getByLabel("Role").selectOption({ label: allows });
  await dialog.getByLabel("Valid for").selectOption({ label: "30 days" });
  await dialog.getByRole("button", { name: "Create token" }).click();
  const secret = await dialog.getByLabel("Token").innerText();
  await dialog.getByRole("button", { name: "I saved it" }).click();
  return secret;
}

describe("the access page", () => {
  it.each(VIEWS)("loads clean, accessible and within the screen ($name)", async (view) => {
    const { context, page, errors } = await signedIn(browser, view);
    try {
      await page.goto("/access");
      await panel(page, "Sessions").getByText("this session").waitFor();
      await panel(page, "Claim codes").waitFor();
      await expectAccessible(page);
      await expectNoSideways(page);
      if (view.isPhone) await expectTouchable(page);
      expect(errors).toEqual([]);
    } finally {
      await context.close();
    }
  });

  it("makes a token that looks and changes nothing, and takes it back with its sessions", async () => {
    const owner = await signedIn(browser, DESK);
    const guest = await visit(browser, PHONE);
    try {
      const { page } = owner;
      await page.getByRole("link", { name: "Access" }).first().click();
      const name = `Hall ${Date.now()}`;
      const secret = await makeToken(page, name, "Read only");
      const row = panel(page, "Tokens").getByRole("row", { name: new RegExp(name) });
      expect(await row.innerText()).toMatch(/for (29|30)\sd/);
      expect(await page.content()).not.toContain(secret);

      await signInWith(guest.page, secret);
      await guest.page.getByRole("heading", { name: "Fleet" }).waitFor();
      expect(await guest.page.getByRole("button", { name: "Add device" }).count()).toBe(0);
      expect(await guest.page.getByRole("link", { name: "Access" }).count()).toBe(0);
      await guest.page.goto("/access");
      await guest.page.getByText("Only an owner can see this page.").waitFor();

      await page.reload();
      await panel(page, "Sessions").getByRole("row", { name: new RegExp(name) }).waitFor();
      await row.getByRole("button", { name: /Revoke/ }).click();
      const question = page.getByRole("dialog");
      expect(await question.innerText()).toContain("1 session of it ends at once");
      await question.getByRole("button", { name: "Revoke", exact: true }).click();
      await row.waitFor({ state: "detached" });
      await guest.page.goto("/");
      await guest.page.getByRole("heading", { name: "Sign in" }).waitFor();
    } finally {
      await owner.context.close();
      await guest.context.close();
    }
  });

  it("ends other sessions and keeps its own", async () => {
    const one = await signedIn(browser, DESK);
    const other = await signedIn(browser, DESK);
    try {
      await one.page.goto("/access");
      await one.page.getByRole("button", { name: "End all others" }).click();
      await one.page.getByRole("dialog").getByRole("button", { name: "End them" }).click();
      await expect.poll(() => panel(one.page, "Sessions").locator("tbody tr").count()).toBe(1);
      await other.page.goto("/access");
      await other.page.getByRole("heading", { name: "Sign in" }).waitFor();
    } finally {
      await one.context.close();
      await other.context.close();
    }
  });

  it("does not let the last owner lock everybody out, and says why", async () => {
    const { context, page } = await signedIn(browser, DESK);
    try {
      await page.goto("/access");
      const row = panel(page, "Tokens").getByRole("row", { name: /demonstration/ });
      await row.getByRole("button", { name: /Revoke/ }).click();
      await page.getByRole("dialog").getByText("will be signed out").waitFor();
      await page.getByRole("dialog").getByRole("button", { name: "Revoke", exact: true }).click();
      await page.getByRole("dialog").getByRole("alert").getByText(/Not done: .*last/).waitFor();
    } finally {
      await context.close();
    }
  });
});

describe("a claim code", () => {
  async function enrol(page: Page, name: string): Promise<{ id: string; configuration: string }> {
    await page.goto("/");
    await page.getByRole("button", { name: "Add device" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Name").fill(name);
    await dialog.getByLabel("Inverter's address").fill(demo.devices[0]!.inverter);
    await dialog.getByLabel("Unit").fill("17");
    await dialog.getByLabel("Model").selectOption("ecowatt/seed-sim");
    await dialog.getByRole("button", { name: "Create claim code" }).click();
    const configuration = await dialog.getByLabel("Configuration").innerText();
    const id = await dialog.getByRole("link", { name: /Go to dev-/ }).innerText();
    await dialog.getByRole("button", { name: "Done" }).click();
    return { id: id.replace("Go to ", ""), configuration };
  }

  it("that waits is listed and can be voided; the device's page offers the next step", async () => {
    const { context, page } = await signedIn(browser, DESK);
    try {
      const name = `Waits ${Date.now()}`;
      const { id } = await enrol(page, name);
      await page.goto("/access");
      const row = panel(page, "Claim codes").getByRole("row", { name: new RegExp(name) });
      await row.getByRole("button", { name: /Revoke/ }).click();
      await row.waitFor({ state: "detached" });
      await page.goto(`/devices/${id}`);
      await page.getByTestId("trouble").getByText("Its claim code has not been used").waitFor();
      await page.getByRole("button", { name: "New claim code" }).click();
      const dialog = page.getByRole("dialog");
      await dialog.getByLabel("Inverter's address").fill("192.0.2.7:1502");
      await dialog.getByLabel("Model").selectOption("sunspec/generic-pv");
      await dialog.getByRole("button", { name: "Create claim code" }).click();
      expect(await dialog.getByLabel("Configuration").innerText()).toContain('transport = "tcp://192.0.2.7:1502"');
    } finally {
      await context.close();
    }
  });

  it("of a device with a wrong name: it is renamed, moved, its site renamed, its zone put right, and deleted", async () => {
    const { context, page } = await signedIn(browser, DESK);
    try {
      const stamp = Date.now();
      const { id } = await enrol(page, `Rof ${stamp}`);
      await page.goto(`/devices/${id}?tab=management`);
      const place = panel(page, "Name and site");
      await place.getByLabel("Name").fill(`Roof ${stamp}`);
      await place.getByLabel("Site", { exact: true }).fill(`Farm ${stamp}`);
      await place.getByLabel("Time zone of the new site").fill("Europe/Paris");
      await place.getByRole("button", { name: "Save" }).click();
      await page.getByRole("heading", { name: `Roof ${stamp}` }).waitFor();
      const site = panel(page, `Site Farm ${stamp}`);
      await site.getByLabel("Site's name").fill(`Estate ${stamp}`);
      await site.getByLabel("Site's time zone").fill("Asia/Kolkata");
      await site.getByRole("button", { name: "Save site" }).click();
      await panel(page, `Site Estate ${stamp}`).waitFor();
      await page.reload();
      expect(await panel(page, `Site Estate ${stamp}`).getByLabel("Site's time zone").inputValue()).toBe("Asia/Kolkata");
      await page.goto("/");
      await page.getByRole("row", { name: new RegExp(`Roof ${stamp}.*Estate ${stamp}`) }).waitFor();

      // A name that is taken is refused with a message, and the page does not report success.
      await page.goto(`/devices/${id}?tab=management`);
      await panel(page, `Site Estate ${stamp}`).getByLabel("Site's name").fill("Havelberg");
      await page.getByRole("button", { name: "Save site" }).click();
      await page.getByText(/Not saved: .*name/).waitFor();
      expect(await page.getByText("Saved.").count()).toBe(0);

      await page.getByRole("button", { name: "Delete device" }).click();
      await page.getByRole("dialog").getByRole("textbox").fill(id);
      await page.getByRole("dialog").getByRole("button", { name: "Delete permanently" }).click();
      await page.getByRole("heading", { name: "Fleet" }).waitFor();
      await page.getByRole("link", { name: `Roof ${stamp}` }).waitFor({ state: "detached" });
      await page.goto(`/devices/${id}`);
      await page.getByText(`There is no device ${id}.`).waitFor();
    } finally {
      await context.close();
    }
  });

  const ecowatt = process.env.ECOWATT;
  /** By default an agent sends once a minute. */
  const FIRST_READING_MS = 90_000;
  it.runIf(ecowatt)("and its configuration, pasted as they are, start an agent, whose key can be revoked", async () => {
    const folder = mkdtempSync(join(tmpdir(), "ecowatt-e2e-"));
    const { context, page } = await signedIn(browser, DESK);
    let agent: ReturnType<typeof spawn> | undefined;
    try {
      const { id, configuration } = await enrol(page, `Pasted ${Date.now()}`);
      // The only change to the configuration: the test must not write where a real agent would.
      writeFileSync(join(folder, "agent.toml"), configuration.replace("/var/lib/ecowatt-agent", folder));
      agent = spawn(ecowatt!, ["agent", "--config", join(folder, "agent.toml")], { stdio: "ignore" });
      await page.goto(`/devices/${id}`);
      // Not the current power: this agent uses the wall clock, the demonstration a clock of its own.
      await page.locator(`tr[data-point="ac.power"] td`).first().getByText(/\d/).waitFor({ timeout: FIRST_READING_MS });

      await page.getByRole("button", { name: "Management" }).click();
      const key = panel(page, "Key");
      const question = page.getByRole("dialog");
      await key.getByRole("button", { name: "Revoke key" }).click();
      await question.getByText("sends the stored samples once it is enrolled again").waitFor();
      await question.getByRole("button", { name: "Cancel" }).click();
      await key.getByRole("button", { name: "Revoke key" }).click();
      await question.getByRole("button", { name: "Revoke key" }).click();
      await page.getByTestId("trouble").getByText(/Its key was revoked, and it has had no access since/).waitFor();
      await key.getByRole("button", { name: "New claim code" }).click();
      await question.getByRole("button", { name: "Create claim code" }).click();
      expect(await page.getByLabel("Configuration").innerText()).toMatch(/^claim_code = "[0-9A-Z-]{23}"$/);
    } finally {
      const ended = agent && new Promise((done) => agent!.on("exit", done));
      agent?.kill();
      await ended;
      await context.close();
      rmSync(folder, { recursive: true, force: true });
    }
  }, 2 * FIRST_READING_MS);
});
