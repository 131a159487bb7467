/**
 * Tunnel header of format D (draft-hoyes-intarea-ipref-tunnel-00), spec/tunnel.md 2.2.
 *
 *   0      reserved (3 bits), CP, REFL (2), IF, DF     1  reserved, ignored on input
 *   2      TTL                                         3  protocol
 *   4-11   fragment information, only with IF
 *   then   source context, destination context, only with CP
 *   then   source reference, destination reference: 4, 8 or 16 octets each
 *   then   layer-4 data, to the end of the UDP payload
 *
 *   A context is a type octet and: type 0, three zero octets (the address of the outer header);
 *   type 4 or 6, a zero octet, a UDP port (2 octets) and an address (4 or 16 octets).
 */

import type { DropReason } from "../base/drop-reason.js";
import { copyAddress, type IpAddress, type IpVersion, zeroAddress } from "../base/ip.js";
import { readU16, writeU16 } from "./bytes.js";
import { PROTOCOL_UDP, type TunnelPacket } from "./packet-fields.js";
import {
  isTunnelFragmentValid,
  readTunnelFragment,
  TUNNEL_BIT_4,
  TUNNEL_DONT_FRAGMENT,
  TUNNEL_FIXED_LENGTH,
  TUNNEL_FRAGMENT_LENGTH,
  TUNNEL_HAS_FRAGMENT,
  TUNNEL_PROTOCOL_OFFSET,
  TUNNEL_REFERENCE_MASK,
  TUNNEL_REFERENCE_SHIFT,
  TUNNEL_TOP_BITS,
  TUNNEL_TTL_OFFSET,
  writeTunnelFragmentInto,
} from "./tunnel-fragment.js";
import type { TunnelHeader } from "./tunnel-header.js";
import {
  readWireReference,
  referenceLength,
  referenceLengthCode,
  sharedReferenceLength,
  writeWireReferenceInto,
} from "./wire-reference.js";

/** RES2: written as 0, ignored on input. */
export const DRAFT_RESERVED_OFFSET = 1;

const CONTEXT_UNSPECIFIED = 0;
const CONTEXT_IPV4 = 4;
const CONTEXT_IPV6 = 6;
const CONTEXT_RESERVED_OFFSET = 1;
const CONTEXT_PORT_OFFSET = 2;
/** Length of a context without an address. */
const CONTEXT_FIXED_LENGTH = 4;

/** The draft writes UDP as 17 hexadecimal; taken as UDP on input (spec/tunnel.md 2.2). */
const PROTOCOL_UDP_MISPRINT = 0x17;

/** A format-D packet: unspecified contexts are all-zero addresses with port 0. */
export interface DraftPacket extends TunnelPacket {
  readonly sourcePort: number;
  readonly destinationPort: number;
}

interface DraftContext {
  readonly address: IpAddress;
  readonly port: number;
  readonly end: number;
}

/**
 * Checks and reads a format-D packet; absent contexts become the zero address of `tunnelVersion`.
 * Whether the contexts are the right ones is for the caller. Borrows `bytes` for the payload.
 */
export function parseDraft(bytes: Uint8Array, tunnelVersion: IpVersion): DraftPacket | DropReason {
  if (bytes.length < TUNNEL_FIXED_LENGTH) return "tunnel-too-short";
  const first = bytes[0]!;
  if ((first & TUNNEL_TOP_BITS) !== 0) return "tunnel-reserved-bits";
  const length = referenceLength((first & TUNNEL_REFERENCE_MASK) >> TUNNEL_REFERENCE_SHIFT);
  if (length === undefined) return "tunnel-bad-reference-length";
  const hasFragment = (first & TUNNEL_HAS_FRAGMENT) !== 0;
  const contexts = TUNNEL_FIXED_LENGTH + (hasFragment ? TUNNEL_FRAGMENT_LENGTH : 0);
  if (bytes.length < contexts) return "tunnel-too-short";
  if (hasFragment && !isTunnelFragmentValid(bytes, TUNNEL_FIXED_LENGTH)) {
    return "tunnel-reserved-bits";
  }
  const ends = readContexts(bytes, contexts, (first & TUNNEL_BIT_4) !== 0, tunnelVersion);
  if (typeof ends === "string") return ends;
  const [source, destination] = ends;
  const headerLength = destination.end + 2 * length;
  if (bytes.length < headerLength) return "tunnel-too-short";
  const protocol = bytes[TUNNEL_PROTOCOL_OFFSET]!;
  return {
    source: {
      context: source.address,
      reference: readWireReference(bytes, destination.end, length),
    },
    destination: {
      context: destination.address,
      reference: readWireReference(bytes, destination.end + length, length),
    },
    sourcePort: source.port,
    destinationPort: destination.port,
    ttl: bytes[TUNNEL_TTL_OFFSET]!,
    protocol: protocol === PROTOCOL_UDP_MISPRINT ? PROTOCOL_UDP : protocol,
    dontFragment: (first & TUNNEL_DONT_FRAGMENT) !== 0,
    fragment: hasFragment ? readTunnelFragment(bytes, TUNNEL_FIXED_LENGTH) : undefined,
    headerLength,
    payload: bytes.subarray(headerLength),
  };
}

