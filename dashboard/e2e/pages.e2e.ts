/** Every page in every view loads without errors, breaks no accessibility rule, and fits the screen. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectAccessible, expectNoSideways, launch, picture, VIEWS } from "./browser";
import { firstDevice, signedIn, visit } from "./demo";

const device = `/devices/${firstDevice}`;

interface Case {
  name: string;
  path: string;
  isSignedIn: boolean;
  /** Resolves when the page shows its main content. */
  ready: (page: Page) => Promise<unknown>;
  /** Requests of the page that are expected to fail. */
  allows?: RegExp;
}

const chart = (page: Page) => page.locator(".u-over").first().waitFor();

const CASES: Case[] = [
  {
    name: "fleet",
    path: "/",
    isSignedIn: true,
    ready: (page) => page.getByRole("link", { name: /./ }).and(page.locator(`[href="${device}"]`)).waitFor(),
  },
  { name: "device", path: device, isSignedIn: true, ready: chart },
  {
    name: "device-live",
    path: `${device}?range=live&points=ac.power,ac.l1.voltage,ac.frequency,temp.internal`,
    isSignedIn: true,
    ready: chart,
  },
  {
    name: "device-energy",
    path: `${device}?tab=energy`,
    isSignedIn: true,
    ready: (page) => page.getByRole("img", { name: /Bars of the energy/ }).waitFor(),
  },
  {
    name: "device-configuration",
    path: `${device}?tab=configuration`,
    isSignedIn: true,
    ready: (page) => page.getByLabel("Upload interval").waitFor(),
  },
  {
    name: "device-commands",
    path: `${device}?tab=commands`,
    isSignedIn: true,
    ready: (page) => page.getByRole("button", { name: "Send command" }).waitFor(),
  },
  {
    name: "device-limits",
    path: `${device}?tab=limits`,
    isSignedIn: true,
    ready: (page) => page.getByRole("button", { name: "Limit the power" }).waitFor(),
  },
  {
    name: "device-diagnostics",
    path: `${device}?tab=diagnostics`,
    isSignedIn: true,
    ready: (page) => page.getByRole("heading", { name: "Link" }).waitFor(),
  },
  {
    name: "device-settings",
    path: `${device}?tab=management`,
    isSignedIn: true,
    ready: (page) => page.getByRole("region", { name: "Key" }).waitFor(),
  },
  {
    name: "templates",
    path: "/templates",
    isSignedIn: true,
    ready: (page) => page.getByRole("list", { name: "All templates" }).or(page.getByText("There is no template yet.")).waitFor(),
  },
  {
    name: "unknown-template",
    path: "/templates/nothing",
    isSignedIn: true,
    ready: (page) => page.getByText("The template could not be loaded.").waitFor(),
    allows: /404.*nothing/,
  },
  {
    name: "access",
    path: "/access",
    isSignedIn: true,
    ready: (page) => page.getByRole("region", { name: "Sessions" }).getByText("this session").waitFor(),
  },
  {
    name: "unknown-device",
    path: "/devices/dev-999999",
    isSignedIn: true,
    ready: (page) => page.getByText("There is no device dev-999999.").waitFor(),
    allows: /404.*dev-999999/,
  },
  {
    name: "unknown-page",
    path: "/nothing/here",
    isSignedIn: true,
    ready: (page) => page.getByRole("heading", { name: "Not found" }).waitFor(),
  },
  {
    name: "login",
    path: "/login",
    isSignedIn: false,
    ready: (page) => page.getByLabel("Token").waitFor(),
  },
  {
    name: "setup",
    path: "/setup#code=AAAAA-AAAAA-AAAAA-AAAAA",
    isSignedIn: false,
    ready: (page) => page.getByRole("button", { name: "Become the owner" }).waitFor(),
  },
];

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

describe.each(VIEWS)("$name", (view) => {
  it.each(CASES)("$name loads clean, accessible and within the screen", async (page_) => {
    const { context, page, errors } = page_.isSignedIn
      ? await signedIn(browser, view)
      : await visit(browser, view);
    try {
      await page.goto(page_.path);
      await page_.ready(page);
      await page.waitForLoadState("domcontentloaded");
      await expectAccessible(page);
      await expectNoSideways(page);
      await picture(page, `${page_.name}-${view.name}`);
      const { allows } = page_;
      expect(errors.filter((error) => !allows?.test(error))).toEqual([]);
    } finally {
      await context.close();
    }
  });
});

it("the server forbids scripts and styles that are not its own", async () => {
  const { context, page } = await visit(browser, VIEWS[0]!);
  try {
    const answer = await page.goto("/login");
    const policy = answer?.headers()["content-security-policy"] ?? "";
    expect(policy).toContain("default-src 'self'");
    expect(policy).not.toContain("unsafe");
  } finally {
    await context.close();
  }
});
