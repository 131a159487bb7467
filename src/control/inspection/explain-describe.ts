/** Packets in one line for people. Borrows the bytes; nothing here trusts them. */

import { formatIp, type IpVersion } from "../../base/ip.js";
import { formatIprefAddress, type IprefAddress } from "../../base/reference.js";
import { meaningInNative, meaningInTunnel } from "../../translate/icmp-types.js";
import { readU16 } from "../../wire/bytes.js";
import { parseIpv4 } from "../../wire/ipv4.js";
import { parseIpv6 } from "../../wire/ipv6.js";
import {
  type FragmentInfo,
  isLaterFragment,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  type TunnelFormat,
} from "../../wire/packet-fields.js";
import { classifyTunnel } from "../../wire/tunnel-header.js";
import { parseTunnelPacket } from "../../wire/tunnel-packet.js";

const TCP_FLAGS_OFFSET = 13;
/** Flags of TCP from bit 0 on (RFC 9293 3.1). */
const TCP_FLAG_NAMES = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];

/** What a line about transport is made of. */
interface Transport {
  readonly protocol: number;
  readonly payload: Uint8Array;
  readonly fragment: FragmentInfo | undefined;
  /** Meaning of an ICMP type and code. */
  readonly meaning: (typeAndCode: number) => string | undefined;
}

/** A packet of the local network. */
export function describeNative(bytes: Uint8Array, version: IpVersion): string {
  const packet = version === 4 ? parseIpv4(bytes, false) : parseIpv6(bytes, false);
  if (typeof packet === "string") return `${bytes.length} octets, no whole IPv${version} packet`;
  const { source, destination, ttl, dontFragment, fragment } = packet;
  const meaning = (typeAndCode: number) => meaningInNative(typeAndCode, version);
  const [from, to] = portsOf({ ...packet, meaning });
  return [
    nameOf({ ...packet, meaning }),
    `${formatIp(source)}${from} -> ${formatIp(destination)}${to}`,
    `${bytes.length} octets`,
    `TTL ${ttl}`,
    ...fragmentText(fragment),
    ...(dontFragment && version === 4 ? ["DF"] : []),
  ].join(", ");
}

/** A tunnel packet; contexts as they are in it. */
export function describeTunnel(bytes: Uint8Array, version: IpVersion): string {
  const format = classifyTunnel(bytes);
  if (format !== "G" && format !== "D") return `${bytes.length} octets, no tunnel packet`;
  const packet = parseTunnelPacket(bytes, format, version);
  if (typeof packet === "string") return `${bytes.length} octets, a broken tunnel packet`;
  const { source, destination, ttl, dontFragment, fragment } = packet;
  const transport = { ...packet, meaning: meaningInTunnel };
  const [from, to] = portsOf(transport);
  return [
    nameOf(transport),
    `${inBrackets(source)}${from} -> ${inBrackets(destination)}${to}`,
    `${bytes.length} octets`,
    `TTL ${ttl}`,
    ...formatText(format),
    ...fragmentText(fragment),
    ...(dontFragment ? ["DF"] : []),
  ].join(", ");
}

function inBrackets(address: IprefAddress): string {
  return `(${formatIprefAddress(address)})`;
}

function formatText(format: TunnelFormat): string[] {
  return format === "D" ? ["format of the draft"] : [];
}

function fragmentText(fragment: FragmentInfo | undefined): string[] {
  if (fragment === undefined) return [];
  return [`fragment at ${fragment.offset}${fragment.moreFragments ? "" : " (last)"}`];
}

function nameOf({ protocol, payload, fragment, meaning }: Transport): string {
  const isCut = isLaterFragment(fragment);
  if (protocol === PROTOCOL_TCP) {
    if (isCut || payload.length <= TCP_FLAGS_OFFSET) return "TCP";
    const bits = payload[TCP_FLAGS_OFFSET]!;
    const flags = TCP_FLAG_NAMES.filter((_, bit) => (bits & (1 << bit)) !== 0);
    return ["TCP", ...flags].join(" ");
  }
  if (protocol === PROTOCOL_UDP) return "UDP";
  if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
    const name = protocol === PROTOCOL_ICMP ? "ICMP" : "ICMPv6";
    if (isCut || payload.length < 2) return name;
    const known = meaning(readU16(payload, 0))?.replaceAll("-", " ");
    return `${name} ${known ?? `type ${payload[0]} code ${payload[1]}`}`;
  }
  return `protocol ${protocol}`;
}

/** Ports behind the two addresses, where the packet shows them. */
function portsOf({ protocol, payload, fragment }: Transport): [string, string] {
  const hasPorts = protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP;
  if (!hasPorts || isLaterFragment(fragment) || payload.length < 4) return ["", ""];
  return [` port ${readU16(payload, 0)}`, ` port ${readU16(payload, 2)}`];
}
