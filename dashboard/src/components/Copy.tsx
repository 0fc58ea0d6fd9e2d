/** Text with a button that copies it. */
import { Check, Copy as CopyIcon } from "lucide-react";
import { useEffect, useState } from "react";
import styles from "./Copy.module.css";

const SAID_MS = 2_000;

/** Pages loaded over plain HTTP have no clipboard API; selecting still works. */
async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

export function Copy({ text, label }: { text: string; label: string }) {
  const [outcome, setOutcome] = useState<"copied" | "failed" | null>(null);
  useEffect(() => {
    if (!outcome) return;
    const timer = setTimeout(() => setOutcome(null), SAID_MS);
    return () => clearTimeout(timer);
  }, [outcome]);
  return (
    <div className={styles.copy}>
      <code tabIndex={0} aria-label={label} className={styles.text}>
        {text}
      </code>
      <button
        type="button"
        className={styles.button}
        onClick={() => void copy(text).then((done) => setOutcome(done ? "copied" : "failed"))}
      >
        {outcome === "copied" ? <Check size={16} aria-hidden /> : <CopyIcon size={16} aria-hidden />}
        <span aria-live="polite">
          {outcome === "copied" ? "Copied" : outcome === "failed" ? "Select and copy" : "Copy"}
        </span>
      </button>
    </div>
  );
}
