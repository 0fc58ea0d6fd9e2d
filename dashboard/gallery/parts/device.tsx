/** A device's page. */
import type { Command, CommandArgument, CommandKind, CommandState, ConfigHistory, ConfigTemplate, DeviceConfig, DeviceDetail, Lease, LimitChange, Setting, SettingState, SettingStatus } from "../../src/api/types";
import { DeviceHead } from "../../src/pages/device/DeviceHead";
import { DevicePage } from "../../src/pages/device/DevicePage";
import { Values } from "../../src/pages/device/Values";
import { Refusal, type Answers } from "../answers";
import {
  ago,
  detail,
  DEVICES,
  energy,
  EXTREME,
  HUGE_W,
  inverter,
  INVERTERS,
  LONG,
  LONG_WORDS,
  POINTS,
  QUALITIES,
  SESSIONS,
  SITE,
  SYSTEM,
  telemetry,
  TROUBLES,
} from "../fixtures";
import { fill, press } from "../hands";
import { casesFor, type Case, type Part } from "../part";

const ZONE = SITE.time_zone;
const FAILED = new Refusal(503, "overloaded", "the server has more to do than it can");
const POWER = POINTS.slice(0, 1);

/** The device, its page's parts, and what further answers change. */
function answers(device: DeviceDetail, more: Answers = {}): Answers {
  return {
    "GET /session": SESSIONS.owner,
    "GET /system": SYSTEM,
    "GET /sites": [SITE],
    "GET /claims": [],
    "GET /devices/{id}": device,
    "GET /devices/{id}/telemetry": telemetry(POWER),
    ...more,
  };
}

const WAITING = detail({ ...DEVICES.waiting, inverters: [], diagnostics: [] });
const HUGE = detail({
  ...EXTREME,
  inverters: Array.from({ length: 8 }, (_, number) =>
    inverter({ number, title: LONG_WORDS, state: "faulty", points: POINTS.map((one) => ({ ...one, value: one.value && HUGE_W })) }),
  ),
});

const page = <DevicePage id="dev-1" />;
const DRAWN = ".u-over";

const value = (number: number, text: string) => ({ value: number, text });

const SETTINGS: Setting[] = [
  { name: "sampling_interval", summary: "Time between two samples of an inverter.", kind: "duration", scope: "inverter", min: value(200, "200ms"), max: value(900_000, "15m"), choices: [] },
  { name: "upload_interval", summary: "Time between two uploads of samples.", kind: "duration", scope: "device", min: value(1_000, "1s"), max: value(900_000, "15m"), choices: [] },
  { name: "batch_rows", summary: "Samples after which a batch is written to storage.", kind: "count", scope: "device", min: value(1, "1"), max: value(1_024, "1024"), choices: [] },
  { name: "log_level", summary: "The least severe messages that the device logs.", kind: "one_of", scope: "device", min: null, max: null, choices: ["error", "warn", "info", "debug"] },
];

const THIRTY = value(30_000, "30s");
const MINUTE = value(60_000, "1m");

/** What a setting's row looks like in each of its states. */
const STANDINGS: Record<SettingState, Partial<SettingStatus>> = {
  in_use: { desired: THIRTY, in_use: THIRTY },
  pending: { desired: THIRTY, in_use: MINUTE },
  refused: { desired: THIRTY, in_use: MINUTE, refused: "out_of_bounds" },
  reverted: { desired: THIRTY, in_use: MINUTE },
  not_used: { desired: THIRTY, in_use: MINUTE },
  own_configuration: { in_use: MINUTE },
};

function config(state: SettingState, more: Partial<DeviceConfig> = {}): DeviceConfig {
  return {
    generation: 3,
    changed: ago(60_000),
    by: "token 1 (set-up)",
    pending: state === "pending",
    report: { generation: 3, state: state === "reverted" ? "reverted" : "applied", received: ago(55_000) },
    settings: SETTINGS.map(({ name }) => ({ name, state, desired: null, in_use: null, ...STANDINGS[state] })),
    ...more,
  };
}

