/** Charts of chosen points over a chosen range, following the present where the range holds it. */
import { useCallback, useEffect, useMemo, useState } from "react";
import { useRecent } from "../../../api/apply";
import { now as serverNow, speed, useNow } from "../../../api/clock";
import { useSystem, useTelemetry } from "../../../api/queries";
import type { DeviceDetail, InverterSummary } from "../../../api/types";
import { looksOf } from "../../../components/chart/looks";
import { Stack } from "../../../components/chart/Stack";
import { Problem, Skeleton } from "../../../components/Problem";
import { useIsLow, useIsSmall } from "../../../lib/media";
import { useParams } from "../../../lib/route";
import { chooseResolution, STEP_MS } from "../../../lib/resolution";
import { inOrder, isSound } from "../../../lib/points";
import { isMoving, RANGE_MIN_MS, type Range } from "../../../lib/ranges";
import { gapLimit, PATIENCE_MS, tableOf, withTail } from "../../../lib/series";
import { DrawnSheet, PointMenu, Quantities } from "./Chooser";
import { choicesIn, writeInstant } from "./choices";
import { RangeBar, RangeSteps } from "./RangeBar";
import { resolutionText } from "./words";
import styles from "./History.module.css";

const LIVE_EVERY_MS = 15_000;

/** Until the chart has been measured. */
const WIDTH_GUESS = 800;

type Answer = Pick<ReturnType<typeof useTelemetry>, "data" | "isPlaceholderData">;

/** How often a range that includes now is fetched again: once per step, within limits. */
function refetchMs(isLive: boolean, stepMs: number): number {
  if (isLive) return LIVE_EVERY_MS;
  return Math.min(60_000, Math.max(5_000, stepMs / speed()));
}

/** Parts of a range; an advance of less than one part does not redraw. */
const PARTS = 2_000;

/**
 * The part of a range in which an absent reading is a missing one: up to now, and no further than the
 * answer reached.
 */
function answered(range: Range, present: number, { data, isPlaceholderData }: Answer): Range {
  const last = data?.t_ms.at(-1);
  if (!data || isPlaceholderData) return { ...range, to: range.from };
  if (data.truncated && last !== undefined) return { ...range, to: Math.min(range.to, last) };
  const step = Math.max(1, (range.to - range.from) / PARTS);
  return { ...range, to: Math.min(range.to, Math.floor(present / step) * step) };
}

