/** Applies events to the known state of a device. */
import { isSound } from "../lib/points";
import type { Device, DeviceChanged, DeviceDetail, InverterSummary, LiveSample, PointValue } from "./types";

const POWER_POINT = "ac.power";
/** How much newer than a good reading a failed attempt may be without making it invalid: the server's rule. */
const FAILED_ATTEMPTS_MAX_MS = 60_000;

function stands({ read_at, tried_at, quality }: PointValue): boolean {
  if (!read_at) return false;
  return isSound(quality) || !tried_at || Date.parse(tried_at) - Date.parse(read_at) <= FAILED_ATTEMPTS_MAX_MS;
}

/** The sum of the listed AC power of the inverters whose latest good reading is valid. */
function powerOf(inverters: InverterSummary[]): number | null {
  const standing = inverters.flatMap(({ points }) =>
    points.filter((point) => point.point === POWER_POINT && stands(point)).flatMap(({ value }) => value ?? []),
  );
  return standing.length > 0 ? standing.reduce((sum, watts) => sum + watts, 0) : null;
}

/**
 * A device's page has one power: the sum of the readings on it. The server's own sum is from another
 * moment, but it decides whether there is a recent power at all.
 */
export function aligned(detail: DeviceDetail): DeviceDetail {
  const power_w = detail.power_w == null ? null : powerOf(detail.inverters);
  return { ...detail, power_w };
}

export function withSample(detail: DeviceDetail, sample: LiveSample): DeviceDetail {
  const values = new Map(sample.values);
  const at = new Date(sample.t_ms).toISOString();
  const isNewest = !detail.last_sample || Date.parse(detail.last_sample) < sample.t_ms;
  // A message came no earlier than its newest sample was taken.
  const isHeard = !detail.last_seen || Date.parse(detail.last_seen) < sample.t_ms;
  const inverters = detail.inverters.map((inverter) =>
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
  );
  const isPower = isNewest && values.has(POWER_POINT);
  return {
    ...detail,
    last_sample: isNewest ? at : detail.last_sample,
    last_seen: isHeard ? at : detail.last_seen,
    power_w: isPower || detail.power_w != null ? powerOf(inverters) : null,
    inverters,
  };
}

/** Number of points with a text; a changed code has no text until it is fetched. */
export function textCount(detail: DeviceDetail): number {
  return detail.inverters.reduce(
    (count, { points }) => count + points.filter(({ text }) => text != null).length,
    0,
  );
}

export function withChange<T extends Device>(device: T, change: DeviceChanged): T {
  return {
    ...device,
    state: change.state,
    // After a change only the state itself is known, until the device is fetched.
    trouble: change.state === device.state ? device.trouble : null,
    state_since: change.state === device.state ? device.state_since : null,
    power_w: change.power_w,
    energy_today_wh: change.energy_today_wh,
    last_seen: change.last_seen ?? device.last_seen,
  };
}

export function withDetailChange(detail: DeviceDetail, change: DeviceChanged): DeviceDetail {
  return aligned(withChange(detail, change));
}
