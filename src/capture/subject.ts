/**
 * A packet as the filter of a capture looks at it: where its addresses, ports, contexts and
 * references lie, in the native packet and in the tunnel packet (spec/tunnel.md 2.1 to 2.3), as far
 * as there are such packets. One object per thread, filled again for each packet; it borrows the
 * bytes and allocates nothing. Only octets that are there are read: a field that is missing has a
 * length of 0, or the number NONE.
 */

import { SIDE_LOCAL, VERDICT_FORWARDED } from "../tables/capture-ring.js";
import {
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from "../wire/packet-fields.js";

/** A port or a protocol that is not known. */
export const NONE = -1;

const IPV4_LENGTH_MIN = 20;
const IPV6_LENGTH = 40;
// RFC 8200 4: extension headers that stand in front of layer 4.
const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const DESTINATION_OPTIONS = 60;
const EXTENSIONS_MAX = 8;
// Octet 0 of a tunnel packet (spec/tunnel.md 2.1, 2.2), and the context type of format D.
const TOP_BITS = 0xe0;
const BIT_4 = 0x10;
const HAS_FRAGMENT = 0x02;
const TUNNEL_FIXED_BYTES = 4;
const TUNNEL_FRAGMENT_BYTES = 8;
const DRAFT_CONTEXT_BYTES = 4;

/** An address or a reference somewhere in a packet; `length` 0: there is none. */
export class Field {
  bytes: Uint8Array = new Uint8Array(0);
  offset = 0;
  length = 0;

  set(bytes: Uint8Array, offset: number, length: number): void {
    this.bytes = bytes;
    this.offset = offset;
    this.length = length;
  }

  /** True when the field has exactly these octets. */
  equals(octets: Uint8Array): boolean {
    if (octets.length !== this.length || this.length === 0) return false;
    for (let index = 0; index < octets.length; index++) {
      if (this.bytes[this.offset + index] !== octets[index]) return false;
    }
    return true;
  }

  /** True when the field is an address whose first `bits` are those of `octets`. */
  isIn(octets: Uint8Array, bits: number): boolean {
    if (octets.length !== this.length || this.length === 0) return false;
    for (let index = 0; 8 * index < bits; index++) {
      const mask = 8 * index + 8 <= bits ? 0xff : (0xff << (8 * index + 8 - bits)) & 0xff;
      if (((this.bytes[this.offset + index]! ^ octets[index]!) & mask) !== 0) return false;
    }
    return true;
  }

  /** True when the field is the wire form of the reference with these 16 octets (1.7). */
  isReference(octets: Uint8Array): boolean {
    const { bytes, offset, length } = this;
    if (length === 0 || bytes[offset] !== octets[0]) return false;
    for (let index = 1; index < 16; index++) {
      const at = index - (16 - length);
      const octet = at <= 0 ? 0 : bytes[offset + at]!;
      if (octet !== octets[index]) return false;
    }
    return true;
  }
}

/** A packet with its verdict. */
export class CaptureSubject {
  side: number = SIDE_LOCAL;
  path = 0;
  verdict: number = VERDICT_FORWARDED;
  /** Number of the drop reason and one; 0 when there is none. */
  reason = 0;
  readonly source = new Field();
  readonly destination = new Field();
  readonly sourceContext = new Field();
  readonly destinationContext = new Field();
  readonly sourceReference = new Field();
  readonly destinationReference = new Field();
  /** Address of the remote gateway at the other end of the datagram. */
  readonly remote = new Field();
  /** Protocols of both packets: they differ for ICMPv6, which travels as 1. */
  nativeProtocol = NONE;
  tunnelProtocol = NONE;
  sourcePort = NONE;
  destinationPort = NONE;

  /** Reads a native packet of which `length` octets are there; 0: there is none. */
  setNative(bytes: Uint8Array, offset: number, length: number): void {
    this.source.length = 0;
    this.destination.length = 0;
    this.nativeProtocol = NONE;
    this.sourcePort = NONE;
    this.destinationPort = NONE;
    if (length < IPV4_LENGTH_MIN) return;
    const version = bytes[offset]! >>> 4;
    if (version === 4) this.#readIpv4(bytes, offset, length);
    else if (version === 6 && length >= IPV6_LENGTH) this.#readIpv6(bytes, offset, length);
  }

  /** Reads a tunnel packet of which `length` octets are there; 0: there is none. */
  setTunnel(bytes: Uint8Array, offset: number, length: number): void {
    this.sourceContext.length = 0;
    this.destinationContext.length = 0;
    this.sourceReference.length = 0;
    this.destinationReference.length = 0;
    this.tunnelProtocol = NONE;
    if (length < TUNNEL_FIXED_BYTES) return;
    const first = bytes[offset]!;
    const code = (first >>> 2) & 3;
    if ((first & TOP_BITS) !== 0 || code === 3) return;
    const hasFragment = (first & HAS_FRAGMENT) !== 0;
    const contexts = offset + TUNNEL_FIXED_BYTES + (hasFragment ? TUNNEL_FRAGMENT_BYTES : 0);
    const end = offset + length;
    const references = this.#readContexts(bytes, offset, contexts, end);
    const size = 4 << code;
    if (references < 0 || references + 2 * size > end) return;
    this.tunnelProtocol = bytes[offset + 3]!;
    this.sourceReference.set(bytes, references, size);
    this.destinationReference.set(bytes, references + size, size);
    if (this.nativeProtocol !== NONE) return;
    const isLater = hasFragment && (word(bytes, offset + 6) & 0xfff8) !== 0;
    if (!isLater) this.#readPorts(this.tunnelProtocol, bytes, references + 2 * size, end);
  }

  /** True for ICMP and ICMPv6 alike. */
  isIcmp(): boolean {
    return isIcmp(this.nativeProtocol) || isIcmp(this.tunnelProtocol);
  }

  /** True when either packet has this protocol. */
  hasProtocol(protocol: number): boolean {
    return this.nativeProtocol === protocol || this.tunnelProtocol === protocol;
  }

  #readIpv4(bytes: Uint8Array, offset: number, length: number): void {
    this.source.set(bytes, offset + 12, 4);
    this.destination.set(bytes, offset + 16, 4);
    this.nativeProtocol = bytes[offset + 9]!;
    if ((word(bytes, offset + 6) & 0x1fff) !== 0) return;
    const layer4 = offset + 4 * (bytes[offset]! & 15);
    this.#readPorts(this.nativeProtocol, bytes, layer4, offset + length);
  }

  #readIpv6(bytes: Uint8Array, offset: number, length: number): void {
    this.source.set(bytes, offset + 8, 16);
    this.destination.set(bytes, offset + 24, 16);
    const end = offset + length;
    let next = bytes[offset + 6]!;
    let at = offset + IPV6_LENGTH;
    let isLater = false;
    for (let count = 0; count < EXTENSIONS_MAX && isExtension(next) && at + 8 <= end; count++) {
      const isFragment = next === FRAGMENT;
      if (isFragment && (word(bytes, at + 2) & 0xfff8) !== 0) isLater = true;
      next = bytes[at]!;
      at += isFragment ? 8 : 8 * (bytes[at + 1]! + 1);
      if (isLater) break;
    }
    this.nativeProtocol = next;
    if (!isLater) this.#readPorts(next, bytes, at, end);
  }

  #readPorts(protocol: number, bytes: Uint8Array, layer4: number, end: number): void {
    if ((protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP) || layer4 + 4 > end) return;
    this.sourcePort = word(bytes, layer4);
    this.destinationPort = word(bytes, layer4 + 2);
  }

  /** Reads both contexts; where the references begin, or -1 when the header is not a right one. */
  #readContexts(bytes: Uint8Array, offset: number, contexts: number, end: number): number {
    if ((bytes[offset]! & BIT_4) === 0) return contexts;
    const second = bytes[offset + 1]!;
    if (second === 0x40 || second === 0x60) {
      const size = second === 0x40 ? 4 : 16;
      if (contexts + 2 * size > end) return -1;
      this.sourceContext.set(bytes, contexts, size);
      this.destinationContext.set(bytes, contexts + size, size);
      return contexts + 2 * size;
    }
    if (second !== 0) return -1;
    const middle = readDraftContext(this.sourceContext, bytes, contexts, end);
    return middle < 0 ? -1 : readDraftContext(this.destinationContext, bytes, middle, end);
  }
}

function isIcmp(protocol: number): boolean {
  return protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6;
}

function isExtension(next: number): boolean {
  return (
    next === HOP_BY_HOP || next === ROUTING || next === FRAGMENT || next === DESTINATION_OPTIONS
  );
}

/** A context of format D; where it ends, or -1. */
function readDraftContext(field: Field, bytes: Uint8Array, at: number, end: number): number {
  const address = at + DRAFT_CONTEXT_BYTES;
  if (address > end) return -1;
  const type = bytes[at]!;
  if (type === 0) return address;
  const size = type === 4 ? 4 : type === 6 ? 16 : 0;
  if (size === 0 || address + size > end) return -1;
  field.set(bytes, address, size);
  return address + size;
}

/** Two octets in network order. */
function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}
