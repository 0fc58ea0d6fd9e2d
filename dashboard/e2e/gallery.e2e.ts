/**
 * Every component and every part of a page in every state, from the gallery: no error on the console, no
 * accessibility rule broken, nothing beyond the screen, no text cut or over other text. The pictures are
 * for people to look at; they are not compared.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LONG } from "../gallery/fixtures";
import { addressOf, type Case, type Part } from "../gallery/part";
import { PARTS } from "../gallery/parts";
import { brokenRules, DEADLINE_MS, launch, picture, VIEWS } from "./browser";
import { sendFile } from "./files";
import { layoutFaults } from "./layout";

const FOLDER = resolve(import.meta.dirname, "..");

/** A list shows a landmark several times that a page has once. */
const ONCE_A_PAGE = ["landmark-unique"];
const HEADING = ["page-has-heading-one"];

let browser: Browser;
let server: Server;
let built: string;
let url: string;

beforeAll(async () => {
  built = mkdtempSync(resolve(tmpdir(), "ecowatt-gallery-"));
  await build({
    root: FOLDER,
    logLevel: "error",
    build: {
      outDir: built,
      emptyOutDir: true,
      // The last test asks for the names of functions.
      minify: false,
      rollupOptions: { input: resolve(FOLDER, "gallery/index.html") },
    },
  });
  server = createServer((request, response) => {
    sendFile(response, built, new URL(request.url ?? "/", "http://gallery").pathname, "gallery/index.html");
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/gallery/`;
  browser = await launch();
});
afterAll(async () => {
  await browser?.close();
  server?.closeAllConnections();
  server?.close();
  rmSync(built, { recursive: true, force: true });
});

interface Sheet {
  part: Part;
  /** Unset for a part whose states are on one page. */
  one: Case | undefined;
}

const SHEETS: Sheet[] = PARTS.flatMap((part): Sheet[] =>
  part.layout === "list" ? [{ part, one: undefined }] : part.cases.map((one) => ({ part, one })),
);

async function show(page: Page, { part, one }: Sheet): Promise<void> {
  await page.goto(url + addressOf(part, one));
  await page.locator("html[data-settled]").waitFor();
  if (one?.until) await page.locator(one.until).first().waitFor();
}

const fileName = ({ part, one }: Sheet) => `${part.name} ${one?.name ?? ""}`.trim().toLowerCase().replaceAll(/\W+/g, "-");

/** Names of the components that some state has drawn. */
const seen = new Set<string>();

interface Fiber {
  type: { name?: string; type?: { name?: string } } | string | null;
  child: Fiber | null;
  sibling: Fiber | null;
}

/** Reads React's own tree, as its developer tools do. */
async function componentsOn(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const root = document.getElementById("root") as unknown as Record<string, { stateNode: { current: Fiber } }>;
    const key = Object.keys(root).find((name) => name.startsWith("__reactContainer$"))!;
    const waiting: (Fiber | null)[] = [root[key]!.stateNode.current];
    const names: string[] = [];
    while (waiting.length > 0) {
      const fiber = waiting.pop();
      if (!fiber) continue;
      const { type } = fiber;
      if (type && typeof type === "object" && type.type?.name) names.push(type.type.name);
      if (typeof type === "function") names.push((type as { name: string }).name);
      waiting.push(fiber.child, fiber.sibling);
    }
    return names;
  });
}

/** The views to look at, by name: `cargo xtask ci` has no time for all. */
const WANTED = process.env["ECOWATT_VIEWS"]?.split(",") ?? VIEWS.map((view) => view.name);

/** A part has up to twenty states; each is drawn, pictured and checked by axe. */
const PART_MS = 180_000;

describe.each(VIEWS.filter((view) => WANTED.includes(view.name)))("$name", (view) => {
  let context: BrowserContext;
  let page: Page;
  const errors: string[] = [];
  beforeAll(async () => {
    context = await browser.newContext({
      viewport: { width: view.width, height: view.height },
      colorScheme: view.scheme,
      isMobile: view.isPhone,
      hasTouch: view.isPhone,
      timezoneId: "Europe/Berlin",
    });
    page = await context.newPage();
    page.setDefaultTimeout(DEADLINE_MS);
    page.on("console", (message) => {
      if (message.type() === "error") errors.push(message.text());
    });
    page.on("pageerror", (error) => errors.push(error.message));
  });
  afterAll(() => context.close());

  it.each<Part>(PARTS)("$name is whole in every state", { timeout: PART_MS }, async (part) => {
    const faults: Record<string, unknown[]> = {};
    for (const sheet of SHEETS.filter((one) => one.part === part)) {
      errors.length = 0;
      await show(page, sheet);
      await picture(page, `gallery/${view.name}/${fileName(sheet)}`);
      // Where two modules use a name, the bundle counts them.
      for (const name of await componentsOn(page)) seen.add(name.replace(/\$\d+$/, ""));
      const found = [
        ...(await layoutFaults(page)),
        ...(await brokenRules(page, [
          ...(part.layout === "list" ? ONCE_A_PAGE : []),
          ...(sheet.one?.isUntitled ? HEADING : []),
        ])),
        ...errors.filter((error) => !sheet.one?.allows?.test(error)),
      ];
      if (found.length > 0) faults[sheet.one?.name ?? "list"] = found;
    }
    expect(faults).toEqual({});
  });
});

/** The names of what a module exports that React can draw. */
function drawn(modules: Record<string, Record<string, unknown>>): string[] {
  return Object.values(modules)
    .flatMap((module) => Object.entries(module))
    .filter(([name, value]) => typeof value === "function" && /^[A-Z][a-z]/.test(name))
    .map(([name]) => name);
}

it("the built dashboard has nothing of the gallery", () => {
  const app = readFileSync(resolve(FOLDER, "dist/app.js"), "utf8");
  expect(app).toContain("Latest values");
  expect(app).not.toContain(LONG);
});

it("every view that is asked for exists", () => {
  expect(VIEWS.map((view) => view.name)).toEqual(expect.arrayContaining(WANTED));
});

it("every component of the dashboard is drawn by some state", () => {
  const components = drawn(import.meta.glob("../src/{components,pages}/**/*.tsx", { eager: true }));
  expect(components).toContain("Sparkline");
  expect(components.filter((name) => !seen.has(name))).toEqual([]);
});
