/** What the lines are, with their values under the cursor or else the latest. */
import { Absent, Figure } from "../Figure";
import { reading } from "../../lib/format";
import { pointName } from "../../lib/points";
import type { Cell, Column } from "../../lib/series";
import type { Look } from "./looks";
import styles from "./Legend.module.css";

/** The value that the line has at a row: the reading before it, unless the line is broken there. */
function valueAt(cells: Cell[], row: number | null): number | null {
  for (let index = row ?? cells.length - 1; index >= 0; index -= 1) {
    const cell = cells[index];
    if (cell === null && row !== null) return null;
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
  row: number | null;
}

export function Legend({ columns, looks, row }: Props) {
  return (
    <ul className={styles.legend}>
      {columns.map(({ point, unit, decimals, value, band }) => {
        const shown = valueAt(value, row);
        const low = row === null ? null : band?.min[row];
        const high = row === null ? null : band?.max[row];
        return (
          <li key={point} title={point}>
            <Swatch look={looks.get(point)} />
            {pointName(point)}
            <span className={styles.value}>
              {shown === null ? (
                <Absent why="No good reading here" />
              ) : (
                <Figure amount={reading(shown, unit, decimals)} />
              )}
            </span>
            {low != null && high != null && low !== high && (
              <span className={styles.band}>
                {reading(low, unit, decimals).number} to {reading(high, unit, decimals).number}
              </span>
            )}
          </li>
        );
      })}
    </ul>
  );
}
