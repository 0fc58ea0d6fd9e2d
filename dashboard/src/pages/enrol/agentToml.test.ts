import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { agentToml, isLoopback, isServer, transportOf } from "./agentToml";

interface Case {
  server: string;
  claim_code: string;
  transport: string;
  unit: number | null;
  profile: string;
  text: string;
}

it("the configuration is the one that `ecowatt device enrol` prints", () => {
  const cases = JSON.parse(readFileSync("../testdata/agent-toml.json", "utf8")) as Case[];
  expect(cases.length).toBeGreaterThan(0);
  for (const { claim_code: claimCode, text, ...settings } of cases) expect(agentToml({ claimCode, ...settings })).toBe(text);
});

it("addresses are accepted in their usual forms", () => {
  expect(transportOf("tcp", " 192.0.2.10 ")).toBe("tcp://192.0.2.10:502");
  expect(transportOf("tcp", "inverter.lan:1502")).toBe("tcp://inverter.lan:1502");
  expect(transportOf("tcp", "[2001:db8::1]:502")).toBe("tcp://[2001:db8::1]:502");
  expect(transportOf("rtu-over-tcp", "gateway:8899")).toBe("rtu-over-tcp://gateway:8899");
  expect(transportOf("serial", "/dev/ttyUSB0")).toBe("serial:///dev/ttyUSB0?baud=9600&format=8N1");
  expect(transportOf("serial", "/dev/ttyS1?baud=19200&format=8E1")).toBe("serial:///dev/ttyS1?baud=19200&format=8E1");
});

it("an invalid address is null", () => {
  for (const text of ["", " ", "http://192.0.2.10", "host:0", "host:70000", "host:", 'a"b', "two words", "-x"]) {
    expect(transportOf("tcp", text), text).toBeNull();
  }
  for (const text of ["", "COM1", "/dev/tty USB", '/dev/"']) expect(transportOf("serial", text), text).toBeNull();
});

it("the server's address is one that a device can use", () => {
  expect(isServer("http://sun.example")).toBe(true);
  expect(isServer("http://192.0.2.1:8080/")).toBe(true);
  for (const text of ["", "sun.example", "ftp://sun.example", "https://sun.example", "http://sun.example/path"]) expect(isServer(text)).toBe(false);
  expect(isLoopback("http://127.0.0.1:8080")).toBe(true);
  expect(isLoopback("http://localhost")).toBe(true);
  expect(isLoopback("https://sun.example")).toBe(false);
});
