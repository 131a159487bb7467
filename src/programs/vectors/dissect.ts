/**
 * A second, plain reading of packets for the judgement of vectors: which octets are which field,
 * and whether the checksums are right. Written without any of the gateway's own readers, so that a
 * mistake there cannot hide (spec/tunnel.md 2.1, 4.1 to 4.6; RFC 791, 8200, 768, 9293, 792, 4443).
 */

import type { IpVersion } from "../../base/ip.js";

/** `native`: IPv4 or IPv6. `tunnel`: format G. */
export type Form = "native" | "tunnel";

export interface Field {
  readonly name: string;
  readonly offset: number;
  readonly length: number;
}

/** One packet, perhaps quoted inside another; all offsets count from the start of the octets. */
export interface Packet {
  readonly form: Form;
  /** IP version of a native packet, of the contexts of a tunnel packet. */
  readonly version: IpVersion;
  readonly start: number;
  readonly headerLength: number;
  readonly source: Field;
  readonly destination: Field;
  readonly protocol: number;
  readonly isFragment: boolean;
  readonly fragmentOffset: number;
  readonly hasMoreFragments: boolean;
  readonly mayNotFragment: boolean;
  readonly end: number;
  /** Source and destination reference of a tunnel packet. */
  readonly references: readonly [Field, Field] | undefined;
  readonly fields: readonly Field[];
  /** The packet quoted by an ICMP error. */
  readonly quote: Packet | undefined;
}

export const TCP = 6;
export const UDP = 17;
export const ICMP = 1;
export const ICMPV6 = 58;
const FRAGMENT_HEADER = 44;

/** Offset of the checksum in the layer-4 header. */
const CHECKSUM_AT: Readonly<Record<number, number>> = {
  [TCP]: 16,
  [UDP]: 6,
  [ICMP]: 2,
  [ICMPV6]: 2,
};
const TRANSPORT_NAME: Readonly<Record<number, string>> = {
  [TCP]: "tcp",
  [UDP]: "udp",
  [ICMP]: "icmp",
  [ICMPV6]: "icmpv6",
};

/** Reads a packet as far as it goes; undefined when its header is incomplete or unknown. */
export function dissect(bytes: Uint8Array, form: Form, start = 0, prefix = ""): Packet | undefined {
  const head = form === "tunnel" ? tunnelHead(bytes, start) : nativeHead(bytes, start);
  if (head === undefined) return undefined;
  const { transport, quote } = readTransport(bytes, head, form, start);
  const fields = [...head.fields, ...transport].map((field) => named(field, prefix));
  const inner = quote === undefined ? undefined : dissect(bytes, form, quote, `${prefix}quoted `);
  return { ...head, form, start, fields, quote: inner };
}

type Head = Omit<Packet, "form" | "start" | "quote">;

function named(field: Field, prefix: string): Field {
  return { ...field, name: prefix + field.name };
}

function field(name: string, offset: number, length: number): Field {
  return { name, offset, length };
}

function u16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 8) | bytes[offset + 1]!;
}

function nativeHead(bytes: Uint8Array, start: number): Head | undefined {
  const nibble = (bytes[start] ?? 0) >> 4;
  if (nibble === 4) return ipv4Head(bytes, start);
  return nibble === 6 ? ipv6Head(bytes, start) : undefined;
}

function ipv4Head(bytes: Uint8Array, start: number): Head | undefined {
  const headerLength = (bytes[start]! & 15) * 4;
  if (headerLength < 20 || start + headerLength > bytes.length) return undefined;
  const flags = u16(bytes, start + 6);
  const source = field("IPv4 source", start + 12, 4);
  const destination = field("IPv4 destination", start + 16, 4);
  const fields = [
    field("IPv4 version and header length", start, 1),
    field("IPv4 DSCP and ECN", start + 1, 1),
    field("IPv4 total length", start + 2, 2),
    field("IPv4 identification", start + 4, 2),
    field("IPv4 flags and fragment offset", start + 6, 2),
    field("IPv4 TTL", start + 8, 1),
    field("IPv4 protocol", start + 9, 1),
    field("IPv4 header checksum", start + 10, 2),
    source,
    destination,
    ...(headerLength > 20 ? [field("IPv4 options", start + 20, headerLength - 20)] : []),
  ];
  return {
    version: 4,
    headerLength,
    source,
    destination,
    protocol: bytes[start + 9]!,
    isFragment: (flags & 0x3fff) !== 0,
    fragmentOffset: (flags & 0x1fff) * 8,
    hasMoreFragments: (flags & 0x2000) !== 0,
    mayNotFragment: (flags & 0x4000) !== 0,
    end: Math.min(bytes.length, start + u16(bytes, start + 2)),
    references: undefined,
    fields,
  };
}

