/**
 * The server's time. Ages and "today" are by this clock, never by the browser's: a demonstration
 * runs its own time, and a laptop's clock may be wrong.
 */
import { useSyncExternalStore } from "react";
import { get } from "./client";
import type { System } from "./types";

interface Anchor {
  serverMs: number;
  localMs: number;
  speed: number;
}

const TICK_MS = 1_000;
/** A simulated clock is shown ticking faster. */
const FAST_TICK_MS = 250;

/** The browser's time until the server's is known. */
let anchor: Anchor | null = null;

function anchored(): Anchor {
  anchor ??= { serverMs: Date.now(), localMs: performance.now(), speed: 1 };
  return anchor;
}

/** Sets this clock to the server's current time; `rate` is in seconds of that time per real second. */
export function setClock(serverMs: number, rate: number): void {
  anchor = { serverMs, localMs: performance.now(), speed: rate };
  slow.tick();
  fast.tick();
}

/** Requests the server's time and sets this clock, allowing for half the round trip. */
export async function fetchSystem(signal?: AbortSignal): Promise<System> {
  const asked = performance.now();
  const system = await get<System>("/system", undefined, signal);
  const halfTrip = (performance.now() - asked) / 2;
  setClock(Date.parse(system.now) + halfTrip * system.speed, system.speed);
  return system;
}

/** The server's current time in Unix milliseconds. */
export function now(): number {
  const { serverMs, localMs, speed: rate } = anchored();
  return serverMs + (performance.now() - localMs) * rate;
}

/** Seconds of the server's time per real second. */
export function speed(): number {
  return anchored().speed;
}

function ticker(everyMs: number) {
  let value: number | null = null;
  let timer: ReturnType<typeof setInterval> | undefined;
  const listeners = new Set<() => void>();
  const tick = () => {
    value = now();
    for (const listener of listeners) listener();
  };
  return {
    subscribe(listener: () => void) {
      listeners.add(listener);
      if (timer === undefined) {
        value = now();
        timer = setInterval(tick, everyMs);
      }
      return () => {
        listeners.delete(listener);
        if (listeners.size === 0) {
          clearInterval(timer);
          timer = undefined;
        }
      };
    },
    value: () => (value ??= now()),
    /** Reads the time again, as after the clock was set. */
    tick,
  };
}

const slow = ticker(TICK_MS);
const fast = ticker(FAST_TICK_MS);

/** The server's time, once a second. */
export function useNow(): number {
  return useSyncExternalStore(slow.subscribe, slow.value);
}

/** The server's time, four times a second. */
export function useFastNow(): number {
  return useSyncExternalStore(fast.subscribe, fast.value);
}
