/** Makes a lease. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { post } from "../../../api/client";
import type { CreateLease, Lease } from "../../../api/types";
import { Button } from "../../../components/Button";
import { Field, Fields } from "../../../components/Field";
import { EMPTY, requestOf, type Draft } from "./leases";
import tab from "../Tab.module.css";
import styles from "./Limits.module.css";

export function LeaseForm({ device, inverters }: { device: string; inverters: number[] }) {
  const queries = useQueryClient();
  const [draft, setDraft] = useState<Draft>(EMPTY);
  const making = useMutation({
    mutationFn: (request: CreateLease) => post<Lease>(`/devices/${encodeURIComponent(device)}/leases`, request),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["leases", device] }),
  });
  const edit = (change: Partial<Draft>) => {
    making.reset();
    setDraft({ ...draft, ...change });
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    making.mutate(requestOf(draft));
  };
  return (
    <form onSubmit={submit}>
      <Fields>
        <Field label="Limit" hint="The lowest of several leases counts.">
          {(id) => (
            <input id={id} required inputMode="decimal" autoComplete="off" value={draft.limit} onChange={(event) => edit({ limit: event.target.value })} />
          )}
        </Field>
        <Field label="Unit">
          {(id) => (
            <select id={id} value={draft.unit} onChange={(event) => edit({ unit: event.target.value === "W" ? "W" : "%" })}>
              <option value="%">% of the rated power</option>
              <option value="W">W</option>
            </select>
          )}
        </Field>
        <Field label="Lasts, hours">
          {(id) => (
            <input id={id} required inputMode="decimal" autoComplete="off" value={draft.hours} onChange={(event) => edit({ hours: event.target.value })} />
          )}
        </Field>
        <Field label="Inverter">
          {(id) => (
            <select id={id} value={draft.inverter} onChange={(event) => edit({ inverter: event.target.value })}>
              <option value="">all</option>
              {inverters.map((number) => (
                <option key={number} value={number}>
                  {number}
                </option>
              ))}
            </select>
          )}
        </Field>
        <Field label="Then" hint="Also while the connection is lost. Empty: what was found before.">
          {(id) => (
            <input id={id} inputMode="decimal" autoComplete="off" value={draft.then} onChange={(event) => edit({ then: event.target.value })} />
          )}
        </Field>
      </Fields>
      <div className={styles.end}>
        <Button type="submit" look="main" disabled={making.isPending}>
          {making.isPending ? "Sending…" : "Limit the power"}
        </Button>
      </div>
      <div role="status">
        {making.data && <p className={tab.hint}>{making.data.id} goes out with the reply to the device's next message.</p>}
      </div>
      <div role="alert">{making.error && <p className={tab.failure}>Not made: {making.error.message}.</p>}</div>
    </form>
  );
}
