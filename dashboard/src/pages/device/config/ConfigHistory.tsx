/** Who changed which settings, newest first. */
import { useConfigHistory } from "../../../api/queries";
import { ChangeHistory } from "../../../components/ChangeHistory";
import { changeText, keyOf } from "./changes";

export function ConfigHistory({ device, zone }: { device: string; zone: string }) {
  return (
    <ChangeHistory
      history={useConfigHistory(device)}
      zone={zone}
      empty="No setting was changed yet."
      made={({ generation }) => `Generation ${generation}`}
      lines={({ settings }) => settings.map((change) => `${keyOf(change.name, change.inverter)}: ${changeText(change)}`)}
    />
  );
}
