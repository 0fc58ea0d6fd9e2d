/** How a stretch without readings looks: hatched, so that it is neither a grid line nor a shade of one. */
import { resolved } from "./looks";

const TILE_PX = 8;

let held: { key: string; pattern: CanvasPattern } | undefined;

/** The fill for a chart's canvas, in the present theme and at the screen's density. */
export function gapFill(ctx: CanvasRenderingContext2D): CanvasPattern | string {
  const ground = resolved("var(--gap)");
  const line = resolved("var(--gap-line)");
  const size = Math.round(TILE_PX * window.devicePixelRatio);
  const key = `${ground} ${line} ${size}`;
  if (held?.key === key) return held.pattern;
  const tile = document.createElement("canvas");
  tile.width = size;
  tile.height = size;
  const brush = tile.getContext("2d");
  if (!brush) return ground;
  brush.fillStyle = ground;
  brush.fillRect(0, 0, size, size);
  brush.strokeStyle = line;
  brush.lineWidth = Math.max(1, window.devicePixelRatio);
  brush.beginPath();
  // Three strokes, so that the lines meet those of the neighbouring tiles.
  for (const shift of [-size, 0, size]) {
    brush.moveTo(shift - 1, size + 1);
    brush.lineTo(shift + size + 1, -1);
  }
  brush.stroke();
  const pattern = ctx.createPattern(tile, "repeat");
  if (!pattern) return ground;
  held = { key, pattern };
  return pattern;
}
