/** Names, groups and quantities of points; the quantity decides their colour. */

export type Quantity =
  | "power"
  | "voltage"
  | "current"
  | "frequency"
  | "temperature"
  | "energy"
  | "share"
  | "other";

const QUANTITY_BY_UNIT: Record<string, Quantity> = {
  W: "power",
  VA: "power",
  var: "power",
  V: "voltage",
  A: "current",
  Hz: "frequency",
  degC: "temperature",
  Wh: "energy",
  "%": "share",
};

export const QUANTITY_NAMES: Record<Quantity, string> = {
  power: "Power",
  voltage: "Voltage",
  current: "Current",
  frequency: "Frequency",
  temperature: "Temperature",
  energy: "Energy",
  share: "Limit",
  other: "Other",
};

/** The order of quantities on every page. */
export const QUANTITIES: Quantity[] = [
  "power",
  "voltage",
  "current",
  "frequency",
  "temperature",
  "share",
  "energy",
  "other",
];

export function quantityOf(unit: string): Quantity {
  return QUANTITY_BY_UNIT[unit] ?? "other";
}

export type PointGroup = "ac" | "pv" | "state" | "temp" | "info" | "other";

export const GROUP_NAMES: Record<PointGroup, string> = {
  ac: "AC output",
  pv: "PV input",
  temp: "Temperature",
  state: "State and limits",
  info: "Nameplate",
  other: "Other",
};

export const GROUPS: PointGroup[] = ["ac", "pv", "temp", "state", "info", "other"];

export function groupOf(point: string): PointGroup {
  const head = point.split(".")[0] ?? "";
  switch (head) {
    case "ac":
    case "grid":
      return "ac";
    case "pv":
    case "dc":
      return "pv";
    case "temp":
      return "temp";
    case "state":
    case "status":
    case "control":
    case "alarm":
    case "fault":
      return "state";
    case "info":
      return "info";
    default:
      return "other";
  }
}

const SIDES: Partial<Record<PointGroup, string>> = { ac: "AC", pv: "PV" };

/**
 * The chart on which a point is drawn. One for each quantity; but a few volts of change on the grid
 * would be invisible next to the hundreds of a string, so voltages and currents have one per side.
 */
export function chartTitle(point: string, unit: string): string {
  const quantity = quantityOf(unit);
  const name = QUANTITY_NAMES[quantity];
  const side = quantity === "voltage" || quantity === "current" ? SIDES[groupOf(point)] : undefined;
  return side ? `${side} ${name.toLowerCase()}` : name;
}

const WORDS: Record<string, string> = {
  ac: "AC",
  pv: "PV",
  dc: "DC",
  temp: "",
  control: "",
  info: "",
  l1: "L1",
  l2: "L2",
  l3: "L3",
  l12: "L1–L2",
  l23: "L2–L3",
  l31: "L3–L1",
  p_limit: "Power limit",
  limit_on: "Limit active",
  rated_power: "Rated power",
};

/** Names that the rule below would not find. */
const NAMES: Record<string, string> = {
  state: "State",
  "ac.power": "AC power",
  "pv.power": "PV power",
  "ac.frequency": "Grid frequency",
  "ac.energy.total": "Lifetime energy",
  "ac.energy.day": "Energy today, by the inverter",
  "ac.power.apparent": "Apparent power",
  "ac.power.reactive": "Reactive power",
  "ac.power_factor": "Power factor",
  "temp.internal": "Inside temperature",
  "temp.cabinet": "Cabinet temperature",
  "temp.heatsink": "Heat sink temperature",
};

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** `pv.1.voltage` is "PV 1 voltage", `ac.l1.current` "AC L1 current". */
export function pointName(point: string): string {
  const known = NAMES[point];
  if (known) return known;
  const words = point.split(".").map((part) => WORDS[part] ?? part.replaceAll("_", " "));
  return sentence(words.filter((word) => word !== "").join(" "));
}

/** Numbers are drawn over time; texts and nameplate values are not. */
export function isDrawn({ point, unit }: { point: string; unit: string }): boolean {
  return unit !== "" && groupOf(point) !== "info";
}

const names = new Intl.Collator("en", { numeric: true });

/** Powers before voltages before currents, and string 2 before string 10. */
export function inOrder<P extends { point: string; unit: string }>(points: readonly P[]): P[] {
  const place = ({ unit }: P) => QUANTITIES.indexOf(quantityOf(unit));
  return points.toSorted((a, b) => place(a) - place(b) || names.compare(a.point, b.point));
}

/** Drawn by default: the power fed in, or else the first number. */
export function defaultPoints(points: { point: string; unit: string }[]): string[] {
  const chosen =
    points.find(({ point }) => point === "ac.power") ??
    points.find((point) => isDrawn(point) && point.unit === "W") ??
    points.find(isDrawn);
  return chosen ? [chosen.point] : [];
}

const QUALITY_WORDS: Record<string, string> = {
  good: "good",
  not_due: "not due",
  timeout: "no answer in time",
  exception: "refused by the inverter",
  garbled: "answer garbled",
  quarantined: "skipped after failures",
  unreachable: "inverter unreachable",
  asleep: "inverter asleep",
  not_implemented: "not offered by the inverter",
  out_of_range: "implausible value",
};

export function qualityText(quality: string): string {
  return QUALITY_WORDS[quality] ?? quality.replaceAll("_", " ");
}

/** Readings of these qualities do not make the previous value invalid. */
export function isSound(quality: string): boolean {
  return quality === "good" || quality === "not_due";
}
