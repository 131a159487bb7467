/**
 * Where two right gateways may write different octets. Each function here looks at an expected
 * output and at the one that the gateway made, decides from their content whether the difference is
 * one that the vector folder's README allows, checks the gateway's value against its rule, and
 * only then writes it into the expected output, with the checksums that follow computed anew. What
 * is left is compared octet by octet; a value that breaks its rule stays a difference.
 */

import { prefixContains, sameAddress } from "../../base/ip.js";
import { allFields, dissect, type Form, type Packet } from "./dissect.js";
import {
  checksumsOf,
  isIcmp,
  writeHeaderChecksum,
  writeTransportChecksum,
} from "./naive-checksum.js";
import type { Finding } from "./played.js";
import type { VariablePart, VectorConfig } from "./vector-file.js";

/** spec/mapper.md 3.4: allocated values have 16 or more in the second octet from the end. */
const ALLOCATED_SECOND_OCTET_MIN = 16;
/** spec/tunnel.md 6.2: a whole ICMP error of the gateway. */
const IPV4_ERROR_BYTES_MAX = 576;
const IPV6_ERROR_BYTES_MAX = 1280;
/** Octets by which a quote may be shorter than the limit allows. */
const QUOTE_SLACK_BYTES = 8;

/** Values that must be the same in all outputs of a gateway, by the text of their rule. */
export type SharedValues = Map<string, string>;

/** An expected output beside the one that the gateway made. */
export interface Pair {
  readonly form: Form;
  /** Changed by the functions of this file. */
  expected: Uint8Array;
  readonly actual: Uint8Array;
}

export function readU16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 8) | bytes[offset + 1]!;
}

export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function copyOver(pair: Pair, offset: number, length: number): void {
  pair.expected.set(pair.actual.subarray(offset, offset + length), offset);
}

/**
 * Takes over the variable parts of one output after checking the rule of each. The rule follows
 * from the field in which the part lies; its text only groups values that must be equal.
 */
export function adoptVariables(
  pair: Pair,
  parts: readonly VariablePart[],
  config: VectorConfig,
  shared: SharedValues,
): Finding[] {
  const findings: Finding[] = [];
  const original = dissect(pair.expected, pair.form);
  for (const part of parts) {
    const name = original?.references?.find((one) => one.offset === part.offset)?.name;
    if (name !== undefined) {
      adoptReference(pair, part, name, shared, findings);
      continue;
    }
    if (part.offset + part.length > pair.actual.length) continue; // the length differs anyway
    const value = pair.actual.subarray(part.offset, part.offset + part.length);
    const complaint = checkVariable(pair, part, value, config, shared);
    copyOver(pair, part.offset, part.length);
    if (complaint === undefined) continue;
    findings.push({
      field: complaint.field,
      offset: part.offset,
      expected: part.rule,
      got: hexOf(value),
    });
  }
  return findings;
}

/** The rule of one variable part that is not a reference. */
function checkVariable(
  pair: Pair,
  part: VariablePart,
  value: Uint8Array,
  config: VectorConfig,
  shared: SharedValues,
): { field: string } | undefined {
  const packet = dissect(pair.actual, pair.form);
  const field = allFields(packet).find((one) => one.offset === part.offset)?.name ?? "octets";
  const sum = checksumsOf(pair.actual, packet).find((one) => one.offset === part.offset);
  if (sum !== undefined) return sum.state === "wrong" ? { field } : undefined;
  if (/(source|destination)$/.test(field)) {
    return isAllocatedAddress(value, config) && isShared(shared, part.rule, value)
      ? undefined
      : { field };
  }
  const isCommon = /the same/.test(part.rule) && field.includes("identification");
  return isCommon && !isShared(shared, part.rule, value) ? { field } : undefined;
}

/** True when the value equals the earlier ones of the same rule. */
function isShared(shared: SharedValues, rule: string, value: Uint8Array): boolean {
  const text = hexOf(value);
  const earlier = shared.get(rule);
  shared.set(rule, earlier ?? text);
  return earlier === undefined || earlier === text;
}

