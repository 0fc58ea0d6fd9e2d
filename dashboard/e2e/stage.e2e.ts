/** The pages with answers that a healthy demonstration never returns. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DESK, launch, PHONE, TABLET, VIEWS, WALL, type View } from "./browser";
import type { Device } from "../src/api/types";
import { detail, device, inverter, iso, NOW, point, stage, Refusal, telemetry, type Stage } from "./stage";

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

async function on(view: View, work: (stage: Stage) => Promise<void>): Promise<void> {
  const opened = await stage(browser, view);
  try {
    await work(opened);
  } finally {
    await opened.close();
  }
}

const BAD_FLEET = [
  device({ id: "dev-1", name: "Atelier", state: "producing" }),
  device({ id: "dev-2", name: "Barn", state: "asleep", power_w: -2 }),
  device({ id: "dev-3", name: "Garage", state: "waiting", power_w: null, last_seen: null }),
  device({ id: "dev-4", name: "School", state: "silent", power_w: null, last_seen: iso(NOW - 900_000) }),
  device({ id: "dev-5", name: "Workshop", state: "faulty", power_w: null }),
];

const fleetOf = (devices: unknown[]) => ({ devices, next_cursor: null, total: devices.length });

const MINUTE = 60_000;
const DAWN = NOW - 6 * 3_600_000;

/** A reading every minute since dawn. */
function day(more: { without?: (at: number) => boolean; until?: number } = {}) {
  const t = Array.from({ length: 360 }, (_, i) => DAWN + i * MINUTE).filter(
    (at) => at < (more.until ?? Infinity) && !more.without?.(at),
  );
  const value = t.map((_, i) => 1_000 + i);
  return telemetry(t, [{ value, min: value.map((v) => v - 9), max: value.map((v) => v + 9) }], "1m");
}

function oneDevice(stage: Stage, answer: unknown = day()): void {
  stage.answers["GET /devices/dev-1"] = detail({}, [inverter([point("ac.power", 1_500)])]);
  stage.answers["GET /devices/dev-1/telemetry"] = answer;
}

const gapsOn = async (page: Page) => {
  const text = (await page.getByTestId("plot").first().getAttribute("data-gaps")) ?? "";
  return text.split(" ").filter(Boolean).map((gap) => gap.split("-").map(Number) as [number, number]);
};

