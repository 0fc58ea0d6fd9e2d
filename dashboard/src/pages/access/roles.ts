/** What a token may allow, in words. */
import type { Role } from "../../api/types";

export const ROLES: Record<Role, { word: string; means: string }> = {
  owner: { word: "Everything", means: "Sees and changes everything, this page included" },
  viewer: { word: "Looking", means: "Sees sites, devices and measurements, and changes nothing" },
  metrics: { word: "Metrics", means: "Reads /metrics and nothing else, for Prometheus" },
};