/** An encoded address as the mapper allocates them (spec/mapper.md 3.4, 3.5). */
export function isAllocatedAddress(value: Uint8Array, config: VectorConfig): boolean {
  const address = { version: config.local_version, bytes: value };
  if (value.length !== config.ea_ip.bytes.length) return false;
  if (!prefixContains(config.ea_net, address) || sameAddress(address, config.ea_ip)) return false;
  return value.at(-2)! >= ALLOCATED_SECOND_OCTET_MIN;
}

/** An allocated reference of a tunnel header; the length of both references may differ. */
function adoptReference(
  pair: Pair,
  part: VariablePart,
  name: string,
  shared: SharedValues,
  findings: Finding[],
): void {
  const expected = dissect(pair.expected, pair.form)!;
  const actual = dissect(pair.actual, pair.form);
  if (actual?.references === undefined) return;
  const index = expected.references![0].name === name ? 0 : 1;
  const own = referenceBytes(pair.actual, actual, index);
  const other = referenceBytes(pair.expected, expected, 1 - index);
  const size = actual.references[0].length;
  const isSmallest = size === Math.max(wireSize(own), wireSize(other));
  const isAllocated = own[14]! >= ALLOCATED_SECOND_OCTET_MIN && own[0] === 0;
  if (!isAllocated || !isSmallest || !isShared(shared, part.rule, own)) {
    const offset = actual.references[index]!.offset;
    findings.push({ field: name, offset, expected: part.rule, got: hexOf(own) });
  }
  const references = index === 0 ? [own, other] : [other, own];
  const before = pair.expected.subarray(0, expected.references![0].offset);
  const payload = pair.expected.subarray(expected.headerLength);
  const wire = references.map((one) => wireReference(one, size));
  pair.expected = Uint8Array.from([...before, ...wire[0]!, ...wire[1]!, ...payload]);
  pair.expected[0] = (pair.expected[0]! & 0xf3) | (Math.log2(size / 4) << 2);
}

/** The 16 octets of a reference in a tunnel header (spec/tunnel.md 1.7). */
export function referenceBytes(bytes: Uint8Array, packet: Packet, index: number): Uint8Array {
  const { offset, length } = packet.references![index]!;
  const value = new Uint8Array(16);
  value[0] = bytes[offset]!;
  value.set(bytes.subarray(offset + 1, offset + length), 16 - (length - 1));
  return value;
}

/** The smallest wire form of a reference (spec/tunnel.md 1.7). */
function wireSize(value: Uint8Array): number {
  const first = value.findIndex((byte, index) => index > 0 && byte !== 0);
  if (first < 0 || first >= 13) return 4;
  return first >= 9 ? 8 : 16;
}

function wireReference(value: Uint8Array, size: number): Uint8Array {
  return Uint8Array.from([value[0]!, ...value.subarray(16 - (size - 1))]);
}

/** IPv4 packets that may be fragmented get an identification of their own (spec/tunnel.md 3.4). */
export function adoptIdentification(pair: Pair): void {
  const packet = dissect(pair.expected, pair.form);
  if (pair.form !== "native" || packet?.version !== 4) return;
  if (packet.isFragment || packet.mayNotFragment || pair.actual.length < 20) return;
  if (!isSound(pair.expected, packet)) return;
  copyOver(pair, 4, 2);
  writeHeaderChecksum(pair.expected, 0);
}

/** True when the IPv4 header and an ICMP error of a packet have right checksums. */
function isSound(bytes: Uint8Array, packet: Packet): boolean {
  return checksumsOf(bytes, packet).every(({ name, state, offset }) => {
    const isHeader = name.endsWith("header checksum") && offset < packet.headerLength;
    return state !== "wrong" || !(isHeader || packet.quote !== undefined);
  });
}

/**
 * Octets 4 to 7 of an ICMP error may be zero instead of copied, 4 and 5 for "too big"
 * (spec/tunnel.md 4.5).
 */
export function adoptZeroRest(pair: Pair): void {
  const packet = dissect(pair.expected, pair.form);
  const at = errorStart(packet);
  if (packet === undefined || at === undefined || !isSound(pair.expected, packet)) return;
  const length = isTooBig(pair.expected, packet) ? 2 : 4;
  const rest = pair.actual.subarray(at + 4, at + 4 + length);
  if (rest.length !== length || rest.some((byte) => byte !== 0)) return;
  if (pair.expected.subarray(at + 4, at + 4 + length).every((byte) => byte === 0)) return;
  pair.expected.fill(0, at + 4, at + 4 + length);
  writeTransportChecksum(pair.expected, packet);
}

