/** The fleet's page: whether all plants are well, and if not, which one is not. */
import { Plus, Search, X } from "lucide-react";
import { useDeferredValue, useEffect, useMemo, useRef, useState } from "react";
import { FLEET_MAX, useFleet, useFound, useSession, type Fleet } from "../../api/queries";
import type { Device, DeviceState } from "../../api/types";
import { Button } from "../../components/Button";
import { Problem } from "../../components/Problem";
import { STATES } from "../../components/State";
import { countText, numberText } from "../../lib/format";
import { useIsTooNarrowForTables } from "../../lib/media";
import { useParams } from "../../lib/route";
import { EnrolDialog } from "../enrol/EnrolDialog";
import { DeviceCards } from "./DeviceCards";
import { DeviceTable } from "./DeviceTable";
import { FleetLoading } from "./FleetLoading";
import { FleetSummary } from "./FleetSummary";
import { NoDevices } from "./NoDevices";
import { matches, order, type Sort, readSort, writeSort } from "./list";
import { SortChoice } from "./SortChoice";
import { StateFilter } from "./StateFilter";
import styles from "./Fleet.module.css";

const ROWS_FIRST = 100;

function readStates(text: string | null): Set<DeviceState> {
  return new Set(STATES.filter((state) => text?.split(",").includes(state)));
}

export function FleetPage() {
  const fleet = useFleet();
  const role = useSession().data?.role;
  const isOwner = role === "owner";
  const [isEnrolling, setEnrolling] = useState(false);
  useEffect(() => {
    document.title = "Fleet – EcoWatt";
  }, []);

  return (
    <>
      <div className={styles.title}>
        <h1>Fleet</h1>
        {isOwner && (
          <Button onClick={() => setEnrolling(true)}>
            <Plus size={16} aria-hidden />
            Add device
          </Button>
        )}
      </div>
      {fleet.isPending && <FleetLoading />}
      {fleet.isError && !fleet.data && (
        <Problem
          what="The fleet could not be loaded."
          error={fleet.error}
          onRetry={() => void fleet.refetch()}
        />
      )}
      {fleet.data &&
        (fleet.data.devices.length === 0 ? (
          <NoDevices onEnrol={role === undefined || isOwner ? () => setEnrolling(true) : null} />
        ) : (
          <Devices fleet={fleet.data} />
        ))}
      <EnrolDialog
        isOpen={isEnrolling}
        devices={fleet.data?.devices ?? []}
        onClose={() => setEnrolling(false)}
      />
    </>
  );
}

/**
 * The order is computed when the list, the filter or the chosen order changes, not when a live value
 * does. Of live changes only a new state moves a device, so that the worst is on top; and not while the
 * pointer is on the list.
 */
function useOrdered(devices: Device[], sort: Sort, isHeld: boolean): Device[] {
  const members = devices.map(({ id }) => id).join(" ");
  const states = sort.by === "state" ? devices.map(({ state }) => state).join(" ") : "";
  const settled = useRef(states);
  if (!isHeld) settled.current = states;
  const ids = useMemo(
    () => order(devices, sort).map(({ id }) => id),
    [members, settled.current, sort.by, sort.isDown],
  );
  const byId = new Map(devices.map((device) => [device.id, device]));
  return ids.flatMap((id) => byId.get(id) ?? []);
}

function Devices({ fleet }: { fleet: Fleet }) {
  const [params, change] = useParams();
  const [most, setMost] = useState(ROWS_FIRST);
  const [isHeld, setHeld] = useState(false);
  const isNarrow = useIsTooNarrowForTables();
  const search = params.get("search") ?? "";
  const states = readStates(params.get("state"));
  const sort = readSort(params.get("sort"));
  const isNarrowed = search !== "" || states.size > 0;
  const isPart = fleet.total > fleet.devices.length;
  const [onlyState] = states;
  const remote = useFound(
    { search: useDeferredValue(search) || undefined, state: states.size === 1 ? onlyState : undefined },
    isPart && isNarrowed,
  );
  const isRemote = isPart && isNarrowed && remote.data !== undefined;
  const found = (isRemote ? remote.data.devices : fleet.devices).filter(
    (device) =>
      (isRemote || matches(device, search)) && (states.size === 0 || states.has(device.state)),
  );
  const ordered = useOrdered(found, sort, isHeld);
  const shown = ordered.slice(0, most);
  const List = isNarrow ? DeviceCards : DeviceTable;

  const narrow = (next: Set<DeviceState>) =>
    change({ state: next.size ? [...next].join(",") : null }, { replace: true });

  return (
    <>
      <FleetSummary devices={fleet.devices} total={fleet.total} chosen={states} onChange={narrow} />
      <div className={styles.tools}>
        <div className={styles.search} role="search">
          <Search size={16} aria-hidden />
          <input
            data-search
            type="search"
            aria-label="Search devices"
            placeholder="Search name, site or number"
            value={search}
            onChange={(event) => change({ search: event.target.value || null }, { replace: true })}
          />
          <kbd aria-hidden="true">/</kbd>
        </div>
        <StateFilter devices={fleet.devices} chosen={states} onChange={narrow} />
      </div>
      <div className={styles.about}>
        <p className={styles.count} role="status">
          {isNarrowed
            ? `${numberText(found.length, 0)} of ${countText(fleet.total, "device")}`
            : countText(fleet.total, "device")}
          {isPart && !isNarrowed && `; the first ${numberText(FLEET_MAX, 0)} are listed, search for others`}
          {isNarrowed && (
            <button
              type="button"
              className={styles.clear}
              onClick={() => change({ search: null, state: null })}
            >
              <X size={14} aria-hidden />
              Show all
            </button>
          )}
        </p>
        {isNarrow && (
          <SortChoice sort={sort} onSort={(next) => change({ sort: writeSort(next) }, { replace: true })} />
        )}
      </div>
      {found.length === 0 ? (
        <p className={styles.nothing}>No device matches. Show all, or change the search.</p>
      ) : (
        <div onPointerEnter={() => setHeld(true)} onPointerLeave={() => setHeld(false)}>
          <List devices={shown} sort={sort} onSort={(next) => change({ sort: writeSort(next) })} />
        </div>
      )}
      {ordered.length > shown.length && (
        <div className={styles.more}>
          <Button onClick={() => setMost(most + 4 * ROWS_FIRST)}>
            Show more of {numberText(ordered.length, 0)}
          </Button>
        </div>
      )}
    </>
  );
}
