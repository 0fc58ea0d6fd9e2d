/** Creates a claim code for a new device, and shows it once. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useId, useState, type FormEvent } from "react";
import { post } from "../../api/client";
import type { CreateDevice, Device, Enrolment } from "../../api/types";
import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { isZone, ownZone } from "../../lib/zone";
import { Code } from "./Code";
import { firstChoice, InverterFields, isCompleteChoice, type InverterChoice } from "./InverterFields";
import styles from "./Enrol.module.css";

interface Props {
  isOpen: boolean;
  devices: Device[];
  onClose: () => void;
}

const NAME_MAX = 80;

export function EnrolDialog({ isOpen, devices, onClose }: Props) {
  return (
    <Dialog title="Add a device" isOpen={isOpen} onClose={onClose}>
      <Enrol devices={devices} onClose={onClose} />
    </Dialog>
  );
}

function Enrol({ devices, onClose }: Omit<Props, "isOpen">) {
  const queries = useQueryClient();
  const enrol = useMutation({
    mutationFn: (wanted: CreateDevice) => post<Enrolment>("/devices", wanted),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["fleet"] }),
  });
  const [choice, setChoice] = useState(firstChoice);
  if (enrol.data) return <Code enrolment={enrol.data} choice={choice} onClose={onClose} />;
  return (
    <Form
      devices={devices}
      choice={choice}
      onChoice={setChoice}
      isBusy={enrol.isPending}
      failure={enrol.error?.message ?? null}
      onSubmit={enrol.mutate}
    />
  );
}

interface FormProps {
  devices: Device[];
  choice: InverterChoice;
  onChoice: (choice: InverterChoice) => void;
  isBusy: boolean;
  failure: string | null;
  onSubmit: (wanted: CreateDevice) => void;
}

function Form({ devices, choice, onChoice, isBusy, failure, onSubmit }: FormProps) {
  const id = useId();
  const sites = devices.map(({ site }) => site);
  const [name, setName] = useState("");
  const [typedSite, setSiteName] = useState<string | null>(null);
  // The fleet may arrive after the dialog was opened.
  const siteName = typedSite ?? sites[0]?.name ?? "";
  const [zone, setZone] = useState(ownZone);
  const known = sites.find((site) => site.name === siteName.trim());
  const isComplete = name.trim() !== "" && siteName.trim() !== "" && (known || isZone(zone)) && isCompleteChoice(choice);
  const namesake = devices.find((device) => device.name.toLowerCase() === name.trim().toLowerCase());
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
        {namesake && (
          <span className={styles.hint}>
            {namesake.id} has this name already. To create a new code for it, open its page.
          </span>
        )}
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
        <p className={styles.hint}>Days at {known.name} begin and end in the time zone {known.time_zone}.</p>
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
            {isZone(zone) ? "Days begin and end in this time zone." : "Not a time zone. Example: Europe/Berlin"}
          </span>
        </label>
      )}
      <InverterFields choice={choice} onChange={onChoice} />
      {failure && (
        <p className={styles.failure} role="alert">
          The code was not created: {failure}.
        </p>
      )}
      <Button type="submit" look="main" disabled={!isComplete || isBusy}>
        {isBusy ? "Creating the code…" : "Create claim code"}
      </Button>
    </form>
  );
}
