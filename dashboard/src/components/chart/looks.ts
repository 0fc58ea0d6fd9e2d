/**
 * The first line of a chart has its quantity's colour, which is the same on every chart; further lines
 * (phases, strings) have colours of their own that differ in lightness too. Only beyond three are lines
 * dashed: dashes that cross one another cannot be told apart.
 */
import { chartTitle, isDrawn, quantityOf, type Quantity } from "../../lib/points";

export interface Look {
  /** A CSS colour. */
  colour: string;
  dash: number[];
}

function coloursOf(quantity: Quantity): string[] {
  const kind = quantity === "power" || quantity === "current" ? quantity : "voltage";
  return [colourOf(quantity), `var(--${kind}-2)`, `var(--${kind}-3)`];
}

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
    const colours = coloursOf(quantity);
    looks.set(point, {
      colour: colours[place % colours.length]!,
      dash: DASHES[Math.floor(place / colours.length) % DASHES.length]!,
    });
  }
  return looks;
}

let probe: HTMLSpanElement | undefined;

/** The value of a CSS colour in the current theme, for drawing on a canvas. */
export function resolved(colour: string): string {
  if (!probe) {
    probe = document.createElement("span");
    probe.hidden = true;
    document.body.append(probe);
  }
  probe.style.color = colour;
  return getComputedStyle(probe).color;
}

export function faded(colour: string, percent: number): string {
  return resolved(`color-mix(in srgb, ${colour} ${percent}%, transparent)`);
}
