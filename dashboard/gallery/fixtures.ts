/** Data for the gallery, checked against the API's types. The time is noon of a summer's day, in UTC. */
import type {
  Device,
  DeviceDetail,
  DeviceState,
  Energy,
  InverterState,
  InverterSummary,
  PointValue,
  Session,
  Role,
  Site,
  Spark,
  System,
  Telemetry,
  Trouble,
} from "../src/api/types";

export const NOW = Date.parse("2026-06-21T12:00:00Z");

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export const iso = (ms: number): string => new Date(ms).toISOString();
export const ago = (ms: number): string => iso(NOW - ms);

/** As long as a name may be, and without a place to break it. */
export const LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft";
/** As long, of words. */
export const LONG_WORDS = "Agrivoltaic pasture north of the old transformer station, second row, string 14b";
/** More than any plant makes. */
export const HUGE_W = 2_147_483_647;

export const SITE: Site = { id: 1, name: "Home", time_zone: "Europe/Berlin" };

export const SYSTEM: System = { version: "0.1.0", now: iso(NOW), is_simulated: false, speed: 1 };

export const SESSIONS: Record<Role, Session> = {
  owner: { role: "owner", token_name: "Anna" },
  viewer: { role: "viewer", token_name: "Tablet in the hall" },
  metrics: { role: "metrics", token_name: "Prometheus" },
};

/** The power at this time of day on a clear day, and a cloud at ten. */
function clearSky(ms: number, peak: number): number {
  const hour = (ms % DAY) / HOUR;
  const sun = Math.max(0, Math.sin(((hour - 3.5) / 15.5) * Math.PI));
  const cloud = 1 - 0.5 * Math.exp(-(((hour - 10) / 0.4) ** 2));
  return Math.round(peak * sun * cloud);
}

/** Today's power until now, with a gap between seven and eight. */
export function spark(peak: number): Spark {
  const midnight = Date.parse("2026-06-20T22:00:00Z");
  const offsets = Array.from({ length: 56 }, (_, quarter) => quarter * 900).filter((s) => s < 25_200 || s >= 28_800);
  return {
    from: iso(midnight),
    offset_s: offsets,
    power_w: offsets.map((offset) => clearSky(midnight + offset * SECOND, peak)),
  };
}

export const NO_SPARK: Spark = { from: null, offset_s: [], power_w: [] };

export function device(more: Partial<Device> = {}): Device {
  return {
    id: "dev-1",
    name: "Barn",
    site: SITE,
    state: "producing",
    state_since: ago(HOUR),
    power_w: 4_812,
    energy_today_wh: 19_840,
    last_seen: ago(20 * SECOND),
    last_sample: ago(25 * SECOND),
    firmware: "ecowatt-agent 0.1.0",
    spark: spark(6_000),
    created: ago(90 * DAY),
    trouble: null,
    ...more,
  };
}

export const TROUBLES: Record<Trouble["cause"], Trouble> = {
  not_claimed: { cause: "not_claimed", inverters: [], since: ago(2 * HOUR), last_good: null, quality: null },
  nothing_received: { cause: "nothing_received", inverters: [], since: ago(2 * HOUR), last_good: null, quality: null },
  key_revoked: { cause: "key_revoked", inverters: [], since: ago(3 * DAY), last_good: ago(3 * DAY), quality: null },
  not_heard: { cause: "not_heard", inverters: [], since: ago(47 * MINUTE), last_good: ago(48 * MINUTE), quality: null },
  inverter_offline: {
    cause: "inverter_offline",
    inverters: [0],
    since: ago(141 * MINUTE),
    last_good: ago(142 * MINUTE),
    quality: "timeout",
  },
  inverter_faulty: {
    cause: "inverter_faulty",
    inverters: [0, 1, 2],
    since: ago(20 * HOUR),
    last_good: null,
    quality: "exception",
  },
};

