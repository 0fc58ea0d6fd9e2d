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

let anchor: Anchor = { serverMs: Date.now(), localMs: performance.now(), speed: 1 };

/** Requests the server's time and sets this clock, allowing for half the round trip. */
export async function fetchSystem(signal?: AbortSignal): Promise<System> {
  const asked = performance.now();
  const system = await get<System>("/system", undefined, signal);
  const answered = performance.now();
  anchor = {
    serverMs: Date.parse(system.now) + ((answered - asked) / 2) * system.speed,
    localMs: answered,
    speed: system.speed,
  };
  slow.tick();
  fast.tick();
  return system;
}

/** The server's current time in Unix milliseconds. */
export function now(): number {
  return anchor.serverMs + (performance.now() - anchor.localMs) * anchor.speed;
}

/** Seconds of the server's time per real second. */
export function speed(): number {
  return anchor.speed;
}

function ticker(everyMs: number) {
  let value = now();
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
    value: () => value,
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