describe("the fleet", () => {
  const names = (page: Page) => page.locator("main a[href^='/devices/']").allInnerTexts();
  const worst = ["Workshop", "School", "Garage", "Atelier", "Barn"];

  it("has the worst on top, as a table and as cards", async () => {
    for (const view of [DESK, TABLET, PHONE]) {
      await on(view, async ({ page, answers }) => {
        answers["GET /devices"] = fleetOf(BAD_FLEET);
        await page.goto("/");
        await page.getByRole("link", { name: "Workshop" }).waitFor();
        expect(await names(page)).toEqual(worst);
      });
    }
  });

  it("moves a device that fails to the top by itself, but not under the pointer", () =>
    on(DESK, async ({ page, answers, send }) => {
      const devices = ["Atelier", "Barn", "Chalet"].map((name, i) => device({ id: `dev-${i}`, name }));
      answers["GET /devices"] = fleetOf(devices);
      await page.goto("/");
      await page.getByRole("link", { name: "Chalet" }).hover();
      const failed = { ...devices[2]!, state: "faulty" as const };
      answers["GET /devices"] = fleetOf([devices[0], devices[1], failed]);
      await send("device", { device: "dev-2", state: "faulty", power_w: null, energy_today_wh: 1, last_seen: iso(NOW) });
      await page.getByRole("row", { name: /Chalet.*Faulty/ }).waitFor();
      expect(await names(page)).toEqual(["Atelier", "Barn", "Chalet"]);
      await page.mouse.move(5, 5);
      await expect.poll(() => names(page)).toEqual(["Chalet", "Atelier", "Barn"]);
    }));

  const failed = { device: "dev-1", state: "faulty", power_w: null, energy_today_wh: 1, last_seen: iso(NOW) };

  it("shows a change between its answer and the opening of the stream", () =>
    on(DESK, async ({ page, answers, stream }) => {
      let open = () => {};
      stream.opens = new Promise((done) => (open = done));
      answers["GET /devices"] = fleetOf([device()]);
      await page.goto("/");
      await page.getByRole("row", { name: /Barn.*Producing/ }).waitFor();
      answers["GET /devices"] = fleetOf([device({ state: "faulty" })]);
      open();
      await page.getByRole("row", { name: /Barn.*Faulty/ }).waitFor();
    }));

  it("shows a change that overtakes an older answer", () =>
    on(DESK, async ({ page, answers, asked, send }) => {
      let answer = () => {};
      const answered = new Promise<void>((done) => (answer = done));
      answers["GET /devices"] = async () => {
        await answered;
        return fleetOf([device()]);
      };
      await page.goto("/");
      await expect.poll(() => asked.some(({ route }) => route === "GET /devices")).toBe(true);
      await send("device", failed);
      // Long enough for the event to be applied, if it does not wait.
      await page.waitForTimeout(1_000);
      answer();
      await page.getByRole("row", { name: /Barn.*Faulty/ }).waitFor();
    }));

  it("is narrowed by its tiles, and the address keeps it", async () => {
    for (const view of [DESK, PHONE]) {
      await on(view, async ({ page, answers }) => {
        answers["GET /devices"] = fleetOf(BAD_FLEET);
        await page.goto("/");
        const tiles = page.getByRole("group", { name: "Devices by state" });
        await tiles.getByRole("button", { name: /Faulty/ }).click();
        await expect.poll(() => names(page)).toEqual(["Workshop"]);
        expect(new URL(page.url()).searchParams.get("state")).toBe("faulty");
        await tiles.getByRole("button", { name: /Silent/ }).click();
        await page.reload();
        await expect.poll(() => names(page)).toEqual(["Workshop", "School"]);
        expect(await tiles.getByRole("button", { name: /Silent/ }).getAttribute("aria-pressed")).toBe("true");
        await page.getByRole("button", { name: "Show all", exact: true }).click();
        await expect.poll(() => names(page)).toEqual(worst);
      });
    }
  });

  it("can be ordered on a phone, and the address keeps it", () =>
    on(PHONE, async ({ page, answers }) => {
      answers["GET /devices"] = fleetOf(BAD_FLEET);
      await page.goto("/");
      await page.getByLabel("Order").selectOption({ label: "Name" });
      await expect.poll(() => names(page)).toEqual(["Atelier", "Barn", "Garage", "School", "Workshop"]);
      await page.reload();
      await expect.poll(() => names(page)).toEqual(["Atelier", "Barn", "Garage", "School", "Workshop"]);
      expect(await page.getByLabel("Order").locator("option:checked").innerText()).toBe("Name");
    }));

  it("shows standby power as such, not as a negative feed-in", () =>
    on(DESK, async ({ page, answers }) => {
      answers["GET /devices"] = fleetOf([device({ state: "asleep", power_w: -2 }), device({ id: "dev-2", state: "asleep", power_w: 0 })]);
      await page.goto("/");
      const text = (await page.getByTestId("fleet-power").innerText()).replaceAll(/\s+/g, " ");
      expect(text).toBe("0 W uses 2 W");
      expect(await page.locator("main").innerText()).not.toContain("−");
    }));

  it("shows all it has on a tablet held upright, and uses a wall's screen", async () => {
    for (const view of [TABLET, WALL]) {
      await on(view, async ({ page, answers }) => {
        answers["GET /devices"] = fleetOf(BAD_FLEET);
        await page.goto("/");
        await page.getByRole("link", { name: "Workshop" }).waitFor();
        const box = await page.locator("main").boundingBox();
        if (view === WALL) expect(box!.width).toBeGreaterThan(2_000);
        const cut = await page.evaluate(() =>
          [...document.querySelectorAll("main *:not(.visually-hidden)")].filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "visible").length,
        );
        expect(cut).toBe(0);
        expect(await page.locator("main").innerText()).toContain("ecowatt-agent 0.1.0");
      });
    }
  });
});

