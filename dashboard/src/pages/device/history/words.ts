/** Descriptions of the resolutions. */
import type { Resolution } from "../../../api/types";

const WORDS: Record<Resolution, string> = {
  raw: "Readings as they were taken.",
  "1m": "Means of one minute; the band is from the least to the greatest reading.",
  "15m": "Means of 15 minutes; the band is from the least to the greatest reading.",
  "1d": "Means of a day; the band is from the least to the greatest reading.",
};

export function resolutionText(resolution: Resolution): string {
  return WORDS[resolution];
}
