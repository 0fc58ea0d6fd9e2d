/** Creates a token and shows it once. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { post } from "../../api/client";
import type { CreatedToken, CreateToken, Role } from "../../api/types";
import { Button } from "../../components/Button";
import { Copy } from "../../components/Copy";
import { Dialog } from "../../components/Dialog";
import { ROLES } from "./roles";
import styles from "./Access.module.css";

const DAY_S = 86_400;
const LIFETIMES = [
  { label: "7 days", seconds: 7 * DAY_S },
  { label: "30 days", seconds: 30 * DAY_S },
  { label: "90 days", seconds: 90 * DAY_S },
  { label: "A year", seconds: 365 * DAY_S },
  { label: "No expiry", seconds: null },
];
const USUAL = 2;
const NAME_MAX = 80;

export function NewToken({ isOpen, onClose }: { isOpen: boolean; onClose: () => void }) {
  return (
    <Dialog title="New token" isOpen={isOpen} onClose={onClose}>
      <Make onClose={onClose} />
    </Dialog>
  );
}

function Make({ onClose }: { onClose: () => void }) {
  const queries = useQueryClient();
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("viewer");
  const [lifetime, setLifetime] = useState(USUAL);
  const make = useMutation({
    mutationFn: (wanted: CreateToken) => post<CreatedToken>("/tokens", wanted),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["tokens"] }),
  });
  if (make.data) {
    return (
      <div className={styles.form}>
        <p>
          The token “{make.data.name}”. <strong>It is shown only once.</strong>
        </p>
        <Copy label="Token" text={make.data.secret} />
        <Button look="main" onClick={onClose}>
          I saved it
        </Button>
      </div>
    );
  }
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const seconds = LIFETIMES[lifetime]!.seconds;
    make.mutate({ name: name.trim(), role, ...(seconds === null ? {} : { valid_for_s: seconds }) });
  };
  return (
    <form className={styles.form} onSubmit={submit}>
      <label>
        <span>Name</span>
        <input
          value={name}
          required
          autoFocus
          maxLength={NAME_MAX}
          placeholder="Tablet in the hall"
          onChange={(event) => setName(event.target.value)}
        />
      </label>
      <label>
        <span>Role</span>
        <select value={role} onChange={(event) => setRole(event.target.value as Role)}>
          {(Object.keys(ROLES) as Role[]).map((one) => (
            <option key={one} value={one}>
              {ROLES[one].word}
            </option>
          ))}
        </select>
        <span className={styles.what}>{ROLES[role].means}.</span>
      </label>
      <label>
        <span>Valid for</span>
        <select value={lifetime} onChange={(event) => setLifetime(Number(event.target.value))}>
          {LIFETIMES.map(({ label }, place) => (
            <option key={label} value={place}>
              {label}
            </option>
          ))}
        </select>
      </label>
      {make.error && (
        <p className={styles.failure} role="alert">
          The token was not created: {make.error.message}.
        </p>
      )}
      <Button type="submit" look="main" disabled={name.trim() === "" || make.isPending}>
        {make.isPending ? "Creating the token…" : "Create token"}
      </Button>
    </form>
  );
}
