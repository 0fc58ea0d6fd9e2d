/**
 * The stream of server-sent events: one connection, narrowed to the device on the page if there is
 * one, opened again with growing pauses when it breaks.
 */
import { useSyncExternalStore } from "react";
import type { CommandChanged, ConfigChanged, DeviceChanged, EventKind, LiveSample } from "./types";

export type LiveStatus =
  | { kind: "connecting" }
  | { kind: "live" }
  /** `since` is this browser's time. */
  | { kind: "down"; since: number; retryAt: number };

export interface LiveListener {
  sample?(sample: LiveSample): void;
  device?(change: DeviceChanged): void;
  /** The stream is open: an answer to an earlier request may lack a change that it does not bring. */
  opened?(): void;
  config?(change: ConfigChanged): void;
  command?(change: CommandChanged): void;
  /** Events were missed: everything shown must be fetched again. */
  reload?(): void;
  /** The stream broke; the session may have ended. */
  broken?(): void;
}

const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 30_000;

let source: EventSource | null = null;
let scope: string | null | undefined;
let status: LiveStatus = { kind: "connecting" };
let downSince: number | null = null;
let failures = 0;
let retry: ReturnType<typeof setTimeout> | undefined;
const listeners = new Set<LiveListener>();
const watchers = new Set<() => void>();

function become(next: LiveStatus): void {
  status = next;
  for (const watcher of watchers) watcher();
}

function hear<T>(data: unknown, deliver: (value: T) => void): void {
  let value: T;
  try {
    value = JSON.parse(String(data)) as T;
  } catch {
    return;
  }
  deliver(value);
}

function close(): void {
  clearTimeout(retry);
  source?.close();
  source = null;
}

function open(): void {
  close();
  const url = "/api/v1/events" + (scope ? `?device=${encodeURIComponent(scope)}` : "");
  const stream = new EventSource(url);
  source = stream;
  stream.onopen = () => {
    const missed = downSince !== null;
    downSince = null;
    failures = 0;
    become({ kind: "live" });
    for (const listener of listeners) (missed ? listener.reload : listener.opened)?.();
  };
  stream.onerror = () => {
    if (source !== stream) return;
    close();
    downSince ??= Date.now();
    const pause = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** failures) * (0.75 + Math.random() / 2);
    failures += 1;
    become({ kind: "down", since: downSince, retryAt: Date.now() + pause });
    retry = setTimeout(open, pause);
    for (const listener of listeners) listener.broken?.();
  };
  const on = (kind: EventKind, act: (event: MessageEvent) => void) => stream.addEventListener(kind, act);
  on("sample", (event) =>
    hear<LiveSample>(event.data, (value) => {
      for (const listener of listeners) listener.sample?.(value);
    }),
  );
  on("device", (event) =>
    hear<DeviceChanged>(event.data, (value) => {
      for (const listener of listeners) listener.device?.(value);
    }),
  );
  on("config", (event) =>
    hear<ConfigChanged>(event.data, (value) => {
      for (const listener of listeners) listener.config?.(value);
    }),
  );
  on("command", (event) =>
    hear<CommandChanged>(event.data, (value) => {
      for (const listener of listeners) listener.command?.(value);
    }),
  );
  on("reload", () => {
    for (const listener of listeners) listener.reload?.();
  });
}

/** Follows one device, or the whole fleet with `null`. */
export function follow(device: string | null): void {
  if (scope === device && source) return;
  scope = device;
  open();
}

/** Ends the stream, as when signing out. */
export function unfollow(): void {
  scope = undefined;
  downSince = null;
  failures = 0;
  close();
  become({ kind: "connecting" });
}

/** Tries again at once. */
export function reconnect(): void {
  if (scope !== undefined && status.kind === "down") open();
}

export function listen(listener: LiveListener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function watch(watcher: () => void): () => void {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

export function useLiveStatus(): LiveStatus {
  return useSyncExternalStore(watch, () => status);
}

/** Tries again as soon as the network or the reader is back, rather than at the end of a pause. */
export function reconnectOnReturn(): void {
  window.addEventListener("online", reconnect);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) reconnect();
  });
}
