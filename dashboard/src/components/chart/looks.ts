/** The same quantity has the same colour on every chart; points of one quantity differ in shade and dash. */
import { chartTitle, isDrawn, quantityOf, type Quantity } from "../../lib/points";

export interface Look {
  /** A CSS colour. */
  colour: string;
  dash: number[];
}

const SHADES = [100, 68, 84, 52];
const DASHES: number[][] = [[], [7, 4], [2, 3], [9, 3, 2, 3]];

export function colourOf(quantity: Quantity): string {
  return `var(--${quantity})`;
}

/** A look for each point of an inverter, whichever of them are drawn. */
export function looksOf(points: { point: string; unit: string }[]): Map<string, Look> {
  const used = new Map<string, number>();
  const looks = new Map<string, Look>();
  for (const { point, unit } of points) {
    if (!isDrawn({ point, unit })) continue;
    const quantity = quantityOf(unit);
    const chart = chartTitle(point, unit);
    const place = used.get(chart) ?? 0;
    used.set(chart, place + 1);
    const shade = SHADES[place % SHADES.length]!;
    looks.set(point, {
      colour: `color-mix(in oklab, ${colourOf(quantity)} ${shade}%, var(--text))`,
      dash: DASHES[place % DASHES.length]!,
    });
  }
  return looks;
}

const probe = document.createElement("span");

/** What a CSS colour is in the present theme, for drawing on a canvas. */
export function resolved(colour: string): string {
  probe.style.color = colour;
  if (!probe.isConnected) {
    probe.hidden = true;
    document.body.append(probe);
  }
  return getComputedStyle(probe).color;
}

export function faded(colour: string, percent: number): string {
  return resolved(`color-mix(in srgb, ${colour} ${percent}%, transparent)`);
}
