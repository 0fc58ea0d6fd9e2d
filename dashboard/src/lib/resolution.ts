/** Chooses the resolution of a request by the width of the chart. */
import type { Resolution } from "../api/types";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const DAY = 24 * 60 * MINUTE;

/** Length of a resolution's step; samples are commonly 5 s apart. */
export const STEP_MS: Record<Resolution, number> = {
  raw: 5 * SECOND,
  "1m": MINUTE,
  "15m": 15 * MINUTE,
  "1d": DAY,
};

/**
 * Rows per pixel up to which a resolution is taken. Denser than this, single readings are noise, and
 * a minute's band says more; daily means hide what a day was like, so quarter hours are kept longest.
 */
const ROWS_PER_PIXEL: [Resolution, number][] = [
  ["raw", 2],
  ["1m", 4],
  ["15m", 16],
];

/** The server returns at most 20,000 rows; this leaves room for samples closer than 5 s. */
const ROWS_MAX = 10_000;

/** A phone held upright; narrower charts are not made coarser still. */
const WIDTH_MIN = 360;

export function chooseResolution(spanMs: number, widthPx: number): Resolution {
  const width = Math.max(WIDTH_MIN, widthPx);
  for (const [resolution, perPixel] of ROWS_PER_PIXEL) {
    const rows = spanMs / STEP_MS[resolution];
    if (rows <= Math.min(perPixel * width, ROWS_MAX)) return resolution;
  }
  return "1d";
}
