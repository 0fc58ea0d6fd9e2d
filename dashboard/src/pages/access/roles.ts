/** Names of the roles of a token. */
import type { Role } from "../../api/types";

export const ROLES: Record<Role, { word: string; means: string }> = {
  owner: { word: "Full access", means: "Sees and changes everything, this page included" },
  viewer: { word: "Read only", means: "Sees sites, devices and measurements, but cannot change them" },
  metrics: { word: "Metrics", means: "Reads /metrics and nothing else, for Prometheus" },
};
