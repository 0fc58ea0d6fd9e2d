/** Light, dark, or the system's theme. */
import { useSyncExternalStore } from "react";

export type Theme = "system" | "light" | "dark";

const KEY = "ecowatt-theme";
const listeners = new Set<() => void>();
let theme: Theme = "system";

function dark(): MediaQueryList {
  return window.matchMedia("(prefers-color-scheme: dark)");
}

function read(): Theme {
  try {
    const kept = window.localStorage.getItem(KEY);
    return kept === "light" || kept === "dark" ? kept : "system";
  } catch {
    return "system";
  }
}

function show(): void {
  if (theme === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", theme);
}

/** Shows the theme that was chosen on an earlier visit. */
export function showKeptTheme(): void {
  theme = read();
  show();
}

export function setTheme(next: Theme): void {
  theme = next;
  try {
    window.localStorage.setItem(KEY, next);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
  show();
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  const list = dark();
  list.addEventListener("change", listener);
  return () => {
    listeners.delete(listener);
    list.removeEventListener("change", listener);
  };
}

export function useTheme(): Theme {
  return useSyncExternalStore(subscribe, () => theme);
}

/** What is on the screen, for drawings that do not take their colours from the style sheet. */
export function useIsDark(): boolean {
  return useSyncExternalStore(subscribe, () => theme === "dark" || (theme === "system" && dark().matches));
}
