/** The devices as a table. */
import { ArrowDown, ArrowUp } from "lucide-react";
import type { MouseEvent } from "react";
import type { Device } from "../../api/types";
import { Absent, Age, Figure, Power } from "../../components/Figure";
import { Link } from "../../components/Link";
import { Sparkline } from "../../components/Sparkline";
import { DeviceBadge } from "../../components/State";
import { TroubleNote } from "../../components/TroubleNote";
import { energy } from "../../lib/format";
import { navigate } from "../../lib/route";
import { isDownFirst, type Sort, type SortKey } from "./list";
import { NO_ENERGY, NO_FIRMWARE, NO_POWER, NOT_SEEN } from "./reasons";
import styles from "./DeviceTable.module.css";

const COLUMNS = 8;

export interface ListProps {
  devices: Device[];
  sort: Sort;
  onSort: (sort: Sort) => void;
}

export function DeviceTable({ devices, sort, onSort }: ListProps) {
  const head = (by: SortKey, label: string, className?: string) => {
    const isBy = sort.by === by;
    const Arrow = sort.isDown ? ArrowDown : ArrowUp;
    return (
      <th
        scope="col"
        className={className}
        aria-sort={isBy ? (sort.isDown ? "descending" : "ascending") : undefined}
      >
        <button
          type="button"
          onClick={() => onSort({ by, isDown: isBy ? !sort.isDown : isDownFirst(by) })}
        >
          {label}
          {isBy && <Arrow size={14} aria-hidden />}
        </button>
      </th>
    );
  };
  return (
    <div className={styles.frame}>
      <table className={styles.table}>
        <caption className="visually-hidden">Devices</caption>
        <thead>
          <tr>
            {head("name", "Device")}
            {head("site", "Site")}
            {head("state", "State")}
            {head("power", "Power now", styles.number)}
            <th scope="col">Today</th>
            {head("energy", "Energy today", styles.number)}
            {head("seen", "Last seen")}
            <th scope="col">Firmware</th>
          </tr>
        </thead>
        <tbody>
          {devices.map((device) => (
            <Row key={device.id} device={device} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Row({ device }: { device: Device }) {
  const zone = device.site.time_zone;
  const address = `/devices/${device.id}`;
  const open = (event: MouseEvent) => {
    const isLink = (event.target as HTMLElement).closest("a, button");
    if (!isLink && !window.getSelection()?.toString()) navigate(address);
  };
  return (
    <>
      <tr onClick={open} data-troubled={device.trouble ? true : undefined}>
        <th scope="row">
          <Link to={address} className={styles.name}>
            {device.name}
          </Link>{" "}
          <span className={styles.id}>{device.id}</span>
        </th>
        <td className={styles.long}>{device.site.name}</td>
        <td>
          <DeviceBadge state={device.state} />
        </td>
        <td className={styles.number} data-testid="power">
          <Power watts={device.power_w} why={NO_POWER} />
        </td>
        <td>
          <Sparkline spark={device.spark} zone={zone} />
        </td>
        <td className={styles.number}>
          {device.energy_today_wh != null ? (
            <Figure amount={energy(device.energy_today_wh)} />
          ) : (
            <Absent why={NO_ENERGY} />
          )}
        </td>
        <td>
          <Age at={device.last_seen} zone={zone} why={NOT_SEEN} />
        </td>
        <td className={`${styles.firmware} ${styles.long}`}>{device.firmware ?? <Absent why={NO_FIRMWARE} />}</td>
      </tr>
      {device.trouble && (
        <tr onClick={open} className={styles.trouble}>
          <td colSpan={COLUMNS}>
            <TroubleNote device={device} />
          </td>
        </tr>
      )}
    </>
  );
}
