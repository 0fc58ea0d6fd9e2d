/** Name, site and key of the device. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { KeyRound } from "lucide-react";
import { useId, useState, type FormEvent } from "react";
import { ApiError, patch, post, remove } from "../../api/client";
import { useClaims, useSession, useSites } from "../../api/queries";
import type { DeviceDetail, Site, Updated, UpdateDevice, UpdateSite } from "../../api/types";
import { Button } from "../../components/Button";
import { Confirm } from "../../components/Confirm";
import { amountText, countText, power } from "../../lib/format";
import { navigate } from "../../lib/route";
import { isZone, ownZone } from "../../lib/zone";
import { Expiry } from "../access/Expiry";
import { RenewDialog } from "../enrol/RenewDialog";
import styles from "./Management.module.css";

const NAME_MAX = 80;

export function Management({ device }: { device: DeviceDetail }) {
  const session = useSession();
  if (session.data && session.data.role !== "owner") {
    return <p className={styles.none}>Only an owner can change a device. You can view it.</p>;
  }
  return (
    <div className={styles.panels}>
      <NameAndPlace device={device} />
      <SiteSettings key={`${device.site.id}`} site={device.site} />
      <Key device={device} />
      <Removal device={device} />
    </div>
  );
}

/** Queries that show a device or its site; fetched again when they change. */
const SHOWN = ["device", "fleet", "sites", "found", "claims"];

/** Saves, then fetches everything that shows it. */
function useSaving<T extends { keep_past_days?: boolean }>(path: string) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (change: T) => patch<Updated>(path, change),
    onSuccess: () => Promise.all(SHOWN.map((key) => queries.invalidateQueries({ queryKey: [key] }))),
  });
}

/** The server's refusal of a change that past days would not follow. */
const PAST_DAYS = "past_days";

interface OutcomeProps<T> {
  saving: {
    data: Updated | undefined;
    error: Error | null;
    variables: T | undefined;
    isPending: boolean;
    mutate: (change: T) => void;
  };
}

function Outcome<T extends { keep_past_days?: boolean }>({ saving }: OutcomeProps<T>) {
  const { data, error, variables } = saving;
  const isAsked = error instanceof ApiError && error.code === PAST_DAYS && variables !== undefined;
  return (
    <div className={styles.outcome} role="status">
      {isAsked ? (
        <>
          <p className={styles.failure}>
            Not saved: the time zone would change. Past days keep the bounds of the old zone, and today mixes both.
          </p>
          <Button disabled={saving.isPending} onClick={() => saving.mutate({ ...variables, keep_past_days: true })}>
            Change anyway
          </Button>
        </>
      ) : error ? (
        <p className={styles.failure}>Not saved: {error.message}.</p>
      ) : (
        data && <p className={styles.done}>Saved.{data.warning && ` But ${data.warning}.`}</p>
      )}
    </div>
  );
}

function NameAndPlace({ device }: { device: DeviceDetail }) {
  const id = useId();
  const sites = useSites();
  const [name, setName] = useState(device.name);
  const [site, setSite] = useState(device.site.name);
  const [zone, setZone] = useState(device.last_seen == null ? ownZone() : device.site.time_zone);
  const saving = useSaving<UpdateDevice>(`/devices/${encodeURIComponent(device.id)}`);
  const isKnown = sites.data?.some((known) => known.name === site.trim()) ?? true;
  const isMoved = site.trim() !== device.site.name;
  const isChanged = name.trim() !== device.name || isMoved;
  const isComplete = name.trim() !== "" && site.trim() !== "" && (isKnown || isZone(zone));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!isChanged || !isComplete) return;
    saving.mutate({
      ...(name.trim() !== device.name && { name: name.trim() }),
      ...(isMoved && { site: isKnown ? { name: site.trim() } : { name: site.trim(), time_zone: zone } }),
    });
  };
  return (
    <section className={styles.panel} aria-label="Name and site">
      <h2>Name and site</h2>
      <form className={styles.form} onSubmit={submit}>
        <label>
          <span>Name</span>
          <input value={name} required maxLength={NAME_MAX} onChange={(event) => setName(event.target.value)} />
        </label>
        <label>
          <span>Site</span>
          <input
            value={site}
            required
            maxLength={NAME_MAX}
            list={`${id}-sites`}
            onChange={(event) => setSite(event.target.value)}
          />
          <datalist id={`${id}-sites`}>
            {sites.data?.map((known) => (
              <option key={known.id} value={known.name} />
            ))}
          </datalist>
        </label>
        {isMoved && !isKnown && (
          <label>
            <span>Time zone of the new site</span>
            <input value={zone} required aria-invalid={!isZone(zone)} onChange={(event) => setZone(event.target.value)} />
          </label>
        )}
        <Outcome saving={saving} />
        <div className={styles.end}>
          <Button type="submit" look="main" disabled={!isChanged || !isComplete || saving.isPending}>
            {saving.isPending ? "Saving…" : "Save"}
          </Button>
        </div>
      </form>
    </section>
  );
}

