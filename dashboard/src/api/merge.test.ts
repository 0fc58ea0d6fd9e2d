import { expect, it } from "vitest";
import { aligned, withDetailChange, withSample } from "./merge";
import type { DeviceChanged, DeviceDetail, PointValue } from "./types";

const T = Date.parse("2026-06-21T12:00:00Z");
const iso = (ms: number) => new Date(ms).toISOString();

function point(value: number | null, more: Partial<PointValue> = {}): PointValue {
  return {
    point: "ac.power",
    unit: "W",
    decimals: 0,
    value,
    read_at: value === null ? null : iso(T),
    tried_at: iso(T),
    quality: "good",
    ...more,
  };
}

function detail(powers: PointValue[], power_w: number | null): DeviceDetail {
  return {
    id: "dev-1",
    name: "Barn",
    state: "producing",
    power_w,
    last_seen: iso(T),
    last_sample: iso(T),
    inverters: powers.map((power, number) => ({ number, profile: "", title: "", state: "online", points: [power] })),
  } as unknown as DeviceDetail;
}

const change = (power_w: number | null): DeviceChanged => ({
  device: "dev-1",
  state: "producing",
  power_w,
  energy_today_wh: 5,
  last_seen: iso(T + 1_000),
});
const sample = (inverter: number, t: number, watts: number) => ({
  device: "dev-1",
  inverter,
  t_ms: t,
  values: [["ac.power", watts]] as [string, number][],
});

/** Sum of the listed values. */
const listed = ({ inverters }: DeviceDetail) =>
  inverters.flatMap(({ points }) => points).reduce((sum, { value }) => sum + (value ?? 0), 0);

it("the power of a device is that of the readings on its page, in any order of events", () => {
  const fetched = aligned(detail([point(8_986)], 1_271));
  expect(fetched.power_w).toBe(8_986);
  const steps: ((known: DeviceDetail) => DeviceDetail)[] = [
    (known) => withDetailChange(known, change(779)),
    (known) => withSample(known, sample(0, T + 5_000, 1_511)),
    (known) => withDetailChange(known, change(1_400)),
    (known) => withSample(known, sample(0, T + 4_000, 3)),
    (known) => aligned({ ...known, power_w: 12 }),
  ];
  steps.reduce((known, step) => {
    const next = step(known);
    expect(next.power_w).toBe(listed(next));
    return next;
  }, fetched);
});

it("it is the sum over the inverters whose reading is valid", () => {
  const failed = point(500, { quality: "timeout", tried_at: iso(T + 61_000) });
  expect(aligned(detail([point(300), point(20)], 1)).power_w).toBe(320);
  expect(aligned(detail([point(300), failed], 1)).power_w).toBe(300);
  expect(aligned(detail([point(300), { ...failed, tried_at: iso(T + 60_000) }], 1)).power_w).toBe(800);
  expect(aligned(detail([point(null)], 1)).power_w).toBeNull();
});

it("it is absent if the server knows no recent one, until a newer sample arrives", () => {
  const silent = withDetailChange(detail([point(300)], 300), change(null));
  expect(silent.power_w).toBeNull();
  expect(withSample(silent, sample(0, T - 1, 7)).power_w).toBeNull();
  expect(withSample(silent, sample(0, T + 9, 7)).power_w).toBe(7);
});
