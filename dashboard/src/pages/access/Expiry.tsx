/** End of a validity, by the server's clock. */
import { useNow } from "../../api/clock";
import { durationText } from "../../lib/format";
import { exactText, ownZone } from "../../lib/zone";
import styles from "./Access.module.css";

export function Expiry({ at }: { at: string | null | undefined }) {
  const now = useNow();
  if (!at) return <span>no expiry</span>;
  const left = Date.parse(at) - now;
  return (
    <time dateTime={at} title={exactText(Date.parse(at), ownZone())} className={left <= 0 ? styles.over : undefined}>
      {left <= 0 ? "expired" : `for ${durationText(left)}`}
    </time>
  );
}