function SiteSettings({ site }: { site: Site }) {
  const [name, setName] = useState(site.name);
  const [zone, setZone] = useState(site.time_zone);
  const saving = useSaving<UpdateSite>(`/sites/${site.id}`);
  const isChanged = name.trim() !== site.name || zone.trim() !== site.time_zone;
  const isComplete = name.trim() !== "" && isZone(zone.trim());
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!isChanged || !isComplete) return;
    saving.mutate({
      ...(name.trim() !== site.name && { name: name.trim() }),
      ...(zone.trim() !== site.time_zone && { time_zone: zone.trim() }),
    });
  };
  return (
    <section className={styles.panel} aria-label={`Site ${site.name}`}>
      <h2>Site {site.name}</h2>
      <p className={styles.hint}>This applies to all devices of the site.</p>
      <form className={styles.form} onSubmit={submit}>
        <label>
          <span>Site's name</span>
          <input value={name} required maxLength={NAME_MAX} onChange={(event) => setName(event.target.value)} />
        </label>
        <label>
          <span>Site's time zone</span>
          <input
            value={zone}
            required
            aria-invalid={!isZone(zone.trim())}
            onChange={(event) => setZone(event.target.value)}
          />
          <span className={styles.hint}>
            {isZone(zone.trim()) ? "Days begin and end in this time zone." : "Not a time zone. Example: Europe/Berlin"}
          </span>
        </label>
        <Outcome saving={saving} />
        <div className={styles.end}>
          <Button type="submit" look="main" disabled={!isChanged || !isComplete || saving.isPending}>
            {saving.isPending ? "Saving…" : "Save site"}
          </Button>
        </div>
      </form>
    </section>
  );
}

function Key({ device }: { device: DeviceDetail }) {
  const queries = useQueryClient();
  const claims = useClaims();
  const [isRenewing, setRenewing] = useState(false);
  const [isRevoking, setRevoking] = useState(false);
  const [isResetting, setResetting] = useState(false);
  const claim = claims.data?.find((open) => open.device === device.id);
  const { key_generation, key_revoked } = device.link;
  const hasKey = key_revoked == null && device.trouble?.cause !== "not_claimed";
  const reset = async () => {
    await post<void>(`/devices/${encodeURIComponent(device.id)}/reset`, undefined);
    await Promise.all(SHOWN.map((key) => queries.invalidateQueries({ queryKey: [key] })));
  };
  const revoke = async () => {
    await remove(`/devices/${encodeURIComponent(device.id)}/keys`);
    await Promise.all(SHOWN.map((key) => queries.invalidateQueries({ queryKey: [key] })));
  };
  return (
    <section className={styles.panel} aria-label="Key">
      <h2>Key</h2>
      <p className={styles.hint}>
        {key_revoked != null
          ? "The key is revoked: the server rejects messages of this device. A new claim code gives it a new key."
          : hasKey
            ? `Key generation ${key_generation}. A new claim code gives the device a new key.`
            : "The device has no key yet: its claim code has not been used."}
      </p>
      {claim && (
        <p className={styles.hint}>
          A claim code, {claim.id}-…, is unused, valid <Expiry at={claim.expires} />. A new one replaces it.
        </p>
      )}
      <div className={styles.actions}>
        <Button onClick={() => setRenewing(true)}>
          <KeyRound size={16} aria-hidden />
          New claim code
        </Button>
        {hasKey && (
          <Button onClick={() => setRevoking(true)} className={styles.danger}>
            Revoke key
          </Button>
        )}
        <Button onClick={() => setResetting(true)} className={styles.danger}>
          Reset
        </Button>
      </div>
      <Confirm
        title={`Reset ${device.name}?`}
        action="Reset"
        isOpen={isResetting}
        onConfirm={reset}
        onClose={() => setResetting(false)}
      >
        <p>
          For a device whose key may have been stolen. Revokes its keys and claim codes, and forgets the state that was
          reported under them. Measurements are kept. The device then needs a new claim code.
        </p>
      </Confirm>
      <RenewDialog device={device} isOpen={isRenewing} onClose={() => setRenewing(false)} />
      <Confirm
        title={`Revoke the key of ${device.name}?`}
        action="Revoke key"
        isOpen={isRevoking}
        onConfirm={revoke}
        onClose={() => setRevoking(false)}
      >
        <p>
          From now on messages of {device.name} are rejected
          {device.power_w != null && `; it reports ${amountText(power(device.power_w))} now`}. It keeps measuring and
          sends the stored samples once it is enrolled again. Its unused claim code is revoked too.
        </p>
      </Confirm>
    </section>
  );
}

function Removal({ device }: { device: DeviceDetail }) {
  const queries = useQueryClient();
  const [isAsking, setAsking] = useState(false);
  const { samples } = device.link;
  const destroy = async () => {
    await remove(`/devices/${encodeURIComponent(device.id)}`);
    navigate("/", { replace: true });
    queries.removeQueries({ queryKey: ["device", device.id] });
    await Promise.all(SHOWN.filter((key) => key !== "device").map((key) => queries.invalidateQueries({ queryKey: [key] })));
  };
  return (
    <section className={styles.panel} aria-label="Delete">
      <h2>Delete</h2>
      <p className={styles.hint}>Deletes the device and all of its measurements. Its number is not used again.</p>
      <div className={styles.actions}>
        <Button onClick={() => setAsking(true)} className={styles.danger}>
          Delete device
        </Button>
      </div>
      <Confirm
        title={`Delete ${device.name}?`}
        action="Delete permanently"
        typed={device.id}
        isOpen={isAsking}
        onConfirm={destroy}
        onClose={() => setAsking(false)}
      >
        <p>
          {samples > 0 ? `${countText(samples, "sample")} and their energy are deleted with it. ` : "It has no measurements. "}
          This cannot be undone.
        </p>
      </Confirm>
    </section>
  );
}
