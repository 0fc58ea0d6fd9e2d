/** Charts over time. */
import { Legend } from "../../src/components/chart/Legend";
import { looksOf } from "../../src/components/chart/looks";
import { Stack } from "../../src/components/chart/Stack";
import { TimeChart } from "../../src/components/chart/TimeChart";
import type { PointValue } from "../../src/api/types";
import { inOrder } from "../../src/lib/points";
import { gapsOf, tableOf } from "../../src/lib/series";
import { startOfDay } from "../../src/lib/zone";
import { HUGE_W, NOW, point, POINTS, SITE, telemetry } from "../fixtures";
import type { Part } from "../part";

const ZONE = SITE.time_zone;
const TODAY = { from: startOfDay(NOW, ZONE), to: startOfDay(NOW, ZONE, 1) };
const UNTIL_NOW = { from: TODAY.from, to: NOW };
const nothing = () => {};

function ofUnit(unit: string): PointValue[] {
  return POINTS.filter((one) => one.unit === unit);
}

const POWER = ofUnit("W").slice(0, 1);
const STRINGS = Array.from({ length: 12 }, (_, string) => point(`pv.${string + 1}.current`, "A", 6 + string / 10));

function Charts({ points, isEmpty = false }: { points: PointValue[]; isEmpty?: boolean }) {
  const answer = telemetry(points);
  const table = tableOf(isEmpty ? { ...answer, t_ms: [], series: answer.series.map((one) => ({ ...one, value: [] })) } : answer);
  return (
    <>
      <h1>Charts</h1>
      <h2>History</h2>
      <Stack
        lead={<p>Sun 21 Jun 2026</p>}
        table={table}
        looks={looksOf(inOrder(points))}
        newest={new Map(points.flatMap(({ point: name, value }) => (value == null ? [] : [[name, value] as const])))}
        range={TODAY}
        within={UNTIL_NOW}
        zone={ZONE}
        onZoom={nothing}
        onZoomOut={nothing}
        onWidth={nothing}
      />
    </>
  );
}

function OneChart() {
  const table = tableOf(telemetry(POWER));
  return (
    <>
      <h1>Chart</h1>
      <TimeChart
        group="gallery"
        t={table.t}
        columns={table.columns}
        gaps={gapsOf(table, table.columns, UNTIL_NOW)}
        looks={looksOf(POWER)}
        range={TODAY}
        zone={ZONE}
        width={320}
        height={200}
        isLast
        onHover={nothing}
        onPinch={nothing}
        onZoom={nothing}
        onZoomOut={nothing}
      />
    </>
  );
}

function Names({ points, row, hasNewest = true }: { points: PointValue[]; row: number | null; hasNewest?: boolean }) {
  const { columns } = tableOf(telemetry(points));
  const newest = new Map(points.flatMap(({ point: name, value }) => (value == null ? [] : [[name, value] as const])));
  return <Legend columns={columns} looks={looksOf(inOrder(points))} newest={hasNewest ? newest : null} row={row} />;
}

/** Drawn once the chart has a width. */
const DRAWN = ".u-over";

export const CHARTS: Part[] = [
  {
    name: "Stack",
    layout: "panel",
    cases: [
      { name: "one quantity", show: <Charts points={POWER} />, until: DRAWN },
      { name: "every quantity", show: <Charts points={POINTS.filter(({ unit }) => unit !== "")} />, until: DRAWN },
      { name: "twelve strings", show: <Charts points={STRINGS} />, until: DRAWN },
      { name: "huge", show: <Charts points={[point("ac.power", "W", HUGE_W)]} />, until: DRAWN },
      { name: "no readings", show: <Charts points={POWER} isEmpty />, until: DRAWN },
    ],
  },
  { name: "TimeChart", layout: "panel", cases: [{ name: "today", show: <OneChart />, until: DRAWN }] },
  {
    name: "Legend",
    layout: "list",
    cases: [
      { name: "newest readings", show: <Names points={ofUnit("V")} row={null} /> },
      { name: "under the cursor", show: <Names points={ofUnit("V")} row={40} /> },
      { name: "in a gap", show: <Names points={POWER} row={-1} /> },
      { name: "a range in the past", show: <Names points={ofUnit("V")} row={null} hasNewest={false} /> },
      { name: "twelve strings", show: <Names points={STRINGS} row={null} /> },
      { name: "huge", show: <Names points={[point("ac.power", "W", HUGE_W)]} row={null} /> },
    ],
  },
];
