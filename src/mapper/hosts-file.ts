/**
 * The `#=` records of a hosts file (spec/mapper.md 5.1, 5.2): text to records and complaints. What
 * may be installed is decided elsewhere (publication-rules.ts). Pure; the caller reads the file.
 */

import { addressKey, type IpAddress, isGlobalUnicast, isUnspecified, parseIp } from "../base/ip.js";
import { parseReference, type Reference } from "../base/reference.js";

/** One `pub` (`local`) or `ext` (`remote`) line. */
export interface HostsRecord {
  readonly kind: "local" | "remote";
  /** Our host, or the encoded address of a remote one. */
  readonly address: IpAddress;
  /** Undefined: not given. All-zero stands for the own public address. */
  readonly gateway: IpAddress | undefined;
  readonly reference: Reference | undefined;
  readonly line: number;
  readonly column: number;
}

/** Why a line has no effect; line and column count from 1. */
export interface Complaint {
  readonly line: number;
  readonly column?: number;
  readonly found: string;
  readonly wanted: string;
}

/** Longer lines are refused (spec/mapper.md 5.3, last paragraph). */
const LINE_CHARACTERS_MAX = 65_535;
const FOUND_CHARACTERS_MAX = 60;

interface Problem {
  readonly at: number;
  readonly found: string;
  readonly wanted: string;
}

interface Word {
  readonly text: string;
  readonly at: number;
}

type Spec = Pick<HostsRecord, "kind" | "gateway" | "reference">;
type Result<Value> = { readonly value: Value } | { readonly problem: Problem };

/** Reads a whole file. Of several good lines with one address the last one counts. */
export function parseHosts(text: string): { records: HostsRecord[]; complaints: Complaint[] } {
  const records = new Map<string, HostsRecord>();
  const complaints: Complaint[] = [];
  for (const [index, content] of text.split(/\r?\n/).entries()) {
    const line = index + 1;
    const result = parseLine(content);
    if (result === undefined) continue;
    if ("problem" in result) {
      const { at, found, wanted } = result.problem;
      complaints.push({ line, column: at + 1, found: clip(found), wanted });
      continue;
    }
    const { address, column, spec } = result.value;
    const key = addressKey(address);
    records.delete(key);
    records.set(key, { ...spec, address, line, column });
  }
  return { records: [...records.values()], complaints };
}

function parseLine(
  line: string,
): Result<{ address: IpAddress; column: number; spec: Spec }> | undefined {
  const hash = line.indexOf("#");
  if (hash < 0 || line[hash + 1] !== "=") return undefined;
  if (line.length > LINE_CHARACTERS_MAX) {
    const wanted = `a line of at most ${LINE_CHARACTERS_MAX} characters`;
    return problem(0, `${line.length} characters`, wanted);
  }
  const host = words(line.slice(0, hash), 0)[0];
  if (host === undefined) return undefined;
  const end = line.indexOf("#", hash + 1);
  const spec = parseSpec(line.slice(hash + 2, end < 0 ? undefined : end), hash + 2);
  if (spec === undefined) return undefined;
  const address = parseIp(host.text);
  if (address === undefined) return problem(host.at, host.text, "an IP address without zone");
  if ("problem" in spec) return spec;
  return { value: { address, column: host.at + 1, spec: spec.value } };
}

/** Undefined for `loc`. */
function parseSpec(text: string, at: number): Result<Spec> | undefined {
  const start = text.search(/\S/);
  const keyword = /^[^\s+]*/.exec(start < 0 ? "" : text.slice(start))![0];
  if (keyword === "loc" || keyword === "local") return undefined;
  const where = at + Math.max(0, start);
  const wantedType = "one of pub, public, ext, external, loc, local";
  if (keyword === "") return problem(where, "no type", wantedType);
  const rest = text.slice(start + keyword.length);
  const restAt = where + keyword.length;
  if (keyword === "pub" || keyword === "public") return parsePub(rest, restAt);
  if (keyword === "ext" || keyword === "external") return parseExt(rest, restAt);
  return problem(where, keyword, wantedType);
}

