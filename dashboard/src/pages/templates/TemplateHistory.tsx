/** Who changed which values of a template, newest first. */
import { useTemplateHistory } from "../../api/queries";
import { ChangeHistory } from "../../components/ChangeHistory";
import { ownZone } from "../../lib/zone";
import { changeText } from "../device/config/changes";

export function TemplateHistory({ name }: { name: string }) {
  return (
    <ChangeHistory
      history={useTemplateHistory(name)}
      zone={ownZone()}
      empty="The template has never been changed."
      made={({ version }) => `Version ${version}`}
      lines={({ settings }) =>
        settings.length === 0 ? ["Created without values"] : settings.map((change) => `${change.name}: ${changeText(change)}`)
      }
    />
  );
}
