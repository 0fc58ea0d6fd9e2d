/** What frames every page: the bar at the top, the notices, the sign-in pages. */
import { App } from "../../src/App";
import { Banner } from "../../src/components/Banner";
import { Entry } from "../../src/components/Entry";
import { Header, ThemeSwitch } from "../../src/components/Header";
import { LiveDot } from "../../src/components/LiveDot";
import { LoginPage } from "../../src/pages/login/LoginPage";
import { MissingPage } from "../../src/pages/MissingPage";
import { SetupPage } from "../../src/pages/setup/SetupPage";
import { Refusal } from "../answers";
import { LONG, SESSIONS, SITE, SYSTEM } from "../fixtures";
import { fill, press } from "../hands";
import { casesFor, type Part } from "../part";
import type { StreamState } from "../stream";

const STREAMS: Record<StreamState, string> = { connecting: "Connecting", live: "Live", down: "Not live" };

const SIMULATED = { ...SYSTEM, is_simulated: true, speed: 60 };
const OUT_OF_ORDER = new Refusal(503, "overloaded", "the server has more to do than it can");

/** A page needs a heading, whatever is above it. */
const BELOW = <main><h1>Fleet</h1></main>;

export const FRAME: Part[] = [
  {
    name: "Header",
    layout: "page",
    cases: [
      ...casesFor(SESSIONS, (role) => <><Header session={SESSIONS[role]} />{BELOW}</>),
      { name: "not signed in", show: <><Header session={undefined} />{BELOW}</> },
      {
        name: "sign-out failed",
        show: <><Header session={SESSIONS.owner} />{BELOW}</>,
        answers: { "DELETE /session": OUT_OF_ORDER },
        act: () => press("Sign out"),
      },
      { name: "keyboard", show: <><Header session={SESSIONS.owner} />{BELOW}</>, act: async () => {
        window.dispatchEvent(new Event("ecowatt-help"));
      } },
    ],
  },
  { name: "ThemeSwitch", layout: "list", cases: [{ name: "on its own", show: <ThemeSwitch /> }] },
  {
    name: "LiveDot",
    layout: "panel",
    cases: casesFor(STREAMS, () => <><h1>Fleet</h1><LiveDot /></>).map((one) => ({ ...one, stream: one.name as StreamState })),
  },
  {
    name: "Banner",
    layout: "page",
    cases: [
      { name: "nothing to say", show: <><Banner />{BELOW}</>, answers: { "GET /system": SYSTEM } },
      { name: "simulated time", show: <><Banner />{BELOW}</>, answers: { "GET /system": SIMULATED, "GET /sites": [SITE] } },
      {
        name: "no connection",
        show: <><Banner />{BELOW}</>,
        answers: { "GET /system": SIMULATED, "GET /sites": [SITE] },
        stream: "down",
        until: "[role=alert]",
      },
    ],
  },
  {
    name: "App",
    layout: "page",
    cases: [
      { name: "the server does not answer", show: <App />, answers: { "GET /session": SESSIONS.owner, "GET /system": OUT_OF_ORDER } },
      { name: "an unknown page", show: <App />, answers: { "GET /session": SESSIONS.owner, "GET /system": SYSTEM } },
    ],
  },
  {
    name: "Entry",
    layout: "page",
    cases: [{ name: "on its own", show: <Entry title={LONG}><p>Text.</p></Entry> }],
  },
  {
    name: "LoginPage",
    layout: "page",
    cases: [
      { name: "empty", show: <LoginPage /> },
      { name: "signing in", show: <LoginPage />, act: () => signIn() },
      { name: "refused", show: <LoginPage />, answers: { "POST /session": new Refusal(401, "unauthorized", "the token is not known") }, act: signIn },
      { name: "out of order", show: <LoginPage />, answers: { "POST /session": OUT_OF_ORDER }, act: signIn },
    ],
  },
  {
    name: "SetupPage",
    layout: "page",
    cases: [
      { name: "incomplete link", show: <SetupPage /> },
      { name: "link", show: <WithCode /> },
      { name: "refused", show: <WithCode />, answers: { "POST /setup": new Refusal(404, "code_unknown", "the code is not known or was used") }, act: becomeOwner },
      {
        name: "set up",
        show: <WithCode />,
        answers: { "POST /setup": { role: "owner", token_name: "set-up", token: "ew_owner_8Zk2mQ7pX4vT9rL1sN6wB3yH5cD0fG2jK8aE7uR4tM" } },
        act: becomeOwner,
      },
    ],
  },
  {
    name: "MissingPage",
    layout: "panel",
    cases: [
      { name: "unknown page", show: <MissingPage /> },
      { name: "unknown device", show: <MissingPage what={`There is no device ${LONG}.`} /> },
    ],
  },
];

/** The page reads the code from the address when it is first drawn. */
function WithCode() {
  window.location.hash = "code=AAAAA-AAAAA-AAAAA-AAAAA";
  return <SetupPage />;
}

async function signIn(): Promise<void> {
  await fill("Token", "ew_owner_8Zk2mQ7pX4vT9rL1sN6wB3yH5cD0fG2jK8aE7uR4tM");
  await press("Sign in");
}

function becomeOwner(): Promise<void> {
  return press("Become the owner");
}
