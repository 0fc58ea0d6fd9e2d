/**
 * Brings live events into the cache. Events are gathered and applied a few times a second, so that
 * a fast clock or a large fleet does not redraw the page for each of them.
 */
import type { QueryClient } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import type { Tail } from "../lib/series";
import { listen } from "./live";
import type { Fleet } from "./queries";
import type { Device, DeviceChanged, DeviceDetail, LiveSample } from "./types";

const APPLY_EVERY_MS = 250;
const RECENT_MAX = 5_000;
/** A changed state has more to it than the event carries; many changes at once are one request. */
const REFETCH_AFTER_MS = 1_500;

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

/** Samples of an inverter that came by the stream while this page was open. */
export function useRecent(device: string, inverter: number): Tail[] {
  return useSyncExternalStore(
    (watcher) => {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    () => recent.get(keyOf(device, inverter)) ?? NONE,
  );
}

function withSample(detail: DeviceDetail, sample: LiveSample): DeviceDetail {
  const values = new Map(sample.values);
  const at = new Date(sample.t_ms).toISOString();
  const isNewest = !detail.last_sample || Date.parse(detail.last_sample) < sample.t_ms;
  // A message came no earlier than its newest sample was taken.
  const isHeard = !detail.last_seen || Date.parse(detail.last_seen) < sample.t_ms;
  return {
    ...detail,
    last_sample: isNewest ? at : detail.last_sample,
    last_seen: isHeard ? at : detail.last_seen,
    inverters: detail.inverters.map((inverter) =>
      inverter.number !== sample.inverter
        ? inverter
        : {
            ...inverter,
            points: inverter.points.map((point) => {
              const value = values.get(point.point);
              const isNewer = !point.read_at || Date.parse(point.read_at) <= sample.t_ms;
              if (value === undefined || !isNewer) return point;
              const text = value === point.value ? point.text : null;
              return { ...point, value, text, read_at: at, tried_at: at, quality: "good" };
            }),
          },
    ),
  };
}

/** How many points are put in words; a changed code has lost its word until it is fetched. */
function words(detail: DeviceDetail): number {
  return detail.inverters.reduce(
    (count, { points }) => count + points.filter(({ text }) => text != null).length,
    0,
  );
}

function withChange<T extends Device>(device: T, change: DeviceChanged): T {
  return {
    ...device,
    state: change.state,
    power_w: change.power_w,
    energy_today_wh: change.energy_today_wh,
    last_seen: change.last_seen ?? device.last_seen,
  };
}

/** Starts applying events to the cache; ends with the returned function. */
export function applyEvents(queries: QueryClient): () => void {
  const samples = new Map<string, LiveSample[]>();
  const changes = new Map<string, DeviceChanged>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let refetch: ReturnType<typeof setTimeout> | undefined;

  const refetchSoon = () => {
    refetch ??= setTimeout(() => {
      refetch = undefined;
      void queries.invalidateQueries({ queryKey: ["fleet"] });
      void queries.invalidateQueries({ queryKey: ["device"] });
    }, REFETCH_AFTER_MS);
  };

  const apply = () => {
    timer = undefined;
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
        const changed = change ? withChange(detail, change) : detail;
        const sampled = (samples.get(id) ?? []).reduce(withSample, changed);
        if (words(sampled) !== words(detail)) refetchSoon();
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
