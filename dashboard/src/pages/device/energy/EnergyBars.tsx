/** One bar per day. */
import { useState } from "react";
import { amountText, durationText, energy } from "../../../lib/format";
import { useWidth } from "../../../lib/media";
import type { Day } from "./days";
import { scale } from "./scale";
import styles from "./EnergyBars.module.css";

const HEIGHT = 280;
/** As wide as "60,000". */
const LEFT = 56;
const BOTTOM = 28;
const TOP = 16;
const MARK_EVERY_PX = 56;

function description(day: Day): string {
  if (!day.measured) return `${day.label}: no readings`;
  const parts = [`${day.label}: ${amountText(energy(day.measured.energy_wh))}`];
  if (day.isToday) parts.push("so far");
  else if (day.isPartial) parts.push("from the first reading on");
  if (day.gapMs === null) parts.push("too many gaps to list");
  else if (day.gapMs > 0) parts.push(`${durationText(day.gapMs)} without readings`);
  return parts.join(", ");
}

export function EnergyBars({ days }: { days: Day[] }) {
  const [frame, width] = useWidth<HTMLDivElement>();
  const [hovered, setHovered] = useState<number | null>(null);
  const hasAny = days.some((day) => day.measured);
  const { top, marks, unit } = scale(hasAny ? Math.max(0, ...days.map((day) => day.measured?.energy_wh ?? 0)) : null);
  const plotWidth = Math.max(0, width - LEFT);
  const plotHeight = HEIGHT - TOP - BOTTOM;
  const slot = plotWidth / days.length;
  const bar = Math.max(2, Math.min(32, slot * 0.72));
  const y = (wattHours: number) => TOP + plotHeight - (wattHours / top) * plotHeight;
  const everyDay = Math.max(1, Math.ceil(MARK_EVERY_PX / Math.max(1, slot)));
  const shown = hovered === null ? null : days[hovered];
  return (
    <figure className={styles.figure}>
      <div ref={frame} onPointerLeave={() => setHovered(null)}>
        {width > 0 && (
          <svg width={width} height={HEIGHT} role="img" aria-label="Bars of the energy of each day; the table below holds the figures.">
            {marks.map(({ at, text }) => (
              <g key={at}>
                <line x1={LEFT} x2={width} y1={y(at)} y2={y(at)} className={styles.grid} />
                <text x={LEFT - 8} y={y(at) + 4} textAnchor="end" className={styles.mark} data-testid="energy-mark">
                  {text}
                </text>
              </g>
            ))}
            {days.map((day, place) => {
              const x = LEFT + slot * place + (slot - bar) / 2;
              const value = day.measured?.energy_wh ?? 0;
              const barTop = y(Math.max(0, value));
              return (
                <g key={day.date} data-hovered={place === hovered || undefined} className={styles.day}>
                  {day.measured ? (
                    <rect
                      x={x}
                      y={barTop}
                      width={bar}
                      height={Math.max(value > 0 ? 1 : 0, TOP + plotHeight - barTop)}
                      rx={Math.min(3, bar / 4)}
                      className={day.isPartial ? styles.today : styles.bar}
                    />
                  ) : (
                    <text x={x + bar / 2} y={TOP + plotHeight - 4} textAnchor="middle" className={styles.mark}>
                      –
                    </text>
                  )}
                  {day.gapMs !== 0 && (
                    <path
                      d={`M${x + bar / 2} ${barTop - 12}l4 7h-8z`}
                      className={styles.gap}
                    />
                  )}
                  {(days.length - 1 - place) % everyDay === 0 && (
                    <text
                      x={place === days.length - 1 ? width : x + bar / 2}
                      y={HEIGHT - 8}
                      textAnchor={place === days.length - 1 ? "end" : "middle"}
                      className={styles.mark}
                    >
                      {day.isToday ? "Today" : day.label}
                    </text>
                  )}
                  <rect
                    x={LEFT + slot * place}
                    y={0}
                    width={slot}
                    height={HEIGHT}
                    className={styles.target}
                    onPointerEnter={() => setHovered(place)}
                  >
                    <title>{description(day)}</title>
                  </rect>
                </g>
              );
            })}
          </svg>
        )}
      </div>
      <figcaption className={styles.caption}>
        <span>{shown ? description(shown) : hasAny ? `${unit} per day` : "No energy was measured on these days."}</span>
        {days.some((day) => day.gapMs !== 0) && (
          <span className={styles.key}>
            <svg width="10" height="8" aria-hidden="true">
              <path d="M5 0l4 7h-8z" className={styles.gap} />
            </svg>
            with gaps in the readings
          </span>
        )}
      </figcaption>
    </figure>
  );
}
