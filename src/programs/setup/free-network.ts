/**
 * Chooses the encode net: a private network that overlaps nothing which the machine knows of. The
 * usual one comes first, then the largest free one, each pool from its top: networks in use tend to
 * begin at the bottom. Pure.
 */

import { type IpPrefix, type IpVersion, parsePrefix, prefixesOverlap } from "../../base/ip.js";

/** The encode net of the documentation, one for each IP version. */
const USUAL = { 4: "10.240.0.0/12", 6: "fd00:240::/64" } as const;
/** Sizes to try, in prefix bits: from that of the usual one to 13 host bits (spec/mapper.md 3.5). */
const IPV4_BITS_MIN = 12;
const IPV4_BITS_MAX = 19;
/** Private networks (RFC 1918); last the range of providers (RFC 6598), which a NAT may use. */
const IPV4_POOLS = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"];
/** Unique local networks to try: fd00:240::/64, fd00:241::/64 and on (RFC 4193). */
const IPV6_COUNT = 0x1000;
const IPV6_FIRST = 0x240;
/** Routes with fewer bits stand for "everything": halves of the default route, 2000::/3. */
const EVERYTHING_BITS = { 4: 1, 6: 3 } as const;

/** True when a route to it leads to everything rather than to a network. */
function isDefaultLike({ address, bits }: IpPrefix): boolean {
  return bits <= EVERYTHING_BITS[address.version];
}

/** What of `used` a network overlaps; routes to everything do not count. */
export function collisions(net: IpPrefix, used: readonly IpPrefix[]): readonly IpPrefix[] {
  return used.filter((prefix) => !isDefaultLike(prefix) && prefixesOverlap(net, prefix));
}

/** A network that overlaps none of `used`; undefined when there is none. */
export function freeNetwork(version: IpVersion, used: readonly IpPrefix[]): IpPrefix | undefined {
  for (const candidate of version === 4 ? ipv4Candidates() : ipv6Candidates()) {
    if (collisions(candidate, used).length === 0) return candidate;
  }
  return undefined;
}

/** The usual encode net of a version. */
export function usualNetwork(version: IpVersion): IpPrefix {
  return parsePrefix(USUAL[version])!;
}

function* ipv4Candidates(): Generator<IpPrefix> {
  yield usualNetwork(4);
  for (let bits = IPV4_BITS_MIN; bits <= IPV4_BITS_MAX; bits++) {
    for (const pool of IPV4_POOLS) yield* parts(parsePrefix(pool)!, bits);
  }
}

/** The networks of `bits` bits in an IPv4 pool, from the top. */
function* parts(pool: IpPrefix, bits: number): Generator<IpPrefix> {
  if (bits < pool.bits) return;
  const base = new DataView(pool.address.bytes.slice().buffer).getUint32(0);
  for (let index = 2 ** (bits - pool.bits) - 1; index >= 0; index--) {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, base + index * 2 ** (32 - bits));
    yield { address: { version: 4, bytes }, bits };
  }
}

function* ipv6Candidates(): Generator<IpPrefix> {
  for (let index = 0; index < IPV6_COUNT; index++) {
    yield parsePrefix(`fd00:${(IPV6_FIRST + index).toString(16)}::/64`)!;
  }
}
