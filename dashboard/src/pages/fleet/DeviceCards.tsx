/** The devices as cards, for narrow screens. */
import type { Device } from "../../api/types";
import { Absent, Age, Figure, Power } from "../../components/Figure";
import { Link } from "../../components/Link";
import { Sparkline } from "../../components/Sparkline";
import { DeviceBadge } from "../../components/State";
import { TroubleNote } from "../../components/TroubleNote";
import { energy } from "../../lib/format";
import type { ListProps } from "./DeviceTable";
import { NO_ENERGY, NO_POWER, NOT_SEEN } from "./reasons";
import styles from "./DeviceCards.module.css";

export function DeviceCards({ devices }: ListProps) {
  return (
    <ul className={styles.cards}>
      {devices.map((device) => (
        <Card key={device.id} device={device} />
      ))}
    </ul>
  );
}

function Card({ device }: { device: Device }) {
  const zone = device.site.time_zone;
  return (
    <li className={styles.card}>
      <div className={styles.head}>
        <Link to={`/devices/${device.id}`} className={styles.name}>
          {device.name}
        </Link>
        <DeviceBadge state={device.state} />
      </div>
      <p className={styles.site}>
        {device.site.name} · {device.id}
      </p>
      <TroubleNote device={device} />
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
        <div className={styles.picture}>
          <dt className="visually-hidden">Today</dt>
          <dd>
            <Sparkline spark={device.spark} zone={zone} />
          </dd>
        </div>
      </dl>
      <p className={styles.seen}>
        {device.last_seen ? (
          <span>
            Seen <Age at={device.last_seen} zone={zone} why={NOT_SEEN} />
          </span>
        ) : (
          <span>No message received yet</span>
        )}
        {device.firmware && <span>{device.firmware}</span>}
      </p>
    </li>
  );
}
