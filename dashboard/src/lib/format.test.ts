import { expect, it } from "vitest";
import { ageText, amountText, bytes, durationText, energy, numberText, power, readable, reading, standby } from "./format";

const plain = (text: string) => text.replaceAll("\u202f", " ");

it("numbers have grouped thousands and the decimals asked for", () => {
  expect(numberText(1234567.891, 1)).toBe("1,234,567.9");
  expect(numberText(50, 2)).toBe("50.00");
  expect(numberText(-0.04, 1)).toBe("0.0");
  expect(numberText(-0.06, 1)).toBe("−0.1");
});

it("readings keep their unit, and degrees are written as degrees", () => {
  expect(plain(amountText(reading(41.25, "degC", 1)))).toBe("41.3 °C");
  expect(plain(amountText(reading(4, "", 0)))).toBe("4");
});

it("power is in whole watts up to 10 kW, so that no figure of a small plant is lost", () => {
  expect(plain(amountText(power(812.4)))).toBe("812 W");
  expect(plain(amountText(power(9_999)))).toBe("9,999 W");
  expect(plain(amountText(power(17_834)))).toBe("17.83 kW");
  expect(plain(amountText(power(12_345_678)))).toBe("12.35 MW");
  expect(plain(amountText(power(-20)))).toBe("−20 W");
});

it("energy is in watt-hours, kilowatt-hours or megawatt-hours", () => {
  expect(plain(amountText(energy(999)))).toBe("999 Wh");
  expect(plain(amountText(energy(12_704)))).toBe("12.70 kWh");
  expect(plain(amountText(energy(12_345_678)))).toBe("12.35 MWh");
});

it("bytes are in powers of 1024", () => {
  expect(plain(amountText(bytes(1_023)))).toBe("1,023 B");
  expect(plain(amountText(bytes(3_370_112)))).toBe("3.2 MiB");
});

it("durations are as exact as they are short", () => {
  expect(plain(durationText(12_400))).toBe("12 s");
  expect(plain(durationText(59 * 60_000))).toBe("59 min");
  expect(plain(durationText(125 * 60_000))).toBe("2 h 5 min");
  expect(plain(durationText(9 * 3_600_000 + 60_000))).toBe("9 h");
  expect(plain(durationText(400 * 86_400_000))).toBe("400 d");
});

it("an instant slightly ahead of the clock is now, not in the future", () => {
  expect(ageText(-3_000)).toBe("just now");
  expect(plain(ageText(61_000))).toBe("1 min ago");
});

it("large amounts are in the unit that makes them short, whatever the sensor's decimals", () => {
  const text = (value: number, unit: string, decimals = 0) => plain(amountText(readable(value, unit, decimals)));
  expect(text(17_310_880, "Wh")).toBe("17.31 MWh");
  expect(text(-17_310_880, "Wh")).toBe("−17.31 MWh");
  expect(text(9_999_999, "Wh")).toBe("10,000.00 kWh");
  expect(text(640, "Wh", 1)).toBe("640.0 Wh");
  expect(text(12_340, "var")).toBe("12.34 kvar");
  expect(text(9_999, "VA", 1)).toBe("9,999.0 VA");
  expect(text(230.4, "V", 1)).toBe("230.4 V");
});

it("standby power at night is not a negative feed-in", () => {
  expect(standby(-2, 1)).toBe(2);
  expect(standby(-0.4, 1)).toBe(null);
  expect(standby(0, 1)).toBe(null);
  expect(standby(5, 1)).toBe(null);
  expect(standby(-3_000, 1)).toBe(null);
  expect(standby(-300, 40)).toBe(300);
});
