/**
 * References: opaque unsigned 128-bit integers (spec/tunnel.md 1), their text form (1.2, 1.3),
 * prefixes of references (1.5) and IPREF addresses (1.6).
 *
 *   ref    = dec / groups / groups "--" / groups "--" groups
 *   groups = group *( "-" group )          group = 1*4HEXDIG
 */

import { formatIp, type IpAddress, parseIp, sameAddress } from "./ip.js";

/** 0 to 2^128 - 1. Bits 127 to 120 are reserved: zero in new ones, carried in received ones. */
export type Reference = bigint;

/** A host: the context address of its gateway and the reference that the gateway gave it. */
export interface IprefAddress {
  readonly context: IpAddress;
  readonly reference: Reference;
}

const REFERENCE_LIMIT = 1n << 128n;
const GROUPS_MAX = 8;

/** spec/tunnel.md 1.3: below this a reference is written in decimal. */
const DECIMAL_LIMIT = 65_536n;

export type ReferenceErrorKind =
  | "syntax"
  | "leading compression"
  | "repeated compression"
  | "too long";

export type ParsedReference =
  | { readonly ok: true; readonly value: Reference }
  | { readonly ok: false; readonly error: ReferenceErrorKind };

/** Reads a reference; the error kinds are those of spec/tunnel.md 1.2. */
export function parseReference(text: string): ParsedReference {
  return text.includes("-") ? parseGroupsText(text) : parseDecimal(text);
}

function failed(error: ReferenceErrorKind): ParsedReference {
  return { ok: false, error };
}

function parseDecimal(text: string): ParsedReference {
  if (!/^[0-9]+$/.test(text) || text.length > 64) return failed("syntax");
  const value = BigInt(text);
  return value < REFERENCE_LIMIT ? { ok: true, value } : failed("syntax");
}

function parseGroupsText(text: string): ParsedReference {
  if (text.startsWith("--")) return failed("leading compression");
  const halves = text.split("--");
  if (halves.length > 2) {
    return failed(text.includes("---") ? "syntax" : "repeated compression");
  }
  const high = parseGroups(halves[0]!);
  const low = halves.length === 1 || halves[1] === "" ? [] : parseGroups(halves[1]!);
  if (high === undefined || low === undefined) return failed("syntax");
  const isTooLong =
    low.length > 0 ? high.length + low.length >= GROUPS_MAX : high.length > GROUPS_MAX;
  if (isTooLong) return failed("too long");
  if (halves.length === 1) return { ok: true, value: joinGroups(high) };
  const shift = BigInt(16 * (GROUPS_MAX - high.length));
  return { ok: true, value: (joinGroups(high) << shift) | joinGroups(low) };
}

function parseGroups(text: string): number[] | undefined {
  const words = text.split("-");
  if (!words.every((word) => /^[0-9a-f]{1,4}$/i.test(word))) return undefined;
  return words.map((word) => Number.parseInt(word, 16));
}

function joinGroups(groups: readonly number[]): bigint {
  return groups.reduce((value, group) => (value << 16n) | BigInt(group), 0n);
}

/** Canonical text (spec/tunnel.md 1.3). */
export function formatReference(reference: Reference): string {
  if (reference < DECIMAL_LIMIT) return reference.toString();
  const groups: string[] = [];
  for (let rest = reference; rest > 0n; rest >>= 16n) groups.unshift((rest & 0xffffn).toString(16));
  return groups.join("-");
}

/** The 16 bytes of a reference, most significant first, written at `offset`. */
export function writeReferenceInto(target: Uint8Array, offset: number, reference: Reference): void {
  let rest = reference;
  for (let index = 15; index >= 0; index--) {
    target[offset + index] = Number(rest & 0xffn);
    rest >>= 8n;
  }
}

/** Reads the 16 bytes written by `writeReferenceInto`. */
export function readReference(source: Uint8Array, offset: number): Reference {
  let value = 0n;
  for (let index = 0; index < 16; index++) value = (value << 8n) | BigInt(source[offset + index]!);
  return value;
}

/**
 * The byte that separates dynamic from published references (spec/mapper.md 3.4): bits 8 to 15.
 */
export function referenceSecondByte(reference: Reference): number {
  return Number((reference >> 8n) & 0xffn);
}

/** A set of references that share their top bits. `base` has the other bits cleared. */
export interface ReferencePrefix {
  readonly base: Reference;
  readonly bits: number;
}

/** Reads `ref/bits`; the reference part must contain `--` or eight groups (spec/tunnel.md 1.5). */
export function parseReferencePrefix(text: string): ReferencePrefix | undefined {
  const match = /^([^/]*)\/(0|[1-9][0-9]{0,2})$/.exec(text);
  if (match === null) return undefined;
  const referenceText = match[1]!;
  const isExplicit = referenceText.includes("--") || referenceText.split("-").length === GROUPS_MAX;
  const parsed = parseReference(referenceText);
  const bits = Number(match[2]);
  if (!isExplicit || !parsed.ok || bits > 128) return undefined;
  return { base: parsed.value & referenceMask(bits), bits };
}

/** Text form; `--` unless all eight groups were written (spec/tunnel.md 1.5). */
export function formatReferencePrefix({ base, bits }: ReferencePrefix): string {
  const groups: string[] = [];
  for (let rest = base; rest !== 0n; rest = (rest << 16n) & (REFERENCE_LIMIT - 1n)) {
    groups.push((rest >> 112n).toString(16));
  }
  if (groups.length === 0) groups.push("0");
  const text = groups.join("-");
  return `${text}${groups.length < GROUPS_MAX ? "--" : ""}/${bits}`;
}

/** True when the reference lies in the prefix. */
export function referencePrefixContains(prefix: ReferencePrefix, reference: Reference): boolean {
  return (reference & referenceMask(prefix.bits)) === prefix.base;
}

function referenceMask(bits: number): bigint {
  const ones = (1n << BigInt(bits)) - 1n;
  return ones << BigInt(128 - bits);
}

/** Reads `address + reference` (spec/tunnel.md 1.6). */
export function parseIprefAddress(text: string): IprefAddress | undefined {
  const plus = text.indexOf("+");
  if (plus < 0) return undefined;
  const context = parseIp(text.slice(0, plus).trim());
  const reference = parseReference(text.slice(plus + 1).trim());
  return context && reference.ok ? { context, reference: reference.value } : undefined;
}

/** Text form with one blank on each side of the plus sign. */
export function formatIprefAddress({ context, reference }: IprefAddress): string {
  return `${formatIp(context)} + ${formatReference(reference)}`;
}

/** Same context and same reference. */
export function sameIprefAddress(a: IprefAddress, b: IprefAddress): boolean {
  return a.reference === b.reference && sameAddress(a.context, b.context);
}
