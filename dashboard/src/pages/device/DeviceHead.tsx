/** The device at a glance. */
import { ChevronLeft } from "lucide-react";
import type { DeviceDetail } from "../../api/types";
import { Absent, Age, Figure, Lasting, Power } from "../../components/Figure";
import { Link } from "../../components/Link";
import { DeviceBadge } from "../../components/State";
import { energy } from "../../lib/format";
import { NO_ENERGY, NO_POWER, NOT_SEEN } from "../fleet/reasons";
import styles from "./DeviceHead.module.css";

export function DeviceHead({ device }: { device: DeviceDetail }) {
  const zone = device.site.time_zone;
  // A silence began with the last message, not when the server noticed.
  const since = device.state === "silent" ? device.last_seen : device.state_since;
  return (
    <div className={styles.head}>
      <div className={styles.who}>
        <Link to="/" className={styles.back} aria-label="Back to the fleet" title="Back to the fleet">
          <ChevronLeft size={20} aria-hidden />
        </Link>
        <h1>{device.name}</h1>
        <p className={styles.state}>
          <DeviceBadge state={device.state} />
          {since && (
            <span className={styles.since}>
              for <Lasting since={since} zone={zone} />
            </span>
          )}
        </p>
        <p className={styles.where}>
          {device.id}
          <span aria-hidden="true"> · </span>
          {device.site.name}
          {device.firmware && (
            <>
              <span aria-hidden="true"> · </span>
              {device.firmware}
            </>
          )}
        </p>
      </div>
      <dl className={styles.figures}>
        <div>
          <dt>Power now</dt>
          <dd data-testid="power">
            <Power watts={device.power_w} why={NO_POWER} />
          </dd>
        </div>
        <div>
          <dt>Energy today</dt>
          <dd>
            {device.energy_today_wh != null ? (
              <Figure amount={energy(device.energy_today_wh)} />
            ) : (
              <Absent why={NO_ENERGY} />
            )}
          </dd>
        </div>
        <div className={styles.small}>
          <dt>Last seen</dt>
          <dd>
            <Age at={device.last_seen} zone={zone} why={NOT_SEEN} />
          </dd>
        </div>
      </dl>
    </div>
  );
}
