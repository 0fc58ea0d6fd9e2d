/**
 * A browser and what every page must fulfil in it. `CHROMIUM` names the browser's executable,
 * `ECOWATT_SCREENSHOTS` the folder for pictures.
 */
import { mkdirSync } from "node:fs";
import { dirname, resolve } from "node:path";
import axe from "axe-core";
import { chromium, type Browser, type Page } from "playwright-core";
import { expect } from "vitest";

export interface View {
  name: string;
  width: number;
  height: number;
  scheme: "light" | "dark";
  isPhone: boolean;
}

/** Every page is tested in these four views. */
export const VIEWS: View[] = (["light", "dark"] as const).flatMap((scheme) => [
  { name: `desk-${scheme}`, width: 1440, height: 900, scheme, isPhone: false },
  { name: `phone-${scheme}`, width: 390, height: 844, scheme, isPhone: true },
]);

export const DESK = VIEWS[0]!;
export const PHONE = VIEWS[1]!;
export const PHONE_SIDEWAYS: View = { ...PHONE, name: "phone-sideways", width: 844, height: 390 };
export const TABLET: View = { ...DESK, name: "tablet", width: 820, height: 1180 };
export const WALL: View = { ...DESK, name: "wall", width: 2560, height: 1440 };

/** All data comes from a real server, which may still be starting. */
export const DEADLINE_MS = 30_000;

const AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

export async function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

export interface BrokenRule {
  id: string;
  help: string;
  where: string[];
}

/** The accessibility rules that the page breaks, and the elements that break them; `except` names rules that do not apply. */
export async function brokenRules(page: Page, except: string[] = []): Promise<BrokenRule[]> {
  // Injected over the debugging protocol: the page's policy forbids scripts that are not its own.
  await page.evaluate(axe.source);
  return page.evaluate(
    async ({ tags, except }) => {
      const { axe } = window as unknown as { axe: typeof import("axe-core") };
      const rules = Object.fromEntries(except.map((rule) => [rule, { enabled: false }]));
      const { violations } = await axe.run(document, { runOnly: { type: "tag", values: tags }, rules });
      return violations.map(({ id, help, nodes }) => ({
        id,
        help,
        where: nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`),
      }));
    },
    { tags: AXE_TAGS, except },
  );
}

export async function expectAccessible(page: Page): Promise<void> {
  expect(await brokenRules(page)).toEqual([]);
}

/** Returns targets smaller than 44 by 44 pixels; links within sentences are exempt. */
export async function expectTouchable(page: Page): Promise<void> {
  const small = await page.evaluate(() => {
    const REACH = 21;
    const found: string[] = [];
    // Nothing behind an open dialog can be touched.
    const scope = document.querySelector("dialog[open]") ?? document;
    for (const element of scope.querySelectorAll<HTMLElement>("a[href], button, input, select, summary")) {
      if (element.matches(":disabled") || element.closest("[inert]")) continue;
      if (!element.checkVisibility({ checkVisibilityCSS: true })) continue;
      if (element.matches("p a, .visually-hidden")) continue;
      const target = element.matches("input[type=checkbox], input[type=radio]") ? (element.closest("label") ?? element) : element;
      target.scrollIntoView({ block: "center", inline: "center" });
      const { left, top, width, height } = target.getBoundingClientRect();
      if (top + height < 0) continue;
      // A sticky header may cover the edges of what is scrolled to; only the target's own size matters.
      const [x, y] = [left + width / 2, top + height / 2];
      const hits = (dx: number, dy: number) => {
        const [px, py] = [x + dx, y + dy];
        if (px < 0 || py < 0 || px >= innerWidth || py >= innerHeight) return true;
        const hit = document.elementFromPoint(px, py);
        return hit !== null && (target.contains(hit) || hit.closest("a[href], button, summary, label") === target);
      };
      const isReached = [[-REACH, 0], [REACH, 0], [0, -REACH], [0, REACH]].every(([dx, dy]) => hits(dx!, dy!));
      if (!isReached) found.push(`${target.outerHTML.slice(0, 160)} ${Math.round(width)}×${Math.round(height)}`);
    }
    window.scrollTo(0, 0);
    return found;
  });
  expect(small).toEqual([]);
}

/** A page wider than the screen has an element that overflows at the side. */
export async function expectNoSideways(page: Page): Promise<void> {
  const { content, screen } = await page.evaluate(() => ({
    content: document.documentElement.scrollWidth,
    screen: document.documentElement.clientWidth,
  }));
  expect(content).toBeLessThanOrEqual(screen);
}

export async function picture(page: Page, name: string): Promise<void> {
  const folder = resolve(process.env.ECOWATT_SCREENSHOTS ?? resolve(import.meta.dirname, "screenshots"));
  const path = resolve(folder, `${name}.png`);
  mkdirSync(dirname(path), { recursive: true });
  await page.screenshot({ path, fullPage: true });
}
