/** Questions to the facts about a machine. Pure. */

import { type IpAddress, type IpVersion, sameAddress } from "../../base/ip.js";
import { addressKind } from "./address-kind.js";
import type { MachineFacts } from "./machine-facts.js";
import type { Route } from "./machine-texts.js";

/** Interfaces of a gateway; what it has set up itself is no obstacle. */
export const OWN_INTERFACE = /^ipref\d+$/;

/** Default routes of a version, one for each interface, the best first. */
export function uplinksOf(facts: MachineFacts, version: IpVersion): readonly Route[] {
  const routes = facts.routes.filter(
    ({ prefix, interfaceName }) =>
      prefix.address.version === version && prefix.bits === 0 && !OWN_INTERFACE.test(interfaceName),
  );
  const sorted = [...routes].sort((a, b) => a.metric - b.metric);
  const names = sorted.map(({ interfaceName }) => interfaceName);
  return sorted.filter(({ interfaceName }, index) => names.indexOf(interfaceName) === index);
}

/** Addresses of the machine that are no gateway's, no loopback and not link-local. */
export function realAddresses(facts: MachineFacts): MachineFacts["addresses"] {
  return facts.addresses.filter(
    ({ interfaceName, address }) =>
      !OWN_INTERFACE.test(interfaceName) &&
      !["loopback", "link-local"].includes(addressKind(address)),
  );
}

/** Own address on an uplink: the one that the kernel sends from, or a lasting one beside it. */
export function addressOn(facts: MachineFacts, route: Route): IpAddress | undefined {
  const { version } = route.prefix.address;
  const isPassing = (address: IpAddress): boolean =>
    facts.passing.some((each) => sameAddress(each, address));
  const candidates = realAddresses(facts)
    .filter((each) => each.interfaceName === route.interfaceName)
    .map(({ address }) => address)
    .filter((address) => address.version === version);
  const source = candidates.find((address) => {
    const chosen = facts.sources[version];
    return chosen !== undefined && sameAddress(chosen, address);
  });
  if (source !== undefined && !isPassing(source)) return source;
  return candidates.find((address) => !isPassing(address)) ?? source ?? candidates[0];
}

/** Version of the local network: IPv4 unless the machine has none of it. */
export function localVersionOf(facts: MachineFacts): IpVersion {
  const versions = realAddresses(facts).map(({ address }) => address.version);
  return versions.length === 0 || versions.includes(4) ? 4 : 6;
}
