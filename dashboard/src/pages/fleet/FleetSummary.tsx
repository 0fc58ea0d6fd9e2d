/** The fleet in one line. */
import type { Device, DeviceState } from "../../api/types";
import { Absent, Figure, Power } from "../../components/Figure";
import { DEVICE_STATES, STATES } from "../../components/State";
import { countText, energy, numberText } from "../../lib/format";
import { toggled } from "./StateFilter";
import styles from "./FleetSummary.module.css";

/** The sum over the devices that have the value, and their number. */
function sum(values: (number | null | undefined)[]): { total: number; count: number } {
  const known = values.filter((value) => value != null);
  return { total: known.reduce((a, b) => a + b, 0), count: known.length };
}

interface Props {
  devices: Device[];
  total: number;
  /** The states that the list is narrowed to. */
  chosen: Set<DeviceState>;
  onChange: (chosen: Set<DeviceState>) => void;
}

export function FleetSummary({ devices, total, chosen, onChange }: Props) {
  const watts = sum(devices.map(({ power_w }) => power_w));
  const wattHours = sum(devices.map(({ energy_today_wh }) => energy_today_wh));
  const of = (count: number) =>
    count === total ? `All ${countText(count, "device")}` : `${numberText(count, 0)} of ${countText(total, "device")}`;
  const part = total > devices.length ? `, first ${countText(devices.length, "device")}` : "";
  return (
    <div className={styles.head}>
      <dl className={styles.sums}>
        <div>
          <dt>Power now{part}</dt>
          <dd data-testid="fleet-power">
            <Power
              watts={watts.count > 0 ? watts.total : null}
              count={watts.count}
              title={`${of(watts.count)} with a recent reading`}
              why="No device has a recent reading of its power"
            />
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
      </dl>
      <div className={styles.states} role="group" aria-label="Devices by state">
        {STATES.map((state) => {
          const count = devices.filter((device) => device.state === state).length;
          const { word, icon: Icon, means } = DEVICE_STATES[state];
          const isChosen = chosen.has(state);
          const isWanting = state === "faulty" || state === "silent";
          if (count === 0 && !isWanting && !isChosen && state !== "producing") return null;
          return (
            <button
              key={state}
              type="button"
              data-state={state}
              data-none={count === 0 || undefined}
              title={`${means}. ${isChosen ? "Show all" : "Show only these"}.`}
              aria-pressed={isChosen}
              disabled={count === 0 && !isChosen}
              onClick={() => onChange(toggled(chosen, state))}
            >
              <span className={styles.word}>
                <Icon size={14} aria-hidden />
                {word}
              </span>
              <span className={styles.count}>{numberText(count, 0)}</span>
            </button>
          );
        })}
      </div>
    </div>
  );
}
