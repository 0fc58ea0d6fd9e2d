/** The commands of a device, with answers that the test chooses. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Command, CommandArgument, CommandKind } from "../src/api/types";
import { DESK, expectAccessible, expectNoSideways, launch, PHONE, type View } from "./browser";
import { detail, inverter, iso, NOW, point, Refusal, stage, type Stage } from "./stage";

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

const argument: CommandArgument = { name: "", kind: "number", unit: "W", min: 0, max: 10_000_000, decimals: 0, choices: [], default: null };

const KINDS: CommandKind[] = [
  { name: "set_power", summary: "Limits the active power of an inverter.", scope: "inverter", arguments: [{ ...argument, name: "watts" }], needs_expert: false },
  {
    name: "read_register",
    summary: "Reads registers of an inverter.",
    scope: "inverter",
    arguments: [
      { ...argument, name: "address", unit: "", max: 65_535 },
      { ...argument, name: "table", kind: "one_of", unit: null, min: null, max: null, choices: ["holding", "input"], default: "holding" },
    ],
    needs_expert: false,
  },
  { name: "reboot", summary: "Restarts the machine.", scope: "device", arguments: [], needs_expert: false },
];

function command(number: number, more: Partial<Command>): Command {
  return {
    id: `cmd-${number}`,
    device: "dev-1",
    kind: "set_power",
    inverter: 0,
    arguments: { watts: "3000" },
    priority: 5,
    state: "queued",
    since: iso(NOW - 60_000),
    created: iso(NOW - 60_000),
    by: "token 1 (set-up)",
    not_before: null,
    deadline: iso(NOW + 840_000),
    failure: null,
    exception: null,
    registers: [],
    ...more,
  };
}

const PATH = "/devices/dev-1/commands";
const OLD = command(1, { state: "failed", failure: "exception", exception: 2 });
const READ = command(2, { kind: "read_register", arguments: { address: "40000", count: "2", table: "holding" }, state: "succeeded", registers: [21_365, 28_243] });

async function on(view: View, work: (stage: Stage) => Promise<void>): Promise<void> {
  const opened = await stage(browser, view);
  opened.answers["GET /devices/dev-1"] = detail({}, [inverter([point("ac.power", 1_500)])]);
  opened.answers["GET /commands/kinds"] = { kinds: KINDS };
  opened.answers[`GET ${PATH}`] = { commands: [READ, OLD] };
  try {
    await opened.page.goto("/devices/dev-1?tab=commands");
    await opened.page.locator('[data-command="cmd-1"]').waitFor();
    await work(opened);
    expect(opened.errors).toEqual([]);
  } finally {
    await opened.close();
  }
}

describe("the commands of a device", () => {
  it.each([DESK, PHONE])("show how each ended and what was read back ($name)", (view) =>
    on(view, async ({ page, answers }) => {
      const text = async (id: string) => (await page.locator(`[data-command="${id}"]`).innerText()).replaceAll(/\s+/g, " ");
      expect(await text("cmd-1")).toContain("Failed: exception 2");
      expect(await text("cmd-2")).toContain("Read back: 21365, 28243");
      expect(await page.getByRole("button", { name: "Cancel" }).count()).toBe(0);
      const at = iso(NOW - 50_000);
      answers["GET /commands/cmd-1"] = {
        ...OLD,
        transitions: [
          { state: "queued", at: OLD.created, by: "token 1 (set-up)" },
          { state: "sent", at, by: "server" },
          { state: "failed", at, by: "dev-1", failure: "exception" },
        ],
      };
      await page.locator('[data-command="cmd-1"]').getByRole("button", { name: "History" }).click();
      const steps = page.getByRole("list", { name: "History of cmd-1" }).getByRole("listitem");
      await steps.nth(2).waitFor();
      expect(await steps.nth(2).innerText()).toContain("dev-1");
      await expectAccessible(page);
      await expectNoSideways(page);
    }),
  );

  it.each([DESK, PHONE])("are sent, cancelled and followed live ($name)", (view) =>
    on(view, async ({ page, answers, asked, send }) => {
      await page.getByLabel("Watts").fill("3000");
      const queued = command(3, {});
      answers[`POST ${PATH}`] = queued;
      answers[`GET ${PATH}`] = { commands: [queued, READ, OLD] };
      await page.getByRole("button", { name: "Send command" }).click();
      const line = page.locator('[data-command="cmd-3"]');
      await line.getByText("Queued").waitFor();
      const body = asked.find(({ route }) => route === `POST ${PATH}`)!.body as Record<string, unknown>;
      expect(body).toEqual({ kind: "set_power", arguments: { watts: "3000" }, inverter: 0, valid_for_s: 900, key: body["key"] });
      expect(body["key"]).toMatch(/^[0-9a-f]{32}$/);
      await page.getByText("cmd-3 goes out with the reply").waitFor();
      // The device gets it before it is cancelled.
      answers["POST /commands/cmd-3/cancel"] = new Refusal(409, "command_sent", "the command was sent, so the device may have begun it");
      await line.getByRole("button", { name: "Cancel" }).click();
      await line.getByText("Not cancelled: the command was sent").waitFor();
      for (const [state, text] of [["accepted", "Accepted by the device"], ["succeeded", "Succeeded"]] as const) {
        answers[`GET ${PATH}`] = { commands: [command(3, { state }), READ, OLD] };
        await send("command", { device: "dev-1", command: "cmd-3", state });
        await line.getByText(text).waitFor();
      }
      expect(await line.getByRole("button", { name: "Cancel" }).count()).toBe(0);
    }),
  );

  it("are asked for again with the same key while no answer has come", () =>
    on(DESK, async ({ page, answers, asked }) => {
      await page.getByLabel("Watts").fill("3000");
      answers[`POST ${PATH}`] = new Refusal(503, "busy", "the server is overloaded");
      await page.getByRole("button", { name: "Send command" }).click();
      await page.getByText("Not sent: the server is overloaded.").waitFor();
      answers[`POST ${PATH}`] = command(3, {});
      await page.getByRole("button", { name: "Send command" }).click();
      await page.getByText("cmd-3 goes out").waitFor();
      const sent = () => asked.filter(({ route }) => route === `POST ${PATH}`).map(({ body }) => (body as { key: string }).key);
      expect(new Set(sent()).size).toBe(1);
      await page.getByLabel("Command", { exact: true }).selectOption("Reboot");
      expect(await page.getByLabel("Inverter").count()).toBe(0);
      await page.getByRole("button", { name: "Send command" }).click();
      await expect.poll(() => sent().length).toBe(3);
      expect(new Set(sent()).size).toBe(2);
    }));

  it("can be viewed and not sent by a viewer", () =>
    on(PHONE, async ({ page, answers }) => {
      answers["GET /session"] = { role: "viewer", token_name: "test" };
      await page.reload();
      await page.getByText("Only an owner can send commands.").waitFor();
      expect(await page.locator('[data-command="cmd-1"]').innerText()).toContain("Failed");
      await expectAccessible(page);
    }));
});
