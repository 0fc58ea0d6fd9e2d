/** The settings that an agent needs to read an inverter and to reach the server. */
import { useId } from "react";
import { useProfiles } from "../../api/queries";
import { isLoopback, isServer, TRANSPORTS, transportOf, type TransportKind } from "./agentToml";
import styles from "./Enrol.module.css";

export interface InverterChoice {
  kind: TransportKind;
  address: string;
  /** Empty for the profile's default. */
  unit: string;
  profile: string;
  server: string;
}

/** The device most likely reaches the server as this browser does. */
export function firstChoice(): InverterChoice {
  return { kind: "tcp", address: "", unit: "", profile: "", server: window.location.origin };
}

const UNIT_MAX = 255;

function isUnit(text: string): boolean {
  return text === "" || (/^\d{1,3}$/.test(text) && Number(text) <= UNIT_MAX);
}

export function isCompleteChoice({ kind, address, unit, profile, server }: InverterChoice): boolean {
  return transportOf(kind, address) !== null && isUnit(unit) && profile !== "" && isServer(server);
}

interface Props {
  choice: InverterChoice;
  onChange: (choice: InverterChoice) => void;
}

export function InverterFields({ choice, onChange }: Props) {
  const id = useId();
  const profiles = useProfiles();
  const change = (part: Partial<InverterChoice>) => onChange({ ...choice, ...part });
  const { kind, address, unit, profile, server } = choice;
  const isWrong = address.trim() !== "" && transportOf(kind, address) === null;
  const example = TRANSPORTS.find((transport) => transport.kind === kind)!.example;
  return (
    <fieldset className={styles.inverter}>
      <legend>Its inverter</legend>
      <label>
        <span>Connected by</span>
        <select value={kind} onChange={(event) => change({ kind: event.target.value as TransportKind })}>
          {TRANSPORTS.map((transport) => (
            <option key={transport.kind} value={transport.kind}>
              {transport.label}
            </option>
          ))}
        </select>
      </label>
      <div className={styles.pair}>
        <label>
          <span>Inverter's address</span>
          <input
            value={address}
            required
            spellCheck={false}
            autoCapitalize="none"
            placeholder={example}
            aria-invalid={isWrong}
            aria-describedby={`${id}-address`}
            onChange={(event) => change({ address: event.target.value })}
          />
          {isWrong && (
            <span id={`${id}-address`} className={styles.hint}>
              Example: {example}
            </span>
          )}
        </label>
        <label>
          <span>Unit</span>
          <input
            value={unit}
            inputMode="numeric"
            placeholder="default"
            aria-invalid={!isUnit(unit)}
            onChange={(event) => change({ unit: event.target.value.trim() })}
          />
        </label>
      </div>
      <label>
        <span>Model</span>
        <select value={profile} required onChange={(event) => change({ profile: event.target.value })}>
          <option value="" disabled>
            {profiles.isError ? "The list could not be loaded" : "Choose…"}
          </option>
          {profiles.data?.map(({ id: name, title }) => (
            <option key={name} value={name}>
              {title}
            </option>
          ))}
        </select>
      </label>
      <label>
        <span>Address of this server for the device</span>
        <input
          value={server}
          required
          spellCheck={false}
          inputMode="url"
          aria-invalid={!isServer(server)}
          aria-describedby={`${id}-server`}
          onChange={(event) => change({ server: event.target.value.trim() })}
        />
        {(isLoopback(server) || !isServer(server)) && (
          <span id={`${id}-server`} className={styles.hint}>
            {isServer(server)
              ? "Only a device on the server's own machine can reach this address."
              : "Not an address of a server. Example: http://192.0.2.1:8080. Agents use plain HTTP; their messages are sealed."}
          </span>
        )}
      </label>
    </fieldset>
  );
}
