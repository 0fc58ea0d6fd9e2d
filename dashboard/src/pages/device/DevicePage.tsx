/** The page of a device: what it measures, and what is wrong with it. */
import { useEffect } from "react";
import { ApiError } from "../../api/client";
import { useDevice } from "../../api/queries";
import type { DeviceDetail } from "../../api/types";
import { Link } from "../../components/Link";
import { Problem, Skeleton } from "../../components/Problem";
import { useParams } from "../../lib/route";
import { MissingPage } from "../MissingPage";
import { CommandsTab } from "./commands/CommandsTab";
import { ConfigTab } from "./config/ConfigTab";
import { DeviceHead } from "./DeviceHead";
import { DeviceTrouble } from "./DeviceTrouble";
import { Diagnostics } from "./Diagnostics";
import { EnergyTab } from "./energy/EnergyTab";
import { LimitsTab } from "./limits/LimitsTab";
import { Measurements } from "./Measurements";
import { Management } from "./Management";
import styles from "./Device.module.css";

const TABS = [
  { name: "measurements", label: "Measurements" },
  { name: "energy", label: "Energy" },
  { name: "configuration", label: "Configuration" },
  { name: "commands", label: "Commands" },
  { name: "limits", label: "Limits" },
  { name: "diagnostics", label: "Diagnostics" },
  { name: "management", label: "Management" },
] as const;

type Tab = (typeof TABS)[number]["name"];

export function DevicePage({ id }: { id: string }) {
  const device = useDevice(id);
  const name = device.data?.name;
  useEffect(() => {
    document.title = `${name ?? id} – EcoWatt`;
  }, [name, id]);

  if (device.data) return <Known device={device.data} />;
  if (device.error instanceof ApiError && (device.error.status === 404 || device.error.status === 400)) {
    return <MissingPage what={`There is no device ${id}.`} />;
  }
  if (device.isError) {
    return (
      <>
        <h1 className="visually-hidden">{id}</h1>
        <Problem
          what={`The device ${id} could not be loaded.`}
          error={device.error}
          onRetry={() => void device.refetch()}
        />
      </>
    );
  }
  return (
    <div className={styles.loading} role="status" aria-label="Loading the device">
      <Skeleton height={36} width={280} />
      <Skeleton height={88} />
      <Skeleton height={400} />
    </div>
  );
}

/** On a phone the tabs are wider than the screen. */
function showWhole(tab: HTMLButtonElement | null): void {
  tab?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function Known({ device }: { device: DeviceDetail }) {
  const [params, change] = useParams();
  const tab: Tab = TABS.find(({ name }) => name === params.get("tab"))?.name ?? "measurements";
  return (
    <>
      <nav aria-label="Breadcrumb" className={styles.back}>
        <Link to="/">Fleet</Link>
        <span aria-hidden="true">/</span>
        <span>{device.site.name}</span>
      </nav>
      <DeviceHead device={device} />
      <DeviceTrouble device={device} />
      <nav aria-label="Sections" className={styles.tabs}>
        {TABS.map(({ name, label }) => (
          <button
            key={name}
            type="button"
            aria-current={name === tab ? "page" : undefined}
            ref={name === tab ? showWhole : undefined}
            onClick={() => change({ tab: name === "measurements" ? null : name })}
          >
            {label}
          </button>
        ))}
      </nav>
      {tab === "measurements" && <Measurements device={device} />}
      {tab === "energy" && <EnergyTab device={device} />}
      {tab === "configuration" && <ConfigTab device={device} />}
      {tab === "commands" && <CommandsTab device={device} />}
      {tab === "limits" && <LimitsTab device={device} />}
      {tab === "diagnostics" && <Diagnostics device={device} />}
      {tab === "management" && <Management device={device} />}
    </>
  );
}
