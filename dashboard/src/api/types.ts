/** Requests and answers of `/api/v1`, as `crates/api` defines them. */

export type DeviceState = "producing" | "idle" | "asleep" | "waiting" | "faulty" | "silent";
export type InverterState = "unknown" | "online" | "asleep" | "offline" | "faulty";
export type Resolution = "raw" | "1m" | "15m" | "1d";
export type EnergySource = "counter" | "integrated";

export interface Site {
  id: number;
  name: string;
  time_zone: string;
}

export interface Spark {
  from?: string | null;
  offset_s: number[];
  power_w: number[];
}

export interface Device {
  id: string;
  name: string;
  site: Site;
  state: DeviceState;
  state_since?: string | null;
  power_w?: number | null;
  energy_today_wh?: number | null;
  last_seen?: string | null;
  last_sample?: string | null;
  firmware?: string | null;
  spark: Spark;
  created: string;
}

export interface DeviceList {
  devices: Device[];
  next_cursor?: string | null;
  total: number;
}

export interface PointValue {
  point: string;
  unit: string;
  decimals: number;
  value?: number | null;
  read_at?: string | null;
  quality: string;
  tried_at?: string | null;
  text?: string | null;
}

export interface InverterSummary {
  number: number;
  profile: string;
  title: string;
  state: InverterState;
  points: PointValue[];
}

export interface LinkState {
  key_generation: number;
  boot_epoch?: number | null;
  messages: number;
  batches: number;
  samples: number;
  duplicates: number;
  bytes: number;
}

export interface DeviceDetail extends Device {
  inverters: InverterSummary[];
  link: LinkState;
  diagnostics: [string, string][];
}

export interface EnrolDevice {
  name: string;
  site: { name: string; time_zone?: string | null };
  valid_for_s?: number | null;
  device?: string | null;
}

export interface Enrolment {
  device: string;
  claim_code: string;
  expires: string;
}

export interface Series {
  point: string;
  unit: string;
  decimals: number;
  value: (number | null)[];
  min?: (number | null)[] | null;
  max?: (number | null)[] | null;
  last?: (number | null)[] | null;
  count?: number[] | null;
  not_good?: [number, string][] | null;
}

export interface Telemetry {
  device: string;
  inverter: number;
  resolution: Resolution;
  from: string;
  to: string;
  t_ms: number[];
  series: Series[];
  truncated: boolean;
}

export interface EnergyGap {
  inverter: number;
  from: string;
  to: string;
}

export interface EnergyDay {
  date: string;
  energy_wh: number;
  source: EnergySource;
  gaps: EnergyGap[];
}

export interface Energy {
  device: string;
  time_zone: string;
  from: string;
  to: string;
  days: EnergyDay[];
}

export interface System {
  version: string;
  now: string;
  is_simulated: boolean;
  speed: number;
}

export interface Session {
  role: "owner";
  token_name: string;
  token?: string | null;
}

export interface LiveSample {
  device: string;
  inverter: number;
  t_ms: number;
  values: [string, number][];
}

export interface DeviceChanged {
  device: string;
  state: DeviceState;
  power_w?: number | null;
  energy_today_wh?: number | null;
  last_seen?: string | null;
}

export interface ErrorBody {
  error: { code: string; message: string; request_id: string };
}
