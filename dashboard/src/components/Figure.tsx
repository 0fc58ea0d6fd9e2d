/** Numbers with units, ages, and the dash for absent values. */
import { useNow } from "../api/clock";
import { ABSENT, ageText, amountText, durationText, power, standby, type Amount } from "../lib/format";
import { exactText } from "../lib/zone";
import styles from "./Figure.module.css";

export function Figure({ amount, title }: { amount: Amount; title?: string }) {
  return (
    <span className={styles.figure} title={title}>
      {amount.number}
      {amount.unit && <span className={styles.unit}>{"\u202f" + amount.unit}</span>}
    </span>
  );
}

interface PowerProps {
  watts: number | null | undefined;
  /** Number of devices in the sum. */
  count?: number;
  title?: string;
  /** Why it is absent. */
  why: string;
}

/** The power that is fed in. Standby power that inverters draw is shown separately. */
export function Power({ watts, count = 1, title, why }: PowerProps) {
  if (watts == null) return <Absent why={why} />;
  const drawn = standby(watts, count);
  if (drawn === null) return <Figure amount={power(watts)} title={title} />;
  const means = `No power is fed in; ${amountText(power(drawn))} drawn in standby`;
  return (
    <span title={title ? `${means}. ${title}` : means}>
      <Figure amount={power(0)} />{" "}
      <small className={styles.standby}>uses {amountText(power(drawn))}</small>
    </span>
  );
}

/** A dash for an absent value; says why on hovering and to screen readers. */
export function Absent({ why }: { why: string }) {
  return (
    <span className={styles.absent} title={why}>
      <span aria-hidden="true">{ABSENT}</span>
      <span className="visually-hidden">{why}</span>
    </span>
  );
}

interface AgeProps {
  at: string | null | undefined;
  zone: string;
  why: string;
}

/** How long ago, by the server's clock; the exact instant on hovering. */
export function Age({ at, zone, why }: AgeProps) {
  const now = useNow();
  if (!at) return <Absent why={why} />;
  const instant = Date.parse(at);
  return (
    <time dateTime={at} title={exactText(instant, zone)} className={styles.age}>
      {ageText(now - instant)}
    </time>
  );
}

/** How long a state has lasted; its exact start on hovering. */
export function Lasting({ since, zone }: { since: string; zone: string }) {
  const now = useNow();
  const instant = Date.parse(since);
  return (
    <time dateTime={since} title={`Since ${exactText(instant, zone)}`} className={styles.age}>
      {durationText(now - instant)}
    </time>
  );
}
