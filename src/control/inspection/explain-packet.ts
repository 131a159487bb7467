/**
 * A packet made from its description, with right checksums: native for the way out, in format G for
 * the way in (spec/tunnel.md 2.1, 4.1). It is never sent.
 */

import { type IpAddress, type IpVersion, ipHeaderLength } from "../../base/ip.js";
import type { IprefAddress } from "../../base/reference.js";
import { sumAddresses } from "../../translate/layer4.js";
import { buildNative, nativeProtocol } from "../../translate/native-packet.js";
import { writeU16 } from "../../wire/bytes.js";
import { invertSum, pseudoHeaderSum, sumBytes } from "../../wire/checksum.js";
import {
  ICMP_CHECKSUM_OFFSET,
  ICMP_ECHO_REQUEST,
  ICMP_HEADER_LENGTH,
  ICMP_IDENTIFIER_OFFSET,
  ICMP_SEQUENCE_OFFSET,
  ICMPV6_ECHO_REQUEST,
} from "../../wire/icmp.js";
import {
  IP_LENGTH_MAX,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from "../../wire/packet-fields.js";
import { TCP_CHECKSUM_OFFSET, TCP_HEADER_LENGTH } from "../../wire/tcp.js";
import { buildTunnelPacket } from "../../wire/tunnel-packet.js";
import { UDP_CHECKSUM_OFFSET, UDP_HEADER_LENGTH, UDP_LENGTH_OFFSET } from "../../wire/udp.js";
import type { ExplainFlow } from "./explain-report.js";

const TTL = 64;
/** Octets of data of an echo, as ping(8) sends them. */
const ECHO_DATA_BYTES = 56;
const TCP_MSS_BYTES = 4;
/** Where the value of the MSS option of a SYN made here lies in the segment. */
export const TCP_MSS_VALUE_OFFSET = TCP_HEADER_LENGTH + 2;
const TCP_DATA_OFFSET = 12;
const TCP_SYN = 0x02;
const TCP_ACK = 0x10;
const TCP_WINDOW_OFFSET = 14;

/** The transport part of a packet. */
interface Layer4 {
  readonly bytes: Uint8Array;
  /** Where the checksum goes; undefined: a protocol without one. */
  readonly checksumAt: number | undefined;
}

/** Why a packet cannot be made; a sentence. */
export class PacketRefused extends Error {
  override readonly name = "PacketRefused";
}

/** Octets of the transport part; throws PacketRefused. */
export function layer4Length({ protocol, size, syn }: ExplainFlow, version: IpVersion): number {
  const header = ipHeaderLength(version);
  const least = leastLength(protocol, syn);
  if (size === undefined) return protocol === PROTOCOL_ICMP ? least + ECHO_DATA_BYTES : least;
  const isPossible = size >= header + least && size <= IP_LENGTH_MAX;
  if (isPossible) return size - header;
  throw new PacketRefused(
    `Cannot make a packet of ${size} octets: wanted ${header + least} to ${IP_LENGTH_MAX}`,
  );
}

/** A packet of the local network. */
export function nativePacketOf(
  flow: ExplainFlow,
  source: IpAddress,
  destination: IpAddress,
): Uint8Array {
  const { version } = source;
  const layer4 = layer4Of(flow, layer4Length(flow, version), version);
  const protocol = nativeProtocol(flow.protocol, version);
  const hasPseudoHeader = flow.protocol !== PROTOCOL_ICMP || version === 6;
  const pseudo = hasPseudoHeader
    ? pseudoHeaderSum(sumAddresses(source, destination), layer4.bytes.length, protocol)
    : 0;
  writeChecksum(layer4, pseudo);
  const dontFragment = flow.df || version === 6;
  const fields = { source, destination, ttl: TTL, dontFragment, fragment: undefined };
  return buildNative({ ...fields, protocol: flow.protocol, identification: 1 }, layer4.bytes);
}

/** A tunnel packet: its checksum knows no addresses (spec/tunnel.md 4.1). */
export function tunnelPacketOf(
  flow: ExplainFlow,
  source: IprefAddress,
  destination: IprefAddress,
  localVersion: IpVersion,
): Uint8Array {
  const layer4 = layer4Of(flow, layer4Length(flow, localVersion), 4);
  const { protocol } = flow;
  const pseudo = protocol === PROTOCOL_ICMP ? 0 : pseudoHeaderSum(0, layer4.bytes.length, protocol);
  writeChecksum(layer4, pseudo);
  const fields = { source, destination, ttl: TTL, protocol, dontFragment: flow.df };
  return buildTunnelPacket({ ...fields, fragment: undefined }, layer4.bytes, "G");
}

function leastLength(protocol: number, isSyn: boolean): number {
  if (protocol === PROTOCOL_TCP) return TCP_HEADER_LENGTH + (isSyn ? TCP_MSS_BYTES : 0);
  if (protocol === PROTOCOL_UDP) return UDP_HEADER_LENGTH;
  return protocol === PROTOCOL_ICMP ? ICMP_HEADER_LENGTH : 1;
}

function layer4Of(flow: ExplainFlow, length: number, version: IpVersion): Layer4 {
  const bytes = new Uint8Array(length);
  if (flow.protocol === PROTOCOL_ICMP) {
    bytes[0] = version === 4 ? ICMP_ECHO_REQUEST : ICMPV6_ECHO_REQUEST;
    writeU16(bytes, ICMP_IDENTIFIER_OFFSET, 1);
    writeU16(bytes, ICMP_SEQUENCE_OFFSET, 1);
    return { bytes, checksumAt: ICMP_CHECKSUM_OFFSET };
  }
  if (flow.protocol !== PROTOCOL_TCP && flow.protocol !== PROTOCOL_UDP) {
    return { bytes, checksumAt: undefined };
  }
  writeU16(bytes, 0, flow.sourcePort);
  writeU16(bytes, 2, flow.port);
  if (flow.protocol === PROTOCOL_UDP) {
    writeU16(bytes, UDP_LENGTH_OFFSET, length);
    return { bytes, checksumAt: UDP_CHECKSUM_OFFSET };
  }
  const words = (TCP_HEADER_LENGTH + (flow.syn ? TCP_MSS_BYTES : 0)) / 4;
  bytes.set([words << 4, flow.syn ? TCP_SYN : TCP_ACK], TCP_DATA_OFFSET);
  writeU16(bytes, TCP_WINDOW_OFFSET, 0xffff);
  if (flow.syn) {
    bytes.set([2, TCP_MSS_BYTES], TCP_HEADER_LENGTH);
    // What a host on an Ethernet asks for (RFC 9293 3.7.1).
    writeU16(bytes, TCP_MSS_VALUE_OFFSET, 1500 - ipHeaderLength(version) - TCP_HEADER_LENGTH);
  }
  return { bytes, checksumAt: TCP_CHECKSUM_OFFSET };
}

function writeChecksum({ bytes, checksumAt }: Layer4, initial: number): void {
  if (checksumAt === undefined) return;
  const sum = invertSum(sumBytes(bytes, 0, bytes.length, initial));
  writeU16(bytes, checksumAt, sum === 0 ? 0xffff : sum);
}
