/** The newest reading of every point, with its age and its quality. */
import { Clock, Moon, TriangleAlert } from "lucide-react";
import { useNow } from "../../api/clock";
import type { InverterSummary, PointValue } from "../../api/types";
import { Absent, Figure } from "../../components/Figure";
import { codeText, isCode } from "../../lib/codes";
import { ageText, amountText, readable, reading } from "../../lib/format";
import { freshness } from "../../lib/freshness";
import { GROUP_NAMES, GROUPS, groupOf, inOrder, pointName, qualityText } from "../../lib/points";
import { exactText } from "../../lib/zone";
import styles from "./Values.module.css";

export function Values({ inverter, zone }: { inverter: InverterSummary; zone: string }) {
  const now = useNow();
  const groups = GROUPS.map((group) => ({
    group,
    points: inOrder(inverter.points).filter(({ point }) => groupOf(point) === group),
  })).filter(({ points }) => points.length > 0);
  return (
    <section className={styles.values} aria-label="Latest values">
      <table>
        <caption>Latest values</caption>
        <thead className="visually-hidden">
          <tr>
            <th scope="col">Point</th>
            <th scope="col">Value</th>
            <th scope="col">Age</th>
          </tr>
        </thead>
        {groups.map(({ group, points }) => (
          <tbody key={group}>
            <tr className={styles.group}>
              <th colSpan={3} scope="rowgroup">
                {GROUP_NAMES[group]}
              </th>
            </tr>
            {points.map((point) => (
              <Row key={point.point} point={point} profile={inverter.profile} now={now} zone={zone} />
            ))}
          </tbody>
        ))}
      </table>
    </section>
  );
}

interface RowProps {
  point: PointValue;
  profile: string;
  now: number;
  zone: string;
}

function Row({ point, profile, now, zone }: RowProps) {
  const fresh = freshness(point, now);
  const readAt = point.read_at ? Date.parse(point.read_at) : null;
  const triedAt = point.tried_at ? Date.parse(point.tried_at) : null;
  return (
    <tr data-fresh={fresh} data-point={point.point}>
      <th scope="row" title={point.point}>
        {pointName(point.point)}
        {fresh === "asleep" && (
          <span className={`${styles.quality} ${styles.asleep}`} title="Inverters sleep at night">
            <Moon size={12} aria-hidden />
            asleep
          </span>
        )}
        {fresh === "stale" && (
          <span className={styles.quality} title="Not read again for minutes">
            <Clock size={12} aria-hidden />
            stale
          </span>
        )}
        {fresh === "bad" && (
          <span
            className={styles.quality}
            title={triedAt === null ? undefined : `Last tried ${exactText(triedAt, zone)}`}
          >
            <TriangleAlert size={12} aria-hidden />
            {qualityText(point.quality)}
          </span>
        )}
      </th>
      <td className={styles.value}>
        {point.value == null ? (
          <Absent why={`No good reading yet: ${qualityText(point.quality)}`} />
        ) : point.text ? (
          <span className={styles.text} title={`Register value ${point.value}`}>{point.text.replaceAll("_", " ")}</span>
        ) : isCode(point) ? (
          <span className={styles.text} title={`Register value ${point.value}`}>{codeText(point.point, point.value, profile)}</span>
        ) : (
          <Figure
            amount={readable(point.value, point.unit, point.decimals)}
            title={amountText(reading(point.value, point.unit, point.decimals))}
          />
        )}
      </td>
      <td className={styles.age}>
        {readAt === null ? (
          ""
        ) : (
          <time dateTime={point.read_at ?? undefined} title={exactText(readAt, zone)}>
            {ageText(now - readAt)}
          </time>
        )}
      </td>
    </tr>
  );
}
