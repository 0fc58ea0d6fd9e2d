/** Shows what is wrong with a device, since when, when it was last read, and what to try. */
import { useNow } from "../api/clock";
import type { Device } from "../api/types";
import { durationText } from "../lib/format";
import { troubleWords } from "../lib/trouble";
import { dayText, exactText, isoDate, localTime, minuteText } from "../lib/zone";
import styles from "./TroubleNote.module.css";

/** A shorter time would only repeat that it has just happened. */
const MINUTE_MS = 60_000;

/** `14:19`, or `20 Jun 14:19` on another day, or `20 Jun 2025` in another year. */
function sinceText(at: number, now: number, zone: string): string {
  if (isoDate(at, zone) === isoDate(now, zone)) return minuteText(at, zone);
  const { year } = localTime(at, zone);
  if (year !== localTime(now, zone).year) return `${dayText(at, zone)} ${year}`;
  return `${dayText(at, zone)} ${minuteText(at, zone)}`;
}

export function TroubleNote({ device, more }: { device: Device; more?: string | null }) {
  const now = useNow();
  const { trouble } = device;
  if (!trouble) return null;
  const zone = device.site.time_zone;
  const since = trouble.since ? Date.parse(trouble.since) : null;
  const good = trouble.last_good ? Date.parse(trouble.last_good) : null;
  const { what, hint } = troubleWords(trouble, since === null ? null : sinceText(since, now, zone));
  const isNew = trouble.cause === "not_claimed" || trouble.cause === "nothing_received";
  return (
    <p className={styles.note} data-tone={device.state} data-testid="trouble">
      <strong title={since === null ? undefined : exactText(since, zone)}>
        {what}
        {since !== null && now - since >= MINUTE_MS && ` (${durationText(now - since)})`}.
      </strong>{" "}
      {more && <span>{more} </span>}
      {!isNew && (
        <span title={good === null ? undefined : exactText(good, zone)}>
          {good === null ? "No good reading of its power yet." : `Last good reading ${sinceText(good, now, zone)}.`}{" "}
        </span>
      )}
      <span>{hint}</span>
    </p>
  );
}
