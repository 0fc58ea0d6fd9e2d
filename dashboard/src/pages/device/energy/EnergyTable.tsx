/** The figures of the bars. */
import { countText, durationText, numberText } from "../../../lib/format";
import { dateText } from "../../../lib/zone";
import type { Day } from "./days";
import styles from "./Energy.module.css";

const SOURCES = {
  counter: "Inverter's counter",
  integrated: "Power over time",
};

export function EnergyTable({ days, zone }: { days: Day[]; zone: string }) {
  if (days.length === 0) return null;
  return (
    <details className={styles.details}>
      <summary>Figures of {countText(days.length, "day")}</summary>
      <div className={styles.scroll} role="region" aria-label="Figures of each day" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">Day</th>
              <th scope="col" className={styles.number}>
                Energy, Wh
              </th>
              <th scope="col">From</th>
              <th scope="col">Without readings</th>
            </tr>
          </thead>
          <tbody>
            {days.toReversed().map((day) => (
              <tr key={day.date}>
                <th scope="row">
                  {dateText(day.start, zone)}
                  {day.isToday ? ", so far" : day.isPartial && ", from the first reading on"}
                </th>
                <td className={styles.number}>{numberText(day.measured?.energy_wh ?? 0, 0)}</td>
                <td>{day.measured && SOURCES[day.measured.source]}</td>
                <td>
                  {day.gapMs === null
                    ? "too many to list"
                    : day.gapMs > 0
                    ? `${durationText(day.gapMs)} in ${day.measured?.gaps.length} ${day.measured?.gaps.length === 1 ? "gap" : "gaps"}`
                    : "none"}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}