describe("the chart", () => {
  it("marks exactly the stretches without readings, up to the present, with a text", () =>
    on(DESK, async (stage) => {
      const { page } = stage;
      const [from, to] = [DAWN + 60 * MINUTE, DAWN + 90 * MINUTE];
      const last = NOW - 30 * MINUTE;
      oneDevice(stage, day({ without: (at) => at >= from && at < to, until: last }));
      await page.goto(`/devices/dev-1?from=${iso(DAWN)}&to=${iso(NOW + 60 * MINUTE)}`);
      await page.getByTestId("gap-key").waitFor();
      expect(await page.getByTestId("gap-key").innerText()).toContain("no readings");
      const gaps = await gapsOn(page);
      expect(gaps[0]).toEqual([from, to]);
      expect(gaps).toHaveLength(2);
      expect(gaps[1]![0]).toBe(last);
      expect(Math.abs(gaps[1]![1] - NOW)).toBeLessThan(60_000);
    }));

  it("marks failed reads, which are rows without a reading", () =>
    on(DESK, async (stage) => {
      const { page } = stage;
      const t = Array.from({ length: 600 }, (_, i) => NOW - 3_000_000 + i * 5_000);
      const isBad = (i: number) => i >= 200 && i < 330;
      oneDevice(
        stage,
        telemetry(t, [{ value: t.map((_, i) => (isBad(i) ? null : 700)), not_good: t.flatMap((_, i) => (isBad(i) ? [[i, "timeout"]] : [])) as [number, string][] }]),
      );
      await page.goto(`/devices/dev-1?from=${iso(t[0]!)}&to=${iso(t[599]!)}`);
      await page.getByTestId("gap-key").waitFor();
      expect(await gapsOn(page)).toEqual([[t[199], t[330]]]);
    }));

  it.each(VIEWS.filter(({ isPhone }) => !isPhone))("paints a gap so that it is seen ($name)", (view) =>
    on(view, async (stage) => {
      const { page } = stage;
      oneDevice(stage, day({ without: (at) => at >= DAWN + 120 * MINUTE && at < DAWN + 240 * MINUTE }));
      await page.goto(`/devices/dev-1?from=${iso(DAWN)}&to=${iso(NOW)}`);
      await page.getByTestId("gap-key").waitFor();
      await page.locator(".uplot canvas").first().waitFor();
      const lights = await page.evaluate(() => {
        const canvas = document.querySelector<HTMLCanvasElement>(".uplot canvas")!;
        const over = document.querySelector<HTMLElement>(".u-over")!;
        const scale = canvas.width / canvas.getBoundingClientRect().width;
        const [c, o] = [canvas.getBoundingClientRect(), over.getBoundingClientRect()];
        const at = (share: number) => {
          const data = canvas.getContext("2d")!.getImageData((o.left - c.left + o.width * share) * scale, (o.top - c.top + 30) * scale, 40, 40).data;
          const ground = getComputedStyle(canvas.closest("section")!.parentElement!.closest("section")!).backgroundColor;
          const [r, g, b] = ground.match(/\d+/g)!.map(Number);
          const light: number[] = [];
          for (let i = 0; i < data.length; i += 4) {
            const a = data[i + 3]! / 255;
            const mix = (k: number, under: number) => data[i + k]! * a + under * (1 - a);
            light.push(0.2126 * mix(0, r!) + 0.7152 * mix(1, g!) + 0.0722 * mix(2, b!));
          }
          return { least: Math.min(...light), most: Math.max(...light) };
        };
        return { gap: at(0.47), ground: at(0.12) };
      });
      const linear = (v: number) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4) + 0.05;
      const contrast = (a: number, b: number) => Math.max(linear(a), linear(b)) / Math.min(linear(a), linear(b));
      const ground = view.scheme === "dark" ? lights.ground.least : lights.ground.most;
      const line = view.scheme === "dark" ? lights.gap.most : lights.gap.least;
      expect(contrast(line, ground)).toBeGreaterThan(2.2);
    }),
  );

  it("does not go later than the present", () =>
    on(DESK, async (stage) => {
      const { page } = stage;
      oneDevice(stage);
      await page.goto(`/devices/dev-1?from=${iso(NOW - 4 * 3_600_000)}&to=${iso(NOW - 3 * 3_600_000)}`);
      const later = page.getByRole("button", { name: "Later" });
      for (let steps = 0; await later.isEnabled(); steps += 1) {
        const before = await page.getByTestId("range").getAttribute("data-to");
        await later.click();
        await page.locator(`[data-testid=range]:not([data-to="${before}"])`).waitFor({ state: "attached" });
        expect(steps).toBeLessThan(9);
      }
      const to = Number(await page.getByTestId("range").getAttribute("data-to"));
      expect(Math.abs(to - NOW)).toBeLessThan(120_000);
    }));
});