function readContexts(
  bytes: Uint8Array,
  offset: number,
  arePresent: boolean,
  tunnelVersion: IpVersion,
): readonly [DraftContext, DraftContext] | DropReason {
  if (!arePresent) {
    const absent = { address: zeroAddress(tunnelVersion), port: 0, end: offset };
    return [absent, absent];
  }
  const source = readContext(bytes, offset, tunnelVersion);
  if (typeof source === "string") return source;
  const destination = readContext(bytes, source.end, tunnelVersion);
  return typeof destination === "string" ? destination : [source, destination];
}

function readContext(
  bytes: Uint8Array,
  offset: number,
  tunnelVersion: IpVersion,
): DraftContext | DropReason {
  if (bytes.length < offset + CONTEXT_FIXED_LENGTH) return "tunnel-too-short";
  if (bytes[offset + CONTEXT_RESERVED_OFFSET] !== 0) return "tunnel-reserved-bits";
  const type = bytes[offset]!;
  const port = readU16(bytes, offset + CONTEXT_PORT_OFFSET);
  const addressOffset = offset + CONTEXT_FIXED_LENGTH;
  if (type === CONTEXT_UNSPECIFIED) {
    if (port !== 0) return "tunnel-reserved-bits";
    return { address: zeroAddress(tunnelVersion), port: 0, end: addressOffset };
  }
  if (type !== CONTEXT_IPV4 && type !== CONTEXT_IPV6) return "tunnel-context-version";
  const end = addressOffset + (type === CONTEXT_IPV4 ? 4 : 16);
  if (bytes.length < end) return "tunnel-too-short";
  return { address: copyAddress(bytes, addressOffset, type), port, end };
}

/** UDP ports of the two gateways, to be written together with the contexts. */
export interface DraftPorts {
  readonly source: number;
  readonly destination: number;
}

/**
 * Builds a format-D packet. Without `ports` the contexts are left out (spec/tunnel.md 2.2: unless
 * there is a reason, send CP = 0); with them both are written in full.
 */
export function buildDraft(
  header: TunnelHeader,
  payload: Uint8Array,
  ports?: DraftPorts,
): Uint8Array {
  const { source, destination, fragment } = header;
  const length = sharedReferenceLength(source.reference, destination.reference);
  const contexts = TUNNEL_FIXED_LENGTH + (fragment ? TUNNEL_FRAGMENT_LENGTH : 0);
  const contextLength = ports ? CONTEXT_FIXED_LENGTH + source.context.bytes.length : 0;
  const references = contexts + 2 * contextLength;
  const headerLength = references + 2 * length;
  const bytes = new Uint8Array(headerLength + payload.length);
  bytes[0] =
    (ports ? TUNNEL_BIT_4 : 0) |
    (referenceLengthCode(length) << TUNNEL_REFERENCE_SHIFT) |
    (fragment ? TUNNEL_HAS_FRAGMENT : 0) |
    (header.dontFragment ? TUNNEL_DONT_FRAGMENT : 0);
  bytes[TUNNEL_TTL_OFFSET] = header.ttl;
  bytes[TUNNEL_PROTOCOL_OFFSET] = header.protocol;
  if (fragment) writeTunnelFragmentInto(bytes, TUNNEL_FIXED_LENGTH, fragment);
  if (ports) {
    writeContextInto(bytes, contexts, source.context, ports.source);
    writeContextInto(bytes, contexts + contextLength, destination.context, ports.destination);
  }
  writeWireReferenceInto(bytes, references, source.reference, length);
  writeWireReferenceInto(bytes, references + length, destination.reference, length);
  bytes.set(payload, headerLength);
  return bytes;
}

function writeContextInto(bytes: Uint8Array, offset: number, address: IpAddress, port: number) {
  bytes[offset] = address.version === 4 ? CONTEXT_IPV4 : CONTEXT_IPV6;
  writeU16(bytes, offset + CONTEXT_PORT_OFFSET, port);
  bytes.set(address.bytes, offset + CONTEXT_FIXED_LENGTH);
}
