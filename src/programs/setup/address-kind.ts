/** What an address tells about the place of its machine in the network. Pure. */

import {
  type IpAddress,
  type IpPrefix,
  isLinkLocalUnicast,
  isLoopback,
  parsePrefix,
  prefixContains,
} from "../../base/ip.js";

/** `shared`: between customers and their provider's NAT, RFC 6598. */
export type AddressKind = "loopback" | "link-local" | "private" | "shared" | "public";

/**
 * RFC 1918, RFC 4193; RFC 6890 for 192.0.0.0/24, RFC 2544 for 198.18.0.0/15. Networks for
 * documentation count as public, as they do in documentation.
 */
const PRIVATE = prefixes(
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "192.0.0.0/24",
  "198.18.0.0/15",
  "fc00::/7",
);
const SHARED = prefixes("100.64.0.0/10");

function prefixes(...texts: readonly string[]): readonly IpPrefix[] {
  return texts.map((text) => parsePrefix(text)!);
}

/** The kind of a unicast address. */
export function addressKind(address: IpAddress): AddressKind {
  if (isLoopback(address)) return "loopback";
  if (isLinkLocalUnicast(address)) return "link-local";
  if (SHARED.some((prefix) => prefixContains(prefix, address))) return "shared";
  return PRIVATE.some((prefix) => prefixContains(prefix, address)) ? "private" : "public";
}