/** A device in each state, as it commonly is in it. */
export const DEVICES: Record<DeviceState, Device> = {
  producing: device({ id: "dev-1", name: "Barn" }),
  idle: device({ id: "dev-2", name: "Chalet", state: "idle", power_w: -8, energy_today_wh: 0, spark: spark(0) }),
  asleep: device({ id: "dev-3", name: "School", state: "asleep", power_w: 0, state_since: ago(9 * HOUR) }),
  waiting: device({
    id: "dev-4",
    name: "Garage",
    state: "waiting",
    state_since: ago(2 * HOUR),
    power_w: null,
    energy_today_wh: null,
    last_seen: null,
    last_sample: null,
    firmware: null,
    spark: NO_SPARK,
    created: ago(2 * HOUR),
    trouble: TROUBLES.not_claimed,
  }),
  faulty: device({
    id: "dev-5",
    name: "Garage west",
    state: "faulty",
    power_w: null,
    state_since: ago(141 * MINUTE),
    trouble: TROUBLES.inverter_offline,
  }),
  silent: device({
    id: "dev-6",
    name: "Sports hall",
    state: "silent",
    power_w: null,
    state_since: ago(45 * MINUTE),
    last_seen: ago(47 * MINUTE),
    last_sample: ago(48 * MINUTE),
    trouble: TROUBLES.not_heard,
  }),
};

/** Long names, huge numbers, and a clock that has run for years. */
export const EXTREME: Device = device({
  id: "dev-4294967295",
  name: LONG,
  site: { id: 2, name: LONG_WORDS, time_zone: "America/Argentina/ComodRivadavia" },
  state: "faulty",
  state_since: "2019-01-01T00:00:00Z",
  power_w: HUGE_W,
  energy_today_wh: 51_539_607_528,
  last_seen: "2019-01-01T00:00:00Z",
  last_sample: "2019-01-01T00:00:00Z",
  firmware: "ecowatt-agent 10.20.30-rc.4+2026-06-21.d5b1c0ffee0ddba11",
  spark: spark(HUGE_W),
  trouble: { ...TROUBLES.inverter_faulty, inverters: [0, 1, 2, 3, 4, 5, 6, 7], since: "2019-01-01T00:00:00Z" },
});

export function point(name: string, unit: string, value: number | null, more: Partial<PointValue> = {}): PointValue {
  return {
    point: name,
    unit,
    decimals: unit === "V" || unit === "degC" ? 1 : unit === "A" || unit === "Hz" ? 2 : 0,
    value,
    text: null,
    read_at: value === null ? null : ago(25 * SECOND),
    quality: "good",
    tried_at: ago(25 * SECOND),
    ...more,
  };
}

/** What a three-phase inverter with two strings measures. */
export const POINTS: PointValue[] = [
  point("ac.power", "W", 4_812),
  point("ac.power.reactive", "var", -132),
  point("ac.l1.voltage", "V", 231.4),
  point("ac.l2.voltage", "V", 230.9),
  point("ac.l3.voltage", "V", 232.2),
  point("ac.l1.current", "A", 6.94),
  point("ac.l2.current", "A", 6.95),
  point("ac.l3.current", "A", 6.93),
  point("ac.frequency", "Hz", 49.98),
  point("ac.energy.total", "Wh", 17_310_880),
  point("pv.1.voltage", "V", 412.6),
  point("pv.2.voltage", "V", 398.1),
  point("pv.1.current", "A", 6.11),
  point("pv.2.current", "A", 6.02),
  point("temp.internal", "degC", 51.3),
  point("state", "", 4, { text: "mppt" }),
  point("alarm.1", "", 0),
  point("control.p_limit", "%", 100),
  point("info.rated_power", "W", 8_000, { read_at: ago(90 * DAY) }),
];

/** A reading of each quality, and one that is good and old. */
export const QUALITIES: PointValue[] = [
  "good",
  "not_due",
  "timeout",
  "exception",
  "garbled",
  "quarantined",
  "unreachable",
  "asleep",
  "not_implemented",
  "out_of_range",
  "unheard_of",
]
  .map((quality, place) => point(`pv.${place + 1}.voltage`, "V", 380 + place, { quality, read_at: ago(12 * MINUTE) }))
  .concat(point("pv.40.voltage", "V", null, { quality: "timeout" }));