export function History({ device, inverter }: { device: DeviceDetail; inverter: InverterSummary }) {
  const [params, change] = useParams();
  const [width, setWidth] = useState(WIDTH_GUESS);
  const isSmall = useIsSmall();
  /** A phone held sideways has no room for another row. */
  const isInTools = useIsLow();
  const system = useSystem();
  const present = useNow();
  const zone = device.site.time_zone;
  const { range, points, isZoomed } = choicesIn(params, inverter, present, zone, system.data?.speed ?? 1);
  const span = range.to - range.from;
  const resolution = chooseResolution(span, width);
  const holdsPresent = range.from <= present && present <= range.to + STEP_MS[resolution];
  const isLive = isMoving(range.name);

  const telemetry = useTelemetry({
    device: device.id,
    inverter: inverter.number,
    points,
    resolution,
    rangeKey: isLive ? `${range.name}:${span}` : `${range.from}-${range.to}`,
    range: (at) => (isLive ? { from: at - span, to: at } : range),
    refetchMs: holdsPresent ? refetchMs(isLive, STEP_MS[resolution]) : false,
  });

  const table = useMemo(() => telemetry.data && tableOf(telemetry.data), [telemetry.data]);
  const recent = useRecent(device.id, inverter.number);
  const followed = useMemo(() => {
    if (!table || !telemetry.data || !holdsPresent) return table;
    const limit = Math.max(gapLimit(telemetry.data.t_ms, telemetry.data.resolution), PATIENCE_MS);
    return withTail(table, recent, limit);
  }, [table, telemetry.data, holdsPresent, recent]);
  const newest = useMemo(
    () =>
      holdsPresent
        ? new Map(
            inverter.points.flatMap(({ point, value, quality }) =>
              value == null || !isSound(quality) ? [] : [[point, value] as const],
            ),
          )
        : null,
    [inverter.points, holdsPresent],
  );
  const within = answered(range, present, telemetry);
  const looks = useMemo(
    () => looksOf(inOrder(inverter.points)),
    // A point's look depends on its place in the profile, not on its value.
    [inverter.points.map(({ point }) => point).join(" ")],
  );

  const zoom = useCallback(
    ({ from, to }: { from: number; to: number }) => {
      const middle = (from + to) / 2;
      const half = Math.max(to - from, RANGE_MIN_MS) / 2;
      const end = Math.min(middle + half, Math.max(serverNow(), middle));
      change({ from: writeInstant(middle - half), to: writeInstant(end) });
    },
    [change],
  );
  const zoomOut = useCallback(() => {
    change({ from: null, to: null, range: params.get("range") === "custom" ? null : params.get("range") });
  }, [change, params]);

  useEffect(() => {
    if (!isZoomed) return;
    const press = (event: KeyboardEvent) => {
      const isFree = !document.querySelector("dialog[open], details[open]");
      const isField = event.target instanceof HTMLElement && event.target.matches("input, select");
      if (event.key === "Escape" && isFree && !isField && !event.defaultPrevented) zoomOut();
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, [isZoomed, zoomOut]);

  const choice = {
    points: inverter.points,
    chosen: points,
    looks,
    onChoose: (next: string[]) => change({ points: next.join(",") }, { replace: true }),
  };
  const steps = (
    <RangeSteps
      range={range}
      zone={zone}
      present={present}
      isZoomed={isZoomed}
      onChange={change}
      onZoomOut={zoomOut}
    >
      {isSmall && <DrawnSheet {...choice} />}
    </RangeSteps>
  );
  const isDrawn = points.length > 0 && followed !== undefined;
  const hasRows = followed !== undefined && followed.t.some((at) => at >= range.from && at <= range.to);
  return (
    <section className={styles.history} aria-label="History">
      <h2 className="visually-hidden">History</h2>
      <div className={styles.tools}>
        <RangeBar range={range} zone={zone} isZoomed={isZoomed} onChange={change} />
        {isInTools && steps}
        {!isSmall && <PointMenu {...choice} />}
      </div>
      {!isSmall && <Quantities {...choice} />}
      {telemetry.isError && !followed && (
        <Problem
          what="The history could not be loaded."
          error={telemetry.error}
          onRetry={() => void telemetry.refetch()}
        />
      )}
      {telemetry.isPending && points.length > 0 && <Skeleton height={320} />}
      {points.length === 0 && <p className={styles.nothing}>Choose what to show.</p>}
      {!isDrawn && !isInTools && steps}
      {isDrawn && (
        <div className={styles.charts} data-empty={!hasRows || undefined} data-rows={followed.t.length}>
          <Stack
            lead={isInTools ? null : steps}
            table={followed}
            looks={looks}
            newest={newest}
            range={range}
            within={within}
            zone={zone}
            onZoom={zoom}
            onZoomOut={zoomOut}
            onWidth={setWidth}
          />
          {!hasRows && !telemetry.isFetching && (
            <p className={styles.empty}>
              No readings in this range.
            </p>
          )}
        </div>
      )}
      <p className={styles.foot} data-testid="resolution" data-resolution={telemetry.data?.resolution}>
        {telemetry.data && resolutionText(telemetry.data.resolution)}
        {telemetry.data?.truncated && " The range is too long for one request; only its beginning is drawn."}
        {telemetry.data?.removed_before != null &&
          ` Before ${telemetry.data.removed_before.slice(0, 10)} (UTC) this detail is no longer kept.`}
        {telemetry.isError && followed && " The latest part could not be loaded."}
        <span className={styles.hint}>Drag across a chart to zoom; double-click or Esc to go back.</span>
      </p>
    </section>
  );
}
