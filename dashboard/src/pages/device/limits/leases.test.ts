import { describe, expect, it } from "vitest";
import type { Lease, LimitChange } from "../../../api/types";
import { changeText, EMPTY, place, powerPath, proofText, reach, requestOf, shown } from "./leases";

const NOW = Date.parse("2026-11-28T12:00:00Z");
const HOUR = 3_600_000;

function lease(from: number, to: number, state: Lease["state"] = "active"): Lease {
  return {
    id: "lease-1",
    device: "dev-1",
    limit: "50%",
    from: new Date(NOW + from * HOUR).toISOString(),
    to: new Date(NOW + to * HOUR).toISOString(),
    ramp_s: 0,
    link_loss_s: 900,
    priority: 5,
    made_at: new Date(NOW).toISOString(),
    made_by: "anna",
    state,
  };
}

describe("the line", () => {
  it("reaches around now and over all leases, but not for ever", () => {
    const hours = ({ from, to }: { from: number; to: number }) => [(from - NOW) / HOUR, (to - NOW) / HOUR];
    expect(hours(reach([], NOW))).toEqual([-1.08, 1.08]);
    const [from, to] = hours(reach([lease(-2, 8)], NOW));
    expect([from, to]).toEqual([-2.4, 8.4]);
    const far = hours(reach([lease(0, 9_000)], NOW));
    expect(far[1]).toBeLessThan(26);
  });

  it("shows what is neither released nor long over", () => {
    const all = [lease(-1, 1), lease(-1, 1, "released"), lease(-60, -50, "over"), lease(40, 50, "scheduled")];
    expect(shown(all, NOW)).toEqual([all[0]]);
  });

  it("shows what holds after a lease for as long as it holds", () => {
    const held = lease(-60, -30, "afterwards");
    expect(shown([held], NOW)).toEqual([held]);
    const range = { from: NOW - HOUR, to: NOW + HOUR };
    expect(place(held, range)).toEqual({ left: 0, width: 100 });
  });

  it("places a lease within its ends", () => {
    const range = { from: NOW - HOUR, to: NOW + 3 * HOUR };
    expect(place(lease(0, 1), range)).toEqual({ left: 25, width: 25 });
    expect(place(lease(-9, 9), range)).toEqual({ left: 0, width: 100 });
  });

  it("breaks the power where there was none, and runs over what was not due", () => {
    const range = { from: 0, to: 100 };
    const path = powerPath([0, 25, 50, 75, 100], [0, undefined, 100, null, 50], range, 100, 100, 10);
    expect(path).toBe("M0.0 9.0L50.0 1.0M100.0 5.0");
  });
});

describe("words", () => {
  const change: LimitChange = { inverter: 0, at: "", lease: "lease-7", cause: "lease", limit_percent: 50 };
  it("say what was proven", () => {
    expect(changeText(change)).toBe("50 %, lease, lease-7, inverter 0");
    expect(changeText({ ...change, lease: null, cause: "released", limit_percent: null })).toBe("As found before, released, inverter 0");
    expect(proofText(change)).toBe("Not read back");
    expect(proofText({ ...change, confirmed_ms: 120 })).toBe("Read back after 0.1 s; power not measured");
    expect(proofText({ ...change, confirmed_ms: 120, power_w: 2_480, power_ms: 3_900 })).toBe("Read back after 0.1 s; 2,480 W after 3.9 s");
    expect(proofText({ ...change, failure: "exception", detail: 2 })).toBe("Not done: exception 2");
  });
});

it("a form becomes a request", () => {
  expect(requestOf(EMPTY)).toEqual({ limit: "50%", for_s: 3_600 });
  expect(requestOf({ limit: " 3000 ", unit: "W", hours: "0.5", inverter: "1", then: "0" })).toEqual({
    limit: "3000W",
    for_s: 1_800,
    inverter: 1,
    then: "0W",
  });
});
