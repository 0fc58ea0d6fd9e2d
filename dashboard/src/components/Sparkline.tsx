/** A small picture of today's power; the width is the whole day. */
import type { Spark } from "../api/types";
import { amountText, power } from "../lib/format";
import { minuteText } from "../lib/zone";
import styles from "./Sparkline.module.css";

const DAY_S = 86_400;
const QUARTER_S = 900;
const WIDTH = 128;
const HEIGHT = 32;

/** Runs of consecutive quarter hours: a missing one breaks the line. */
function runs(spark: Spark): { x: number; y: number }[][] {
  const most = Math.max(1, ...spark.power_w);
  const found: { x: number; y: number }[][] = [];
  let previous = -Infinity;
  spark.offset_s.forEach((offset, index) => {
    const watts = spark.power_w[index];
    if (watts === undefined) return;
    if (offset - previous > QUARTER_S * 1.5) found.push([]);
    previous = offset;
    found.at(-1)?.push({
      x: ((offset + QUARTER_S / 2) / DAY_S) * WIDTH,
      y: HEIGHT - 1.5 - (Math.max(0, watts) / most) * (HEIGHT - 4),
    });
  });
  return found;
}

function path(run: { x: number; y: number }[]): string {
  const [first] = run;
  if (!first) return "";
  // A single quarter hour is drawn as wide as it lasted.
  const half = (QUARTER_S / DAY_S / 2) * WIDTH;
  const points = run.length > 1 ? run : [{ ...first, x: first.x - half }, { ...first, x: first.x + half }];
  return points.map(({ x, y }, i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}

function closed(run: { x: number; y: number }[]): string {
  const first = run[0];
  const last = run.at(-1);
  if (!first || !last || run.length < 2) return "";
  return `${path(run)}L${last.x.toFixed(1)} ${HEIGHT}L${first.x.toFixed(1)} ${HEIGHT}Z`;
}

function description(spark: Spark, zone: string): string {
  const most = Math.max(...spark.power_w);
  const at = spark.offset_s[spark.power_w.indexOf(most)];
  const peak = `Today's power, peak ${amountText(power(most))} in a quarter hour`;
  if (!spark.from || at === undefined || most <= 0) return peak;
  return `${peak}, at ${minuteText(Date.parse(spark.from) + at * 1000, zone)}`;
}

export function Sparkline({ spark, zone }: { spark: Spark; zone: string }) {
  if (spark.power_w.length === 0) {
    return <span className={styles.none}>No power measured today</span>;
  }
  const lines = runs(spark);
  const label = description(spark, zone);
  return (
    <svg
      className={styles.spark}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      <title>{label}</title>
      <line x1="0" x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} className={styles.base} />
      {lines.map((run, index) => (
        <g key={index}>
          <path d={closed(run)} className={styles.area} />
          <path d={path(run)} className={styles.line} />
        </g>
      ))}
    </svg>
  );
}
