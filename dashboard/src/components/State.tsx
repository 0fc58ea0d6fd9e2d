/** State of a device or an inverter: an icon, a word and a colour. */
import {
  CircleHelp,
  CirclePause,
  Hourglass,
  Moon,
  Plug,
  Sun,
  TriangleAlert,
  Unplug,
  WifiOff,
  type LucideIcon,
} from "lucide-react";
import type { DeviceState, InverterState } from "../api/types";
import styles from "./State.module.css";

/** How a state is shown. */
interface Sign {
  word: string;
  icon: LucideIcon;
  tone: DeviceState;
  means: string;
}

export const DEVICE_STATES: Record<DeviceState, Sign> = {
  producing: { word: "Producing", icon: Sun, tone: "producing", means: "At least one inverter feeds in" },
  idle: { word: "Idle", icon: CirclePause, tone: "idle", means: "Inverters answer but produce no power" },
  asleep: { word: "Asleep", icon: Moon, tone: "asleep", means: "Inverters are asleep, as usual at night" },
  waiting: { word: "Waiting", icon: Hourglass, tone: "waiting", means: "Enrolled, nothing received yet" },
  faulty: {
    word: "Faulty",
    icon: TriangleAlert,
    tone: "faulty",
    means: "An inverter does not answer or answers with faults",
  },
  silent: {
    word: "Silent",
    icon: WifiOff,
    tone: "silent",
    means: "No message from the device for longer than expected",
  },
};

/** Worst first. */
export const STATES: DeviceState[] = ["faulty", "silent", "waiting", "producing", "idle", "asleep"];

const INVERTER_STATES: Record<InverterState, Sign> = {
  unknown: { word: "Unknown", icon: CircleHelp, tone: "waiting", means: "Nothing is known yet" },
  online: { word: "Online", icon: Plug, tone: "producing", means: "The inverter answers" },
  asleep: { word: "Asleep", icon: Moon, tone: "asleep", means: "Stopped answering as inverters do at dusk" },
  offline: { word: "Offline", icon: Unplug, tone: "silent", means: "Does not answer although it should be awake" },
  faulty: { word: "Faulty", icon: TriangleAlert, tone: "faulty", means: "Answers with errors or a fault" },
};

function Badge({ sign }: { sign: Sign }) {
  const Icon = sign.icon;
  return (
    <span className={styles.badge} data-tone={sign.tone} title={sign.means}>
      <Icon size={14} aria-hidden />
      {sign.word}
    </span>
  );
}

export function DeviceBadge({ state }: { state: DeviceState }) {
  return <Badge sign={DEVICE_STATES[state]} />;
}

export function InverterBadge({ state }: { state: InverterState }) {
  return <Badge sign={INVERTER_STATES[state]} />;
}
