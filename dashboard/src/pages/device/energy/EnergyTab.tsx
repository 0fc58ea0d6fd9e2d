/** Energy of the last thirty days. */
import { useNow } from "../../../api/clock";
import { useEnergy } from "../../../api/queries";
import type { DeviceDetail, Energy, EnergyDay } from "../../../api/types";
import { Absent, Figure } from "../../../components/Figure";
import { Problem, Skeleton } from "../../../components/Problem";
import { countText, energy as energyAmount } from "../../../lib/format";
import { isoDate, startOfDay } from "../../../lib/zone";
import { EnergyBars } from "./EnergyBars";
import { EnergyTable } from "./EnergyTable";
import { daysOf, type Day } from "./days";
import styles from "./Energy.module.css";

const DAYS = 30;

export function EnergyTab({ device }: { device: DeviceDetail }) {
  const zone = device.site.time_zone;
  const present = useNow();
  const from = startOfDay(present, zone, 1 - DAYS);
  const to = startOfDay(present, zone, 1);
  const energy = useEnergy(device.id, from, to);
  if (energy.isError && !energy.data) {
    return (
      <Problem
        what="The energy could not be loaded."
        error={energy.error}
        onRetry={() => void energy.refetch()}
      />
    );
  }
  if (!energy.data) return <Skeleton height={360} />;
  const days = daysOf(withToday(energy.data, device.energy_today_wh, present), {
    from,
    count: DAYS,
    zone,
    created: Date.parse(device.created),
    gapsListedUntil: energy.data.gaps_listed_until ? Date.parse(energy.data.gaps_listed_until) : null,
  });
  return <Loaded days={days} zone={zone} />;
}

/** Today's figure changes with every message; it is the one at the head of the page. */
function withToday(energy: Energy, wattHours: number | null | undefined, present: number): EnergyDay[] {
  if (wattHours == null) return energy.days;
  const today = isoDate(present, energy.time_zone);
  return energy.days.map((day) => (day.date === today ? { ...day, energy_wh: wattHours } : day));
}

function Loaded({ days, zone }: { days: Day[]; zone: string }) {
  const measured = days.filter((day) => day.measured);
  const total = measured.reduce((sum, day) => sum + (day.measured?.energy_wh ?? 0), 0);
  const complete = measured.filter((day) => !day.isPartial);
  const best = complete.reduce<Day | null>(
    (most, day) => ((day.measured?.energy_wh ?? 0) > (most?.measured?.energy_wh ?? -1) ? day : most),
    null,
  );
  const completeSum = complete.reduce((sum, day) => sum + (day.measured?.energy_wh ?? 0), 0);
  const today = days.at(-1)?.measured;
  const none = "No day with readings";
  return (
    <section className={styles.panel} aria-label="Energy per day">
      <div className={styles.head}>
        <h2>Energy per day, last {DAYS} days</h2>
        <dl className={styles.totals}>
          <div>
            <dt>Today so far</dt>
            <dd>{today ? <Figure amount={energyAmount(today.energy_wh)} /> : <Absent why="No energy measured today" />}</dd>
          </div>
          <div>
            <dt>Total</dt>
            <dd>{measured.length ? <Figure amount={energyAmount(total)} /> : <Absent why={none} />}</dd>
          </div>
          <div>
            <dt>{complete.length ? `Mean of ${countText(complete.length, "full day")}` : "Mean of full days"}</dt>
            <dd>
              {complete.length ? (
                <Figure amount={energyAmount(completeSum / complete.length)} />
              ) : (
                <Absent why="No full day with readings yet" />
              )}
            </dd>
          </div>
          <div>
            <dt>Best day</dt>
            <dd>
              {best?.measured ? (
                <>
                  <Figure amount={energyAmount(best.measured.energy_wh)} />
                  <span className={styles.when}>{best.label}</span>
                </>
              ) : (
                <Absent why="No full day with readings yet" />
              )}
            </dd>
          </div>
        </dl>
      </div>
      <EnergyBars days={days} />
      <EnergyTable days={measured} zone={zone} />
    </section>
  );
}
