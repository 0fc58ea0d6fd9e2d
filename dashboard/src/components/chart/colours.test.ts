/** Lines of one chart must be distinguishable with any colour vision. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, it } from "vitest";

const css = readFileSync(resolve(import.meta.dirname, "../../styles/tokens.css"), "utf8");

type Rgb = [number, number, number];

/** A token's colour in the light or the dark theme, linear. */
function token(name: string, isDark: boolean): Rgb {
  const pair = new RegExp(`--${name}: light-dark\\(#(\\w{6}), #(\\w{6})\\)`).exec(css);
  if (!pair) throw new Error(`no colour ${name}`);
  const hex = pair[isDark ? 2 : 1]!;
  return [0, 2, 4].map((at) => {
    const c = parseInt(hex.slice(at, at + 2), 16) / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  }) as Rgb;
}

const times = (m: number[][], [a, b, c]: Rgb): Rgb => m.map(([x, y, z]) => x! * a + y! * b + z! * c) as Rgb;

/** What eyes without one kind of cone see (Machado, Oliveira and Fernandes 2009, severity 1). */
const EYES: Record<string, number[][]> = {
  all: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protan: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deutan: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritan: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};

function oklab(rgb: Rgb): Rgb {
  const lms = times(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566], [0.0883024619, 0.2817188376, 0.6299787005]],
    rgb.map((c) => Math.min(1, Math.max(0, c))) as Rgb,
  ).map(Math.cbrt) as Rgb;
  return times(
    [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099], [0.0259040371, 0.7827717662, -0.808675766]],
    lms,
  );
}

const luminance = ([r, g, b]: Rgb) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
const contrast = (a: Rgb, b: Rgb) => {
  const [low, high] = [luminance(a), luminance(b)].toSorted((x, y) => x - y);
  return (high! + 0.05) / (low! + 0.05);
};

const DISTANCE_MIN = 0.14;

it.each([false, true])("three phases are distinguishable with any colour vision (dark: %s)", (isDark) => {
  for (const quantity of ["voltage", "current", "power"]) {
    const lines = [quantity, `${quantity}-2`, `${quantity}-3`].map((name) => [name, token(name, isDark)] as const);
    for (const [eye, matrix] of Object.entries(EYES)) {
      lines.forEach(([a, first], place) => {
        for (const [b, second] of lines.slice(place + 1)) {
          const [x, y] = [oklab(times(matrix, first)), oklab(times(matrix, second))];
          const distance = Math.hypot(x[0] - y[0], x[1] - y[1], x[2] - y[2]);
          expect(distance, `${a} and ${b}, ${eye}`).toBeGreaterThan(DISTANCE_MIN);
        }
      });
    }
    for (const [name, colour] of lines) {
      expect(contrast(colour, token("surface", isDark)), name).toBeGreaterThan(3);
    }
  }
});

it.each([false, true])("a stretch without readings stands out from the ground (dark: %s)", (isDark) => {
  expect(contrast(token("gap-line", isDark), token("surface", isDark))).toBeGreaterThan(3);
  expect(contrast(token("gap", isDark), token("surface", isDark))).toBeGreaterThan(1.15);
});
