/** What the gallery shows of the dashboard, and in which states. */
import type { ReactNode } from "react";
import type { Answers } from "./answers";
import type { StreamState } from "./stream";

/** One state of a part. */
export interface Case {
  /** The state in words: "no readings". */
  name: string;
  show: ReactNode;
  /** What the server answers; everything else keeps loading. */
  answers?: Answers;
  /** Parameters of the page's address. */
  params?: Record<string, string>;
  /** The state of the stream of events; unset: not opened. */
  stream?: StreamState;
  /** Leads to a state that only follows from an action. */
  act?: () => Promise<void>;
  /** Selects what the state shows late. */
  until?: string;
  /** The page has its heading only once it is loaded. */
  isUntitled?: boolean;
  /** Errors on the console that belong to the state. */
  allows?: RegExp;
}

export interface Part {
  name: string;
  /**
   * How its cases are laid out: under one another, for what is drawn from its properties alone; or one at
   * a time, for what fills the screen or asks the server. A page brings its own landmarks, a panel needs
   * those of the gallery.
   */
  layout: "list" | "panel" | "page";
  cases: Case[];
}

/** A case for each member of a union, so that a new member without one is an error of types. */
export function casesFor<Key extends string>(
  values: Record<Key, unknown>,
  show: (key: Key) => ReactNode,
): Case[] {
  return (Object.keys(values) as Key[]).map((key) => ({ name: key.replaceAll("_", " "), show: show(key) }));
}

/** The address of a part's case, or of all cases of a part that lists them. */
export function addressOf(part: Part, one?: Case): string {
  const params = new URLSearchParams({ part: part.name, ...(one && { case: one.name }), ...one?.params });
  return `?${params.toString()}`;
}
