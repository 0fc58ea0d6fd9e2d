/** Desired and reported settings, the form that changes them, and their history. */
import { useConfig, useSession, useSettings } from "../../../api/queries";
import type { DeviceConfig, DeviceDetail } from "../../../api/types";
import { Age } from "../../../components/Figure";
import { Link } from "../../../components/Link";
import { Problem, Skeleton } from "../../../components/Problem";
import { ConfigForm } from "./ConfigForm";
import { ConfigHistory } from "./ConfigHistory";
import { TemplateChoice } from "./TemplateChoice";
import { rowsOf } from "./changes";
import styles from "./Config.module.css";

export function ConfigTab({ device }: { device: DeviceDetail }) {
  const session = useSession();
  const settings = useSettings();
  const config = useConfig(device.id);
  const failed = [settings, config].find(({ isError }) => isError);
  if (failed && !(settings.data && config.data)) {
    return <Problem what="The configuration could not be loaded." error={failed.error} onRetry={() => void failed.refetch()} />;
  }
  if (!settings.data || !config.data) {
    return (
      <div role="status" aria-label="Loading the configuration">
        <Skeleton height={400} />
      </div>
    );
  }
  const inverters = device.inverters.map(({ number }) => number);
  const rows = rowsOf(settings.data.settings, config.data, inverters);
  return (
    <div className={styles.tab}>
      <section className={styles.panel} aria-label="Configuration">
        <h2>Configuration</h2>
        <Standing config={config.data} zone={device.site.time_zone} />
        {config.data.template && (
          <p className={styles.standing}>
            The device follows template{" "}
            <Link to={`/templates/${encodeURIComponent(config.data.template)}`}>{config.data.template}</Link>. A value that is set here
            counts before the template's.
          </p>
        )}
        {session.data?.role === "owner" && (
          <TemplateChoice key={config.data.template ?? ""} device={device.id} template={config.data.template ?? null} />
        )}
        <ConfigForm device={device.id} rows={rows} generation={config.data.generation} template={config.data.template ?? null} mayChange={session.data?.role === "owner"} />
      </section>
      <ConfigHistory device={device.id} zone={device.site.time_zone} />
    </div>
  );
}

/** How far the device is with the newest change. */
function Standing({ config, zone }: { config: DeviceConfig; zone: string }) {
  const { generation, pending, report, changed } = config;
  const at = (instant: string | null | undefined) => <Age at={instant} zone={zone} why="Not known" />;
  const isRefused = config.settings.some(({ state }) => state === "refused");
  let text;
  if (generation === 0) {
    text = <>Nothing is set remotely: the device uses its own configuration.</>;
  } else if (pending) {
    text = <>Generation {generation} was saved {at(changed)}. The device gets it with the reply to its next message.</>;
  } else if (report?.state === "reverted") {
    text = <>The device could not reach the server with generation {generation} and returned to the previous settings {at(report.received)}.</>;
  } else if (report?.state === "trial") {
    text = <>The device started to try generation {generation} {at(report.received)}. It keeps it once it has reached the server.</>;
  } else if (isRefused) {
    text = <>The device refused a part of generation {generation} {at(report?.received)}.</>;
  } else {
    text = <>The device applied generation {generation} {at(report?.received)}.</>;
  }
  return (
    <p className={styles.standing} role="status" data-testid="config-standing" data-pending={pending}>
      {text}
    </p>
  );
}
