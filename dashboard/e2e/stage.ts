/**
 * The pages with answers that a test chooses: the built files, the API's routes as data, and a stream
 * of events that the test sends. For states that a healthy demonstration never shows.
 */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { resolve } from "node:path";
import type { Browser, Page } from "playwright-core";
import { vi } from "vitest";
import type { components } from "../src/api/schema";
import { DEADLINE_MS, type View } from "./browser";
import { sendFile } from "./files";

type Schemas = components["schemas"];

const DIST = resolve(import.meta.dirname, "../dist");

/** An answer, or a function that makes one, at once or later, of `{ url, body }`. */
type Answer = unknown;

/** An error in the API's format. */
export class Refusal {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly message: string,
  ) {}
}

export interface Stage {
  page: Page;
  /** By method and path below `/api/v1`, such as `GET /devices`. */
  answers: Record<string, Answer>;
  /** The requests, in order. */
  asked: { route: string; url: URL; body: unknown }[];
  /** Sends an event to every open stream, of which there is at least one. */
  send: (kind: Schemas["EventKind"], data: unknown) => Promise<void>;
  /** Awaited by the server before it answers a request for the stream. */
  stream: { opens: Promise<void> };
  /** Errors on the console and uncaught exceptions. */
  errors: string[];
  close: () => Promise<void>;
}

export const NOW = Date.parse("2026-06-21T12:00:00Z");

export const iso = (ms: number) => new Date(ms).toISOString();

export const SITE: Schemas["Site"] = { id: 1, name: "Home", time_zone: "Europe/Berlin" };

export function device(more: Partial<Schemas["Device"]> = {}): Schemas["Device"] {
  return {
    id: "dev-1",
    name: "Barn",
    site: SITE,
    state: "producing",
    state_since: iso(NOW - 3_600_000),
    power_w: 1_500,
    energy_today_wh: 9_800,
    last_seen: iso(NOW - 20_000),
    last_sample: iso(NOW - 25_000),
    firmware: "ecowatt-agent 0.1.0",
    spark: { from: null, offset_s: [], power_w: [] },
    created: iso(NOW - 90 * 86_400_000),
    ...more,
  } as Schemas["Device"];
}

export function point(name: string, value: number | null, more: Partial<Schemas["PointValue"]> = {}): Schemas["PointValue"] {
  return {
    point: name,
    unit: "W",
    decimals: 0,
    value,
    read_at: value === null ? null : iso(NOW - 25_000),
    quality: "good",
    tried_at: iso(NOW - 25_000),
    ...more,
  };
}

export function inverter(
  points: Schemas["PointValue"][],
  more: Partial<Schemas["InverterSummary"]> = {},
): Schemas["InverterSummary"] {
  return { number: 0, profile: "ecowatt/seed-sim", title: "EcoWatt seed inverter", state: "online", points, ...more };
}

export function detail(
  more: Partial<Schemas["Device"]>,
  inverters: Schemas["InverterSummary"][],
  link: Partial<Schemas["LinkState"]> = {},
): Schemas["DeviceDetail"] {
  return {
    ...device(more),
    inverters,
    link: { key_generation: 1, boot_epoch: 1, messages: 9, batches: 9, samples: 99, duplicates: 0, refused: 0, dropped_samples: 0, bytes: 999, ...link },
    diagnostics: [],
  } as Schemas["DeviceDetail"];
}

export function telemetry(
  t_ms: number[],
  series: Partial<Schemas["Series"]>[],
  resolution: Schemas["Resolution"] = "raw",
): Schemas["Telemetry"] {
  return {
    device: "dev-1",
    inverter: 0,
    resolution,
    from: iso(t_ms[0] ?? NOW),
    to: iso(t_ms.at(-1) ?? NOW),
    t_ms,
    series: series.map((one) => ({ point: "ac.power", unit: "W", decimals: 0, value: [], ...one })),
    truncated: false,
  };
}

/** Opens a page on the stage, signed in. */
export async function stage(browser: Browser, view: View): Promise<Stage> {
  const answers: Stage["answers"] = {
    "GET /session": { role: "owner", token_name: "test" },
    "GET /system": { version: "0", now: iso(NOW), is_simulated: false, speed: 1 },
    "GET /sites": [SITE],
    "GET /devices": { devices: [], next_cursor: null, total: 0 },
  };
  const asked: Stage["asked"] = [];
  const streams = new Set<ServerResponse>();
  const stream: Stage["stream"] = { opens: Promise.resolve() };
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? "/", "http://stage");
    if (!url.pathname.startsWith("/api/v1")) {
      sendFile(response, DIST, url.pathname, "index.html");
      return;
    }
    const path = url.pathname.slice("/api/v1".length);
    if (path === "/events") {
      await stream.opens;
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.write(": here\n\n");
      streams.add(response);
      request.on("close", () => streams.delete(response));
      return;
    }
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const text = Buffer.concat(parts).toString();
    const body: unknown = text ? JSON.parse(text) : undefined;
    const route = `${request.method} ${path}`;
    asked.push({ route, url, body });
    const answer = answers[route];
    const given: unknown = typeof answer === "function" ? await (answer as (r: unknown) => unknown)({ url, body }) : answer;
    const refused =
      given instanceof Refusal ? given : given === undefined ? new Refusal(404, "route_unknown", `${route} has no answer`) : null;
    response.setHeader("Content-Type", "application/json");
    if (refused) {
      response.statusCode = refused.status;
      response.end(JSON.stringify({ error: { code: refused.code, message: refused.message, request_id: "r1" } }));
    } else if (given === null) {
      response.statusCode = 204;
      response.end();
    } else {
      response.end(JSON.stringify(given));
    }
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  const context = await browser.newContext({
    baseURL: `http://127.0.0.1:${port}`,
    viewport: { width: view.width, height: view.height },
    colorScheme: view.scheme,
    isMobile: view.isPhone,
    hasTouch: view.isPhone,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  return {
    page,
    answers,
    asked,
    errors,
    stream,
    async send(kind, data) {
      await vi.waitUntil(() => streams.size > 0, { timeout: DEADLINE_MS });
      for (const open of streams) open.write(`event: ${kind}\ndata: ${JSON.stringify(data)}\n\n`);
    },
    async close() {
      await context.close();
      server.closeAllConnections();
      server.close();
    },
  };
}