function parsePub(text: string, at: number): Result<Spec> {
  const parts = splitAtPlus(text, at);
  if ("problem" in parts) return parts;
  const { before, after } = parts.value;
  const wanted = after === undefined ? "a gateway address or a reference" : "a gateway address";
  if (before.length > 1) return problem(before[1]!.at, before[1]!.text, "+ and a reference");
  const first = before[0];
  if (after === undefined && first !== undefined && parseIp(first.text) === undefined) {
    const short = parseReference(first.text);
    if (!short.ok) return problem(first.at, first.text, wanted);
    return { value: { kind: "local", gateway: undefined, reference: short.value } };
  }
  const gateway = parseGateway(first, wanted);
  if ("problem" in gateway) return gateway;
  if (after === undefined) {
    return { value: { kind: "local", gateway: gateway.value, reference: undefined } };
  }
  const reference = parseAfterPlus(after, at + text.length);
  if ("problem" in reference) return reference;
  return { value: { kind: "local", gateway: gateway.value, reference: reference.value } };
}

function parseExt(text: string, at: number): Result<Spec> {
  const parts = splitAtPlus(text, at);
  if ("problem" in parts) return parts;
  const { before, after } = parts.value;
  if (before.length > 1) return problem(before[1]!.at, before[1]!.text, "+ and a reference");
  const first = before[0];
  if (first === undefined) return problem(at, "no gateway", "the address of a remote gateway");
  const gateway = parseGateway(first, "the address of a remote gateway");
  if ("problem" in gateway) return gateway;
  const wanted = "+ and a reference other than 0";
  if (after === undefined) return problem(at + text.length, "no reference", wanted);
  const reference = parseAfterPlus(after, at + text.length);
  if ("problem" in reference) return reference;
  if (reference.value === 0n) return problem(after[0]!.at, after[0]!.text, wanted);
  return { value: { kind: "remote", gateway: gateway.value, reference: reference.value } };
}

/** Words before and after the only plus sign; `after` is undefined without one. */
function splitAtPlus(
  text: string,
  at: number,
): Result<{ before: Word[]; after: Word[] | undefined }> {
  const plus = text.indexOf("+");
  if (plus < 0) return { value: { before: words(text, at), after: undefined } };
  const second = text.indexOf("+", plus + 1);
  if (second >= 0) return problem(at + second, "a second +", "one + before the reference");
  const before = words(text.slice(0, plus), at);
  return { value: { before, after: words(text.slice(plus + 1), at + plus + 1) } };
}

function parseGateway(word: Word | undefined, wanted: string): Result<IpAddress | undefined> {
  if (word === undefined) return { value: undefined };
  const gateway = parseIp(word.text);
  if (gateway === undefined) return problem(word.at, word.text, wanted);
  if (!isUnspecified(gateway) && !isGlobalUnicast(gateway)) {
    return problem(word.at, word.text, "a unicast gateway address");
  }
  return { value: gateway };
}

function parseAfterPlus(after: Word[], endAt: number): Result<Reference> {
  const wanted = "one reference after the +";
  if (after.length === 0) return problem(endAt, "no reference", wanted);
  if (after.length > 1) return problem(after[1]!.at, after[1]!.text, wanted);
  const { text, at } = after[0]!;
  const reference = parseReference(text);
  if (!reference.ok) return problem(at, text, "a decimal number or hexadecimal groups with -");
  return { value: reference.value };
}

function words(text: string, at: number): Word[] {
  return [...text.matchAll(/\S+/g)].map((match) => ({ text: match[0], at: at + match.index }));
}

function problem(at: number, found: string, wanted: string): { problem: Problem } {
  return { problem: { at, found, wanted } };
}

function clip(text: string): string {
  return text.length <= FOUND_CHARACTERS_MAX ? text : `${text.slice(0, FOUND_CHARACTERS_MAX)}...`;
}
