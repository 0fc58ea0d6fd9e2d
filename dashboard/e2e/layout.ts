/** What is wrong with the layout of a page: text that is cut, runs into other text, or leaves the screen. */
import type { Page } from "playwright-core";

/** Returns the faults in words. Text that can be scrolled to is not cut. */
export async function layoutFaults(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    /** Rounding of sub-pixel positions. */
    const SLACK_PX = 1.5;
    /** The part of a line's height, above and below, that letters seldom use. */
    const LEADING = 0.25;

    interface Piece {
      element: Element;
      text: string;
      box: DOMRect;
    }

    const scope = document.querySelector("dialog[open]") ?? document.body;
    const faults: string[] = [];

    const isShown = (element: Element): boolean =>
      element.checkVisibility({ checkVisibilityCSS: true, checkOpacity: true }) && !element.closest(".visually-hidden");

    /** Of elements that stay in place while the page scrolls, and so lie over others. */
    const isFloating = (element: Element): boolean => {
      for (let at: Element | null = element; at && at !== scope; at = at.parentElement) {
        if (["sticky", "fixed", "absolute"].includes(getComputedStyle(at).position)) return true;
      }
      return false;
    };

    /** How far a box sticks out of the nearest ancestor that hides what does not fit. */
    const cutBy = (element: Element, box: DOMRect): number => {
      for (let at: Element | null = element; at; at = at.parentElement) {
        const { overflowX, overflowY } = getComputedStyle(at);
        if ([overflowX, overflowY].some((overflow) => overflow === "auto" || overflow === "scroll")) return 0;
        if (![overflowX, overflowY].some((overflow) => overflow === "hidden" || overflow === "clip")) continue;
        const frame = at.getBoundingClientRect();
        const sideways = Math.max(box.right - frame.right, frame.left - box.left);
        const upright = Math.max(box.bottom - frame.bottom, frame.top - box.top) - box.height * LEADING;
        return Math.max(sideways, upright);
      }
      return 0;
    };

    const pieces: Piece[] = [];
    const walker = document.createTreeWalker(scope, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const element = node.parentElement;
      const text = node.textContent?.trim() ?? "";
      if (!element || text === "" || !isShown(element) || element.closest("title, option, noscript")) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      for (const box of range.getClientRects()) {
        if (box.width > 0 && box.height > 0) pieces.push({ element, text: text.slice(0, 60), box });
      }
    }

    for (const { element, text, box } of pieces) {
      const cut = cutBy(element, box);
      if (cut > SLACK_PX) faults.push(`“${text}” is cut by ${Math.round(cut)} px`);
      const isScrolled = cutBy(element, box) === 0 && element.closest("code, pre, [tabindex]") !== null;
      if (!isScrolled && box.right > innerWidth + SLACK_PX && !hasScroller(element)) {
        faults.push(`“${text}” leaves the screen by ${Math.round(box.right - innerWidth)} px`);
      }
    }

    function hasScroller(element: Element): boolean {
      for (let at: Element | null = element; at && at !== document.body; at = at.parentElement) {
        if (["auto", "scroll"].includes(getComputedStyle(at).overflowX)) return true;
      }
      return false;
    }

    const flat = pieces.filter(({ element }) => !isFloating(element));
    flat.forEach(({ element, text, box }, place) => {
      for (const other of flat.slice(place + 1)) {
        if (other.element === element || other.element.contains(element) || element.contains(other.element)) continue;
        const width = Math.min(box.right, other.box.right) - Math.max(box.left, other.box.left);
        const top = Math.max(box.top + box.height * LEADING, other.box.top + other.box.height * LEADING);
        const bottom = Math.min(box.bottom - box.height * LEADING, other.box.bottom - other.box.height * LEADING);
        if (width > SLACK_PX && bottom - top > SLACK_PX) faults.push(`“${text}” runs into “${other.text}”`);
      }
    });

    const wider = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    if (wider > 0) faults.push(`the page is ${wider} px wider than the screen`);

    for (const dialog of document.querySelectorAll("dialog[open]")) {
      const hidden = dialog.scrollWidth - dialog.clientWidth;
      if (hidden > 0) faults.push(`the dialog hides ${hidden} px at its side`);
    }

    // A field shows a part of a long value, and can be scrolled; a button or a choice cannot.
    for (const element of scope.querySelectorAll<HTMLElement>("button, a, summary, select")) {
      if (isShown(element) && element.scrollWidth > element.clientWidth + SLACK_PX && element.clientWidth > 0) {
        if (getComputedStyle(element).display !== "inline") faults.push(`“${element.textContent?.trim().slice(0, 60)}” is wider than its button`);
      }
    }
    return [...new Set(faults)];
  });
}
