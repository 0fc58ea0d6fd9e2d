/** Charts over the same time under one another, one for each unit, with one cursor. */
import { memo, useCallback, useEffect, useId, useMemo, useState, type ReactNode } from "react";
import { unitText } from "../../lib/format";
import { useIsLow, useIsNarrow, useMedia, useWidth } from "../../lib/media";
import { chartTitle, QUANTITIES, quantityOf } from "../../lib/points";
import { gapsOf, type Column, type Stretch, type Table } from "../../lib/series";
import { exactText } from "../../lib/zone";
import { Legend } from "./Legend";
import type { Look } from "./looks";
import { TimeChart } from "./TimeChart";
import styles from "./Stack.module.css";

interface Props {
  /** Shown above the charts, next to the instant under the cursor. */
  lead: ReactNode;
  table: Table;
  looks: Map<string, Look>;
  /** The newest good readings, for the legend while no instant is under the cursor. */
  newest: ReadonlyMap<string, number> | null;
  range: Stretch;
  /** The part of the range in which readings are possible. */
  within: Stretch;
  zone: string;
  onZoom: (stretch: Stretch) => void;
  onZoomOut: () => void;
  onWidth: (width: number) => void;
}

interface Group {
  key: string;
  title: string;
  unit: string;
  columns: Column[];
}

const Chart = memo(TimeChart);

function groupsOf(columns: Column[]): Group[] {
  const groups = new Map<string, Group>();
  for (const column of columns) {
    const { unit, point } = column;
    const title = chartTitle(point, unit);
    const key = `${title} ${unit}`;
    const held = groups.get(key);
    if (held) held.columns.push(column);
    else groups.set(key, { key, title, unit, columns: [column] });
  }
  return [...groups.values()].toSorted(
    (a, b) => QUANTITIES.indexOf(quantityOf(a.unit)) - QUANTITIES.indexOf(quantityOf(b.unit)),
  );
}

interface Screen {
  isOne: boolean;
  isNarrow: boolean;
  isLow: boolean;
  isWall: boolean;
}

/** Height of a chart without its time axis, in pixels: a single chart fills the screen. */
function heightOf({ isOne, isNarrow, isLow, isWall }: Screen): number {
  if (isLow) return 112;
  if (isNarrow) return isOne ? 240 : 168;
  if (isWall) return isOne ? 560 : 280;
  return isOne ? 384 : 192;
}

export function Stack({ lead, table, looks, newest, range, within, zone, onZoom, onZoomOut, onWidth }: Props) {
  const id = useId();
  const [frame, width] = useWidth<HTMLDivElement>();
  const [row, setRow] = useState<number | null>(null);
  const [pinch, setPinch] = useState<Stretch | null>(null);
  const isNarrow = useIsNarrow();
  const isLow = useIsLow();
  const isWall = useMedia("(min-width: 1920px) and (min-height: 1000px)");
  const groups = useMemo(() => groupsOf(table.columns), [table]);
  const gaps = useMemo(
    () => groups.map(({ columns }) => gapsOf(table, columns, { from: within.from, to: within.to })),
    [table, groups, within.from, within.to],
  );
  const hover = useCallback((at: number | null) => setRow(at), []);
  const zoom = useCallback(
    (stretch: Stretch) => {
      setPinch(null);
      onZoom(stretch);
    },
    [onZoom],
  );
  useEffect(() => {
    if (width > 0) onWidth(width);
  }, [onWidth, width]);
  const isOne = groups.length === 1;
  const height = heightOf({ isOne, isNarrow, isLow, isWall });
  const at = row === null ? null : (table.t[row] ?? null);
  return (
    <div ref={frame} className={styles.stack} onMouseLeave={() => setRow(null)}>
      <div className={styles.lead}>
        {lead}
        <p className={styles.at}>{at === null ? "" : exactText(at, zone)}</p>
      </div>
      {groups.map(({ key, title, unit, columns }, place) => (
        <section key={key} className={styles.group}>
          <div className={styles.head}>
            <h3>
              {title}
              {unit && <span>{unitText(unit)}</span>}
            </h3>
            <Legend columns={columns} looks={looks} newest={newest} row={row} />
          </div>
          {width > 0 && (
            <Chart
              group={id}
              t={table.t}
              columns={columns}
              gaps={gaps[place]!}
              looks={looks}
              range={pinch ?? range}
              zone={zone}
              width={width}
              height={place === groups.length - 1 ? height + 32 : height}
              isLast={place === groups.length - 1}
              onHover={hover}
              onPinch={setPinch}
              onZoom={zoom}
              onZoomOut={onZoomOut}
            />
          )}
        </section>
      ))}
      {gaps.some((found) => found.length > 0) && (
        <p className={styles.key} data-testid="gap-key">
          <span className={styles.gap} aria-hidden="true" />
          Hatched: no readings
        </p>
      )}
    </div>
  );
}
