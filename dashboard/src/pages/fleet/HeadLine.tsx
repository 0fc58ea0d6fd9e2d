/** The fleet in one line. */
import type { Device } from "../../api/types";
import { Absent, Figure } from "../../components/Figure";
import { DEVICE_STATES, STATES } from "../../components/State";
import { countText, energy, numberText, power } from "../../lib/format";
import styles from "./HeadLine.module.css";

/** The sum over the devices that have the value, and how many those are. */
function sum(values: (number | null | undefined)[]): { total: number; count: number } {
  const known = values.filter((value) => value != null);
  return { total: known.reduce((a, b) => a + b, 0), count: known.length };
}

export function HeadLine({ devices, total }: { devices: Device[]; total: number }) {
  const watts = sum(devices.map(({ power_w }) => power_w));
  const wattHours = sum(devices.map(({ energy_today_wh }) => energy_today_wh));
  const of = (count: number) =>
    count === total ? `All ${countText(count, "device")}` : `${numberText(count, 0)} of ${countText(total, "device")}`;
  const part = total > devices.length ? `, first ${countText(devices.length, "device")}` : "";
  return (
    <dl className={styles.head}>
      <div>
        <dt>Power now{part}</dt>
        <dd data-testid="fleet-power">
          {watts.count > 0 ? (
            <Figure amount={power(watts.total)} title={`${of(watts.count)} with a recent reading`} />
          ) : (
            <Absent why="No device has a recent reading of its power" />
          )}
        </dd>
      </div>
      <div>
        <dt>Energy today{part}</dt>
        <dd>
          {wattHours.count > 0 ? (
            <Figure amount={energy(wattHours.total)} title={`${of(wattHours.count)}, each since its site's midnight`} />
          ) : (
            <Absent why="No energy has been measured today" />
          )}
        </dd>
      </div>
      {STATES.map((state) => {
        const count = devices.filter((device) => device.state === state).length;
        const { word, icon: Icon, means } = DEVICE_STATES[state];
        const isWanting = state === "faulty" || state === "silent";
        if (count === 0 && !isWanting && state !== "producing") return null;
        return (
          <div key={state} data-state={state} data-none={count === 0 || undefined} title={means}>
            <dt>
              <Icon size={14} aria-hidden />
              {word}
            </dt>
            <dd>{count}</dd>
          </div>
        );
      })}
    </dl>
  );
}
