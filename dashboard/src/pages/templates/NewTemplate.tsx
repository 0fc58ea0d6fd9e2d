/** Creates a template, which no device uses yet. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { post } from "../../api/client";
import type { ConfigTemplate } from "../../api/types";
import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { navigate } from "../../lib/route";
import styles from "./Templates.module.css";

interface Props {
  isOpen: boolean;
  onClose: () => void;
}

export function NewTemplate({ isOpen, onClose }: Props) {
  return (
    <Dialog title="New template" isOpen={isOpen} onClose={onClose}>
      <NameForm onClose={onClose} />
    </Dialog>
  );
}

function NameForm({ onClose }: { onClose: () => void }) {
  const queries = useQueryClient();
  const [name, setName] = useState("");
  const creating = useMutation({
    mutationFn: () => post<ConfigTemplate>("/config/templates", { name: name.trim() }),
    onSuccess: async (template) => {
      await queries.invalidateQueries({ queryKey: ["templates"] });
      navigate(`/templates/${encodeURIComponent(template.name)}`);
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (name.trim() && !creating.isPending) creating.mutate();
  };
  return (
    <form className={styles.form} onSubmit={submit}>
      <label>
        <span>Name</span>
        <input value={name} autoFocus autoComplete="off" spellCheck={false} maxLength={64} onChange={(event) => setName(event.target.value)} />
      </label>
      <p className={styles.quiet}>Letters, digits, - and _. The values are set on its page.</p>
      {creating.error && (
        <p className={styles.failure} role="alert">
          Not created: {creating.error.message}.
        </p>
      )}
      <div className={styles.end}>
        <Button onClick={onClose}>Cancel</Button>
        <Button type="submit" look="main" disabled={!name.trim() || creating.isPending}>
          {creating.isPending ? "Creating…" : "Create"}
        </Button>
      </div>
    </form>
  );
}
