/** The shape of the page while the fleet is loading. */
import { Skeleton } from "../../components/Problem";
import styles from "./FleetLoading.module.css";

export function FleetLoading() {
  return (
    <div className={styles.loading} role="status" aria-label="Loading the fleet">
      <Skeleton height={88} />
      <Skeleton height={36} width={320} />
      {[0, 1, 2, 3].map((row) => (
        <Skeleton key={row} height={56} />
      ))}
    </div>
  );
}
