/**
 * One packet for each reason with which translation drops (base/drop-reason.ts), between host A of
 * the sites of sites.ts and host B behind the other gateway.
 */

import type { DropReason } from "../../src/base/drop-reason.js";
import type { IpAddress } from "../../src/base/ip.js";
import { buildTunnelPacket } from "../../src/wire/tunnel-packet.js";
import { ip } from "./gateway-double.js";
import { nativePacket, type PlainFields } from "./packets.js";
import { makeSites } from "./sites.js";

/** IPv4 on both sides. */
export const FOUR = makeSites({ a: 4, b: 4, tunnel: 4 });
/** IPv6 on both sides, IPv4 between them. */
export const SIX = makeSites({ a: 6, b: 6, tunnel: 4 });
const NO_DATA = new Uint8Array(0);

/** A packet of host A with other fields. */
function local(
  changes: Partial<PlainFields>,
  data: Uint8Array = new Uint8Array(24),
  sites = FOUR,
): Uint8Array {
  return nativePacket({ ...sites.atA, protocol: 6, ttl: 9, ...changes }, data);
}

/** An ICMP message of host A. */
function message(type: number, code: number, ...rest: number[]): Uint8Array {
  return local({ protocol: 1 }, Uint8Array.from([type, code, 0, 0, 0, 0, 0, 0, ...rest]));
}

function patched(packet: Uint8Array, offset: number, ...values: number[]): Uint8Array {
  const copy = packet.slice();
  copy.set(values, offset);
  return copy;
}

/** The quote of a packet that went from encoded host B to host A. */
function quote(protocol = 17, data = new Uint8Array(8)): number[] {
  const ends = { source: FOUR.atA.destination, destination: FOUR.atA.source };
  return [...nativePacket({ ...ends, protocol, ttl: 9 }, data)];
}

/** ICMP errors inside each other, the outermost from host A; each turns the direction around. */
export function nested(levels: number, isTurned = false): Uint8Array {
  const { source, destination } = FOUR.atA;
  const ends = isTurned ? { source: destination, destination: source } : { source, destination };
  if (levels === 0) return nativePacket({ ...ends, protocol: 17, ttl: 9 }, new Uint8Array(8));
  const inner = nested(levels - 1, !isTurned);
  const data = Uint8Array.from([3, 3, 0, 0, 0, 0, 0, 0, ...inner]);
  return nativePacket({ ...ends, protocol: 1, ttl: 9 }, data);
}

/** Packets of the local network of site A. */
export const FROM_LOCAL: readonly (readonly [DropReason, Uint8Array, typeof FOUR])[] = [
  ["local-too-short", new Uint8Array([0x45]), FOUR],
  ["local-bad-version", patched(local({}), 0, 0x65), FOUR],
  ["local-ip-options", patched(local({}), 0, 0x44), FOUR],
  ["local-bad-length", patched(local({}), 3, 9), FOUR],
  ["local-bad-fragment", local({ offset: 65_528 }), FOUR],
  ["local-bad-fragment", local({ moreFragments: true }, new Uint8Array(25)), FOUR],
  ["local-bad-fragment", local({ protocol: 44, offset: 0 }, new Uint8Array(24), SIX), SIX],
  ["local-extension-header", local({ protocol: 60 }, new Uint8Array(24), SIX), SIX],
  ["local-source-link-local", local({ source: ip("169.254.1.1") }), FOUR],
  ["local-source-encoded", local({ source: ip("10.241.9.9") }), FOUR],
  ["local-source-not-unicast", local({ source: ip("127.0.0.1") }), FOUR],
  ["local-source-not-unicast", local({ source: ip("240.0.0.1") }), FOUR],
  ["local-destination-self", local({ destination: ip("10.240.0.1") }), FOUR],
  ["local-destination-not-unicast", local({ destination: ip("224.0.0.251") }), FOUR],
  ["local-congestion-mark", patched(local({}), 1, 3), FOUR],
  ["protocol-not-supported", local({ protocol: 132 }), FOUR],
  ["protocol-wrong-version", local({ protocol: 58 }), FOUR],
  ["protocol-wrong-version", local({ protocol: 1 }, new Uint8Array(24), SIX), SIX],
  ["tcp-too-short", local({}, new Uint8Array(19)), FOUR],
  ["tcp-too-short", local({ offset: 8 }, new Uint8Array(9)), FOUR],
  ["udp-too-short", local({ protocol: 17 }, new Uint8Array(7)), FOUR],
  ["icmp-too-short", local({ protocol: 1 }, new Uint8Array(7)), FOUR],
  ["icmp-type-not-supported", message(5, 0), FOUR],
  ["icmp-error-fragment", patched(message(3, 3), 6, 0x20), FOUR],
  ["icmp-nested-too-deep", nested(4), FOUR],
  ["icmp-bad-mtu", patched(message(3, 4, ...quote()), 26, 0, 20), FOUR],
  ["icmp-quote-malformed", message(3, 3, 0x45), FOUR],
  ["icmp-quote-unknown", message(3, 3, ...quoteToStranger()), FOUR],
  ["icmp-quote-mismatch", message(3, 3, ...local({})), FOUR],
  ["icmp-not-answered", patched(message(3, 3, ...quote()), 19, 99), FOUR],
];

