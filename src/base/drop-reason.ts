/**
 * Why packets are dropped. One list for counters, status, captures and documentation; a reason's
 * number is its place in the list and indexes the counter arrays. Numbers may change between
 * releases, names do not.
 */

interface ReasonInfo {
  /** Stable kebab-case name. */
  readonly name: string;
  /** What it means, in plain English, for the person who looks at the counters. */
  readonly meaning: string;
}

const REASONS = [
  // Native packets from the local network (spec/tunnel.md 3.1)
  ["local-too-short", "A local packet is shorter than its IP header"],
  ["local-bad-version", "A local packet is of another IP version than the encode net"],
  ["local-ip-options", "A local IPv4 packet carries a source route or malformed options"],
  ["local-bad-length", "The length in a local packet's IP header does not match the packet"],
  ["local-bad-fragment", "A local fragment has an impossible offset, length or header"],
  ["local-extension-header", "A local IPv6 packet has an extension header that cannot be carried"],
  ["local-source-link-local", "The source of a local packet is link-local"],
  ["local-source-encoded", "The source of a local packet lies inside the encode net"],
  ["local-source-not-unicast", "The source of a local packet is not a unicast address"],
  ["local-destination-self", "A local host sent a packet to the gateway's own encoded address"],
  ["local-destination-not-unicast", "A local packet goes to multicast, broadcast or link-local"],
  ["local-destination-unknown", "No remote host has this encoded address; sender was told"],
  ["local-bad-offload", "The device header of a local packet does not fit the packet"],
  ["local-bad-segment-size", "The segment size of a local super-packet is 0 or too large"],
  ["local-bad-checksum-place", "The device header puts the checksum outside of the packet"],
  ["local-congestion-mark", "A packet marked CE was dropped: the tunnel cannot carry the mark"],
  // Tunnel datagrams before translation (spec/tunnel.md 2, 7.2)
  ["tunnel-empty", "An empty datagram arrived"],
  ["tunnel-too-short", "A tunnel packet is shorter than its header"],
  ["tunnel-too-long", "A datagram did not fit the receive buffer"],
  ["tunnel-bad-control", "The control data of a received message is truncated or of another kind"],
  ["tunnel-bad-segment-size", "The segment size of a received message is 0 or too large"],
  ["tunnel-bad-version", "The first two octets are of no known tunnel format"],
  ["tunnel-bad-reference-length", "The reference length code is the reserved one"],
  ["tunnel-reserved-bits", "Reserved bits of the tunnel header are set"],
  ["tunnel-context-version", "The contexts are of another IP version than the tunnel"],
  ["tunnel-source-mismatch", "The source context is not the address the datagram came from"],
  ["tunnel-destination-mismatch", "The destination context is not this gateway"],
  ["tunnel-source-own", "A datagram from outside claims one of this gateway's own addresses"],
  ["tunnel-source-not-unicast", "The source context is not a unicast address"],
  ["tunnel-bad-fragment", "A tunnel fragment has an impossible offset or length"],
  ["tunnel-reference-unknown", "No local host has this reference"],
  ["tunnel-to-gateway", "Something other than an echo was sent to the gateway's own reference"],
  ["tunnel-echo-reply-unknown", "An echo reply for the gateway that nobody waits for"],
  ["tunnel-echo-limited", "An echo request to the gateway exceeded the rate limit"],
  ["tunnel-bad-echo", "An echo to the gateway is a fragment or has a wrong checksum"],
  ["tunnel-native-too-long", "The packet would exceed 65,535 octets in the local network"],
  // Both directions (spec/tunnel.md 4)
  ["ttl-expired", "The time to live ran out; the sender was told"],
  ["protocol-not-supported", "The transport protocol is not one the gateway carries"],
  ["protocol-wrong-version", "ICMP in an IPv6 packet or ICMPv6 in an IPv4 packet"],
  ["tcp-too-short", "A TCP segment is shorter than its header or ends in its checksum"],
  ["udp-too-short", "A UDP datagram is shorter than its header"],
  ["udp-bad-length", "A UDP length field does not match the packet"],
  ["udp-fragment-no-checksum", "A UDP fragment without checksum cannot go into an IPv6 network"],
  ["icmp-too-short", "An ICMP message is shorter than its header"],
  ["icmp-type-not-supported", "An ICMP type or code that has no counterpart"],
  ["icmp-error-fragment", "An ICMP error arrived as a fragment"],
  ["icmp-nested-too-deep", "ICMP errors are quoted inside each other too deeply"],
  ["icmp-bad-mtu", "A too-big message announces an impossible MTU"],
  ["icmp-quote-malformed", "The packet quoted by an ICMP error cannot be read"],
  ["icmp-quote-unknown", "The packet quoted by an ICMP error has no mapping"],
  ["icmp-quote-mismatch", "The packet quoted by an ICMP error does not belong to its sender"],
  ["icmp-fragment-refused", "A later fragment of an ICMP message whose first part was refused"],
  ["icmp-fragment-held-full", "No room to hold the first fragment of an ICMPv6 echo"],
  ["icmp-fragment-expired", "The rest of a fragmented ICMPv6 echo did not arrive in time"],
  // Mapper (spec/mapper.md 3)
  ["reference-exhausted", "No free reference for a local host"],
  ["encoded-address-exhausted", "No free encoded address for a remote host"],
  ["mapping-quota", "A remote gateway has used up its share of encoded addresses"],
  ["mapping-rate", "New mappings are created too fast"],
  ["mapping-storage", "A new mapping could not be stored"],
  ["mapping-pending-full", "Too many packets wait for new mappings to be stored"],
  // Sending (spec/tunnel.md 7)
  ["packet-too-big", "The packet exceeds the path MTU and must not be fragmented; sender was told"],
  ["fragment-no-room", "The path MTU leaves no room to fragment the packet"],
  ["send-source-mismatch", "The mapped source context is not this gateway's public address"],
  ["send-failed", "The kernel refused to send a tunnel datagram"],
  ["write-failed", "The kernel refused a packet for the local network"],
  ["remote-gateways-full", "No room for another remote gateway"],
  ["icmp-not-answered", "An error that must not be answered with an ICMP error"],
  ["icmp-limited", "An ICMP error of the gateway exceeded its rate limit"],
  ["slow-path-full", "The queue to the slow path is full"],
] as const satisfies readonly (readonly [string, string])[];

/** Name of a drop reason. */
export type DropReason = (typeof REASONS)[number][0];

/** All reasons in counter order. */
export const DROP_REASONS: readonly ReasonInfo[] = REASONS.map(([name, meaning]) => ({
  name,
  meaning,
}));

const INDEX_BY_NAME = new Map<string, number>(REASONS.map(([name], index) => [name, index]));

/** Place of a reason in the counter arrays. */
export function dropReasonIndex(reason: DropReason): number {
  return INDEX_BY_NAME.get(reason)!;
}
