/** From the form's fields to a request, and how commands are worded. */
import type { Command, CommandArgument, CommandKind, CommandState, CreateCommand } from "../../../api/types";

/** What the form holds, as it was typed. */
export interface Draft {
  inverter: string;
  /** Values by the names of arguments. */
  values: Record<string, string>;
  /** Name of the point, for a kind that sets any point. */
  point: string;
  /** Minutes in which the device may begin it. */
  minutes: string;
  isUrgent: boolean;
}

export const EMPTY: Draft = { inverter: "", values: {}, point: "", minutes: "15", isUrgent: false };

const PRIORITY_URGENT = 9;

/** Builds the request; the key makes it one command however often it is sent. */
export function requestOf(kind: CommandKind, draft: Draft, key: string): CreateCommand {
  const given = kind.arguments.flatMap((argument) => {
    const value = (draft.values[argument.name] ?? "").trim();
    const name = argument.kind === "point" ? draft.point.trim() : argument.name;
    return value === "" || name === "" ? [] : [[name, value] as const];
  });
  const minutes = Number(draft.minutes);
  return {
    kind: kind.name,
    arguments: Object.fromEntries(given),
    ...(kind.scope !== "device" && draft.inverter !== "" ? { inverter: Number(draft.inverter) } : {}),
    ...(draft.isUrgent ? { priority: PRIORITY_URGENT } : {}),
    valid_for_s: Math.round(minutes * 60),
    key,
  };
}

/** A random name for a request. Pages of plain HTTP have no `randomUUID`. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** "set_power" as "Set power". */
export function nameText(name: string): string {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The values that an argument may have. */
export function allowedText({ min, max, unit }: CommandArgument): string {
  if (min == null || max == null) return "";
  return `${min.toLocaleString("en")} to ${max.toLocaleString("en")} ${unit ?? ""}`.trim();
}

/** What a command does, in one line. */
export function commandText({ kind, inverter, arguments: given }: Command): string {
  const values = Object.entries(given).map(([name, value]) => `${name}=${value}`);
  const target = inverter == null ? [] : [`inverter ${inverter}`];
  return [nameText(kind), ...values, ...target].join(", ");
}

const STATES: Record<CommandState, string> = {
  queued: "Queued",
  sent: "Sent",
  accepted: "Accepted by the device",
  succeeded: "Succeeded",
  failed: "Failed",
  expired: "Expired",
  cancelled: "Cancelled",
  unknown: "Not known whether it was executed",
};

export function stateText(state: CommandState): string {
  return STATES[state];
}

/** The state, why the command failed, and what the inverter answered. */
export function outcomeText({ state, failure, exception }: Command): string {
  const reason = failure ? `: ${failure.replaceAll("_", " ")}` : "";
  return `${stateText(state)}${reason}${exception == null ? "" : ` ${exception}`}`;
}
