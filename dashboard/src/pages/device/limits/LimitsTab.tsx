/** Leases of a device's limits on a time line with the measured power, and their proofs. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { post } from "../../../api/client";
import { useLeases, useSession } from "../../../api/queries";
import type { DeviceDetail, Lease, LeaseList } from "../../../api/types";
import { Button } from "../../../components/Button";
import { Age } from "../../../components/Figure";
import { Problem, Skeleton } from "../../../components/Problem";
import { exactText } from "../../../lib/zone";
import { LeaseForm } from "./LeaseForm";
import { TimeLine } from "./TimeLine";
import { changeText, proofText, stateText } from "./leases";
import tab from "../Tab.module.css";
import styles from "./Limits.module.css";

export function LimitsTab({ device }: { device: DeviceDetail }) {
  const session = useSession();
  const leases = useLeases(device.id);
  const mayChange = session.data?.role === "owner";
  return (
    <div className={tab.tab}>
      <section className={tab.panel} aria-label="Time line">
        <h2>Leases and measured power</h2>
        {leases.isError && !leases.data ? (
          <Problem what="The leases could not be loaded." error={leases.error} onRetry={() => void leases.refetch()} />
        ) : !leases.data ? (
          <Skeleton height={200} />
        ) : (
          <TimeLine device={device} leases={leases.data.leases} />
        )}
      </section>
      <section className={tab.panel} aria-label="Limit the power">
        <h2>Limit the power</h2>
        {mayChange ? (
          <LeaseForm device={device.id} inverters={device.inverters.map(({ number }) => number)} />
        ) : (
          <p className={tab.hint}>Only an owner can limit the power. You can view the leases.</p>
        )}
      </section>
      {leases.data && <Leases device={device} found={leases.data} mayChange={mayChange} />}
      {leases.data && <Changes found={leases.data} zone={device.site.time_zone} />}
    </div>
  );
}

function Leases({ device, found, mayChange }: { device: DeviceDetail; found: LeaseList; mayChange: boolean }) {
  return (
    <section className={tab.panel} aria-label="Leases">
      <h2>Leases</h2>
      {found.leases.length === 0 ? (
        <p className={tab.hint}>No lease was made yet.</p>
      ) : (
        <ol className={tab.list}>
          {found.leases.map((lease) => (
            <LeaseLine key={lease.id} lease={lease} zone={device.site.time_zone} mayChange={mayChange} />
          ))}
        </ol>
      )}
    </section>
  );
}

function LeaseLine({ lease, zone, mayChange }: { lease: Lease; zone: string; mayChange: boolean }) {
  const queries = useQueryClient();
  const releasing = useMutation({
    mutationFn: () => post<Lease>(`/leases/${lease.id}/release`, {}),
    onSettled: () => queries.invalidateQueries({ queryKey: ["leases", lease.device] }),
  });
  const target = lease.inverter == null ? "all inverters" : `inverter ${lease.inverter}`;
  const isOpen = lease.state !== "released" && lease.state !== "over";
  return (
    <li className={tab.line} data-lease={lease.id}>
      <div className={tab.what}>
        <strong>
          {lease.limit}, {target}
        </strong>
        <span>
          {exactText(Date.parse(lease.from), zone)} to {exactText(Date.parse(lease.to), zone)}
          {lease.then ? `, then ${lease.then}` : ""}
        </span>
        <span className={tab.hint}>
          {lease.id}, made by {lease.made_by} <Age at={lease.made_at} zone={zone} why="" />
          {lease.released_by ? `, released by ${lease.released_by}` : ""}
        </span>
      </div>
      <span className={styles.state} data-state={lease.state}>
        {stateText(lease)}
      </span>
      <div className={tab.acts}>
        {mayChange && isOpen && (
          <Button disabled={releasing.isPending} onClick={() => releasing.mutate()}>
            Release
          </Button>
        )}
      </div>
      {releasing.error && (
        <p role="alert" className={tab.failure}>
          Not released: {releasing.error.message}.
        </p>
      )}
    </li>
  );
}

function Changes({ found, zone }: { found: LeaseList; zone: string }) {
  return (
    <section className={tab.panel} aria-label="Changes">
      <h2>What the device reported</h2>
      {found.changes.length === 0 ? (
        <p className={tab.hint}>
          {found.reported_at == null
            ? "The device has not reported leases. Software that knows none never does."
            : "No limit has changed yet."}
        </p>
      ) : (
        <ol className={tab.list}>
          {found.changes.map((change) => (
            <li key={`${change.inverter} ${change.at} ${change.cause}`} className={tab.line}>
              <div className={tab.what}>
                <strong>{changeText(change)}</strong>
                <span className={change.failure ? tab.failure : undefined}>{proofText(change)}</span>
              </div>
              <span className={tab.hint}>
                <Age at={change.at} zone={zone} why="" />
              </span>
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}