function quoteToStranger(): number[] {
  const ends = { source: FOUR.atA.destination, destination: ip("172.30.1.1") };
  return [...nativePacket({ ...ends, protocol: 17, ttl: 9 }, new Uint8Array(8))];
}

interface TunnelChanges {
  readonly source?: IpAddress;
  readonly destination?: IpAddress;
  readonly sourceReference?: bigint;
  readonly destinationReference?: bigint;
  readonly protocol?: number;
  readonly fragment?: { offset: number; moreFragments: boolean; identification: number };
}

/** A tunnel packet from host B to host A with other fields. */
export function tunnel(changes: TunnelChanges, data = new Uint8Array(24)): Uint8Array {
  const { sourceReference = 2222n, destinationReference = 1111n } = changes;
  const header = {
    source: { context: changes.source ?? FOUR.publicB, reference: sourceReference },
    destination: { context: changes.destination ?? FOUR.publicA, reference: destinationReference },
    ttl: 9,
    protocol: changes.protocol ?? 6,
    dontFragment: false,
    fragment: changes.fragment,
  };
  return buildTunnelPacket(header, data, "G");
}

const FRAGMENT = { offset: 0, moreFragments: true, identification: 1 };

/** Datagrams to the gateway of site A. */
export const FROM_TUNNEL: readonly (readonly [DropReason, Uint8Array, typeof FOUR])[] = [
  ["tunnel-empty", NO_DATA, FOUR],
  ["tunnel-too-short", tunnel({}).subarray(0, 19), FOUR],
  ["tunnel-bad-version", patched(tunnel({}), 0, 0x20), FOUR],
  ["tunnel-bad-reference-length", patched(tunnel({}), 0, 0x1c), FOUR],
  ["tunnel-reserved-bits", patched(tunnel({}), 1, 0x41), FOUR],
  ["tunnel-context-version", patched(tunnel({}, new Uint8Array(60)), 1, 0x60), FOUR],
  ["tunnel-source-mismatch", tunnel({ source: ip("192.0.2.9") }), FOUR],
  ["tunnel-destination-mismatch", tunnel({ destination: ip("192.0.2.9") }), FOUR],
  ["tunnel-bad-fragment", tunnel({ fragment: { ...FRAGMENT, offset: 65_528 } }), FOUR],
  ["tunnel-bad-fragment", tunnel({ fragment: FRAGMENT }, new Uint8Array(25)), FOUR],
  ["tunnel-native-too-long", tunnel({}, new Uint8Array(65_520)), FOUR],
  ["protocol-not-supported", tunnel({ protocol: 58 }), FOUR],
  ["udp-bad-length", tunnel({ protocol: 17 }), SIX],
  ["udp-fragment-no-checksum", tunnel({ protocol: 17, fragment: FRAGMENT }), SIX],
  ["tcp-too-short", tunnel({}, new Uint8Array(19)), FOUR],
  ["icmp-type-not-supported", tunnel({ protocol: 1 }, new Uint8Array(8).fill(99)), FOUR],
  ["icmp-quote-malformed", tunnel({ protocol: 1 }, new Uint8Array(8).fill(3, 0, 1)), FOUR],
];
