/** Parts that show numbers, times and states. */
import { Absent, Age, Figure, Lasting, Power } from "../../src/components/Figure";
import { Sparkline } from "../../src/components/Sparkline";
import { DEVICE_STATES, DeviceBadge, InverterBadge } from "../../src/components/State";
import { TroubleNote } from "../../src/components/TroubleNote";
import { bytes, energy, power, readable } from "../../src/lib/format";
import { ago, device, DEVICES, EXTREME, HUGE_W, INVERTERS, iso, LONG_WORDS, NO_SPARK, NOW, SITE, spark, TROUBLES } from "../fixtures";
import { casesFor, type Part } from "../part";

const ZONE = SITE.time_zone;
const WHY = "No recent good reading of its power";

export const FIGURES: Part[] = [
  {
    name: "Figure",
    layout: "list",
    cases: [
      { name: "watts", show: <Figure amount={power(4_812)} /> },
      { name: "negative", show: <Figure amount={power(-4_812)} /> },
      { name: "large energy", show: <Figure amount={energy(17_310_880)} /> },
      { name: "huge", show: <Figure amount={power(HUGE_W)} /> },
      { name: "decimals", show: <Figure amount={readable(49.98, "Hz", 2)} /> },
      { name: "bytes", show: <Figure amount={bytes(24_901_022)} /> },
      { name: "no unit", show: <Figure amount={{ number: "17", unit: "" }} /> },
    ],
  },
  {
    name: "Power",
    layout: "list",
    cases: [
      { name: "fed in", show: <Power watts={4_812} why={WHY} /> },
      { name: "none", show: <Power watts={0} why={WHY} /> },
      { name: "standby", show: <Power watts={-8} why={WHY} /> },
      { name: "drawn", show: <Power watts={-4_812} why={WHY} /> },
      { name: "huge", show: <Power watts={HUGE_W} why={WHY} /> },
      { name: "absent", show: <Power watts={null} why={WHY} /> },
    ],
  },
  { name: "Absent", layout: "list", cases: [{ name: "with its reason", show: <Absent why={LONG_WORDS} /> }] },
  {
    name: "Age",
    layout: "list",
    cases: [
      { name: "just now", show: <Age at={iso(NOW)} zone={ZONE} why="" /> },
      { name: "seconds", show: <Age at={ago(20_000)} zone={ZONE} why="" /> },
      { name: "hours", show: <Age at={ago(8_500_000)} zone={ZONE} why="" /> },
      { name: "years", show: <Age at="2019-01-01T00:00:00Z" zone={ZONE} why="" /> },
      { name: "never", show: <Age at={null} zone={ZONE} why="Never used" /> },
    ],
  },
  {
    name: "Lasting",
    layout: "list",
    cases: [
      { name: "minutes", show: <Lasting since={ago(180_000)} zone={ZONE} /> },
      { name: "years", show: <Lasting since="2019-01-01T00:00:00Z" zone={ZONE} /> },
    ],
  },
  {
    name: "Sparkline",
    layout: "list",
    cases: [
      { name: "today with a gap", show: <Sparkline spark={spark(6_000)} zone={ZONE} /> },
      { name: "huge", show: <Sparkline spark={spark(HUGE_W)} zone={ZONE} /> },
      { name: "no power", show: <Sparkline spark={spark(0)} zone={ZONE} /> },
      { name: "a single quarter hour", show: <Sparkline spark={{ ...spark(0), offset_s: [36_000], power_w: [900] }} zone={ZONE} /> },
      { name: "nothing measured", show: <Sparkline spark={NO_SPARK} zone={ZONE} /> },
    ],
  },
  { name: "DeviceBadge", layout: "list", cases: casesFor(DEVICE_STATES, (state) => <DeviceBadge state={state} />) },
  { name: "InverterBadge", layout: "list", cases: casesFor(INVERTERS, (state) => <InverterBadge state={state} />) },
  {
    name: "TroubleNote",
    layout: "list",
    cases: [
      ...casesFor(TROUBLES, (cause) => <TroubleNote device={device({ state: "faulty", trouble: TROUBLES[cause] })} />),
      { name: "of a silent device", show: <TroubleNote device={DEVICES.silent} /> },
      { name: "unknown since when", show: <TroubleNote device={device({ state: "silent", trouble: { ...TROUBLES.not_heard, since: null } })} /> },
      { name: "with what the inverter reports", show: <TroubleNote device={DEVICES.faulty} more="It reports: alarm 0x0280, state fault." /> },
      { name: "eight inverters for years", show: <TroubleNote device={EXTREME} /> },
    ],
  },
];
