/**
 * Brings live events into the cache. Events are gathered and applied a few times a second, so that
 * a fast clock or a large fleet does not redraw the page for each of them.
 */
import type { QueryClient } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import type { Tail } from "../lib/series";
import { listen } from "./live";
import { textCount, withChange, withDetailChange, withSample } from "./merge";
import type { Fleet } from "./queries";
import type { DeviceChanged, DeviceDetail, LiveSample } from "./types";

const APPLY_EVERY_MS = 250;
const RECENT_MAX = 5_000;
/** An event does not carry everything about a changed state; many changes at once are one request. */
const REFETCH_AFTER_MS = 1_500;
/** The queries that events bring up to date. */
const LIVE = [{ queryKey: ["fleet"] }, { queryKey: ["device"] }];
/** Queries that an event makes stale: it does not carry the change itself. */
const STALE = [{ queryKey: ["config"] }, { queryKey: ["config-history"] }, { queryKey: ["commands"] }, { queryKey: ["leases"] }];

const recent = new Map<string, Tail[]>();
const watchers = new Set<() => void>();
const NONE: Tail[] = [];

function keyOf(device: string, inverter: number): string {
  return `${device}/${inverter}`;
}

function keep(samples: LiveSample[]): void {
  for (const { device, inverter, t_ms, values } of samples) {
    const key = keyOf(device, inverter);
    const held = recent.get(key) ?? NONE;
    const last = held.at(-1);
    if (last && t_ms <= last.t) continue;
    recent.set(key, [...held.slice(-RECENT_MAX), { t: t_ms, values: new Map(values) }]);
  }
  for (const watcher of watchers) watcher();
}

/** Samples of an inverter from the stream since this page was opened. */
export function useRecent(device: string, inverter: number): Tail[] {
  return useSyncExternalStore(
    (watcher) => {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    () => recent.get(keyOf(device, inverter)) ?? NONE,
  );
}

/** Starts applying events to the cache; ends with the returned function. */
export function applyEvents(queries: QueryClient): () => void {
  const samples = new Map<string, LiveSample[]>();
  const changes = new Map<string, DeviceChanged>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let refetch: ReturnType<typeof setTimeout> | undefined;

  const refetchNow = () => {
    refetch = undefined;
    for (const live of LIVE) void queries.invalidateQueries(live);
  };
  const refetchSoon = () => {
    refetch ??= setTimeout(refetchNow, REFETCH_AFTER_MS);
  };

  const apply = () => {
    timer = undefined;
    // A pending response may be older than these events and would overwrite them, so they wait.
    if (LIVE.some((live) => queries.isFetching(live) > 0)) return soon();
    const fleet = queries.getQueryData<Fleet>(["fleet"]);
    if (fleet && changes.size > 0) {
      const known = new Set(fleet.devices.map(({ id }) => id));
      const hasOther = [...changes.values()].some(
        ({ device, state }) =>
          !known.has(device) || fleet.devices.find(({ id }) => id === device)?.state !== state,
      );
      if (hasOther) refetchSoon();
      queries.setQueryData<Fleet>(["fleet"], {
        ...fleet,
        devices: fleet.devices.map((device) => {
          const change = changes.get(device.id);
          return change ? withChange(device, change) : device;
        }),
      });
    }
    for (const id of new Set([...changes.keys(), ...samples.keys()])) {
      const change = changes.get(id);
      queries.setQueryData<DeviceDetail>(["device", id], (detail) => {
        if (!detail) return undefined;
        if (change && change.state !== detail.state) refetchSoon();
        const changed = change ? withDetailChange(detail, change) : detail;
        const sampled = (samples.get(id) ?? []).reduce(withSample, changed);
        if (textCount(sampled) !== textCount(detail)) refetchSoon();
        return sampled;
      });
    }
    keep([...samples.values()].flat());
    samples.clear();
    changes.clear();
  };
  const soon = () => {
    timer ??= setTimeout(apply, APPLY_EVERY_MS);
  };

  const stop = listen({
    sample(sample) {
      const held = samples.get(sample.device);
      if (held) held.push(sample);
      else samples.set(sample.device, [sample]);
      soon();
    },
    device(change) {
      changes.set(change.device, change);
      soon();
    },
    opened() {
      refetchNow();
      for (const stale of STALE) void queries.invalidateQueries(stale);
    },
    config({ device }) {
      void queries.invalidateQueries({ queryKey: ["config", device] });
      void queries.invalidateQueries({ queryKey: ["config-history", device] });
      void queries.invalidateQueries({ queryKey: ["leases", device] });
    },
    command({ device }) {
      void queries.invalidateQueries({ queryKey: ["commands", device] });
    },
    reload() {
      void queries.invalidateQueries();
    },
    broken() {
      void queries.invalidateQueries({ queryKey: ["session"] });
    },
  });
  return () => {
    stop();
    clearTimeout(timer);
    clearTimeout(refetch);
  };
}
