/** Access, and the dialogs that create codes and tokens. */
import type { Enrolment, OpenClaim, Role, RunningSession, Token } from "../../src/api/types";
import { AccessPage } from "../../src/pages/access/AccessPage";
import { NewToken } from "../../src/pages/access/NewToken";
import { Expiry } from "../../src/pages/access/Expiry";
import { EnrolDialog } from "../../src/pages/enrol/EnrolDialog";
import { RenewDialog } from "../../src/pages/enrol/RenewDialog";
import { Refusal, type Answers } from "../answers";
import { ago, detail, DEVICES, iso, LONG, LONG_WORDS, NOW, SESSIONS } from "../fixtures";
import { fill, press } from "../hands";
import { casesFor, type Part } from "../part";

const DAY = 86_400_000;
const nothing = () => {};

const SECRET = "ew_owner_8Zk2mQ7pX4vT9rL1sN6wB3yH5cD0fG2jK8aE7uR4tM";

function token(id: number, name: string, role: Role, more: Partial<Token> = {}): Token {
  return { id, name, role, created: ago(30 * DAY), expires: iso(NOW + 60 * DAY), last_used: ago(60_000), is_own: false, ...more };
}

const TOKENS: Token[] = [
  token(1, "set-up", "owner", { is_own: true, expires: null }),
  token(2, "Tablet in the hall", "viewer", { last_used: null }),
  token(3, "Prometheus", "metrics", { expires: ago(DAY) }),
  token(4, LONG, "viewer", { created: "2019-01-01T00:00:00Z", last_used: "2019-01-01T00:00:00Z" }),
];

function running(id: number, name: string, more: Partial<RunningSession> = {}): RunningSession {
  return {
    id,
    token_id: 1,
    token_name: name,
    created: ago(3 * DAY),
    last_used: ago(60_000),
    expires: iso(NOW + 27 * DAY),
    is_own: false,
    ...more,
  };
}

const RUNNING = [running(1, "set-up", { is_own: true }), running(2, "set-up", { last_used: null }), running(3, LONG)];

const CLAIMS: OpenClaim[] = [
  { id: "AAAAA", device: "dev-4", device_name: "Garage", created: ago(7_200_000), expires: iso(NOW + DAY) },
  { id: "BBBBB", device: "dev-4294967295", device_name: LONG, created: ago(30 * DAY), expires: ago(DAY) },
];

const ACCESS_OF_AN_OWNER: Answers = { "GET /session": SESSIONS.owner };
const FAILED = new Refusal(503, "overloaded", "the server has more to do than it can");

const ENROLLED: Enrolment = { device: "dev-7", claim_code: "AAAAA-BBBBB-CCCCC-DDDDD", expires: iso(NOW + DAY), warning: null };

async function makeToken(): Promise<void> {
  await fill("Name", LONG_WORDS);
  await press("Create token");
}

async function enrol(): Promise<void> {
  await fill("Name", LONG);
  await fill("Site", "Home");
  await fill("Time zone of the site", "Europe/Berlin");
  await fill("Inverter's address", "192.0.2.10");
  await fill("Model", "sunspec/three-phase");
  await press("Create claim code");
}

const PROFILES: Answers = {
  "GET /profiles": [
    { id: "sunspec/three-phase", title: "SunSpec three-phase inverter" },
    { id: "ecowatt/seed-sim", title: "EcoWatt seed inverter" },
  ],
};