describe("the device", () => {
  it("has one power, whatever event comes last", () =>
    on(DESK, async (stage) => {
      const { page, answers, send } = stage;
      oneDevice(stage);
      await page.goto("/devices/dev-1");
      const numbers = async () => {
        const head = await page.getByTestId("power").innerText();
        const row = await page.locator('tr[data-point="ac.power"] td').first().innerText();
        return [head, row].map((text) => text.replaceAll(/\s/g, " "));
      };
      await page.getByTestId("power").waitFor();
      for (let step = 1; step <= 6; step += 1) {
        const watts = 1_000 + step * 111;
        await send("sample", { device: "dev-1", inverter: 0, t_ms: NOW + step * 1_000, values: [["ac.power", watts]] });
        await send("device", { device: "dev-1", state: "producing", power_w: 7 * step, energy_today_wh: 1, last_seen: iso(NOW) });
        await expect.poll(async () => (await numbers())[1]).toBe(`${watts.toLocaleString("en-GB")} W`);
        const [head, row] = await numbers();
        expect(head).toBe(row);
      }
      answers["GET /devices/dev-1"] = detail({ power_w: 3 }, [inverter([point("ac.power", 4_321)])]);
      await page.reload();
      await expect.poll(numbers).toEqual(["4,321 W", "4,321 W"]);
    }));

  it("has numbers for people", () =>
    on(DESK, async ({ page, answers }) => {
      answers["GET /devices/dev-1"] = detail({}, [
        inverter(
          [
            point("ac.power", 12_345),
            point("ac.energy.total", 17_310_880, { unit: "Wh" }),
            point("alarm.1", 0, { unit: "" }),
            point("alarm.2", 5, { unit: "" }),
          ],
          { profile: "sunspec/generic-pv" },
        ),
      ]);
      answers["GET /devices/dev-1/telemetry"] = day();
      await page.goto("/devices/dev-1");
      const text = async (name: string) => (await page.locator(`tr[data-point="${name}"] td`).first().innerText()).replaceAll(/\s/g, " ");
      await page.locator('tr[data-point="ac.power"]').waitFor();
      expect(await text("ac.power")).toBe("12.35 kW");
      expect(await text("ac.energy.total")).toBe("17.31 MWh");
      expect(await text("alarm.1")).toBe("none");
      expect(await text("alarm.2")).toBe("code 5 (0x0005)");
    }));

  it("has no axis with numbers where no energy was measured", () =>
    on(DESK, async ({ page, answers }) => {
      answers["GET /devices/dev-1"] = detail({ state: "waiting", energy_today_wh: null, created: iso(NOW - 60_000) }, []);
      answers["GET /devices/dev-1/energy"] = { device: "dev-1", time_zone: "Europe/Berlin", from: iso(NOW), to: iso(NOW), days: [] };
      await page.goto("/devices/dev-1?tab=energy");
      await page.getByText("No energy was measured on these days.").waitFor();
      expect((await page.getByTestId("energy-mark").allInnerTexts()).filter((text) => /\d/.test(text))).toEqual([]);
      expect(await page.locator("main").innerText()).not.toContain("0 full days");
    }));

  it("leaves the day of the enrolment out of the mean", () =>
    on(DESK, async ({ page, answers }) => {
      const days = [["2026-06-19", 100], ["2026-06-20", 8_000], ["2026-06-21", 50]].map(([date, energy_wh]) => ({ date, energy_wh, source: "counter", gaps: [] }));
      answers["GET /devices/dev-1"] = detail({ energy_today_wh: 50, created: "2026-06-19T15:00:00Z" }, []);
      answers["GET /devices/dev-1/energy"] = { device: "dev-1", time_zone: "Europe/Berlin", from: iso(NOW), to: iso(NOW), days };
      await page.goto("/devices/dev-1?tab=energy");
      const mean = page.locator("dl > div", { hasText: "Mean of 1 full day" });
      await mean.waitFor();
      expect((await mean.innerText()).replaceAll(/\s/g, " ")).toContain("8.00 kWh");
    }));
});

