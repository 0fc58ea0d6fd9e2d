/** What to do when there is no device yet. */
import { Plus } from "lucide-react";
import { Button } from "../../components/Button";
import { Copy } from "../../components/Copy";
import { ownZone } from "../../lib/zone";
import styles from "./NoDevices.module.css";

/** `onEnrol` is absent for those who may not add a device. */
export function NoDevices({ onEnrol }: { onEnrol: (() => void) | null }) {
  if (!onEnrol) {
    return (
      <section className={styles.empty}>
        <h2>No devices yet</h2>
        <p>Once an owner has added a device, it appears here by itself.</p>
      </section>
    );
  }
  return (
    <section className={styles.empty}>
      <h2>No devices yet</h2>
      <p>
        A device is a small computer next to the inverter. Give it a claim code, start its agent with
        the code, and its first reading appears here by itself.
      </p>
      <Button look="main" onClick={onEnrol}>
        <Plus size={16} aria-hidden />
        Create claim code
      </Button>
      <p className={styles.or}>Or on the command line:</p>
      <Copy label="Command" text={`ecowatt device enrol --name 'Roof east' --site Home --time-zone ${ownZone()}`} />
    </section>
  );
}