const HISTORY: ConfigHistory = {
  changes: [
    { generation: 3, at: ago(60_000), by: "token 1 (set-up)", settings: [{ name: "upload_interval", before: MINUTE, after: THIRTY }] },
    { generation: 2, at: ago(900_000), by: `token 2 (${LONG})`, settings: [{ name: "batch_rows", before: null, after: value(9, "9") }] },
  ],
  next_cursor: "2",
};

const TEMPLATE: ConfigTemplate = { name: "modem", version: 1, changed: ago(60_000), by: "token 1 (set-up)", settings: [], devices: 3, outdated: 0 };

const CONFIGURED: Answers = {
  "GET /settings": { settings: SETTINGS },
  "GET /devices/{id}/config": config("in_use"),
  "GET /devices/{id}/config/history": HISTORY,
  "GET /config/templates": { templates: [] },
};

function configured(name: string, more: Answers, rest: Partial<Case> = {}): Case {
  return { name, show: page, params: { tab: "configuration" }, answers: answers(detail(), { ...CONFIGURED, ...more }), ...rest };
}

const ARGUMENT: CommandArgument = { name: "", kind: "number", unit: "W", min: 0, max: 10_000_000, decimals: 0, choices: [], default: null };

const KINDS: CommandKind[] = [
  { name: "set_power", summary: "Limits the active power of an inverter.", scope: "inverter", arguments: [{ ...ARGUMENT, name: "watts" }], needs_expert: false },
  { name: "reboot", summary: LONG_WORDS, scope: "device", arguments: [], needs_expert: false },
];

/** What each state brings with it. */
const OUTCOMES: Record<CommandState, Partial<Command>> = {
  queued: {},
  sent: {},
  accepted: { not_before: ago(-600_000) },
  succeeded: { registers: [21_365, 28_243] },
  failed: { failure: "exception", exception: 2 },
  expired: {},
  cancelled: {},
  unknown: {},
};

function command(state: CommandState, more: Partial<Command> = {}): Command {
  return {
    id: "cmd-17",
    device: "dev-1",
    kind: "set_power",
    inverter: 0,
    arguments: { watts: "3000" },
    priority: 5,
    state,
    since: ago(55_000),
    created: ago(60_000),
    by: "token 1 (set-up)",
    not_before: null,
    deadline: ago(-840_000),
    failure: null,
    exception: null,
    registers: [],
    ...OUTCOMES[state],
    ...more,
  };
}

function commanded(name: string, commands: Command[], more: Answers = {}, rest: Partial<Case> = {}): Case {
  const known: Answers = { "GET /commands/kinds": { kinds: KINDS }, "GET /devices/{id}/commands": { commands } };
  return { name, show: page, params: { tab: "commands" }, answers: answers(detail(), { ...known, ...more }), ...rest };
}

/** What each state brings with it. */
const LEASES: Record<Lease["state"], Partial<Lease>> = {
  pending: {},
  refused: { refusal: "no_inverter" },
  scheduled: { from: ago(-1_800_000) },
  active: {},
  afterwards: { to: ago(600_000), then: "0%" },
  over: { to: ago(600_000) },
  released: { released_at: ago(60_000), released_by: "token 2 (Anna)" },
};

function lease(state: Lease["state"], more: Partial<Lease> = {}): Lease {
  return {
    id: "lease-17",
    device: "dev-1",
    inverter: null,
    limit: "50%",
    from: ago(1_800_000),
    to: ago(-1_800_000),
    ramp_s: 0,
    link_loss_s: 900,
    then: null,
    priority: 5,
    made_at: ago(1_900_000),
    made_by: "token 1 (set-up)",
    state,
    refusal: null,
    released_at: null,
    released_by: null,
    ...LEASES[state],
    ...more,
  };
}

/** What each cause of a new limit looks like, proven or not. */
const LIMITS: Record<LimitChange["cause"], Partial<LimitChange>> = {
  lease: {},
  fallback: { limit_percent: 0, failure: "no_answer", confirmed_ms: null, power_w: null, power_ms: null },
  afterwards: { limit_percent: 0, power_w: 12 },
  released: { lease: null, limit_percent: null, power_w: 4_800 },
  other: { power_w: null, power_ms: null },
};

