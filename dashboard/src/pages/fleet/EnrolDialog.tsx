/** Makes a claim code for a device that is to be, and shows it once. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useId, useState, type FormEvent } from "react";
import { post } from "../../api/client";
import type { EnrolDevice, Enrolment, Site } from "../../api/types";
import { Button } from "../../components/Button";
import { Copy } from "../../components/Copy";
import { Dialog } from "../../components/Dialog";
import { Link } from "../../components/Link";
import { exactText, isZone } from "../../lib/zone";
import styles from "./EnrolDialog.module.css";

interface Props {
  isOpen: boolean;
  sites: Site[];
  onClose: () => void;
}

const NAME_MAX = 80;
const OWN_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

export function EnrolDialog({ isOpen, sites, onClose }: Props) {
  return (
    <Dialog title="Add a device" isOpen={isOpen} onClose={onClose}>
      <Enrol sites={sites} onClose={onClose} />
    </Dialog>
  );
}

function Enrol({ sites, onClose }: Omit<Props, "isOpen">) {
  const queries = useQueryClient();
  const enrol = useMutation({
    mutationFn: (wanted: EnrolDevice) => post<Enrolment>("/devices", wanted),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["fleet"] }),
  });
  if (enrol.data) return <Code enrolment={enrol.data} onClose={onClose} />;
  return (
    <Form
      sites={sites}
      isBusy={enrol.isPending}
      failure={enrol.error?.message ?? null}
      onSubmit={enrol.mutate}
    />
  );
}

interface FormProps {
  sites: Site[];
  isBusy: boolean;
  failure: string | null;
  onSubmit: (wanted: EnrolDevice) => void;
}

function Form({ sites, isBusy, failure, onSubmit }: FormProps) {
  const id = useId();
  const [name, setName] = useState("");
  const [siteName, setSiteName] = useState(sites[0]?.name ?? "");
  const [zone, setZone] = useState(OWN_ZONE);
  const known = sites.find((site) => site.name === siteName.trim());
  const isComplete = name.trim() !== "" && siteName.trim() !== "" && (known || isZone(zone));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!isComplete || isBusy) return;
    const site = known ? { name: known.name } : { name: siteName.trim(), time_zone: zone };
    onSubmit({ name: name.trim(), site });
  };
  return (
    <form className={styles.form} onSubmit={submit}>
      <label>
        <span>Name</span>
        <input
          value={name}
          maxLength={NAME_MAX}
          required
          autoFocus
          placeholder="Roof east"
          onChange={(event) => setName(event.target.value)}
        />
      </label>
      <label>
        <span>Site</span>
        <input
          value={siteName}
          maxLength={NAME_MAX}
          required
          list={`${id}-sites`}
          placeholder="Home"
          onChange={(event) => setSiteName(event.target.value)}
        />
        <datalist id={`${id}-sites`}>
          {[...new Set(sites.map((site) => site.name))].map((site) => (
            <option key={site} value={site} />
          ))}
        </datalist>
      </label>
      {known ? (
        <p className={styles.hint}>Days at {known.name} begin and end by {known.time_zone}.</p>
      ) : (
        <label>
          <span>Time zone of the site</span>
          <input
            value={zone}
            required
            aria-invalid={!isZone(zone)}
            aria-describedby={`${id}-zone`}
            onChange={(event) => setZone(event.target.value)}
          />
          <span id={`${id}-zone`} className={styles.hint}>
            {isZone(zone) ? "Its days begin and end by this zone." : "Not a zone; write it like Europe/Berlin."}
          </span>
        </label>
      )}
      {failure && (
        <p className={styles.failure} role="alert">
          No code was made: {failure}.
        </p>
      )}
      <Button type="submit" look="main" disabled={!isComplete || isBusy}>
        {isBusy ? "Making the code…" : "Make a claim code"}
      </Button>
    </form>
  );
}

function Code({ enrolment, onClose }: { enrolment: Enrolment; onClose: () => void }) {
  const address = window.location.origin;
  return (
    <div className={styles.form}>
      <p>
        Claim code for <strong>{enrolment.device}</strong>. It is shown this once and can be redeemed
        once, until {exactText(Date.parse(enrolment.expires), OWN_ZONE)}.
      </p>
      <Copy label="Claim code" text={enrolment.claim_code} />
      <p>
        Put this into <code>agent.toml</code> on the device, beside the section of its inverter:
      </p>
      <Copy label="Configuration" text={`server = "${address}"\nclaim_code = "${enrolment.claim_code}"`} />
      <p>Then start the agent; its first reading appears here by itself:</p>
      <Copy label="Command" text="ecowatt agent --config /etc/ecowatt/agent.toml" />
      <div className={styles.end}>
        <Link to={`/devices/${enrolment.device}`}>Go to {enrolment.device}</Link>
        <Button look="main" onClick={onClose}>
          Done
        </Button>
      </div>
    </div>
  );
}
