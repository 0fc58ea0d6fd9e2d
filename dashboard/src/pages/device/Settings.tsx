/** What the device is called, where it stands, and how it is let in. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { KeyRound } from "lucide-react";
import { useId, useState, type FormEvent } from "react";
import { patch, remove } from "../../api/client";
import { useClaims, useSession, useSites } from "../../api/queries";
import type { DeviceDetail, Site, UpdateDevice, UpdateSite } from "../../api/types";
import { Button } from "../../components/Button";
import { Confirm } from "../../components/Confirm";
import { amountText, power } from "../../lib/format";
import { isZone, OWN_ZONE } from "../../lib/zone";
import { Until } from "../access/Until";
import { RenewDialog } from "../enrol/RenewDialog";
import styles from "./Settings.module.css";

const NAME_MAX = 80;

export function Settings({ device }: { device: DeviceDetail }) {
  const session = useSession();
  if (session.data && session.data.role !== "owner") {
    return <p className={styles.none}>Only an owner changes a device. You may look at it.</p>;
  }
  return (
    <div className={styles.panels}>
      <NameAndPlace key={`${device.name} ${device.site.id}`} device={device} />
      <SiteSettings key={`${device.site.name} ${device.site.time_zone}`} device={device} site={device.site} />
      <Key device={device} />
    </div>
  );
}

/** Saves, then asks again for whatever shows it. */
function useSaving<T>(path: string) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (change: T) => patch(path, change),
    onSuccess: () =>
      Promise.all(["device", "fleet", "sites", "found"].map((key) => queries.invalidateQueries({ queryKey: [key] }))),
  });
}

function Outcome({ saving }: { saving: { isSuccess: boolean; error: Error | null } }) {
  return (
    <span role="status" className={saving.error ? styles.failure : styles.done}>
      {saving.error ? `Not saved: ${saving.error.message}.` : saving.isSuccess ? "Saved." : ""}
    </span>
  );
}

function NameAndPlace({ device }: { device: DeviceDetail }) {
  const id = useId();
  const sites = useSites();
  const [name, setName] = useState(device.name);
  const [site, setSite] = useState(device.site.name);
  const [zone, setZone] = useState(device.last_seen == null ? OWN_ZONE : device.site.time_zone);
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
    <section className={styles.panel} aria-label="Name and place">
      <h2>Name and place</h2>
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
        <div className={styles.end}>
          <Outcome saving={saving} />
          <Button type="submit" look="main" disabled={!isChanged || !isComplete || saving.isPending}>
            {saving.isPending ? "Saving…" : "Save"}
          </Button>
        </div>
      </form>
    </section>
  );
}

function SiteSettings({ device, site }: { device: DeviceDetail; site: Site }) {
  const [name, setName] = useState(site.name);
  const [zone, setZone] = useState(site.time_zone);
  const saving = useSaving<UpdateSite>(`/sites/${site.id}`);
  const isCounted = device.last_seen != null;
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
      <p className={styles.hint}>This holds for all devices of the site.</p>
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
            disabled={isCounted}
            aria-invalid={!isZone(zone.trim())}
            onChange={(event) => setZone(event.target.value)}
          />
          <span className={styles.hint}>
            {isCounted
              ? "Its days are counted by this zone already, so it stays."
              : isZone(zone.trim())
                ? "Its days begin and end by this zone."
                : "Not a zone; write it like Europe/Berlin."}
          </span>
        </label>
        <div className={styles.end}>
          <Outcome saving={saving} />
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
  const claim = claims.data?.find((open) => open.device === device.id);
  const { key_generation, key_revoked } = device.link;
  const hasKey = key_revoked == null && device.trouble?.cause !== "not_claimed";
  const revoke = async () => {
    await remove(`/devices/${encodeURIComponent(device.id)}/keys`);
    await Promise.all(["device", "fleet", "claims"].map((key) => queries.invalidateQueries({ queryKey: [key] })));
  };
  return (
    <section className={styles.panel} aria-label="Key">
      <h2>Key</h2>
      <p className={styles.hint}>
        {key_revoked != null
          ? "Its key is revoked: nothing that it sends is taken. A new claim code lets it in again."
          : hasKey
            ? `It has a key${key_generation > 0 ? `, its ${ordinal(key_generation)}` : ""}. A new claim code gives it another.`
            : "It has no key yet: its claim code has not been used."}
      </p>
      {claim && (
        <p className={styles.hint}>
          A claim code, {claim.id}-…, waits to be used, valid <Until at={claim.expires} />. A new one voids it.
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
      </div>
      <RenewDialog device={device} isOpen={isRenewing} onClose={() => setRenewing(false)} />
      <Confirm
        title={`Revoke the key of ${device.name}?`}
        action="Revoke key"
        isOpen={isRevoking}
        onConfirm={revoke}
        onClose={() => setRevoking(false)}
      >
        <p>
          From now on nothing that {device.name} sends is taken
          {device.power_w != null && `; it reports ${amountText(power(device.power_w))} now`}. It goes on measuring and
          sends what it kept once it is enrolled again. A claim code that waits for it is void.
        </p>
      </Confirm>
    </section>
  );
}

function ordinal(count: number): string {
  const tail = count % 100 > 10 && count % 100 < 14 ? "th" : (["th", "st", "nd", "rd"][count % 10] ?? "th");
  return `${count}${tail}`;
}
