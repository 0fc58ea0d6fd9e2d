/** Shown in place of content that could not be loaded, or is being loaded. */
import { CircleAlert } from "lucide-react";
import { ApiError } from "../api/client";
import { Button } from "./Button";
import styles from "./Problem.module.css";

export function Problem({ what, error, onRetry }: { what: string; error: unknown; onRetry: () => void }) {
  const reason = error instanceof Error ? error.message : "the reason is not known";
  const requestId = error instanceof ApiError ? error.requestId : null;
  return (
    <div className={styles.problem} role="alert">
      <CircleAlert size={20} aria-hidden />
      <div>
        <p className={styles.what}>{what}</p>
        <p className={styles.why}>
          {reason.charAt(0).toUpperCase() + reason.slice(1)}.
          {requestId && (
            <>
              {" "}
              Request <code>{requestId}</code>.
            </>
          )}
        </p>
      </div>
      <Button onClick={onRetry}>Try again</Button>
    </div>
  );
}

export function Skeleton({ width, height }: { width?: number | string; height: number }) {
  return <span className={styles.skeleton} style={{ width: width ?? "100%", height }} aria-hidden="true" />;
}
