/** Who changed which values of a template, newest first. */
import { useTemplateHistory } from "../../api/queries";
import { Button } from "../../components/Button";
import { Age } from "../../components/Figure";
import { Problem, Skeleton } from "../../components/Problem";
import { ownZone } from "../../lib/zone";
import { changeText } from "../device/config/changes";
import rows from "../device/config/Config.module.css";
import styles from "./Templates.module.css";

export function TemplateHistory({ name }: { name: string }) {
  const history = useTemplateHistory(name);
  const changes = history.data?.pages.flatMap((page) => page.changes);
  return (
    <section className={styles.panel} aria-label="History">
      <h2>History</h2>
      {history.isError && !changes ? (
        <Problem what="The history could not be loaded." error={history.error} onRetry={() => void history.refetch()} />
      ) : !changes ? (
        <Skeleton height={120} />
      ) : (
        <ol className={rows.history}>
          {changes.map(({ version, at, by, settings }) => (
            <li key={version}>
              <span className={styles.quiet}>
                Version {version}, <Age at={at} zone={ownZone()} why="" />, {by}
              </span>
              <ul>
                {settings.length === 0 && <li>Created without values</li>}
                {settings.map((change) => (
                  <li key={change.name}>
                    {change.name}: {changeText(change)}
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
