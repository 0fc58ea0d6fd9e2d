/**
 * Notices on every page: the time is simulated, or the page is not connected to the server.
 */
import { FastForward, WifiOff } from "lucide-react";
import { useEffect, useState } from "react";
import { now as serverNow, speed, useFastNow } from "../api/clock";
import { reconnect, useLiveStatus } from "../api/live";
import { useSites, useSystem } from "../api/queries";
import { numberText } from "../lib/format";
import { exactText, minuteText, timeText } from "../lib/zone";
import styles from "./Banner.module.css";

/** Shorter interruptions are not shown. */
const QUIET_MS = 3_000;

export function Banner() {
  const system = useSystem();
  return (
    <aside aria-label="State of the connection and the clock" className={styles.notices}>
      <Interruption />
      {system.data?.is_simulated && <SimulatedTime speed={system.data.speed} />}
    </aside>
  );
}

/** The zone that all sites share, or else UTC. */
function useCommonZone(): string {
  const { data } = useSites();
  const zones = new Set(data?.map(({ time_zone }) => time_zone));
  const [zone] = zones;
  return zones.size === 1 && zone ? zone : "UTC";
}

function SimulatedTime({ speed }: { speed: number }) {
  const now = useFastNow();
  const zone = useCommonZone();
  return (
    <div className={styles.simulated} data-testid="simulated">
      <FastForward size={14} aria-hidden />
      <span>
        Simulated time{" "}
        <time dateTime={new Date(now).toISOString()} title={exactText(now, zone)}>
          {timeText(now, zone)}
        </time>
        , {numberText(speed, Number.isInteger(speed) ? 0 : 1)}× — demonstration
      </span>
    </div>
  );
}

function Interruption() {
  const status = useLiveStatus();
  const [, redraw] = useState(0);
  const zone = useCommonZone();
  const isDown = status.kind === "down";
  useEffect(() => {
    if (!isDown) return;
    const timer = setInterval(() => redraw((count) => count + 1), 1_000);
    return () => clearInterval(timer);
  }, [isDown]);
  if (status.kind !== "down" || Date.now() - status.since < QUIET_MS) return null;
  // By the server's clock, as every time on the page.
  const since = serverNow() - (Date.now() - status.since) * speed();
  const wait = Math.max(0, Math.ceil((status.retryAt - Date.now()) / 1000));
  return (
    <div className={styles.down} role="alert">
      <WifiOff size={18} aria-hidden />
      <span>
        <strong title={exactText(since, zone)}>
          No connection since {minuteText(since, zone)}
        </strong>{" "}
        <span aria-live="off">
          Showing older data. {wait > 0 ? `Next attempt in ${wait} s.` : "Connecting…"}
        </span>
      </span>
      <button type="button" onClick={reconnect}>
        Try again
      </button>
    </div>
  );
}