export const ACCESS: Part[] = [
  {
    name: "AccessPage",
    layout: "panel",
    cases: [
      { name: "loading", show: <AccessPage />, answers: ACCESS_OF_AN_OWNER },
      {
        name: "some of each",
        show: <AccessPage />,
        answers: { ...ACCESS_OF_AN_OWNER, "GET /tokens": TOKENS, "GET /sessions": RUNNING, "GET /claims": CLAIMS },
      },
      {
        name: "none of each",
        show: <AccessPage />,
        answers: { ...ACCESS_OF_AN_OWNER, "GET /tokens": [], "GET /sessions": [], "GET /claims": [] },
      },
      {
        name: "failed",
        show: <AccessPage />,
        answers: { ...ACCESS_OF_AN_OWNER, "GET /tokens": FAILED, "GET /sessions": FAILED, "GET /claims": FAILED },
      },
      { name: "a viewer's", show: <AccessPage />, answers: { "GET /session": SESSIONS.viewer } },
      {
        name: "revoking the own token",
        show: <AccessPage />,
        answers: { ...ACCESS_OF_AN_OWNER, "GET /tokens": TOKENS, "GET /sessions": RUNNING, "GET /claims": CLAIMS },
        act: () => press("Revoke set-up"),
      },
    ],
  },
  {
    name: "Expiry",
    layout: "list",
    cases: [
      { name: "days", show: <Expiry at={iso(NOW + 60 * DAY)} /> },
      { name: "over", show: <Expiry at={ago(DAY)} /> },
      { name: "without end", show: <Expiry at={null} /> },
    ],
  },
  {
    name: "NewToken",
    layout: "panel",
    cases: [
      { name: "empty", show: <TokenDialog /> },
      { name: "creating", show: <TokenDialog />, act: makeToken },
      { name: "failed", show: <TokenDialog />, answers: { "POST /tokens": FAILED }, act: makeToken },
      {
        name: "created",
        show: <TokenDialog />,
        answers: { "POST /tokens": { ...token(5, LONG, "viewer"), secret: SECRET } },
        act: makeToken,
      },
    ],
  },
  {
    name: "EnrolDialog",
    layout: "panel",
    cases: [
      { name: "no device yet", show: <AddDevice isFirst />, answers: PROFILES },
      { name: "profiles loading", show: <AddDevice /> },
      { name: "profiles failed", show: <AddDevice />, answers: { "GET /profiles": FAILED } },
      { name: "creating", show: <AddDevice isFirst />, answers: PROFILES, act: enrol },
      { name: "failed", show: <AddDevice isFirst />, answers: { ...PROFILES, "POST /devices": FAILED }, act: enrol },
      {
        name: "created",
        show: <AddDevice isFirst />,
        answers: { ...PROFILES, "POST /devices": { ...ENROLLED, warning: "the site has no device yet" } },
        act: enrol,
      },
    ],
  },
  {
    name: "RenewDialog",
    layout: "panel",
    cases: [
      { name: "of a device that was heard", show: <Renewal isNew={false} /> },
      { name: "of a new device", show: <Renewal isNew />, answers: PROFILES },
      {
        name: "failed",
        show: <Renewal isNew={false} />,
        answers: { "POST /devices/{id}/claim": FAILED },
        act: () => press("Create claim code"),
      },
      {
        name: "created",
        show: <Renewal isNew={false} />,
        answers: { "POST /devices/{id}/claim": ENROLLED },
        act: () => press("Create claim code"),
      },
    ],
  },
  {
    name: "Roles",
    layout: "panel",
    cases: casesFor(SESSIONS, () => <AccessPage />).map((one) => ({ ...one, answers: { "GET /session": SESSIONS[one.name as Role] } })),
  },
];

function TokenDialog() {
  return (
    <>
      <h1>Access</h1>
      <NewToken isOpen onClose={nothing} />
    </>
  );
}

function AddDevice({ isFirst = false }: { isFirst?: boolean }) {
  return (
    <>
      <h1>Fleet</h1>
      <EnrolDialog isOpen devices={isFirst ? [] : Object.values(DEVICES)} onClose={nothing} />
    </>
  );
}

function Renewal({ isNew }: { isNew: boolean }) {
  return (
    <>
      <h1>Barn</h1>
      <RenewDialog device={detail(isNew ? DEVICES.waiting : { name: LONG })} isOpen onClose={nothing} />
    </>
  );
}
