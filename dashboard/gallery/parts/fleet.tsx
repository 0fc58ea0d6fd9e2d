/** The fleet's page. */
import { FleetSummary } from "../../src/pages/fleet/FleetSummary";
import { FleetPage } from "../../src/pages/fleet/FleetPage";
import type { Device, DeviceList } from "../../src/api/types";
import { Refusal, type Answers } from "../answers";
import { device, DEVICES, EXTREME, LONG_WORDS, NO_SPARK, SESSIONS, SITE, TROUBLES } from "../fixtures";
import { casesFor, type Part } from "../part";

const ALL = Object.values(DEVICES);
const nothing = () => {};

function listed(devices: Device[], total = devices.length): DeviceList {
  return { devices, next_cursor: null, total };
}

function fleet(list: DeviceList | Refusal, role: keyof typeof SESSIONS = "owner"): Answers {
  return { "GET /session": SESSIONS[role], "GET /devices": list };
}

function many(count: number): Device[] {
  return Array.from({ length: count }, (_, place) => device({ ...ALL[place % ALL.length], id: `dev-${place + 1}`, name: `Roof ${place + 1}` }));
}

const UNCLAIMED = Object.values(TROUBLES).map((trouble, place) =>
  device({ id: `dev-${place + 1}`, name: `Roof ${place + 1}`, state: "faulty", power_w: null, spark: NO_SPARK, trouble }),
);

export const FLEET: Part[] = [
  {
    name: "FleetPage",
    layout: "panel",
    cases: [
      { name: "loading", show: <FleetPage /> },
      { name: "every state", show: <FleetPage />, answers: fleet(listed(ALL)) },
      { name: "every trouble", show: <FleetPage />, answers: fleet(listed(UNCLAIMED)) },
      { name: "long names and huge numbers", show: <FleetPage />, answers: fleet(listed([EXTREME, device({ name: LONG_WORDS }), DEVICES.waiting])) },
      { name: "a viewer's", show: <FleetPage />, answers: fleet(listed(ALL), "viewer") },
      { name: "no devices", show: <FleetPage />, answers: fleet(listed([])) },
      { name: "no devices, for a viewer", show: <FleetPage />, answers: fleet(listed([]), "viewer") },
      { name: "some states", show: <FleetPage />, answers: fleet(listed(ALL)), params: { state: "faulty,silent", sort: "name" } },
      { name: "nothing found", show: <FleetPage />, answers: fleet(listed(ALL)), params: { search: LONG_WORDS } },
      { name: "more than are shown", show: <FleetPage />, answers: fleet(listed(many(130))) },
      { name: "more than are loaded", show: <FleetPage />, answers: fleet(listed(many(12), 48_213)) },
      { name: "failed", show: <FleetPage />, answers: fleet(new Refusal(503, "overloaded", "the server has more to do than it can")) },
    ],
  },
  {
    name: "FleetSummary",
    layout: "list",
    cases: [
      ...casesFor(DEVICES, (state) => <FleetSummary devices={[DEVICES[state]]} total={1} chosen={new Set()} onChange={nothing} />),
      { name: "every state, one chosen", show: <FleetSummary devices={ALL} total={6} chosen={new Set(["faulty"])} onChange={nothing} /> },
      { name: "huge", show: <FleetSummary devices={[EXTREME, { ...EXTREME, id: "dev-2", site: SITE }]} total={1_048_576} chosen={new Set()} onChange={nothing} /> },
    ],
  },
];
