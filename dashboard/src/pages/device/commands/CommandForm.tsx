/** Chooses a command, takes its arguments and sends it. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { post } from "../../../api/client";
import type { Command, CommandArgument, CommandKind, CreateCommand } from "../../../api/types";
import { Button } from "../../../components/Button";
import { Field, Fields } from "../../../components/Field";
import { allowedText, EMPTY, nameText, newKey, requestOf, type Draft } from "./composing";
import tab from "../Tab.module.css";
import styles from "./Commands.module.css";

interface Props {
  device: string;
  kinds: CommandKind[];
  inverters: number[];
}

export function CommandForm({ device, kinds, inverters }: Props) {
  const queries = useQueryClient();
  const [name, setName] = useState(kinds[0]?.name ?? "");
  const [draft, setDraft] = useState<Draft>({ ...EMPTY, inverter: String(inverters[0] ?? "") });
  // The same key until an answer has come, so that a second try makes no second command.
  const [key, setKey] = useState(newKey);
  const sending = useMutation({
    mutationFn: (request: CreateCommand) => post<Command>(`/devices/${encodeURIComponent(device)}/commands`, request),
    onSuccess: () => {
      setKey(newKey());
      return queries.invalidateQueries({ queryKey: ["commands", device] });
    },
  });
  const kind = kinds.find((one) => one.name === name);
  if (!kind) return null;
  const edit = (change: Partial<Draft>) => {
    sending.reset();
    setKey(newKey());
    setDraft({ ...draft, ...change });
  };
  const choose = (chosen: string) => {
    setName(chosen);
    edit({ values: {}, point: "" });
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    sending.mutate(requestOf(kind, draft, key));
  };
  return (
    <form onSubmit={submit}>
      <Fields>
        <Field label="Command" hint={kind.summary}>
          {(id) => (
            <select id={id} value={name} onChange={(event) => choose(event.target.value)}>
              {kinds.map((one) => (
                <option key={one.name} value={one.name}>
                  {nameText(one.name)}
                </option>
              ))}
            </select>
          )}
        </Field>
        {kind.scope !== "device" && (
          <Field label="Inverter">
            {(id) => (
              <select id={id} value={draft.inverter} onChange={(event) => edit({ inverter: event.target.value })}>
                {kind.scope === "inverters" && <option value="">all</option>}
                {inverters.map((number) => (
                  <option key={number} value={number}>
                    {number}
                  </option>
                ))}
              </select>
            )}
          </Field>
        )}
        {kind.arguments.map((argument) => (
          <ArgumentFields key={argument.name} argument={argument} draft={draft} onEdit={edit} />
        ))}
        <Field label="Begin within, minutes" hint="The device does not begin it later.">
          {(id) => (
            <input
              id={id}
              inputMode="decimal"
              required
              value={draft.minutes}
              onChange={(event) => edit({ minutes: event.target.value })}
            />
          )}
        </Field>
      </Fields>
      <div className={styles.end}>
        <label className={styles.check}>
          <input type="checkbox" checked={draft.isUrgent} onChange={(event) => edit({ isUrgent: event.target.checked })} />
          Before all others
        </label>
        <Button type="submit" look="main" disabled={sending.isPending}>
          {sending.isPending ? "Sending…" : "Send command"}
        </Button>
      </div>
      <div role="status">
        {sending.data && <p className={tab.hint}>{sending.data.id} goes out with the reply to the device's next message.</p>}
      </div>
      <div role="alert">{sending.error && <p className={tab.failure}>Not sent: {sending.error.message}.</p>}</div>
    </form>
  );
}

function ArgumentFields({ argument, draft, onEdit }: { argument: CommandArgument; draft: Draft; onEdit: (change: Partial<Draft>) => void }) {
  const set = (value: string) => onEdit({ values: { ...draft.values, [argument.name]: value } });
  const value = draft.values[argument.name] ?? argument.default ?? "";
  if (argument.kind === "one_of") {
    return (
      <Field label={nameText(argument.name)}>
        {(id) => (
          <select id={id} value={value} onChange={(event) => set(event.target.value)}>
            {argument.choices.map((choice) => (
              <option key={choice}>{choice}</option>
            ))}
          </select>
        )}
      </Field>
    );
  }
  const isPoint = argument.kind === "point";
  return (
    <>
      {isPoint && (
        <Field label="Point" hint="Such as control.p_limit.">
          {(id) => (
            <input
              id={id}
              required
              autoComplete="off"
              spellCheck={false}
              value={draft.point}
              onChange={(event) => onEdit({ point: event.target.value })}
            />
          )}
        </Field>
      )}
      <Field label={isPoint ? "Value" : nameText(argument.name)} hint={allowedText(argument)}>
        {(id) => <input id={id} required inputMode="decimal" autoComplete="off" value={value} onChange={(event) => set(event.target.value)} />}
      </Field>
    </>
  );
}
