/** The values of a template; a change is checked against its devices before it can be saved. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useId, useState, type FormEvent } from "react";
import { patch } from "../../api/client";
import { templatePath } from "../../api/queries";
import type { ConfigTemplate, Setting, UpdateTemplate } from "../../api/types";
import { Button } from "../../components/Button";
import { allowedText, changesOf, nameText, textOf, valuesOf, type Draft, type Field } from "../device/config/changes";
import { refusalText } from "../device/config/refusal";
import { SettingInput } from "../device/config/SettingInput";
import rows from "../device/config/Config.module.css";
import { Preview } from "./Preview";
import styles from "./Templates.module.css";

const ABSENT = "own configuration";

interface Props {
  template: ConfigTemplate;
  settings: Setting[];
  mayChange: boolean;
}

export function TemplateForm({ template, settings, mayChange }: Props) {
  const { name, version } = template;
  const queries = useQueryClient();
  const [draft, setDraft] = useState<Draft>(new Map());
  const [isChecking, setChecking] = useState(false);
  const fields = settings.map((setting): Field => {
    const own = template.settings.find((one) => one.name === setting.name)?.value.text ?? null;
    return { key: setting.name, setting, own };
  });
  const changes = changesOf(fields, draft);
  const change: UpdateTemplate = { ...valuesOf(changes), version };
  const renew = (keys: string[][]) => Promise.all(keys.map((queryKey) => queries.invalidateQueries({ queryKey })));
  const saving = useMutation({
    mutationFn: () => patch<ConfigTemplate>(templatePath(name), change),
    onSuccess: (changed) => {
      start(new Map());
      queries.setQueryData(["template", name], changed);
      return renew([["templates"], ["template-history", name], ["config"], ["config-history"]]);
    },
    onError: () => renew([["template", name]]),
  });
  /** Goes on with other values: what was checked before no longer counts. */
  const start = (next: Draft) => {
    setChecking(false);
    setDraft(next);
  };
  const edit = (key: string, text: string) => {
    saving.reset();
    start(new Map(draft).set(key, text));
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (changes.length > 0) setChecking(true);
  };
  return (
    <form onSubmit={submit}>
      <ul className={rows.rows}>
        {fields.map((field) => (
          <ValueRow key={field.key} field={field} text={textOf(field, draft)} onEdit={mayChange ? (text) => edit(field.key, text) : null} />
        ))}
      </ul>
      {changes.length > 0 && (
        <section className={rows.diff} aria-label="Changes to save">
          <ul>
            {changes.map(({ key, before, after }) => (
              <li key={key}>
                {key}: {before ?? ABSENT} → <strong>{after ?? ABSENT}</strong>
              </li>
            ))}
          </ul>
          {isChecking ? (
            <Preview
              template={template}
              change={change}
              isSaving={saving.isPending}
              onSave={() => saving.mutate()}
              onDiscard={() => start(new Map())}
            />
          ) : (
            <div className={styles.end}>
              <Button onClick={() => start(new Map())}>Discard</Button>
              <Button type="submit" look="main">
                Check devices
              </Button>
            </div>
          )}
        </section>
      )}
      {!mayChange && <p className={styles.quiet}>Only an owner can change templates. You can view them.</p>}
      <div role="alert">{saving.error && <p className={styles.failure}>{refusalText(saving.error)}</p>}</div>
    </form>
  );
}

interface RowProps {
  field: Field;
  text: string;
  onEdit: ((text: string) => void) | null;
}

function ValueRow({ field: { key, setting }, text, onEdit }: RowProps) {
  const id = useId();
  return (
    <li className={rows.row} data-setting={key} data-plain>
      <div className={rows.name}>
        <label htmlFor={id}>{nameText(setting.name)}</label>
        <span className={rows.hint} id={`${id}-hint`}>
          {setting.summary} {setting.kind !== "one_of" && `${allowedText(setting)}.`}
        </span>
      </div>
      {onEdit === null ? (
        <span className={rows.fixed}>{text || ABSENT}</span>
      ) : (
        <SettingInput id={id} setting={setting} text={text} absent={ABSENT} onEdit={onEdit} />
      )}
    </li>
  );
}