/** Where the ICMP error of a packet begins. */
export function errorStart(packet: Packet | undefined): number | undefined {
  return packet?.fields.some((one) => one.name.endsWith("rest of header"))
    ? packet.start + packet.headerLength
    : undefined;
}

/** True for "too big": wire and IPv4 3/4, ICMPv6 2/0 (spec/tunnel.md 4.5). */
export function isTooBig(bytes: Uint8Array, packet: Packet): boolean {
  if (!isIcmp(packet) || errorStart(packet) === undefined) return false;
  const at = packet.start + packet.headerLength;
  const isV6 = packet.form === "native" && packet.version === 6;
  return isV6 ? bytes[at] === 2 && bytes[at + 1] === 0 : bytes[at] === 3 && bytes[at + 1] === 4;
}

/** Where the 16 bits of the MTU are. */
export function mtuOffset(packet: Packet): number {
  return packet.start + packet.headerLength + 6;
}

/**
 * The MTU of "too big" may be anything from `lowest` (what the reference wrote) to `highest` (the
 * exact value, or the lower bound above it) (spec/tunnel.md 4.7).
 */
export function adoptMtu(pair: Pair, lowest: number, highest: number): Finding | undefined {
  const packet = dissect(pair.expected, pair.form);
  if (packet === undefined || !isTooBig(pair.expected, packet)) return undefined;
  if (!isSound(pair.expected, packet)) return undefined;
  const offset = mtuOffset(packet);
  if (offset + 2 > pair.actual.length) return undefined;
  const value = readU16(pair.actual, offset);
  if (value === 0 || value < lowest || value > highest) {
    const expected = `${lowest} to ${highest}`;
    return { field: "MTU", offset, expected, got: String(value) };
  }
  copyOver(pair, offset, 2);
  writeTransportChecksum(pair.expected, packet);
  return undefined;
}

/**
 * The gateway keeps its whole IPv4 errors within 576 octets and its IPv6 errors within 1280; the
 * reference limits the quote to 576 (spec/tunnel.md 6.2). Gives the expected error the length of
 * the actual one, when that is what the limit leaves. `input` is the packet that the error is
 * about.
 */
export function adoptQuoteLength(pair: Pair, input: Uint8Array): void {
  const packet = dissect(pair.expected, pair.form);
  const quote = packet?.quote;
  if (packet === undefined || quote === undefined || !isSound(pair.expected, packet)) return;
  const limit = packet.version === 4 ? IPV4_ERROR_BYTES_MAX : IPV6_ERROR_BYTES_MAX;
  const { length } = pair.actual;
  if (length === pair.expected.length || length > limit) return;
  if (length < Math.min(limit, quote.start + input.length) - QUOTE_SLACK_BYTES) return;
  const isRebuilt = quotedTotal(pair.expected, quote) === pair.expected.length - quote.start;
  if (length > pair.expected.length) {
    if (isRebuilt || !isQuoteOf(pair.expected, quote, input)) return;
    const more = input.subarray(pair.expected.length - quote.start, length - quote.start);
    pair.expected = Uint8Array.from([...pair.expected, ...more]);
  } else pair.expected = pair.expected.slice(0, length);
  writeLength(pair.expected, packet);
  if (isRebuilt) writeLength(pair.expected, quote);
  writeTransportChecksum(pair.expected, dissect(pair.expected, pair.form)!);
}

/** Length of a quoted native packet as its header tells it. */
function quotedTotal(bytes: Uint8Array, { start, version }: Packet): number {
  return version === 4 ? readU16(bytes, start + 2) : 40 + readU16(bytes, start + 4);
}

function isQuoteOf(bytes: Uint8Array, { start }: Packet, input: Uint8Array): boolean {
  return bytes.subarray(start).every((byte, index) => byte === input[index]);
}

/** Sets the length field of a native packet that reaches to the end. */
function writeLength(bytes: Uint8Array, { start, version }: Packet): void {
  const length = bytes.length - start;
  if (version === 6) return writeU16(bytes, start + 4, length - 40);
  writeU16(bytes, start + 2, length);
  writeHeaderChecksum(bytes, start);
}

export function writeU16(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >> 8;
  bytes[offset + 1] = value & 255;
}
