/** Whether a value is still current. */
import type { PointValue } from "../api/types";
import { groupOf, isSound } from "./points";

/** Several reading and upload intervals as they are commonly set. */
const STALE_MS = 5 * 60_000;

/**
 * `asleep`: the inverter sleeps, as it does at night. `bad`: the latest attempt to read the point failed. `stale`: nothing failed, but the value is
 * old. What is on the nameplate is read once and does not age.
 */
export function freshness(point: PointValue, now: number): "fresh" | "stale" | "asleep" | "bad" {
  if (point.quality === "asleep") return "asleep";
  if (!isSound(point.quality)) return "bad";
  if (!point.read_at || groupOf(point.point) === "info") return "fresh";
  return now - Date.parse(point.read_at) > STALE_MS ? "stale" : "fresh";
}
