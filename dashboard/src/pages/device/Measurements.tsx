/** History and latest values of one of the device's inverters. */
import type { DeviceDetail } from "../../api/types";
import { Choices } from "../../components/Button";
import { InverterBadge } from "../../components/State";
import { useIsSmall } from "../../lib/media";
import { useParams } from "../../lib/route";
import { History } from "./history/History";
import { Values } from "./Values";
import styles from "./Measurements.module.css";

export function Measurements({ device }: { device: DeviceDetail }) {
  const [params, change] = useParams();
  const isSmall = useIsSmall();
  const wanted = Number(params.get("inverter") ?? NaN);
  const inverter = device.inverters.find(({ number }) => number === wanted) ?? device.inverters[0];
  if (!inverter) {
    return (
      <section className={styles.none}>
        <h2>Nothing measured yet</h2>
        <p>
          {device.state === "waiting"
            ? "Once its agent runs with a claim code, its first readings appear here by themselves."
            : "The device has not yet reported what its inverter measures. Its first readings appear here by themselves."}
        </p>
      </section>
    );
  }
  const what = (
    <>
      <InverterBadge state={device.state === "silent" ? "unknown" : inverter.state} />
      <span className={styles.title} title={inverter.profile}>
        {inverter.title}
      </span>
    </>
  );
  return (
    <>
      <div className={styles.inverter}>
        {device.inverters.length > 1 && (
          <Choices
            label="Inverter"
            choices={device.inverters.map(({ number }) => ({
              value: String(number),
              label: `Inverter ${number + 1}`,
            }))}
            chosen={String(inverter.number)}
            onChoose={(number) => change({ inverter: number, points: null })}
          />
        )}
        {!isSmall && what}
      </div>
      <div className={styles.columns}>
        <History key={inverter.number} device={device} inverter={inverter} />
        {isSmall && <div className={styles.inverter}>{what}</div>}
        <Values inverter={inverter} zone={device.site.time_zone} />
      </div>
    </>
  );
}
