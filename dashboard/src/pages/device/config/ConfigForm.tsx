/** Settings row by row: desired value, value in use, state; and what saving would change. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { CircleCheck, CircleSlash, Clock, Minus, Undo2 } from "lucide-react";
import { useId, useState, type FormEvent } from "react";
import { patch } from "../../../api/client";
import type { DeviceConfig, SettingState, UpdateConfig } from "../../../api/types";
import { Button } from "../../../components/Button";
import { absentText, allowedText, changesOf, nameText, requestOf, textOf, type Draft, type Row } from "./changes";
import { refusalText } from "./refusal";
import { SettingInput } from "./SettingInput";
import styles from "./Config.module.css";

interface Props {
  device: string;
  rows: Row[];
  generation: number;
  template: string | null;
  mayChange: boolean;
}

export function ConfigForm({ device, rows, generation, template, mayChange }: Props) {
  const queries = useQueryClient();
  const [draft, setDraft] = useState<Draft>(new Map());
  const changes = changesOf(rows, draft);
  const absent = (key: string) => absentText(rows.find((row) => row.key === key)!, template);
  const saving = useMutation({
    mutationFn: (change: UpdateConfig) => patch<DeviceConfig>(`/devices/${encodeURIComponent(device)}/config`, change),
    onSuccess: (config) => {
      setDraft(new Map());
      queries.setQueryData(["config", device], config);
      return queries.invalidateQueries({ queryKey: ["config-history", device] });
    },
    onError: () => queries.invalidateQueries({ queryKey: ["config", device] }),
  });
  const edit = (key: string, text: string) => {
    saving.reset();
    setDraft(new Map(draft).set(key, text));
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (changes.length > 0) saving.mutate(requestOf(changes, generation));
  };
  return (
    <form onSubmit={submit}>
      <ul className={styles.rows}>
        {rows.map((row) => (
          <SettingRow key={row.key} row={row} template={template} text={textOf(row, draft)} onEdit={mayChange ? (text) => edit(row.key, text) : null} />
        ))}
      </ul>
      {changes.length > 0 && (
        <section className={styles.diff} aria-label="Changes to save">
          <ul>
            {changes.map(({ key, before, after }) => (
              <li key={key}>
                {key}: {before ?? absent(key)} → <strong>{after ?? absent(key)}</strong>
              </li>
            ))}
          </ul>
          <div className={styles.end}>
            <Button onClick={() => setDraft(new Map())}>Discard</Button>
            <Button type="submit" look="main" disabled={saving.isPending}>
              {saving.isPending ? "Saving…" : "Save"}
            </Button>
          </div>
        </section>
      )}
      {!mayChange && <p className={styles.hint}>Only an owner can change settings. You can view them.</p>}
      <div role="alert">{saving.error && <p className={styles.failure}>{refusalText(saving.error)}</p>}</div>
    </form>
  );
}

interface RowProps {
  row: Row;
  template: string | null;
  text: string;
  onEdit: ((text: string) => void) | null;
}

function SettingRow({ row, template, text, onEdit }: RowProps) {
  const id = useId();
  const { setting, inverter, status } = row;
  const absent = absentText(row, template);
  const name = inverter === null ? nameText(setting.name) : `${nameText(setting.name)}, inverter ${inverter}`;
  return (
    <li className={styles.row} data-setting={row.key}>
      <div className={styles.name}>
        <label htmlFor={id}>{name}</label>
        <span className={styles.hint} id={`${id}-hint`}>
          {inverter === null && `${setting.summary} `}
          {setting.kind !== "one_of" && `${allowedText(setting)}.`}
          {status?.origin === "template" && ` From template ${template}: ${status.desired?.text}.`}
        </span>
      </div>
      {onEdit === null ? (
        <span className={styles.fixed}>{text || absent}</span>
      ) : (
        <SettingInput id={id} setting={setting} text={text} absent={absent} onEdit={onEdit} />
      )}
      <span className={styles.used}>
        <span className={styles.hint}>In use</span> {status?.in_use?.text ?? "not reported"}
      </span>
      <StateMark state={status?.state ?? "own_configuration"} reason={status?.refused} />
    </li>
  );
}

const STATES: Record<SettingState, { text: string; Icon: typeof Clock }> = {
  in_use: { text: "In use", Icon: CircleCheck },
  pending: { text: "Pending", Icon: Clock },
  refused: { text: "Refused", Icon: CircleSlash },
  reverted: { text: "Reverted", Icon: Undo2 },
  not_used: { text: "Not used", Icon: CircleSlash },
  own_configuration: { text: "Own configuration", Icon: Minus },
};

function StateMark({ state, reason }: { state: SettingState; reason?: string | null }) {
  const { text, Icon } = STATES[state];
  return (
    <span className={styles.state} data-state={state}>
      <Icon size={16} aria-hidden />
      {reason ? `${text}: ${reason.replaceAll("_", " ")}` : text}
    </span>
  );
}
