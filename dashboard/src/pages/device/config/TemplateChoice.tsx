/** Gives the device a template, another one, or none. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useId, useState, type FormEvent } from "react";
import { put } from "../../../api/client";
import { useTemplates } from "../../../api/queries";
import type { DeviceConfig } from "../../../api/types";
import { Button } from "../../../components/Button";
import { Problem, Skeleton } from "../../../components/Problem";
import styles from "./Config.module.css";

export function TemplateChoice({ device, template }: { device: string; template: string | null }) {
  const id = useId();
  const queries = useQueryClient();
  const templates = useTemplates();
  const [chosen, setChosen] = useState(template ?? "");
  const assigning = useMutation({
    mutationFn: () =>
      put<DeviceConfig>(`/devices/${encodeURIComponent(device)}/config/template`, { template: chosen || null }),
    onSuccess: (config) => {
      queries.setQueryData(["config", device], config);
      const changed = [["config-history", device], ["templates"], ["template"]];
      return Promise.all(changed.map((queryKey) => queries.invalidateQueries({ queryKey })));
    },
  });
  if (!templates.data) {
    return templates.isError ? (
      <Problem what="The templates could not be loaded." error={templates.error} onRetry={() => void templates.refetch()} />
    ) : (
      <Skeleton height={44} />
    );
  }
  const names = templates.data.templates.map(({ name }) => name);
  if (names.length === 0) return null;
  const isOther = chosen !== (template ?? "");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (isOther && !assigning.isPending) assigning.mutate();
  };
  return (
    <form className={styles.choice} onSubmit={submit}>
      <label htmlFor={id}>Template</label>
      <select
        id={id}
        value={chosen}
        onChange={(event) => {
          assigning.reset();
          setChosen(event.target.value);
        }}
      >
        <option value="">None</option>
        {names.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
      {isOther && (
        <>
          <Button type="submit" look="main" disabled={assigning.isPending}>
            {assigning.isPending ? "Saving…" : chosen ? "Use template" : "Remove template"}
          </Button>
          <span className={styles.hint}>
            {chosen
              ? "Settings without a value of the device's own get the template's."
              : "Settings without a value of the device's own return to its own configuration."}
          </span>
        </>
      )}
      {assigning.error && (
        <p className={styles.failure} role="alert">
          Not saved: {assigning.error.message}.
        </p>
      )}
    </form>
  );
}
