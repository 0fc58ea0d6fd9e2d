import { expect, it } from "vitest";
import type { Trouble } from "../api/types";
import { troubleWords } from "./trouble";

const trouble = (more: Partial<Trouble>): Trouble => ({ cause: "not_heard", inverters: [], ...more }) as Trouble;
const CAUSES: Trouble["cause"][] = [
  "not_claimed",
  "nothing_received",
  "key_revoked",
  "not_heard",
  "inverter_offline",
  "inverter_faulty",
];
const QUALITIES = ["timeout", "exception", "garbled", "quarantined", "unreachable", "not_implemented", "out_of_range", "new_kind", null];

it("every cause has a sentence and something to try, with and without a time", () => {
  for (const cause of CAUSES) {
    for (const quality of QUALITIES) {
      for (const since of ["14:19", null]) {
        const { what, hint } = troubleWords(trouble({ cause, quality, inverters: [0] }), since);
        expect(what.length).toBeGreaterThan(10);
        expect(what).not.toMatch(/undefined|null/);
        expect(hint).toMatch(/[.?]$/);
      }
    }
  }
});

it("says which inverters, and since when", () => {
  const offline = (inverters: number[], since: string | null) =>
    troubleWords(trouble({ cause: "inverter_offline", quality: "timeout", inverters }), since).what;
  expect(offline([0], "14:19")).toBe("Inverter 1 has not answered since 14:19");
  expect(offline([0, 2], "14:19")).toBe("Inverters 1 and 3 have not answered since 14:19");
  expect(offline([0, 1, 2], null)).toBe("Inverters 1, 2 and 3 do not answer");
  expect(troubleWords(trouble({}), "14:19").what).toBe("No message since 14:19");
});

it("what to try depends on how the reading failed", () => {
  const hint = (quality: string) => troubleWords(trouble({ cause: "inverter_offline", quality, inverters: [0] }), null).hint;
  expect(hint("unreachable")).toContain("address");
  expect(hint("timeout")).toContain("unit");
  expect(hint("garbled")).toContain("wiring");
  expect(hint("exception")).toContain("profile");
});
