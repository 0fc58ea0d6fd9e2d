/** Makes another claim code for a device that is there: its first one was lost, or its key is no longer good. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { post } from "../../api/client";
import type { CreateClaim, DeviceDetail, Enrolment } from "../../api/types";
import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { Code } from "./Code";
import { FIRST_CHOICE, InverterFields, isCompleteChoice } from "./InverterFields";
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
  const [choice, setChoice] = useState(FIRST_CHOICE);
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
          ? "The former code is no longer good once this one is made."
          : "What was measured stays. The device's present key is good until the new code is used."}
      </p>
      {isNew && <InverterFields choice={choice} onChange={setChoice} />}
      {renew.error && (
        <p className={styles.failure} role="alert">
          No code was made: {renew.error.message}.
        </p>
      )}
      <Button type="submit" look="main" disabled={renew.isPending || (isNew && !isCompleteChoice(choice))}>
        {renew.isPending ? "Making the code…" : "Make a claim code"}
      </Button>
    </form>
  );
}
