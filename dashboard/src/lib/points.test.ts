import { expect, it } from "vitest";
import { chartTitle, defaultPoints, groupOf, inOrder, pointName, qualityText } from "./points";

it("points have names that people use", () => {
  expect(pointName("ac.power")).toBe("AC power");
  expect(pointName("pv.2.voltage")).toBe("PV 2 voltage");
  expect(pointName("ac.l1.current")).toBe("AC L1 current");
  expect(pointName("control.p_limit")).toBe("Power limit");
  expect(pointName("battery.state_of_charge")).toBe("Battery state of charge");
});

it("an unknown kind of point has a group, and an unknown quality a word", () => {
  expect(groupOf("battery.power")).toBe("other");
  expect(qualityText("not_implemented")).toBe("not offered by the inverter");
  expect(qualityText("burnt_out")).toBe("burnt out");
});

it("voltages of grid and strings are drawn apart, powers together", () => {
  expect(chartTitle("ac.l1.voltage", "V")).toBe("AC voltage");
  expect(chartTitle("pv.1.voltage", "V")).toBe("PV voltage");
  expect(chartTitle("pv.power", "W")).toBe(chartTitle("ac.power", "W"));
});

it("points are in the order of their quantities, strings in that of their numbers", () => {
  const points = [
    { point: "pv.10.voltage", unit: "V" },
    { point: "pv.2.voltage", unit: "V" },
    { point: "ac.frequency", unit: "Hz" },
    { point: "ac.power", unit: "W" },
  ];
  expect(inOrder(points).map(({ point }) => point)).toEqual([
    "ac.power",
    "pv.2.voltage",
    "pv.10.voltage",
    "ac.frequency",
  ]);
});

it("the power fed in is drawn first, and without it the first number", () => {
  const points = [
    { point: "state", unit: "" },
    { point: "ac.frequency", unit: "Hz" },
    { point: "ac.power", unit: "W" },
  ];
  expect(defaultPoints(points)).toEqual(["ac.power"]);
  expect(defaultPoints(points.slice(0, 2))).toEqual(["ac.frequency"]);
  expect(defaultPoints(points.slice(0, 1))).toEqual([]);
});
