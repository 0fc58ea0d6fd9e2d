/** What is wrong with the device, with the details that its inverters report. */
import { KeyRound } from "lucide-react";
import { useState } from "react";
import { useClaims, useSession } from "../../api/queries";
import type { DeviceDetail, InverterSummary, Trouble } from "../../api/types";
import { Button } from "../../components/Button";
import { TroubleNote } from "../../components/TroubleNote";
import { codeText, isCode } from "../../lib/codes";
import { RenewDialog } from "../enrol/RenewDialog";
import styles from "./DeviceTrouble.module.css";

/** Causes that a new claim code resolves. */
const RESOLVED_BY_CODE: Trouble["cause"][] = ["not_claimed", "nothing_received", "key_revoked"];

/** The state and the alarms that an inverter last reported, if there are any. */
function reportOf({ number, points, profile }: InverterSummary, isOnly: boolean): string[] {
  const found = points.flatMap((point) => {
    if (point.quality !== "good" || point.value == null) return [];
    if (isCode(point) && point.value !== 0) return [`alarm ${codeText(point.point, point.value, profile)}`];
    if (point.point === "state" && point.text) return [`state ${point.text.replaceAll("_", " ")}`];
    return [];
  });
  if (found.length === 0) return [];
  return [`${isOnly ? "It reports" : `Inverter ${number + 1} reports`}: ${found.join(", ")}.`];
}

export function DeviceTrouble({ device }: { device: DeviceDetail }) {
  const { trouble, inverters } = device;
  const [isRenewing, setRenewing] = useState(false);
  const isOwner = useSession().data?.role === "owner";
  const claims = useClaims(isOwner && trouble?.cause === "not_claimed");
  const isCodeGone = claims.data !== undefined && !claims.data.some((claim) => claim.device === device.id);
  // The dialog outlives the trouble: its code is shown until it is copied.
  if (!trouble && !isRenewing) return null;
  const concerned =
    trouble?.cause === "inverter_faulty"
      ? inverters.filter(({ number }) => trouble.inverters.includes(number))
      : [];
  const reported = concerned.flatMap((inverter) => reportOf(inverter, inverters.length === 1)).join(" ");
  return (
    <div className={styles.trouble} data-tone={device.state}>
      <TroubleNote device={device} more={trouble?.cause === "not_claimed" && isCodeGone ? "It can no longer be used." : reported} />
      {trouble && RESOLVED_BY_CODE.includes(trouble.cause) && isOwner && (
        <Button onClick={() => setRenewing(true)}>
          <KeyRound size={16} aria-hidden />
          New claim code
        </Button>
      )}
      <RenewDialog device={device} isOpen={isRenewing} onClose={() => setRenewing(false)} />
    </div>
  );
}
