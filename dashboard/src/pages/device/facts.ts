/**
 * Names of what a device reports about itself. Keys end with their unit; unknown keys are shown as
 * they are.
 */
import { amountText, bytes, durationText, numberText, reading } from "../../lib/format";

const NAMES: Record<string, string> = {
  boot_reason: "Last start",
  samples: "Samples taken since the start",
  backlog_batches: "Batches waiting to be sent",
  spool_bytes: "Spool in use",
  spool_capacity_bytes: "Spool holds at most",
  link_failures: "Failed attempts to send",
  clock_deviation_ms: "Clock deviation from the server",
};

const BOOT_REASONS: Record<string, string> = {
  first: "first start",
  clean: "after a clean stop",
  unclean: "after a cut",
  unknown: "for an unknown reason",
};

const INVERTER_FACTS: Record<string, string> = {
  requests: "requests",
  failures: "failed requests",
  quarantined: "registers skipped",
};

const UNITS = /_(bytes|ms|s)$/;

export function factName(name: string): string {
  const known = NAMES[name];
  if (known) return known;
  const inverter = /^inverter_(\d+)_(\w+)$/.exec(name);
  if (inverter) {
    const what = INVERTER_FACTS[inverter[2]!] ?? inverter[2]!.replaceAll("_", " ");
    return `Inverter ${Number(inverter[1]) + 1}, ${what}`;
  }
  const text = name.replace(UNITS, "").replaceAll(/[_.]/g, " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function signed(ms: number): string {
  return (ms < 0 ? "\u2212" : "") + durationText(Math.abs(ms));
}

export function factValue(name: string, value: string): string {
  if (name === "boot_reason") return BOOT_REASONS[value] ?? value;
  const number = value.trim() === "" ? NaN : Number(value);
  if (!Number.isFinite(number)) return value;
  switch (UNITS.exec(name)?.[1]) {
    case "bytes":
      return amountText(bytes(number));
    case "ms":
      return Math.abs(number) < 10_000 ? amountText(reading(number, "ms", 0)) : signed(number);
    case "s":
      return signed(number * 1_000);
    default:
      return Number.isInteger(number) ? numberText(number, 0) : value;
  }
}
