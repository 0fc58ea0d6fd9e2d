/** A new claim code, with everything needed to start an agent with it. */
import type { Enrolment } from "../../api/types";
import { Button } from "../../components/Button";
import { Copy } from "../../components/Copy";
import { Link } from "../../components/Link";
import { exactText, ownZone } from "../../lib/zone";
import { AGENT_FILE, agentToml, transportOf } from "./agentToml";
import type { InverterChoice } from "./InverterFields";
import styles from "./Enrol.module.css";

/** The server's messages are worded as part of a sentence. */
function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

interface Props {
  enrolment: Enrolment;
  /** Absent if the device has its configuration already, except for the code. */
  choice?: InverterChoice;
  onClose: () => void;
}

export function Code({ enrolment, choice, onClose }: Props) {
  const { device, claim_code, expires, warning } = enrolment;
  const transport = choice && transportOf(choice.kind, choice.address);
  return (
    <div className={styles.form}>
      <p>
        Claim code for <strong>{device}</strong>. It is shown only once and can be used once, until{" "}
        {exactText(Date.parse(expires), ownZone())}.
      </p>
      {warning && <p className={styles.hint}>{sentence(warning)}</p>}
      <Copy label="Claim code" text={claim_code} />
      <p>
        {choice ? (
          <>
            On the device, save this as <code>{AGENT_FILE}</code>:
          </>
        ) : (
          <>
            On the device, replace the old code in <code>{AGENT_FILE}</code> with this:
          </>
        )}
      </p>
      <Copy
        label="Configuration"
        text={
          choice && transport
            ? agentToml({
                server: choice.server,
                claimCode: claim_code,
                transport,
                unit: choice.unit === "" ? null : Number(choice.unit),
                profile: choice.profile,
              })
            : `claim_code = "${claim_code}"`
        }
      />
      <p>Then start the agent. Its first reading appears here by itself.</p>
      <Copy label="Command" text={`ecowatt agent --config ${AGENT_FILE}`} />
      <div className={styles.end}>
        <Link to={`/devices/${device}`} onClick={onClose}>
          Go to {device}
        </Link>
        <Button look="main" onClick={onClose}>
          Done
        </Button>
      </div>
    </div>
  );
}
