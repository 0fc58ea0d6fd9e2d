/** Creates another claim code for an existing device whose first one was lost, or that needs a new key. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { post } from "../../api/client";
import type { CreateClaim, DeviceDetail, Enrolment } from "../../api/types";
import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { Code } from "./Code";
import { firstChoice, InverterFields, isCompleteChoice } from "./InverterFields";
import styles from "./Enrol.module.css";

interface Props {
  device: DeviceDetail;
  isOpen: boolean;
  onClose: () => void;
}

export function RenewDialog({ device, isOpen, onClose }: Props) {
  return (
    <Dialog title={`New claim code for ${device.name}`} isOpen={isOpen} onClose={onClose}>
      <Renew device={device} onClose={onClose} />
    </Dialog>
  );
}

function Renew({ device, onClose }: Omit<Props, "isOpen">) {
  const queries = useQueryClient();
  const isNew = device.last_seen == null;
  const [choice, setChoice] = useState(firstChoice);
  const renew = useMutation({
    mutationFn: () => post<Enrolment>(`/devices/${device.id}/claim`, {} satisfies CreateClaim),
    onSuccess: () => Promise.all(["device", "claims"].map((key) => queries.invalidateQueries({ queryKey: [key] }))),
  });
  if (renew.data) return <Code enrolment={renew.data} choice={isNew ? choice : undefined} onClose={onClose} />;
  return (
    <form
      className={styles.form}
      onSubmit={(event) => {
        event.preventDefault();
        renew.mutate();
      }}
    >
      <p>
        {isNew
          ? "The old code stops working when this one is created."
          : "Measurements are kept. The device's current key works until the new code is used."}
      </p>
      {isNew && <InverterFields choice={choice} onChange={setChoice} />}
      {renew.error && (
        <p className={styles.failure} role="alert">
          The code was not created: {renew.error.message}.
        </p>
      )}
      <Button type="submit" look="main" disabled={renew.isPending || (isNew && !isCompleteChoice(choice))}>
        {renew.isPending ? "Creating the code…" : "Create claim code"}
      </Button>
    </form>
  );
}
