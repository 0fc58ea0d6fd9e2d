/** Keys that work on every page. */
import { useEffect } from "react";
import { navigate } from "./route";

export const SHORTCUTS: { keys: string[]; does: string }[] = [
  { keys: ["/"], does: "Search" },
  { keys: ["g", "f"], does: "Go to the fleet" },
  { keys: ["Esc"], does: "Leave a field, close what is open, undo a zoom" },
  { keys: ["?"], does: "Show these keys" },
];

const SEQUENCE_MS = 1_200;

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest("input, textarea, select, [contenteditable]") !== null;
}

function focusSearch(): boolean {
  const field = document.querySelector<HTMLInputElement>("input[data-search]");
  field?.focus();
  field?.select();
  return field !== null;
}

export function useShortcuts(): void {
  useEffect(() => {
    let goAt = 0;
    const press = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Escape" && isTyping(event.target)) {
        (event.target as HTMLElement).blur();
        return;
      }
      if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
      const isSecond = performance.now() - goAt < SEQUENCE_MS;
      goAt = 0;
      if (isSecond && event.key === "f") {
        navigate("/");
      } else if (event.key === "g") {
        goAt = performance.now();
      } else if (event.key === "/") {
        event.preventDefault();
        if (!focusSearch()) {
          navigate("/");
          requestAnimationFrame(focusSearch);
        }
      } else if (event.key === "?") {
        window.dispatchEvent(new Event("ecowatt-help"));
      }
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, []);
}
