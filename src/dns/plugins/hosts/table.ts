/** A hosts file as a table (hosts(5)): addresses by name, names by address. */

import { type IpAddress, parseIp } from "../../../base/ip.js";
import { type Name, parseName } from "../../../wire/dns/name.js";
import { reverseZones } from "../../corefile/keys.js";

export interface HostAddresses {
  readonly ipv4: IpAddress[];
  readonly ipv6: IpAddress[];
}

export interface HostsTable {
  /** By name key. */
  readonly addresses: ReadonlyMap<string, HostAddresses>;
  /** By key of the reverse name. */
  readonly names: ReadonlyMap<string, readonly Name[]>;
}

/** Reads lines `ADDRESS NAME...`; `#` begins a comment. Lines that do not parse are passed over. */
export function parseHosts(lines: Iterable<string>): HostsTable {
  const addresses = new Map<string, HostAddresses>();
  const names = new Map<string, Name[]>();
  for (const line of lines) {
    const [first, ...words] = line.replace(/#.*/, "").trim().split(/\s+/);
    const address = parseIp(first!);
    if (address === undefined) continue;
    for (const word of words) {
      const parsed = parseName(word);
      if (parsed.ok) addHost(addresses, names, address, parsed.name);
    }
  }
  return { addresses, names };
}

function addHost(
  addresses: Map<string, HostAddresses>,
  names: Map<string, Name[]>,
  address: IpAddress,
  name: Name,
): void {
  const entry = addresses.get(name.key) ?? { ipv4: [], ipv6: [] };
  addresses.set(name.key, entry);
  (address.version === 4 ? entry.ipv4 : entry.ipv6).push(address);
  const reverseKey = reverseZones({ address, bits: 8 * address.bytes.length })[0]!.key;
  const known = names.get(reverseKey);
  if (known === undefined) names.set(reverseKey, [name]);
  else if (!known.some((other) => other.equals(name))) known.push(name);
}
