import { expect, it } from "vitest";
import type { Device, DeviceState } from "../../api/types";
import { order, ORDERS, readSort, writeSort } from "./list";

function device(name: string, state: DeviceState, more: Partial<Device> = {}): Device {
  return { id: `dev-${name}`, name, state, site: { name: "Home" }, ...more } as Device;
}

const names = (devices: Device[], sort: string | null) => order(devices, readSort(sort)).map(({ name }) => name);

it("the worst is first unless something else is asked for", () => {
  const devices = [
    device("Asleep", "asleep"),
    device("Barn", "producing"),
    device("Chalet", "idle"),
    device("Garage", "waiting"),
    device("Garage west", "faulty"),
    device("School", "silent"),
  ];
  const worst = ["Garage west", "School", "Garage", "Chalet", "Barn", "Asleep"];
  for (const wanted of [null, "", "state", "nonsense"]) expect(names(devices, wanted)).toEqual(worst);
  expect(names(devices, "-state")).toEqual(worst.toReversed());
  expect(names(devices, "name")).toEqual(["Asleep", "Barn", "Chalet", "Garage", "Garage west", "School"]);
});

it("equally bad devices are in the order of their names, by their numbers", () => {
  const devices = ["Roof 10", "roof 2", "Roof 1"].map((name) => device(name, "faulty"));
  expect(names(devices, null)).toEqual(["Roof 1", "roof 2", "Roof 10"]);
});

it("every order is kept in the address, the usual one by its absence", () => {
  for (const { sort } of ORDERS) expect(readSort(writeSort(sort))).toEqual(sort);
  expect(ORDERS.filter(({ sort }) => writeSort(sort) === null).map(({ label }) => label)).toEqual(["Worst first"]);
});
