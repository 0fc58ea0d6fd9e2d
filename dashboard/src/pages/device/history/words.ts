/** Descriptions of the resolutions. */
import type { Resolution } from "../../../api/types";

const WORDS: Record<Resolution, string> = {
  raw: "Single readings.",
  "1m": "One-minute means; the band spans the lowest to the highest reading.",
  "15m": "15-minute means; the band spans the lowest to the highest reading.",
  "1d": "Daily means; the band spans the lowest to the highest reading.",
};

export function resolutionText(resolution: Resolution): string {
  return WORDS[resolution];
}
