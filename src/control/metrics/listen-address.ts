/**
 * Where a port for monitoring listens: `ADDRESS:PORT`, `[ADDRESS]:PORT`, `localhost:PORT`, `:PORT`.
 */

import { formatIp, type IpAddress, isLoopback, parseIp } from "../../base/ip.js";

const PORT_MAX = 65_535;

/** An address and a port. */
export interface ListenAddress {
  /** Undefined: all addresses of the machine. */
  readonly address: IpAddress | undefined;
  readonly port: number;
}

/** What is wanted, for complaints. */
export const LISTEN_ADDRESS_RULE = "an address and a port, such as 127.0.0.1:9145";

/** Reads an address with its port; undefined when it is none. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+|localhost)?):([0-9]{1,5})$/.exec(text);
  if (match === null) return undefined;
  const port = Number(match[3]);
  if (port < 1 || port > PORT_MAX) return undefined;
  const host = match[1] ?? match[2];
  if (host === undefined) return { address: undefined, port };
  const address = parseIp(host === "localhost" ? "127.0.0.1" : host);
  return address && { address, port };
}

/** The address as a person writes it. */
export function formatListenAddress({ address, port }: ListenAddress): string {
  if (address === undefined) return `:${port}`;
  return address.version === 4 ? `${formatIp(address)}:${port}` : `[${formatIp(address)}]:${port}`;
}

/** A warning when others than this machine can ask; undefined when they cannot. */
export function exposureWarning(where: ListenAddress): string | undefined {
  if (where.address !== undefined && isLoopback(where.address)) return undefined;
  const text = formatListenAddress(where);
  return `metrics at ${text} can be read by everybody who reaches that address`;
}
