/** Rows of the form, and what an edit of it changes. */
import type { DeviceConfig, Setting, SettingChange, SettingStatus, UpdateConfig } from "../../../api/types";

/** A setting that can be given a value. */
export interface Field {
  /** As requests name it: `sampling_interval@0`. */
  key: string;
  setting: Setting;
  /** The value that is set here; one from a device's template is not. */
  own: string | null;
}

/** A setting of the device, of all its inverters, or of one of them. */
export interface Row extends Field {
  inverter: number | null;
  status: SettingStatus | null;
}

/** Edited values by key; an empty one leaves the setting to the template, or else to the device's own configuration. */
export type Draft = ReadonlyMap<string, string>;

export interface Change {
  key: string;
  before: string | null;
  after: string | null;
}

export function keyOf(name: string, inverter: number | null | undefined): string {
  return inverter == null ? name : `${name}@${inverter}`;
}

/** The name of a setting in words. */
export function nameText(name: string): string {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** One row per setting; where there are several inverters, also one for each of them. */
export function rowsOf(settings: Setting[], config: DeviceConfig, inverters: number[]): Row[] {
  return settings.flatMap((setting) => {
    const known = config.settings.filter(({ name }) => name === setting.name);
    const own = known.filter(({ inverter, desired }) => inverter != null && desired != null).map(({ inverter }) => inverter!);
    const each = setting.scope === "inverter" && inverters.length > 1 ? inverters : [];
    const numbers = [...new Set([...each, ...own])].sort((a, b) => a - b);
    return [null, ...numbers].map((inverter) => {
      const status = known.find((status) => (status.inverter ?? null) === inverter) ?? null;
      const own = status?.origin === "template" ? null : (status?.desired?.text ?? null);
      return { key: keyOf(setting.name, inverter), setting, own, inverter, status };
    });
  });
}

/** The text that the field's input shows. */
export function textOf({ key, own }: Field, draft: Draft): string {
  return draft.get(key) ?? own ?? "";
}

/** What decides where the device has no value of its own. */
export function absentText({ status, inverter }: Row, template: string | null): string {
  if (inverter !== null) return "as for all inverters";
  if (template === null) return "own configuration";
  if (status?.origin === "template") return `${status.desired?.text} from template ${template}`;
  return status?.origin === "device" ? `left to template ${template}` : "own configuration";
}

export function changesOf(fields: Field[], draft: Draft): Change[] {
  return fields.flatMap((field) => {
    const { key, own: before } = field;
    const after = textOf(field, draft).trim() || null;
    return before === after ? [] : [{ key, before, after }];
  });
}

/** The request that makes the changes, refused if another one came first. */
export function requestOf(changes: Change[], generation: number): UpdateConfig {
  return { ...valuesOf(changes), generation };
}

/** The part of a request that names the values. */
export function valuesOf(changes: Change[]): { set: Record<string, string>; unset: string[] } {
  const set = changes.flatMap(({ key, after }) => (after === null ? [] : [[key, after] as const]));
  const unset = changes.filter(({ after }) => after === null).map(({ key }) => key);
  return { set: Object.fromEntries(set), unset };
}

/** What a setting may be. */
export function allowedText({ min, max, choices }: Setting): string {
  return min && max ? `${min.text} to ${max.text}` : choices.join(", ");
}

/** A change of the history in words. */
export function changeText({ before, after }: Pick<SettingChange, "before" | "after">): string {
  const text = (value: SettingChange["before"]) => value?.text ?? "own configuration";
  return `${text(before)} → ${text(after)}`;
}
