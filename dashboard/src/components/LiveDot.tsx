/** Shows whether the page updates by itself. */
import { useLiveStatus } from "../api/live";
import styles from "./LiveDot.module.css";

const LABELS = {
  connecting: { label: "Connecting", title: "Opening the stream of changes" },
  live: { label: "Live", title: "Changes appear as the server stores them" },
  down: { label: "Not live", title: "The stream of changes is interrupted" },
};

export function LiveDot() {
  const status = useLiveStatus();
  const { label, title } = LABELS[status.kind];
  return (
    <span className={styles.live} data-kind={status.kind} title={title} data-testid="live">
      <span className={styles.dot} aria-hidden="true" />
      {label}
    </span>
  );
}
