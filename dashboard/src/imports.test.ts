/**
 * Importing a module does nothing: it declares, and `main.tsx` starts what must run. So a test, or the
 * page of specimens, can take any part without the rest.
 */
import { afterAll, beforeAll, expect, it, vi } from "vitest";

const modules = import.meta.glob(["./**/*.{ts,tsx}", "!./**/*.test.ts", "!./main.tsx"]);

/** What a module could act on, or read, while it loads. */
const OBJECTS = ["window", "document", "navigator", "location", "history", "localStorage", "sessionStorage"];
const FUNCTIONS = [
  "fetch",
  "EventSource",
  "addEventListener",
  "matchMedia",
  "requestAnimationFrame",
  "setInterval",
  "setTimeout",
  "queueMicrotask",
];
const METHODS: [object: object, name: string][] = [
  [Date, "now"],
  [Math, "random"],
  [performance, "now"],
  [Intl.DateTimeFormat.prototype, "resolvedOptions"],
];

/** The first line of the stack in a module of ours: the test's tools use timers and clocks, too. */
function culprit(): string | undefined {
  const lines = (new Error().stack ?? "").split("\n");
  return lines.find((line) => line.includes(import.meta.dirname) && !line.includes("imports.test.ts"))?.trim();
}

function refuse(name: string): void {
  const place = culprit();
  if (place) throw new Error(`${name} is used while a module loads, ${place}`);
}

const refusing = (name: string): ProxyHandler<() => void> => {
  const always = () => {
    throw new Error(`${name} is used while a module loads, ${culprit() ?? "in a package"}`);
  };
  return { get: always, set: always, has: always, apply: always, construct: always };
};

beforeAll(async () => {
  // Packages look around when they load, and are allowed to; they stay loaded.
  await Promise.all([
    import("@tanstack/react-query"),
    import("lucide-react"),
    import("react/jsx-dev-runtime"),
    import("react/jsx-runtime"),
    import("uplot"),
  ]);
  for (const name of OBJECTS) vi.stubGlobal(name, new Proxy(() => {}, refusing(name)));
  for (const name of FUNCTIONS) {
    const real = (globalThis as Record<string, unknown>)[name];
    const stub = function (this: unknown, ...given: unknown[]) {
      refuse(name);
      return typeof real === "function" ? Reflect.apply(real, globalThis, given) : undefined;
    };
    vi.stubGlobal(name, stub);
  }
  for (const [object, name] of METHODS) {
    const methods = object as Record<string, (...given: unknown[]) => unknown>;
    const real = methods[name]!;
    vi.spyOn(methods, name).mockImplementation(function (this: unknown, ...given) {
      refuse(name);
      return Reflect.apply(real, this, given);
    });
  }
});
afterAll(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

it("there are modules to load", () => {
  expect(Object.keys(modules)).toContain("./api/live.ts");
});

it.each(Object.keys(modules))("%s only declares", async (path) => {
  await modules[path]!();
});
