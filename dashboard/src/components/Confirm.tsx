/** Asks before an action that cannot be undone, says what it affects and whether it worked. */
import { useMutation } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { Button } from "./Button";
import { Dialog } from "./Dialog";
import styles from "./Confirm.module.css";

interface Props {
  title: string;
  /** What the button does, such as "Revoke". */
  action: string;
  /** What it affects. */
  children: ReactNode;
  isOpen: boolean;
  /** Text to type before the button works, where a click is too easy. */
  typed?: string;
  onConfirm: () => Promise<unknown>;
  onClose: () => void;
}

export function Confirm({ title, isOpen, onClose, ...rest }: Props) {
  return (
    <Dialog title={title} isOpen={isOpen} onClose={onClose}>
      <Question {...rest} onClose={onClose} />
    </Dialog>
  );
}

function Question({ action, children, typed, onConfirm, onClose }: Omit<Props, "title" | "isOpen">) {
  const [text, setText] = useState("");
  const act = useMutation({ mutationFn: onConfirm, onSuccess: onClose });
  const isSure = typed === undefined || text.trim() === typed;
  return (
    <form
      className={styles.question}
      onSubmit={(event) => {
        event.preventDefault();
        if (isSure && !act.isPending) act.mutate();
      }}
    >
      {children}
      {typed !== undefined && (
        <label>
          <span>
            Type <strong>{typed}</strong> to continue
          </span>
          <input value={text} autoFocus spellCheck={false} onChange={(event) => setText(event.target.value)} />
        </label>
      )}
      {act.error && (
        <p className={styles.failure} role="alert">
          Not done: {act.error.message}.
        </p>
      )}
      <div className={styles.end}>
        <Button onClick={onClose}>Cancel</Button>
        <Button type="submit" look="danger" disabled={!isSure || act.isPending}>
          {act.isPending ? "Working…" : action}
        </Button>
      </div>
    </form>
  );
}
