/** Who changed what, newest first, loaded page by page. */
import type { InfiniteData, UseInfiniteQueryResult } from "@tanstack/react-query";
import { Button } from "./Button";
import styles from "./ChangeHistory.module.css";
import { Age } from "./Figure";
import { Problem, Skeleton } from "./Problem";

interface Change {
  at: string;
  by: string;
}

interface Props<C extends Change> {
  history: UseInfiniteQueryResult<InfiniteData<{ changes: C[] }>>;
  zone: string;
  /** Shown if there is no change. */
  empty: string;
  /** What the change made, such as "Version 3". */
  made: (change: C) => string;
  lines: (change: C) => string[];
}

export function ChangeHistory<C extends Change>({ history, zone, empty, made, lines }: Props<C>) {
  const changes = history.data?.pages.flatMap((page) => page.changes);
  return (
    <section className={styles.panel} aria-label="History">
      <h2>History</h2>
      {history.isError && !changes ? (
        <Problem what="The history could not be loaded." error={history.error} onRetry={() => void history.refetch()} />
      ) : !changes ? (
        <Skeleton height={120} />
      ) : changes.length === 0 ? (
        <p className={styles.quiet}>{empty}</p>
      ) : (
        <ol className={styles.changes}>
          {changes.map((change) => (
            <li key={made(change)}>
              <span className={styles.quiet}>
                {made(change)}, <Age at={change.at} zone={zone} why="" />, {change.by}
              </span>
              <ul>
                {lines(change).map((line) => (
                  <li key={line}>{line}</li>
                ))}
              </ul>
            </li>
          ))}
        </ol>
      )}
      {history.hasNextPage && (
        <Button disabled={history.isFetchingNextPage} onClick={() => void history.fetchNextPage()}>
          Show older changes
        </Button>
      )}
    </section>
  );
}
