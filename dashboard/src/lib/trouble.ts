/** Describes what is wrong with a device, and what to try first. */
import type { Trouble } from "../api/types";

export interface Words {
  /** What is wrong, and since when if that is known: "Inverter 1 has not answered since 14:19". */
  what: string;
  /** What to try first. */
  hint: string;
}

/** "Inverter 1", "Inverters 1 and 2", "Inverters 1, 2 and 3". */
function subject(inverters: number[]): string {
  const numbers = inverters.map((number) => String(number + 1));
  const last = numbers.pop();
  if (last === undefined) return "An inverter";
  return numbers.length === 0 ? `Inverter ${last}` : `Inverters ${numbers.join(", ")} and ${last}`;
}

const HINTS: Record<string, string> = {
  timeout: "Is it switched on, is its cable plugged in, and is its unit number right?",
  unreachable: "Is it switched on, is its network up, and are its address and port right?",
  exception: "Does the profile match the model, and is the unit number right?",
  garbled: "Check the wiring and the baud rate. Does another master use the same bus?",
  quarantined: "Does the profile match the model? Registers that keep failing are skipped.",
  not_implemented: "Does the profile match the model?",
  out_of_range: "Does the profile match the model?",
};

function inverterHint(quality: string | null | undefined, otherwise: string): string {
  return (quality && HINTS[quality]) || otherwise;
}

/** `since` is a time in words; absent where it is not known. */
export function troubleWords(trouble: Trouble, since: string | null): Words {
  const from = since === null ? "" : ` since ${since}`;
  const who = subject(trouble.inverters);
  const isOne = trouble.inverters.length < 2;
  switch (trouble.cause) {
    case "not_claimed":
      return {
        what: "Its claim code has not been used yet",
        hint: "Start its agent with the code, or create a new code on its page.",
      };
    case "nothing_received":
      return {
        what: "It is enrolled but has not sent a message yet",
        hint: "Is its agent running, and can it reach this server? Its log says why a message fails.",
      };
    case "key_revoked":
      return {
        what: `Its key was revoked${since === null ? "" : `, and it has had no access since ${since}`}`,
        hint: "To use it again, create a new claim code on its page.",
      };
    case "not_heard":
      return {
        what: since === null ? "No message for a long time" : `No message${from}`,
        hint: "Does it have power and a network? When it is back, it sends the samples that it stored.",
      };
    case "inverter_offline":
      return {
        what: since === null ? `${who} ${isOne ? "does" : "do"} not answer` : `${who} ${isOne ? "has" : "have"} not answered${from}`,
        hint: inverterHint(trouble.quality, HINTS.timeout!),
      };
    case "inverter_faulty":
      return {
        what: `${who} ${isOne ? "reports" : "report"} a fault or ${isOne ? "answers" : "answer"} with errors${from}`,
        hint: inverterHint(trouble.quality, "Look up its state and alarm code in its manual."),
      };
  }
}
