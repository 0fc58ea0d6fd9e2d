/** The link between device and server, and the device's own report. */
import type { DeviceDetail } from "../../api/types";
import { Absent, Age, Figure } from "../../components/Figure";
import { bytes, numberText } from "../../lib/format";
import { factName, factValue } from "./facts";
import { NOT_SEEN } from "../fleet/reasons";
import styles from "./Diagnostics.module.css";

export function Diagnostics({ device }: { device: DeviceDetail }) {
  const { link } = device;
  const zone = device.site.time_zone;
  const count = (value: number) => numberText(value, 0);
  return (
    <div className={styles.panels}>
      <section className={styles.panel}>
        <h2>Link</h2>
        <dl>
          <Fact name="Last message">
            <Age at={device.last_seen} zone={zone} why={NOT_SEEN} />
          </Fact>
          <Fact name="Newest sample">
            <Age at={device.last_sample} zone={zone} why="No sample received yet" />
          </Fact>
          <Fact name="Messages">{count(link.messages)}</Fact>
          <Fact name="Batches stored">{count(link.batches)}</Fact>
          <Fact name="Batches sent again" title="Received twice and stored once">
            {count(link.duplicates)}
          </Fact>
          <Fact name="Batches refused" title="Could not be read; the device does not send them again">
            {count(link.refused)}
          </Fact>
          <Fact name="Samples">{count(link.samples)}</Fact>
          <Fact name="Samples lost" title="Reported by the device, such as those that a full disk had no room for">
            {count(link.dropped_samples)}
          </Fact>
          <Fact name="Received" title={`${count(link.bytes)} bytes of messages, without transport headers`}>
            <Figure amount={bytes(link.bytes)} />
          </Fact>
          <Fact name="Per sample" title="Bytes received for each sample, envelopes included">
            {link.samples > 0 ? (
              <Figure amount={{ number: numberText(link.bytes / link.samples, 1), unit: "B" }} />
            ) : (
              <Absent why="No sample received yet" />
            )}
          </Fact>
          <Fact name="Key generation">
            {count(link.key_generation)}
            {link.key_revoked != null && ", revoked; the device must be enrolled again"}
          </Fact>
          <Fact name="Boot epoch" title="Number of the device's starts">
            {link.boot_epoch != null ? count(link.boot_epoch) : <Absent why={NOT_SEEN} />}
          </Fact>
          <Fact name="Enrolled">
            <Age at={device.created} zone={zone} why="" />
          </Fact>
        </dl>
      </section>
      <section className={styles.panel}>
        <h2>Reported by the device</h2>
        {device.diagnostics.length === 0 ? (
          <p className={styles.none}>It has not sent diagnostics yet.</p>
        ) : (
          <dl>
            {device.diagnostics.map(([name, value]) => (
              <Fact key={name} name={factName(name)} title={`${name}: ${value}`}>
                {factValue(name, value)}
              </Fact>
            ))}
          </dl>
        )}
      </section>
    </div>
  );
}

interface FactProps {
  name: string;
  title?: string;
  children: React.ReactNode;
}

function Fact({ name, title, children }: FactProps) {
  return (
    <div className={styles.fact} title={title}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
