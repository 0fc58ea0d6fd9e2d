/**
 * Visits to a running server. `ECOWATT_DEMO_JSON` names the file that `ecowatt demo` writes.
 */
import { readFileSync } from "node:fs";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { DEADLINE_MS, type View } from "./browser";

interface Demo {
  url: string;
  token: string;
  devices: { id: string; inverter: string }[];
}

function readDemo(): Demo {
  const path = process.env.ECOWATT_DEMO_JSON;
  if (!path) throw new Error("ECOWATT_DEMO_JSON must name the file that `ecowatt demo` writes");
  return JSON.parse(readFileSync(path, "utf8")) as Demo;
}

export const demo = readDemo();

export const firstDevice = demo.devices[0]!.id;

export interface Visit {
  context: BrowserContext;
  page: Page;
  /** Errors on the console and uncaught exceptions, in their words. */
  errors: string[];
}

export async function visit(browser: Browser, view: View): Promise<Visit> {
  const context = await browser.newContext({
    baseURL: demo.url,
    viewport: { width: view.width, height: view.height },
    colorScheme: view.scheme,
    isMobile: view.isPhone,
    hasTouch: view.isPhone,
    deviceScaleFactor: view.isPhone ? 2 : 1,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  const errors: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(`${message.text()} (${message.location().url})`);
  });
  page.on("pageerror", (error) => errors.push(error.message));
  return { context, page, errors };
}

/** Opens the link that the demonstration prints, and waits for the fleet. */
export async function signIn(page: Page): Promise<void> {
  await page.goto(`/#token=${demo.token}`);
  await page.getByRole("heading", { name: "Fleet" }).waitFor();
}

export async function signedIn(browser: Browser, view: View): Promise<Visit> {
  const visited = await visit(browser, view);
  await signIn(visited.page);
  return visited;
}
