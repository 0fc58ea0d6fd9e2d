/** The address: which page, and its parameters. */
import { useCallback, useMemo, useSyncExternalStore } from "react";

export interface Place {
  path: string;
  search: string;
}

const listeners = new Set<() => void>();

function current(): string {
  return window.location.pathname + window.location.search;
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  window.addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("popstate", listener);
  };
}

/** Goes to an address of the dashboard without reloading. */
export function navigate(to: string, how: { replace?: boolean } = {}): void {
  if (to === current() + window.location.hash) return;
  const isOtherPage = to.split("?")[0] !== window.location.pathname;
  if (how.replace) window.history.replaceState(null, "", to);
  else window.history.pushState(null, "", to);
  if (isOtherPage) window.scrollTo(0, 0);
  for (const listener of listeners) listener();
}

export function usePlace(): Place {
  const address = useSyncExternalStore(subscribe, current);
  return useMemo(() => {
    const [path = "/", search = ""] = address.split("?", 2);
    return { path, search };
  }, [address]);
}

/** The address's parameters, and a way to change some of them; `null` removes one. */
export function useParams(): [
  URLSearchParams,
  (changes: Record<string, string | null>, how?: { replace?: boolean }) => void,
] {
  const { search } = usePlace();
  const params = useMemo(() => new URLSearchParams(search), [search]);
  const change = useCallback((changes: Record<string, string | null>, how?: { replace?: boolean }) => {
    const next = new URLSearchParams(window.location.search);
    for (const [name, value] of Object.entries(changes)) {
      if (value === null) next.delete(name);
      else next.set(name, value);
    }
    // Commas are legal in a query and read better bare.
    const text = next.toString().replaceAll("%2C", ",");
    navigate(window.location.pathname + (text ? `?${text}` : ""), how);
  }, []);
  return [params, change];
}

/** The device that a path names; `null` if it names none or cannot be decoded. */
export function deviceIn(path: string): string | null {
  return nameIn(/^\/devices\/([^/]+)\/?$/, path);
}

/** The template that a path names; `null` if it names none or cannot be decoded. */
export function templateIn(path: string): string | null {
  return nameIn(/^\/templates\/([^/]+)\/?$/, path);
}

function nameIn(pattern: RegExp, path: string): string | null {
  const match = pattern.exec(path);
  if (!match) return null;
  try {
    return decodeURIComponent(match[1]!);
  } catch {
    return null;
  }
}

/** An address within the dashboard, or the fleet if it is anything else. */
export function safeNext(next: string | null): string {
  return next && /^\/(?![/\\])/.test(next) ? next : "/";
}
