/** Parts without numbers: buttons, links, dialogs, notes. */
import { Boundary } from "../../src/components/Boundary";
import { Button, Choices } from "../../src/components/Button";
import { Confirm } from "../../src/components/Confirm";
import { Copy } from "../../src/components/Copy";
import { Dialog } from "../../src/components/Dialog";
import { Link } from "../../src/components/Link";
import { Logo } from "../../src/components/Logo";
import { Problem, Skeleton } from "../../src/components/Problem";
import { ApiError } from "../../src/api/client";
import { LONG, LONG_WORDS } from "../fixtures";
import { press } from "../hands";
import { casesFor, type Part } from "../part";

const nothing = () => {};

type Look = NonNullable<Parameters<typeof Button>[0]["look"]>;
const LOOKS: Record<Look, string> = { plain: "Cancel", main: "Save", bare: "Show", danger: "Revoke" };

const RANGES = ["Live", "1 h", "Today", "Yesterday", "7 d", "30 d"].map((label) => ({ value: label, label }));

const TOKEN = "ew_owner_8Zk2mQ7pX4vT9rL1sN6wB3yH5cD0fG2jK8aE7uR4tM";

function Broken(): never {
  throw new Error("the page has a fault");
}

export const BASICS: Part[] = [
  {
    name: "Button",
    layout: "list",
    cases: [
      ...casesFor(LOOKS, (look) => <Button look={look}>{LOOKS[look]}</Button>),
      { name: "disabled", show: <Button disabled>Save</Button> },
      { name: "long text", show: <Button look="main">{`Show ${LONG_WORDS}`}</Button> },
    ],
  },
  {
    name: "Choices",
    layout: "list",
    cases: [
      { name: "one is chosen", show: <Choices label="Range" choices={RANGES} chosen="Today" onChoose={nothing} /> },
      { name: "none is chosen", show: <Choices label="Range" choices={RANGES} chosen={null} onChoose={nothing} /> },
      {
        name: "more than fit",
        show: (
          <Choices
            label="Inverter"
            choices={Array.from({ length: 16 }, (_, place) => ({ value: `${place}`, label: `Inverter ${place + 1}` }))}
            chosen="0"
            onChoose={nothing}
          />
        ),
      },
    ],
  },
  {
    name: "Link and Logo",
    layout: "list",
    cases: [
      { name: "link", show: <Link to="/">Go to the fleet</Link> },
      { name: "small logo", show: <Logo /> },
      { name: "large logo", show: <Logo size={32} /> },
    ],
  },
  {
    name: "Copy",
    layout: "list",
    cases: [
      { name: "short", show: <Copy label="Claim code" text="AAAAA-BBBBB-CCCCC-DDDDD" /> },
      { name: "long", show: <Copy label="Token" text={TOKEN} /> },
      { name: "several lines", show: <Copy label="Configuration" text={`server = "http://192.0.2.1:8080"\nname = "${LONG}"\n`} /> },
    ],
  },
  {
    name: "Problem",
    layout: "list",
    cases: [
      {
        name: "refused by the server",
        show: (
          <Problem
            what="The fleet could not be loaded."
            error={new ApiError(503, "overloaded", "the server has more to do than it can", "01JZ8Q4M")}
            onRetry={nothing}
          />
        ),
      },
      {
        name: "not reached",
        show: (
          <Problem
            what="The server does not answer."
            error={new ApiError(0, "unreachable", "the server cannot be reached", null)}
            onRetry={nothing}
          />
        ),
      },
      { name: "no reason", show: <Problem what="The history could not be loaded." error={null} onRetry={nothing} /> },
      { name: "long text", show: <Problem what={`${LONG} could not be loaded.`} error={new Error(LONG_WORDS)} onRetry={nothing} /> },
    ],
  },
  {
    name: "Skeleton",
    layout: "list",
    cases: [
      { name: "as wide as there is room", show: <Skeleton height={88} /> },
      { name: "of some width", show: <Skeleton height={36} width={280} /> },
    ],
  },
  {
    name: "Boundary",
    layout: "panel",
    cases: [
      { name: "whole", show: <Boundary><h1>Fleet</h1></Boundary> },
      { name: "broken", show: <><h1>Fleet</h1><Boundary><Broken /></Boundary></>, allows: /the page has a fault|%o/ },
    ],
  },
  {
    name: "Dialog",
    layout: "panel",
    cases: [
      { name: "open", show: <><h1>Fleet</h1><Dialog title="New token" isOpen onClose={nothing}><p>Text.</p></Dialog></> },
      {
        name: "long",
        show: (
          <>
            <h1>Fleet</h1>
            <Dialog title={`New claim code for ${LONG}`} isOpen onClose={nothing}>
              {Array.from({ length: 30 }, (_, place) => <p key={place}>{LONG_WORDS}.</p>)}
            </Dialog>
          </>
        ),
      },
    ],
  },
  {
    name: "Confirm",
    layout: "panel",
    cases: [
      { name: "asks", show: <Question onConfirm={async () => {}} /> },
      { name: "asks for a text", show: <Question typed="dev-4294967295" onConfirm={async () => {}} /> },
      { name: "works", show: <Question onConfirm={() => new Promise(nothing)} />, act: () => press("Revoke") },
      {
        name: "failed",
        show: <Question onConfirm={() => Promise.reject(new Error("the server cannot be reached"))} />,
        act: () => press("Revoke"),
      },
    ],
  },
];

function Question({ typed, onConfirm }: { typed?: string; onConfirm: () => Promise<unknown> }) {
  return (
    <>
      <h1>Access</h1>
      <Confirm title={`Revoke “${LONG}”?`} action="Revoke" typed={typed} isOpen onConfirm={onConfirm} onClose={nothing}>
        <p>This token stops working. 3 sessions of it end at once. This cannot be undone.</p>
      </Confirm>
    </>
  );
}
