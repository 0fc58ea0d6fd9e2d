/**
 * A complete configuration for an agent, ready to be pasted. `ecowatt device enrol` prints the same text;
 * testdata/agent-toml.json has the cases that both are tested with.
 */

export type TransportKind = "tcp" | "rtu-over-tcp" | "serial";

export const TRANSPORTS: { kind: TransportKind; label: string; example: string }[] = [
  { kind: "tcp", label: "Network (Modbus TCP)", example: "192.0.2.10:502" },
  { kind: "rtu-over-tcp", label: "Serial gateway on the network (RTU over TCP)", example: "192.0.2.10:8899" },
  { kind: "serial", label: "Serial line (RS-485 at this device)", example: "/dev/ttyUSB0" },
];

export interface AgentSettings {
  server: string;
  claimCode: string;
  transport: string;
  /** Default: the profile's. */
  unit: number | null;
  profile: string;
}

const PORT = 502;
const HOST_AND_PORT = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?::(\d{1,5}))?$/;

/** The `transport` for an address in its usual form; `null` if it is invalid. */
export function transportOf(kind: TransportKind, address: string): string | null {
  const text = address.trim();
  if (kind === "serial") {
    if (!/^\/[^\s"\\?#]+(\?[\w=&]*)?$/.test(text)) return null;
    return `serial://${text}${text.includes("?") ? "" : "?baud=9600&format=8N1"}`;
  }
  const match = HOST_AND_PORT.exec(text);
  if (!match) return null;
  const port = match[2] === undefined ? PORT : Number(match[2]);
  return port >= 1 && port <= 65_535 ? `${kind}://${match[1]}:${port}` : null;
}

/** Whether an agent could use this address for the server: agents speak plain HTTP, their messages are sealed. */
export function isServer(address: string): boolean {
  try {
    const { protocol, pathname, search, hash } = new URL(address);
    return protocol === "http:" && pathname === "/" && !search && !hash;
  } catch {
    return false;
  }
}

/** Whether a device on another machine would reach itself there. */
export function isLoopback(address: string): boolean {
  try {
    const { hostname } = new URL(address);
    return hostname === "localhost" || hostname.startsWith("127.") || hostname === "[::1]";
  } catch {
    return false;
  }
}

export const AGENT_FILE = "/etc/ecowatt/agent.toml";

function quoted(text: string): string {
  // JSON's escapes are also TOML's, except that JSON does not escape DEL.
  return JSON.stringify(text).replaceAll("\u007f", "\\u007F");
}

export function agentToml({ server, claimCode, transport, unit, profile }: AgentSettings): string {
  return [
    `server = ${quoted(server.replace(/\/$/, ""))}`,
    `data = "/var/lib/ecowatt-agent"`,
    `claim_code = ${quoted(claimCode)}`,
    "",
    "[[inverter]]",
    `transport = ${quoted(transport)}`,
    ...(unit === null ? [] : [`unit = ${unit}`]),
    `profile = ${quoted(profile)}`,
    "",
  ].join("\n");
}
