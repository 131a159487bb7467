/**
 * Packets to the gateway's own reference, spec/tunnel.md 5 and 8.1: echo requests are answered,
 * echo replies belong to the gateway's own probes, everything else is refused.
 */

import type { DropReason } from "../base/drop-reason.js";
import type { IprefAddress } from "../base/reference.js";
import { readU16, writeU16 } from "../wire/bytes.js";
import { sumBytes } from "../wire/checksum.js";
import {
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMP_HEADER_LENGTH,
  ICMP_IDENTIFIER_OFFSET,
  ICMP_SEQUENCE_OFFSET,
  ICMP_TYPE_OFFSET,
} from "../wire/icmp.js";
import { PROTOCOL_ICMP, type TunnelFormat, type TunnelPacket } from "../wire/packet-fields.js";
import { buildTunnelPacket } from "../wire/tunnel-packet.js";
import { writeIcmpChecksum } from "./icmp.js";
import { OWN_TTL } from "./icmp-errors.js";
import { meaningInTunnel } from "./icmp-types.js";

/** Sum of a message whose checksum is right (RFC 1071). */
const GOOD_SUM = 0xffff;

/** The fields of an echo message that its sender chose. */
export interface EchoFields {
  readonly identifier: number;
  readonly sequence: number;
  /** Borrowed from the packet, or by the builder. */
  readonly data: Uint8Array;
}

/**
 * What a packet to (`pub`, `gwref`) asks for. `reply` is the whole answer; `port-unreachable`
 * wants an error (6.1); both are subject to the caller's limits.
 */
export type GatewayRequest =
  | { readonly kind: "echo-request"; readonly reply: Uint8Array }
  | { readonly kind: "echo-reply"; readonly source: IprefAddress; readonly echo: EchoFields }
  | { readonly kind: "port-unreachable"; readonly reason: DropReason }
  | { readonly kind: "drop"; readonly reason: DropReason };

/** Reads a packet to the gateway itself. `tunnel` has its contexts resolved. */
export function readGatewayPacket(tunnel: TunnelPacket, format: TunnelFormat): GatewayRequest {
  const { payload } = tunnel;
  if (tunnel.protocol !== PROTOCOL_ICMP) {
    return { kind: "port-unreachable", reason: "tunnel-to-gateway" };
  }
  if (tunnel.fragment !== undefined) return { kind: "drop", reason: "tunnel-bad-echo" };
  if (payload.length < ICMP_HEADER_LENGTH) return { kind: "drop", reason: "icmp-too-short" };
  const meaning = meaningInTunnel(readU16(payload, ICMP_TYPE_OFFSET));
  if (meaning !== "echo-request" && meaning !== "echo-reply") {
    return { kind: "drop", reason: "tunnel-to-gateway" };
  }
  if (sumBytes(payload, 0, payload.length) !== GOOD_SUM) {
    return { kind: "drop", reason: "tunnel-bad-echo" };
  }
  const echo = readEcho(payload);
  if (meaning === "echo-reply") return { kind: "echo-reply", source: tunnel.source, echo };
  const ends = { source: tunnel.destination, destination: tunnel.source };
  return { kind: "echo-request", reply: buildEcho(ICMP_ECHO_REPLY, ends, echo, format, false) };
}

function readEcho(payload: Uint8Array): EchoFields {
  return {
    identifier: readU16(payload, ICMP_IDENTIFIER_OFFSET),
    sequence: readU16(payload, ICMP_SEQUENCE_OFFSET),
    data: payload.subarray(ICMP_HEADER_LENGTH),
  };
}

/** The two ends of an echo. */
export interface EchoEnds {
  readonly source: IprefAddress;
  readonly destination: IprefAddress;
}

/** Builds an echo request of the gateway; probes of the path set DF (8.3). */
export function buildEchoRequest(
  ends: EchoEnds,
  echo: EchoFields,
  format: TunnelFormat,
  dontFragment: boolean,
): Uint8Array {
  return buildEcho(ICMP_ECHO_REQUEST, ends, echo, format, dontFragment);
}

function buildEcho(
  type: number,
  { source, destination }: EchoEnds,
  { identifier, sequence, data }: EchoFields,
  format: TunnelFormat,
  dontFragment: boolean,
): Uint8Array {
  const message = new Uint8Array(ICMP_HEADER_LENGTH + data.length);
  message[ICMP_TYPE_OFFSET] = type;
  writeU16(message, ICMP_IDENTIFIER_OFFSET, identifier);
  writeU16(message, ICMP_SEQUENCE_OFFSET, sequence);
  message.set(data, ICMP_HEADER_LENGTH);
  writeIcmpChecksum(message, undefined);
  const header = { source, destination, ttl: OWN_TTL, protocol: PROTOCOL_ICMP };
  return buildTunnelPacket({ ...header, dontFragment, fragment: undefined }, message, format);
}