describe("trouble", () => {
  const offline: NonNullable<Device["trouble"]> = {
    cause: "inverter_offline",
    inverters: [0],
    quality: "timeout",
    since: iso(NOW - 23 * MINUTE),
    last_good: iso(NOW - 23 * MINUTE),
  };
  const faulty = device({ id: "dev-1", name: "Barn", state: "faulty", power_w: null, trouble: offline });

  it("is shown with its cause, since when, the last good reading and what to try, in the fleet and on the page", async () => {
    for (const view of [DESK, PHONE]) {
      await on(view, async ({ page, answers }) => {
        answers["GET /devices"] = fleetOf([faulty, device({ id: "dev-2", name: "Atelier" })]);
        answers["GET /devices/dev-1"] = { ...detail({}, [inverter([point("ac.power", 5)], { state: "offline" })]), ...faulty };
        answers["GET /devices/dev-1/telemetry"] = day();
        for (const path of ["/", "/devices/dev-1"]) {
          await page.goto(path);
          await page.getByTestId("trouble").waitFor();
          expect(await page.getByTestId("trouble").count()).toBe(1);
          const text = (await page.getByTestId("trouble").innerText()).replaceAll(/\s/g, " ");
          expect(text).toContain("Inverter 1 has not answered since 13:37 (23 min).");
          expect(text).toContain("Last good reading 13:37.");
          expect(text).toContain("is its unit number right?");
        }
      });
    }
  });

  it("goes with the state that it explains", () =>
    on(DESK, async ({ page, answers, send }) => {
      answers["GET /devices"] = fleetOf([faulty]);
      await page.goto("/");
      await page.getByTestId("trouble").waitFor();
      answers["GET /devices"] = fleetOf([device()]);
      await send("device", { device: "dev-1", state: "producing", power_w: 5, energy_today_wh: 1, last_seen: iso(NOW) });
      await page.getByTestId("trouble").waitFor({ state: "detached" });
    }));

  it("of an inverter shows what the inverter reports", () =>
    on(DESK, async ({ page, answers }) => {
      const trouble = { ...offline, cause: "inverter_faulty" as const, quality: null };
      answers["GET /devices/dev-1"] = detail({ state: "faulty", trouble }, [
        inverter([point("ac.power", 0), point("state", 7, { unit: "", text: "fault" }), point("alarm.1", 1, { unit: "" })], {
          state: "faulty",
          profile: "sunspec/generic-pv",
        }),
      ]);
      answers["GET /devices/dev-1/telemetry"] = day();
      await page.goto("/devices/dev-1");
      await page.getByTestId("trouble").getByText("It reports: state fault, alarm ground fault.").waitFor();
    }));

  it("a silence counts from the last message, and nothing is claimed to be known of the inverter", () =>
    on(DESK, async ({ page, answers }) => {
      const seen = iso(NOW - 17 * MINUTE);
      answers["GET /devices/dev-1"] = detail(
        {
          state: "silent",
          state_since: iso(NOW - MINUTE),
          last_seen: seen,
          power_w: null,
          trouble: { cause: "not_heard", inverters: [], quality: null, since: seen, last_good: seen },
        },
        [inverter([point("ac.power", 5)], { state: "offline" })],
      );
      answers["GET /devices/dev-1/telemetry"] = day();
      await page.goto("/devices/dev-1");
      const main = async () => (await page.locator("main").innerText()).replaceAll(/\s/g, " ");
      await page.getByTestId("trouble").waitFor();
      const text = await main();
      expect(text).toContain("for 17 min");
      expect(text).toContain("No message since 13:43 (17 min)");
      expect(text).toContain("Unknown");
      expect(text).not.toContain("Offline");
    }));

  it("of a device that waits says whether its code can still be used", () =>
    on(PHONE, async ({ page, answers }) => {
      const trouble = { cause: "not_claimed" as const, inverters: [], quality: null, since: null, last_good: null };
      answers["GET /devices/dev-1"] = detail({ state: "waiting", last_seen: null, trouble }, []);
      answers["GET /claims"] = [{ id: "AAAAA", device: "dev-1", device_name: "Barn", created: iso(NOW), expires: iso(NOW + MINUTE) }];
      await page.goto("/devices/dev-1");
      const note = page.getByTestId("trouble");
      await note.getByText("Its claim code has not been used yet.").waitFor();
      expect(await note.innerText()).not.toContain("no longer");
      answers["GET /claims"] = [];
      await page.reload();
      await note.getByText("It can no longer be used.").waitFor();
      await page.getByRole("button", { name: "New claim code" }).waitFor();
    }));

  it("of a lost code or a revoked key offers a new code where it is read", () =>
    on(DESK, async ({ page, answers, asked }) => {
      const trouble = { cause: "key_revoked" as const, inverters: [], quality: null, since: iso(NOW - MINUTE), last_good: null };
      answers["GET /devices/dev-1"] = detail({ trouble }, []);
      answers["POST /devices/dev-1/claim"] = { device: "dev-1", claim_code: "AAAAA-BBBBB-CCCCC-DDDDD", expires: iso(NOW + MINUTE) };
      await page.goto("/devices/dev-1");
      await page.getByRole("button", { name: "New claim code" }).click();
      await page.getByRole("dialog").getByRole("button", { name: "Create claim code" }).click();
      await page.getByLabel("Configuration").getByText('claim_code = "AAAAA-BBBBB-CCCCC-DDDDD"').waitFor();
      expect(asked.filter(({ route }) => route === "POST /devices/dev-1/claim")).toHaveLength(1);
    }));
});

