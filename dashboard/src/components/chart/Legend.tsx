/** Names the lines, with their values under the cursor, or else the latest. */
import { Absent, Figure } from "../Figure";
import { amountText, readable } from "../../lib/format";
import { pointName } from "../../lib/points";
import type { Cell, Column } from "../../lib/series";
import type { Look } from "./looks";
import styles from "./Legend.module.css";

/** The value of the line at a row: the previous reading, unless the line is broken there. */
function valueAt(cells: Cell[], row: number): number | null {
  for (let index = row; index >= 0; index -= 1) {
    const cell = cells[index];
    if (cell === null) return null;
    if (cell != null) return cell;
  }
  return null;
}

function Swatch({ look }: { look: Look | undefined }) {
  return (
    <svg width="20" height="8" aria-hidden="true" className={styles.swatch} style={{ color: look?.colour }}>
      <line x1="0" x2="20" y1="4" y2="4" strokeDasharray={look?.dash.join(" ")} />
    </svg>
  );
}

interface Props {
  columns: Column[];
  looks: Map<string, Look>;
  /** The newest good readings, shown while no row is under the cursor; none for a range in the past. */
  newest: ReadonlyMap<string, number> | null;
  row: number | null;
}

export function Legend({ columns, looks, newest, row }: Props) {
  return (
    <ul className={styles.legend}>
      {columns.map(({ point, unit, decimals, value, band }) => {
        const shown = row === null ? (newest?.get(point) ?? null) : valueAt(value, row);
        const low = row === null ? null : band?.min[row];
        const high = row === null ? null : band?.max[row];
        return (
          <li key={point} title={point}>
            <Swatch look={looks.get(point)} />
            {pointName(point)}
            {(row !== null || newest !== null) && (
              <span className={styles.value}>
                {shown === null ? (
                  <Absent why="No good reading here" />
                ) : (
                  <Figure amount={readable(shown, unit, decimals)} />
                )}
              </span>
            )}
            {low != null && high != null && low !== high && (
              <span className={styles.band}>
                {amountText(readable(low, unit, decimals))} to {amountText(readable(high, unit, decimals))}
              </span>
            )}
          </li>
        );
      })}
    </ul>
  );
}
