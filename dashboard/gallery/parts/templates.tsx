/** Templates: the list, a template, and what a change would do. */
import type { ConfigTemplate, Setting } from "../../src/api/types";
import { NewTemplate } from "../../src/pages/templates/NewTemplate";
import { TemplatePage } from "../../src/pages/templates/TemplatePage";
import { TemplatesPage } from "../../src/pages/templates/TemplatesPage";
import { Refusal, type Answers } from "../answers";
import { ago, SESSIONS } from "../fixtures";
import { fill, press } from "../hands";
import type { Case, Part } from "../part";

const FAILED = new Refusal(503, "overloaded", "the server has more to do than it can");
const LONGEST = "a".repeat(64);

const value = (number: number, text: string) => ({ value: number, text });
const MINUTE = value(60_000, "1m");
const FIVE = value(300_000, "5m");

const SETTINGS: Setting[] = [
  { name: "upload_interval", summary: "Time between two uploads of samples.", kind: "duration", scope: "device", min: value(1_000, "1s"), max: value(900_000, "15m"), choices: [] },
  { name: "log_level", summary: "The least severe messages that the device logs.", kind: "one_of", scope: "device", min: null, max: null, choices: ["error", "warn", "info", "debug"] },
];

function template(name: string, devices: number, outdated = 0): ConfigTemplate {
  const settings = [{ name: "upload_interval", value: FIVE }];
  return { name, version: 2, changed: ago(60_000), by: "token 1 (set-up)", settings, devices, outdated };
}

const LIST = { templates: [template("modem", 10_000, 9_900), template("roof", 1), template("unused", 0), template(LONGEST, 3)] };

const one = (name: string, devices: number, outdated = 0): Answers => ({
  "GET /session": SESSIONS.owner,
  "GET /settings": { settings: SETTINGS },
  "GET /config/templates/{name}": template(name, devices, outdated),
  "GET /config/templates/{name}/history": {
    changes: [
      { version: 2, at: ago(60_000), by: "token 1 (set-up)", settings: [{ name: "upload_interval", before: MINUTE, after: FIVE }] },
      { version: 1, at: ago(90_000), by: "token 1 (set-up)", settings: [] },
    ],
    next_cursor: "1",
  },
});

const MODEM = one("modem", 10_000, 9_900);

const page = <TemplatePage name="modem" />;

async function check() {
  await fill("Upload interval", "1m");
  await press("Check devices");
}

async function save() {
  await check();
  await press("Save");
}

const AFFECTED: Answers = {
  "POST /config/templates/{name}/preview": {
    devices: ["dev-1", "dev-4294967295"].map((device) => ({
      device,
      settings: [{ name: "upload_interval", before: FIVE, after: MINUTE }],
    })),
    next_cursor: "dev-4294967295",
  },
};

function modem(name: string, more: Answers = {}, rest: Partial<Case> = {}): Case {
  return { name, show: page, answers: { ...MODEM, ...more }, ...rest };
}

function CreateDialog() {
  return (
    <>
      <h1>Templates</h1>
      <NewTemplate isOpen onClose={() => {}} />
    </>
  );
}

async function create() {
  await fill("Name", "modem");
  await press("Create");
}

export const TEMPLATES: Part[] = [
  {
    name: "TemplatesPage",
    layout: "panel",
    cases: [
      { name: "loading", show: <TemplatesPage /> },
      { name: "none", show: <TemplatesPage />, answers: { "GET /session": SESSIONS.owner, "GET /config/templates": { templates: [] } } },
      { name: "several", show: <TemplatesPage />, answers: { "GET /session": SESSIONS.owner, "GET /config/templates": LIST } },
      { name: "a viewer's, none", show: <TemplatesPage />, answers: { "GET /session": SESSIONS.viewer, "GET /config/templates": { templates: [] } } },
      { name: "failed", show: <TemplatesPage />, answers: { "GET /config/templates": FAILED } },
    ],
  },
  {
    name: "NewTemplate",
    layout: "panel",
    cases: [
      { name: "empty", show: <CreateDialog /> },
      { name: "failed", show: <CreateDialog />, answers: { "POST /config/templates": FAILED }, act: create },
    ],
  },
  {
    name: "TemplatePage",
    layout: "panel",
    cases: [
      { name: "loading", show: page },
      modem("in use"),
      { name: "the longest name, unused", show: <TemplatePage name={LONGEST} />, answers: one(LONGEST, 0) },
      modem("checking", {}, { act: check }),
      modem("checked", AFFECTED, { act: check }),
      modem("check failed", { "POST /config/templates/{name}/preview": FAILED }, { act: check }),
      modem("no device affected", { "POST /config/templates/{name}/preview": { devices: [], next_cursor: null } }, { act: check }),
      modem("refused", { ...AFFECTED, "PATCH /config/templates/{name}": new Refusal(409, "config_changed", "the template has version 3") }, { act: save }),
      modem("history failed", { "GET /config/templates/{name}/history": FAILED }),
      modem("a viewer's", { "GET /session": SESSIONS.viewer }),
      modem("failed", { "GET /config/templates/{name}": FAILED }),
    ],
  },
];
