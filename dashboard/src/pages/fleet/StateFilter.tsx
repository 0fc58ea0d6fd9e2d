/** Narrows the list to some states. */
import type { Device, DeviceState } from "../../api/types";
import { DEVICE_STATES, STATES } from "../../components/State";
import styles from "./StateFilter.module.css";

interface Props {
  devices: Device[];
  chosen: Set<DeviceState>;
  onChange: (chosen: Set<DeviceState>) => void;
}

/** The choice with one state added or removed. */
export function toggled(chosen: Set<DeviceState>, state: DeviceState): Set<DeviceState> {
  const next = new Set(chosen);
  if (!next.delete(state)) next.add(state);
  return next;
}

export function StateFilter({ devices, chosen, onChange }: Props) {
  return (
    <div className={styles.chips} role="group" aria-label="Show only these states">
      {STATES.map((state) => {
        const count = devices.filter((device) => device.state === state).length;
        if (count === 0 && !chosen.has(state)) return null;
        const { word, icon: Icon } = DEVICE_STATES[state];
        return (
          <button
            key={state}
            type="button"
            aria-pressed={chosen.has(state)}
            onClick={() => onChange(toggled(chosen, state))}
          >
            <Icon size={14} aria-hidden />
            {word}
            <span className={styles.count}>{count}</span>
          </button>
        );
      })}
    </div>
  );
}