export function inverter(more: Partial<InverterSummary> = {}): InverterSummary {
  return { number: 0, profile: "sunspec/three-phase", title: "SunSpec three-phase inverter", state: "online", points: POINTS, ...more };
}

/** An inverter in each state. */
export const INVERTERS: Record<InverterState, InverterSummary> = {
  unknown: inverter({ state: "unknown", points: [] }),
  online: inverter(),
  asleep: inverter({
    state: "asleep",
    points: POINTS.map((one) => ({ ...one, quality: "asleep", read_at: ago(9 * HOUR) })),
  }),
  offline: inverter({
    state: "offline",
    points: POINTS.map((one) => ({ ...one, quality: "timeout", read_at: ago(141 * MINUTE) })),
  }),
  faulty: inverter({
    state: "faulty",
    points: POINTS.map((one) =>
      one.point === "alarm.1" ? { ...one, value: 2 ** 7 + 2 ** 9 } : one.point === "state" ? { ...one, text: "fault" } : one,
    ),
  }),
};

export function detail(more: Partial<DeviceDetail> = {}): DeviceDetail {
  return {
    ...device(),
    inverters: [inverter()],
    link: {
      key_generation: 1,
      key_revoked: null,
      boot_epoch: 7,
      messages: 12_961,
      batches: 12_940,
      samples: 1_555_200,
      duplicates: 3,
      refused: 1,
      dropped_samples: 420,
      bytes: 24_901_022,
    },
    diagnostics: [
      ["boot_reason", "clean"],
      ["samples", "17280"],
      ["backlog_batches", "0"],
      ["spool_bytes", "65536"],
      ["spool_capacity_bytes", "8388608"],
      ["link_failures", "2"],
      ["clock_deviation_ms", "-38"],
      ["inverter_0_requests", "86412"],
      ["inverter_0_failures", "4"],
    ],
    ...more,
  };
}

const STEP_MS = 5 * MINUTE;

/** A day's history of these points until now, of five-minute rows with a gap between seven and eight. */
export function telemetry(points: PointValue[]): Telemetry {
  const from = Date.parse("2026-06-20T22:00:00Z");
  const t_ms = Array.from({ length: (NOW - from) / STEP_MS }, (_, row) => from + row * STEP_MS).filter((at) => {
    const hour = (at % DAY) / HOUR;
    return hour < 7 || hour >= 8;
  });
  return {
    device: "dev-1",
    inverter: 0,
    resolution: "raw",
    from: iso(from),
    to: iso(NOW),
    t_ms,
    series: points.map(({ point: name, unit, decimals, value }, place) => ({
      point: name,
      unit,
      decimals,
      value: t_ms.map((at, row) =>
        unit === "W" ? clearSky(at, value ?? 0) : (value ?? 0) * (1 + 0.004 * Math.sin(row / 9 + place)),
      ),
    })),
    truncated: false,
  };
}

/** Thirty days of energy, of which some were without readings or in part. */
export function energy(peakWh: number): Energy {
  const days = Array.from({ length: 30 }, (_, back) => 29 - back).filter((back) => back !== 11 && back !== 12);
  return {
    device: "dev-1",
    time_zone: SITE.time_zone,
    from: ago(30 * DAY),
    to: iso(NOW),
    gaps_listed_until: null,
    days: days.map((back) => ({
      date: iso(NOW - back * DAY).slice(0, 10),
      energy_wh: Math.round(peakWh * (0.6 + 0.4 * Math.sin(back * 1.7))),
      source: back % 5 === 0 ? "integrated" : "counter",
      gaps: back === 4 ? [{ inverter: 0, from: ago(4 * DAY), to: ago(4 * DAY - 40 * MINUTE) }] : [],
    })),
  };
}
