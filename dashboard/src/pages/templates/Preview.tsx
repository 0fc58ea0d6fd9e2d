/** Which devices a change of a template would change, and how; it can be saved once that is known. */
import { useTemplatePreview } from "../../api/queries";
import type { ConfigTemplate, UpdateTemplate } from "../../api/types";
import { Button } from "../../components/Button";
import { Link } from "../../components/Link";
import { Problem, Skeleton } from "../../components/Problem";
import { changeText, keyOf } from "../device/config/changes";
import { affectedText } from "./words";
import styles from "./Templates.module.css";

interface Props {
  template: ConfigTemplate;
  change: UpdateTemplate;
  isSaving: boolean;
  onSave: () => void;
  onDiscard: () => void;
}

export function Preview({ template, change, isSaving, onSave, onDiscard }: Props) {
  const preview = useTemplatePreview(template.name, change);
  const devices = preview.data?.pages.flatMap((page) => page.devices);
  return (
    <>
      {devices ? (
        <p role="status">
          <strong>{affectedText(template.devices, devices.length, preview.hasNextPage)}</strong>
        </p>
      ) : preview.isError ? (
        <Problem what="The change could not be checked." error={preview.error} onRetry={() => void preview.refetch()} />
      ) : (
        <div role="status" aria-label="Checking the devices">
          <Skeleton height={64} />
        </div>
      )}
      {devices && devices.length > 0 && (
        <ul className={styles.affected} aria-label="Devices that would change" tabIndex={0}>
          {devices.map(({ device, settings }) => (
            <li key={device}>
              <Link to={`/devices/${encodeURIComponent(device)}?tab=configuration`}>{device}</Link>
              {settings.map((one) => (
                <span key={keyOf(one.name, one.inverter)}>
                  {keyOf(one.name, one.inverter)}: {changeText(one)}
                </span>
              ))}
            </li>
          ))}
        </ul>
      )}
      <div className={styles.end}>
        {preview.hasNextPage && (
          <Button disabled={preview.isFetchingNextPage} onClick={() => void preview.fetchNextPage()}>
            Show more devices
          </Button>
        )}
        <Button onClick={onDiscard}>Discard</Button>
        {devices && (
          <Button look="main" disabled={isSaving} onClick={onSave}>
            {isSaving ? "Saving…" : "Save"}
          </Button>
        )}
      </div>
    </>
  );
}
