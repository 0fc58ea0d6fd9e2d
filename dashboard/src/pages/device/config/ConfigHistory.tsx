/** Who changed which settings, newest first. */
import { useConfigHistory } from "../../../api/queries";
import { Age } from "../../../components/Figure";
import { Button } from "../../../components/Button";
import { Problem, Skeleton } from "../../../components/Problem";
import { changeText, keyOf } from "./changes";
import styles from "./Config.module.css";

export function ConfigHistory({ device, zone }: { device: string; zone: string }) {
  const history = useConfigHistory(device);
  const changes = history.data?.pages.flatMap((page) => page.changes);
  return (
    <section className={styles.panel} aria-label="History">
      <h2>History</h2>
      {history.isError && !changes ? (
        <Problem what="The history could not be loaded." error={history.error} onRetry={() => void history.refetch()} />
      ) : !changes ? (
        <Skeleton height={120} />
      ) : changes.length === 0 ? (
        <p className={styles.hint}>No setting was changed yet.</p>
      ) : (
        <ol className={styles.history}>
          {changes.map(({ generation, at, by, settings }) => (
            <li key={generation}>
              <span className={styles.hint}>
                Generation {generation}, <Age at={at} zone={zone} why="" />, {by}
              </span>
              <ul>
                {settings.map((change) => (
                  <li key={keyOf(change.name, change.inverter)}>
                    {keyOf(change.name, change.inverter)}: {changeText(change)}
                  </li>
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