function ipv6Head(bytes: Uint8Array, start: number): Head | undefined {
  if (start + 40 > bytes.length) return undefined;
  const hasFragmentHeader = bytes[start + 6] === FRAGMENT_HEADER;
  const headerLength = hasFragmentHeader ? 48 : 40;
  if (start + headerLength > bytes.length) return undefined;
  const fragment = hasFragmentHeader ? u16(bytes, start + 42) : 0;
  const source = field("IPv6 source", start + 8, 16);
  const destination = field("IPv6 destination", start + 24, 16);
  const fields = [
    field("IPv6 version, traffic class and flow label", start, 4),
    field("IPv6 payload length", start + 4, 2),
    field("IPv6 next header", start + 6, 1),
    field("IPv6 hop limit", start + 7, 1),
    source,
    destination,
  ];
  if (hasFragmentHeader) {
    fields.push(
      field("IPv6 fragment next header", start + 40, 1),
      field("IPv6 fragment reserved", start + 41, 1),
      field("IPv6 fragment offset", start + 42, 2),
      field("IPv6 fragment identification", start + 44, 4),
    );
  }
  return {
    version: 6,
    headerLength,
    source,
    destination,
    protocol: bytes[start + (hasFragmentHeader ? 40 : 6)]!,
    isFragment: hasFragmentHeader,
    fragmentOffset: fragment & 0xfff8,
    hasMoreFragments: (fragment & 1) !== 0,
    mayNotFragment: true,
    end: Math.min(bytes.length, start + 40 + u16(bytes, start + 4)),
    references: undefined,
    fields,
  };
}

function tunnelHead(bytes: Uint8Array, start: number): Head | undefined {
  const first = bytes[start] ?? 0;
  const version = (bytes[start + 1] ?? 0) >> 4;
  const code = (first >> 2) & 3;
  if (first >> 4 !== 1 || code === 3 || (version !== 4 && version !== 6)) return undefined;
  const hasFragmentFields = (first & 2) !== 0;
  const at = start + (hasFragmentFields ? 12 : 4);
  const context = version === 4 ? 4 : 16;
  const size = 4 << code;
  const headerLength = at - start + 2 * context + 2 * size;
  if (start + headerLength > bytes.length) return undefined;
  const fragment = hasFragmentFields ? u16(bytes, start + 6) : 0;
  const source = field("tunnel source context", at, context);
  const destination = field("tunnel destination context", at + context, context);
  const referencesAt = at + 2 * context;
  const sourceReference = field("tunnel source reference", referencesAt, size);
  const destinationReference = field("tunnel destination reference", referencesAt + size, size);
  const fields = [
    field("tunnel version, reference length and flags", start, 1),
    field("tunnel context version", start + 1, 1),
    field("tunnel TTL", start + 2, 1),
    field("tunnel protocol", start + 3, 1),
    ...(hasFragmentFields ? tunnelFragmentFields(start) : []),
    source,
    destination,
    sourceReference,
    destinationReference,
  ];
  return {
    version,
    headerLength,
    source,
    destination,
    protocol: bytes[start + 3]!,
    isFragment: hasFragmentFields,
    fragmentOffset: fragment & 0xfff8,
    hasMoreFragments: (fragment & 1) !== 0,
    mayNotFragment: (first & 1) !== 0,
    end: bytes.length,
    references: [sourceReference, destinationReference],
    fields,
  };
}

function tunnelFragmentFields(start: number): Field[] {
  return [
    field("tunnel fragment reserved", start + 4, 2),
    field("tunnel fragment offset", start + 6, 2),
    field("tunnel fragment identification", start + 8, 4),
  ];
}

/** Fields behind the header, and where the packet quoted by an ICMP error begins. */
function readTransport(
  bytes: Uint8Array,
  head: Head,
  form: Form,
  start: number,
): { transport: Field[]; quote: number | undefined } {
  const at = start + head.headerLength;
  const length = head.end - at;
  const name = TRANSPORT_NAME[head.protocol];
  const checksumAt = (CHECKSUM_AT[head.protocol] ?? 0) - head.fragmentOffset;
  const transport: Field[] = [];
  if (name !== undefined && checksumAt >= 0 && checksumAt + 2 <= length) {
    transport.push(field(`${name} checksum`, at + checksumAt, 2));
  }
  const isIcmp = head.protocol === ICMP || head.protocol === ICMPV6;
  if (!isIcmp || head.fragmentOffset !== 0 || length < 8) return { transport, quote: undefined };
  transport.unshift(field(`${name} type`, at, 1), field(`${name} code`, at + 1, 1));
  const isError = isErrorType(bytes[at]!, head.protocol, form);
  const restName = isError ? `${name} rest of header` : `${name} identifier and sequence`;
  transport.push(field(restName, at + 4, 2), field(isError ? `${name} MTU` : restName, at + 6, 2));
  return { transport, quote: isError ? at + 8 : undefined };
}

/** ICMP messages that quote a packet, as far as they cross a tunnel (spec/tunnel.md 4.5). */
function isErrorType(type: number, protocol: number, form: Form): boolean {
  if (form === "native" && protocol === ICMPV6) return type >= 1 && type <= 4;
  return type === 3 || type === 11;
}

/** The field at an offset, in a packet or one quoted by it. */
export function fieldAt(packet: Packet | undefined, offset: number): Field | undefined {
  return allFields(packet).find((one) => offset >= one.offset && offset < one.offset + one.length);
}

/** All fields of a packet and of the packets quoted in it. */
export function allFields(packet: Packet | undefined): Field[] {
  const fields: Field[] = [];
  for (let each = packet; each !== undefined; each = each.quote) fields.push(...each.fields);
  return fields;
}