it("the dialog for a device takes the fleet's site, also if the fleet comes later", () =>
  on(DESK, async ({ page, answers }) => {
    let give: (fleet: unknown) => void = () => {};
    answers["GET /devices"] = () => new Promise((done) => (give = done));
    answers["GET /profiles"] = [{ id: "sunspec/generic-pv", title: "Any SunSpec PV inverter" }];
    await page.goto("/");
    await page.getByRole("button", { name: "Add device" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Name").fill("Roof");
    await dialog.getByLabel("Inverter's address").fill("192.0.2.10");
    await dialog.getByLabel("Model").selectOption("sunspec/generic-pv");
    expect(await dialog.getByRole("button", { name: "Create claim code" }).isDisabled()).toBe(true);
    give(fleetOf([device()]));
    await expect.poll(() => dialog.getByRole("button", { name: "Create claim code" }).isEnabled()).toBe(true);
    expect(await dialog.getByLabel("Site").inputValue()).toBe("Home");
  }));

describe("the settings", () => {
  const open = async (stage: Stage, more = {}) => {
    stage.answers["GET /claims"] = [];
    stage.answers["GET /devices/dev-1"] = detail(more, []);
    await stage.page.goto("/devices/dev-1?tab=management");
    await stage.page.getByRole("region", { name: "Key" }).waitFor();
  };
  const sent = ({ asked }: Stage, route: string) => asked.filter((one) => one.route === route).map(({ body }) => body);

  it("send what was changed and nothing else, and say what the server says to it", () =>
    on(DESK, async (stage) => {
      const { page, answers } = stage;
      await open(stage);
      const place = page.getByRole("region", { name: "Name and site" });
      expect(await place.getByRole("button", { name: "Save" }).isDisabled()).toBe(true);
      answers["PATCH /devices/dev-1"] = { warning: "dev-7 is called that too" };
      await place.getByLabel("Name").fill("Roof");
      await place.getByRole("button", { name: "Save" }).click();
      await place.getByText("Saved. But dev-7 is called that too.").waitFor();
      expect(sent(stage, "PATCH /devices/dev-1")).toEqual([{ name: "Roof" }]);

      answers["PATCH /devices/dev-1"] = new Refusal(400, "invalid_name", "a name has 1 to 80 characters");
      await place.getByLabel("Name").fill("Other");
      await place.getByRole("button", { name: "Save" }).click();
      await place.getByText("Not saved: a name has 1 to 80 characters.").waitFor();
      expect(await page.getByText("Saved.", { exact: true }).count()).toBe(0);
    }));

  it("change a time zone beside counted days only after a second word", () =>
    on(DESK, async (stage) => {
      const { page, answers } = stage;
      await open(stage);
      const site = page.getByRole("region", { name: "Site Home" });
      answers["PATCH /sites/1"] = ({ body }: { body: { keep_past_days?: boolean } }) =>
        body.keep_past_days ? {} : new Refusal(409, "past_days", "energy of past days is cut by the present time zone");
      await site.getByLabel("Site's time zone").fill("Asia/Kolkata");
      await site.getByRole("button", { name: "Save site" }).click();
      await site.getByText(/Past days keep the bounds of the old zone/).waitFor();
      await site.getByRole("button", { name: "Change anyway" }).click();
      await site.getByText("Saved.").waitFor();
      expect(sent(stage, "PATCH /sites/1")).toEqual([
        { time_zone: "Asia/Kolkata" },
        { time_zone: "Asia/Kolkata", keep_past_days: true },
      ]);
    }));

  it("delete a device only once its number is typed, and leave its page", () =>
    on(PHONE, async (stage) => {
      const { page, answers } = stage;
      answers["GET /devices"] = fleetOf([device({ id: "dev-2", name: "Left" })]);
      await open(stage);
      answers["DELETE /devices/dev-1"] = null;
      await page.getByRole("button", { name: "Delete device" }).click();
      const question = page.getByRole("dialog");
      expect(await question.innerText()).toContain("99 samples");
      const action = question.getByRole("button", { name: "Delete permanently" });
      expect(await action.isDisabled()).toBe(true);
      await question.getByRole("textbox").fill("dev-2");
      expect(await action.isDisabled()).toBe(true);
      await question.getByRole("textbox").fill("dev-1");
      await action.click();
      await page.getByRole("link", { name: "Left" }).waitFor();
      expect(sent(stage, "DELETE /devices/dev-1")).toHaveLength(1);
    }));

  it("reset a device, and say why if that fails", () =>
    on(DESK, async (stage) => {
      const { page, answers } = stage;
      await open(stage);
      await page.getByRole("button", { name: "Reset" }).click();
      const question = page.getByRole("dialog");
      answers["POST /devices/dev-1/reset"] = new Refusal(503, "busy", "too many requests are waiting for the store");
      await question.getByRole("button", { name: "Reset" }).click();
      await question.getByText("Not done: too many requests are waiting for the store.").waitFor();
      answers["POST /devices/dev-1/reset"] = null;
      await question.getByRole("button", { name: "Reset" }).click();
      await question.waitFor({ state: "hidden" });
    }));

  it("are an owner's", () =>
    on(DESK, async ({ page, answers }) => {
      answers["GET /session"] = { role: "viewer", token_name: "hall" };
      answers["GET /devices/dev-1"] = detail({ trouble: { cause: "not_claimed", inverters: [], quality: null, since: null, last_good: null } }, []);
      await page.goto("/devices/dev-1?tab=management");
      await page.getByText("Only an owner can change a device.").waitFor();
      expect(await page.getByRole("button", { name: /claim code|Revoke|Delete/ }).count()).toBe(0);
    }));
});

describe("an address", () => {
  it.each(["/devices/%E0%A4%A", "/devices/%", "/devices/%ff%fe"])("that cannot be read is shown as not found: %s", (path) =>
    on(DESK, async ({ page, errors }) => {
      await page.goto("/");
      // As typed; a browser's library would refuse to send some of these.
      await page.evaluate((to) => window.location.assign(to), path);
      await page.getByRole("heading", { name: "Not found" }).waitFor();
      expect(errors).toEqual([]);
    }),
  );
});

it("a page that breaks leaves the rest standing and can be tried again", () =>
  on(DESK, async (stage) => {
    const { page, answers } = stage;
    answers["GET /devices/dev-1"] = { id: "dev-1", name: "Barn" };
    await page.goto("/devices/dev-1");
    await page.getByText("This page could not be shown.").waitFor();
    await page.getByRole("banner").getByRole("link", { name: /EcoWatt/ }).waitFor();
    oneDevice(stage);
    await page.getByRole("main").getByRole("link", { name: "Go to the fleet" }).click();
    await page.getByRole("heading", { name: "Fleet" }).waitFor();
    await page.goto("/devices/dev-1");
    await page.getByRole("heading", { name: "Barn" }).waitFor();
  }));

it("no strip beside the page is left that nothing covers", () =>
  on(DESK, async ({ page }) => {
    await page.goto("/nothing/here");
    await page.getByRole("heading", { name: "Not found" }).waitFor();
    const { gutter, overflow } = await page.evaluate(() => {
      const { scrollbarGutter, overflowY } = getComputedStyle(document.documentElement);
      return { gutter: scrollbarGutter, overflow: overflowY };
    });
    expect([gutter, overflow]).toEqual(["auto", "scroll"]);
  }));