const CHANGES: LimitChange[] = (Object.keys(LIMITS) as LimitChange["cause"][]).map((cause, index) => ({
  inverter: 0,
  at: ago(60_000 * (index + 1)),
  lease: "lease-17",
  cause,
  limit_percent: 50,
  failure: null,
  detail: null,
  confirmed_ms: 120,
  power_w: 2_480,
  power_ms: 3_900,
  ...LIMITS[cause],
}));

function leased(name: string, leases: Lease[], changes: LimitChange[] = [], more: Answers = {}, rest: Partial<Case> = {}): Case {
  const found: Answers = { "GET /devices/{id}/leases": { leases, changes, reported_at: changes[0]?.at ?? null } };
  return { name, show: page, params: { tab: "limits" }, answers: answers(detail(), { ...found, ...more }), ...rest };
}

async function editInterval(): Promise<void> {
  await fill("Upload interval", "45s");
}

export const DEVICE: Part[] = [
  {
    name: "DevicePage",
    layout: "panel",
    cases: [
      { name: "loading", show: page, isUntitled: true },
      { name: "failed", show: page, answers: { "GET /devices/{id}": FAILED } },
      { name: "unknown", show: page, answers: { "GET /devices/{id}": new Refusal(404, "device_unknown", "there is no device dev-1") } },
      ...casesFor(DEVICES, () => page).map((one): Case => {
        const device = DEVICES[one.name as keyof typeof DEVICES];
        return { ...one, answers: answers(device.state === "waiting" ? WAITING : detail(device)) };
      }),
      ...casesFor(TROUBLES, () => page).map((one): Case => {
        const cause = one.name.replaceAll(" ", "_") as keyof typeof TROUBLES;
        const inverters = cause === "inverter_faulty" ? [INVERTERS.faulty, { ...INVERTERS.faulty, number: 1 }] : [INVERTERS.offline];
        return { ...one, name: `trouble: ${one.name}`, answers: answers(detail({ state: "faulty", power_w: null, trouble: TROUBLES[cause], inverters })) };
      }),
      { name: "long names and huge numbers", show: page, answers: answers(HUGE) },
      { name: "a viewer's", show: page, answers: answers(WAITING, { "GET /session": SESSIONS.viewer }) },
    ],
  },
  {
    name: "History",
    layout: "panel",
    cases: [
      { name: "loading", show: page, answers: { ...answers(detail()), "GET /devices/{id}/telemetry": undefined } },
      { name: "today", show: page, answers: answers(detail()), until: DRAWN },
      {
        name: "every quantity",
        show: page,
        answers: answers(detail(), { "GET /devices/{id}/telemetry": telemetry(POINTS.filter(({ unit }) => unit !== "")) }),
        params: { points: POINTS.map(({ point }) => point).join(",") },
        until: DRAWN,
      },
      {
        name: "no readings",
        show: page,
        answers: answers(detail(), { "GET /devices/{id}/telemetry": { ...telemetry([]), t_ms: [] } }),
      },
      {
        name: "more than one answer holds",
        show: page,
        answers: answers(detail(), { "GET /devices/{id}/telemetry": { ...telemetry(POWER), truncated: true } }),
        until: DRAWN,
      },
      {
        name: "zoomed",
        show: page,
        answers: answers(detail()),
        params: { from: "2026-06-21T06:00:00.000Z", to: "2026-06-21T09:30:00.000Z" },
        until: DRAWN,
      },
      { name: "nothing chosen", show: page, answers: answers(detail()), params: { points: "" } },
      { name: "failed", show: page, answers: answers(detail(), { "GET /devices/{id}/telemetry": FAILED }) },
      { name: "own range", show: page, answers: answers(detail()), until: DRAWN, act: () => press("Custom") },
    ],
  },
  {
    name: "EnergyTab",
    layout: "panel",
    cases: [
      { name: "loading", show: page, answers: answers(detail()), params: { tab: "energy" } },
      energyCase("thirty days", { "GET /devices/{id}/energy": energy(41_000) }),
      energyCase("figures", { "GET /devices/{id}/energy": energy(41_000) }, { act: () => press("Figures of 28 days") }),
      energyCase("huge", { "GET /devices/{id}/energy": energy(51_539_607_528) }),
      energyCase("no days", { "GET /devices/{id}/energy": { ...energy(0), days: [] } }),
      energyCase("failed", { "GET /devices/{id}/energy": FAILED }),
    ],
  },
  {
    name: "ConfigTab",
    layout: "panel",
    cases: [
      { name: "loading", show: page, answers: answers(detail()), params: { tab: "configuration" } },
      ...(Object.keys(STANDINGS) as SettingState[]).map((state) =>
        configured(state.replaceAll("_", " "), { "GET /devices/{id}/config": config(state) }),
      ),
      configured("on trial", {
        "GET /devices/{id}/config": config("in_use", { report: { generation: 3, state: "trial", received: ago(55_000) } }),
      }),
      configured("never set", {
        "GET /devices/{id}/config": config("own_configuration", { generation: 0, changed: null, by: null, report: null }),
        "GET /devices/{id}/config/history": { changes: [], next_cursor: null },
      }),
      configured("several inverters", {
        "GET /devices/{id}": detail({ inverters: [0, 1, 2].map((number) => inverter({ number })) }),
      }),
      configured("with templates to choose", { "GET /config/templates": { templates: [TEMPLATE] } }),
      configured("with a template", {
        "GET /devices/{id}/config": config("in_use", { template: TEMPLATE.name }),
        "GET /config/templates": { templates: [TEMPLATE] },
      }),
      configured("templates failed", { "GET /config/templates": FAILED }),
      configured("changed, not saved", {}, { act: editInterval }),
      configured("refused", { "PATCH /devices/{id}/config": new Refusal(409, "config_changed", "the settings have changed") }, {
        name: "not saved",
        act: async () => {
          await editInterval();
          await press("Save");
        },
      }),
      configured("history failed", { "GET /devices/{id}/config/history": FAILED }),
      configured("a viewer's", { "GET /session": SESSIONS.viewer }),
      configured("failed", { "GET /devices/{id}/config": FAILED }),
    ],
  },
  {
    name: "CommandsTab",
    layout: "panel",
    cases: [
      { name: "loading", show: page, answers: answers(detail()), params: { tab: "commands" } },
      commanded("none sent", []),
      ...(Object.keys(OUTCOMES) as CommandState[]).map((state) => commanded(state, [command(state)])),
      commanded("long", [command("succeeded", { kind: "write", arguments: { [LONG]: "12345678" }, by: `token 2 (${LONG})`, registers: Array<number>(30).fill(65_535) })]),
      commanded("a viewer's", [command("queued")], { "GET /session": SESSIONS.viewer }),
      commanded("failed to load", [], { "GET /commands/kinds": FAILED, "GET /devices/{id}/commands": FAILED }),
    ],
  },
  {
    name: "LimitsTab",
    layout: "panel",
    cases: [
      { name: "loading", show: page, answers: answers(detail()), params: { tab: "limits" } },
      leased("none made", []),
      ...(Object.keys(LEASES) as Lease["state"][]).map((state) => leased(state, [lease(state)])),
      leased("every change", [lease("active")], CHANGES),
      leased("long", [lease("active", { limit: "10000000W", then: "10000000W", made_by: `token 2 (${LONG})` })]),
      leased("several inverters", [lease("active", { inverter: 2 })], [], {
        "GET /devices/{id}": detail({ inverters: [0, 1, 2].map((number) => inverter({ number })) }),
      }),
      leased("not released", [lease("active")], [], { "POST /leases/{id}/release": FAILED }, { act: () => press("Release") }),
      leased("not made", [], [], { "POST /devices/{id}/leases": new Refusal(400, "invalid_lease", "`x` is not a valid limit") }, {
        act: async () => {
          await fill("Limit", "x");
          await press("Limit the power");
        },
      }),
      leased("a viewer's", [lease("active")], [], { "GET /session": SESSIONS.viewer }),
      leased("power failed", [lease("active")], [], { "GET /devices/{id}/telemetry": FAILED }),
      leased("failed", [], [], { "GET /devices/{id}/leases": FAILED }),
    ],
  },
  {
    name: "Diagnostics",
    layout: "panel",
    cases: [
      diagnosed("usual", detail()),
      diagnosed("nothing received", WAITING),
      diagnosed(
        "huge",
        detail({
          ...EXTREME,
          link: { key_generation: 4_294_967_295, key_revoked: ago(60_000), boot_epoch: 4_294_967_295, messages: 1e12, batches: 1e12, samples: 1e13, duplicates: 1e9, refused: 1e9, dropped_samples: 1e12, bytes: 5e14 },
          diagnostics: [["spool_bytes", "9007199254740991"], [LONG, LONG_WORDS]],
        }),
      ),
    ],
  },
  {
    name: "Management",
    layout: "panel",
    cases: [
      managed("of an owner", detail()),
      managed("of a viewer", detail(), { "GET /session": SESSIONS.viewer }),
      managed("without a key", WAITING, {
        "GET /claims": [{ id: "AAAAA", device: "dev-4", device_name: "Garage", created: ago(7_200_000), expires: "2026-06-22T12:00:00Z" }],
      }),
      managed("revoked", detail({ link: { ...detail().link, key_revoked: ago(60_000) } })),
      managed("long names", detail(EXTREME)),
      managed("deleting", detail(), {}, () => press("Delete device")),
      managed("another zone is refused", detail(), {
        "PATCH /sites/{id}": new Refusal(409, "past_days", "past days keep the bounds of the old zone"),
      }, async () => {
        await fill("Site's time zone", "Asia/Tokyo");
        await press("Save site");
      }),
    ],
  },
  {
    name: "DeviceHead",
    layout: "panel",
    cases: [
      ...casesFor(DEVICES, (state) => <DeviceHead device={detail(DEVICES[state])} />),
      { name: "long names and huge numbers", show: <DeviceHead device={HUGE} /> },
    ],
  },
  {
    name: "Values",
    layout: "panel",
    cases: [
      ...casesFor(INVERTERS, (state) => <Titled><Values inverter={INVERTERS[state]} zone={ZONE} /></Titled>),
      { name: "every quality", show: <Titled><Values inverter={inverter({ points: QUALITIES })} zone={ZONE} /></Titled> },
      {
        name: "stale",
        show: <Titled><Values inverter={inverter({ points: POINTS.map((one) => ({ ...one, read_at: ago(6 * 60_000) })) })} zone={ZONE} /></Titled>,
      },
      {
        name: "huge numbers and long names",
        show: (
          <Titled>
            <Values
              inverter={inverter({
                points: [
                  ...POINTS.map((one) => ({ ...one, value: one.value && -HUGE_W })),
                  { ...POINTS[0]!, point: `pv.${LONG}` },
                  { ...POINTS[0]!, point: "state.text", unit: "", text: LONG },
                ],
              })}
              zone={ZONE}
            />
          </Titled>
        ),
      },
    ],
  },
];

function Titled({ children }: { children: React.ReactNode }) {
  return (
    <>
      <h1>Barn</h1>
      {children}
    </>
  );
}

function energyCase(name: string, more: Answers, rest: Partial<Case> = {}): Case {
  return { name, show: page, params: { tab: "energy" }, answers: answers(detail(), more), ...rest };
}

function diagnosed(name: string, device: DeviceDetail): Case {
  return { name, show: page, params: { tab: "diagnostics" }, answers: answers(device) };
}

function managed(name: string, device: DeviceDetail, more: Answers = {}, act?: () => Promise<void>): Case {
  return { name, show: page, params: { tab: "management" }, answers: answers(device, more), ...(act && { act }) };
}
