/** Leases as bars over time, with the power that was measured below them. */
import { useMemo, useState } from "react";
import { useNow } from "../../../api/clock";
import { useTelemetry } from "../../../api/queries";
import type { DeviceDetail, Lease } from "../../../api/types";
import { Problem, Skeleton } from "../../../components/Problem";
import { amountText, power } from "../../../lib/format";
import { chooseResolution } from "../../../lib/resolution";
import { tableOf } from "../../../lib/series";
import { minuteText } from "../../../lib/zone";
import { place, powerPath, reach, shown, stateText } from "./leases";
import tab from "../Tab.module.css";
import styles from "./Limits.module.css";

const POWER = "ac.power";
const WIDTH = 1_000;
const HEIGHT = 120;
const REFETCH_MS = 15_000;
/** A range that moves with each second would be fetched as often. */
const GRAIN_MS = 60_000;
/** Marks of the time on the line. */
const MARKS = [0, 0.25, 0.5, 0.75, 1];

export function TimeLine({ device, leases }: { device: DeviceDetail; leases: Lease[] }) {
  const present = useNow();
  const [number, setNumber] = useState(device.inverters[0]?.number ?? 0);
  const zone = device.site.time_zone;
  const grain = Math.floor(present / GRAIN_MS) * GRAIN_MS;
  const drawn = shown(leases, grain).filter(({ inverter }) => inverter == null || inverter === number);
  const range = reach(drawn, grain);
  const hasPower = device.inverters.some((one) => one.number === number && one.points.some(({ point }) => point === POWER));
  const telemetry = useTelemetry({
    device: device.id,
    inverter: number,
    points: hasPower ? [POWER] : [],
    resolution: chooseResolution(range.to - range.from, WIDTH),
    rangeKey: `leases:${range.from}-${range.to}`,
    range: () => ({ from: range.from, to: Math.max(range.from + GRAIN_MS, Math.min(range.to, present)) }),
    refetchMs: REFETCH_MS,
  });
  const table = useMemo(() => telemetry.data && tableOf(telemetry.data), [telemetry.data]);
  const watts = table?.columns[0]?.value ?? [];
  const most = Math.max(1, ...watts.filter((value) => value != null));
  const path = table ? powerPath(table.t, watts, range, most, WIDTH, HEIGHT) : "";
  const now = ((present - range.from) / (range.to - range.from)) * 100;
  return (
    <div className={styles.time}>
      {device.inverters.length > 1 && (
        <label className={styles.choice}>
          Inverter{" "}
          <select value={number} onChange={(event) => setNumber(Number(event.target.value))}>
            {device.inverters.map((one) => (
              <option key={one.number} value={one.number}>
                {one.number}
              </option>
            ))}
          </select>
        </label>
      )}
      <div className={styles.field}>
        <div className={styles.now} style={{ left: `${now}%` }} aria-hidden="true" />
        <ol className={styles.bars} aria-label="Leases over time">
          {drawn.map((lease) => {
            const { left, width } = place(lease, range);
            const words = `${lease.limit}, ${lease.id}: ${stateText(lease)}`;
            return (
              <li key={lease.id}>
                <span className={styles.bar} data-state={lease.state} style={{ left: `${left}%`, width: `${width}%` }} title={words} />
                <span className={styles.name}>{words}</span>
              </li>
            );
          })}
          {drawn.length === 0 && <li className={tab.hint}>No lease limits this inverter.</li>}
        </ol>
        {telemetry.isError && !telemetry.data ? (
          <Problem what="The power could not be loaded." error={telemetry.error} onRetry={() => void telemetry.refetch()} />
        ) : hasPower && !telemetry.data ? (
          <Skeleton height={HEIGHT} />
        ) : (
          <svg
            className={styles.power}
            viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
            preserveAspectRatio="none"
            role="img"
            aria-label={path === "" ? "No power was measured in this time" : `Measured power, at most ${amountText(power(most))}`}
          >
            <path d={path} />
          </svg>
        )}
      </div>
      <div className={styles.axis} aria-hidden="true">
        {MARKS.map((part) => (
          <span key={part}>{minuteText(range.from + part * (range.to - range.from), zone)}</span>
        ))}
      </div>
      {(!hasPower || telemetry.data) && (
        <p className={tab.hint}>
          {path === ""
            ? "No power was measured in this time."
            : `The line is the measured power, at most ${amountText(power(most))}; the upright line is now.`}
        </p>
      )}
    </div>
  );
}
