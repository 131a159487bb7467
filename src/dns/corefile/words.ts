/**
 * Reads the arguments that directives share: durations, numbers, addresses, zones. Each reader
 * returns undefined after it has complained about the word.
 */

import { type IpAddress, type IpPrefix, parseIp, parsePrefix } from "../../base/ip.js";
import { nearestWord } from "../../base/nearest-word.js";
import type { Name } from "../../wire/dns/name.js";
import type { Complaints } from "../plugin.js";
import type { Endpoint } from "../query.js";
import { parseZone } from "./keys.js";
import type { Directive, PropertyLine, Word } from "./structure.js";

/** Milliseconds of each unit of a Go duration (spec/resolver.md 2.6). */
const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Go duration in milliseconds: `1h30m`, `500ms`, `0`; undefined when it is none. */
export function parseDurationMs(text: string): number | undefined {
  if (text === "0") return 0;
  const pieces = /^(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h)/;
  let totalMs = 0;
  for (let rest = text; ; ) {
    const match = pieces.exec(rest);
    if (match === null) return undefined;
    const unit = match[0].replace(/^[0-9.]+/, "");
    totalMs += Number.parseFloat(match[0]) * UNIT_MS[unit]!;
    rest = rest.slice(match[0].length);
    if (rest === "") return totalMs;
  }
}

/** A duration of at least `minMs`. */
export function durationOf(word: Word, complaints: Complaints, minMs = 0): number | undefined {
  const durationMs = parseDurationMs(word.text);
  if (durationMs !== undefined && durationMs >= minMs) return durationMs;
  const least = minMs > 0 ? ` of at least ${minMs} ms` : "";
  complaints.error(
    word.position,
    `Found '${word.text}', expected a duration such as 30s or 1h30m${least}`,
  );
  return undefined;
}

/** A decimal number from `min` to `max`. */
export function numberOf(
  word: Word,
  min: number,
  max: number,
  complaints: Complaints,
): number | undefined {
  const value = /^[0-9]{1,10}$/.test(word.text) ? Number(word.text) : -1;
  if (value >= min && value <= max) return value;
  complaints.error(word.position, `Found '${word.text}', expected a number from ${min} to ${max}`);
  return undefined;
}

/** Zones of a word: a name or a CIDR prefix. */
export function zonesOf(word: Word, complaints: Complaints): readonly Name[] | undefined {
  const zones = parseZone(word.text);
  if (zones === undefined) {
    complaints.error(word.position, `Found '${word.text}', expected a zone such as example.org`);
  }
  return zones;
}

/** Zones of several words; `fallback` when there are none. */
export function zoneListOf(
  words: readonly Word[],
  fallback: readonly Name[],
  complaints: Complaints,
): readonly Name[] {
  if (words.length === 0) return fallback;
  return words.flatMap((word) => zonesOf(word, complaints) ?? []);
}

/** An address or prefix; an address counts as a prefix of its full length. */
export function parseNetwork(text: string): IpPrefix | undefined {
  const address = parseIp(text);
  return address ? { address, bits: 8 * address.bytes.length } : parsePrefix(text);
}

/**
 * `a.b.c.d`, `a.b.c.d:port`, `[v6]`, `[v6]:port`, bare IPv6 (spec/resolver.md 1.15). Host names are
 * none.
 */
export function parseEndpoint(text: string, defaultPort: number): Endpoint | undefined {
  const bare = parseIp(text);
  if (bare !== undefined) return { address: bare, port: defaultPort };
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::([0-9]{1,5}))?$/.exec(text);
  if (match === null) return undefined;
  const address: IpAddress | undefined = parseIp(match[1] ?? match[2]!);
  const port = match[3] === undefined ? defaultPort : Number(match[3]);
  if (address === undefined || port < 1 || port > 65_535) return undefined;
  if ((match[1] === undefined) !== (address.version === 4)) return undefined;
  return { address, port };
}

/** True when the number of words is right; complains about the first one missing or left over. */
export function expectCount(
  words: readonly Word[],
  at: Word,
  min: number,
  max: number,
  complaints: Complaints,
): boolean {
  const surplus = words[max];
  if (surplus !== undefined) {
    const expected = max === 0 ? "no argument" : `at most ${max} argument${max > 1 ? "s" : ""}`;
    complaints.error(
      surplus.position,
      `Found '${surplus.text}', expected ${expected} after '${at.text}'`,
    );
  } else if (words.length < min) {
    const missing = min - words.length;
    const more = `${missing} more argument${missing > 1 ? "s" : ""}`;
    complaints.error(at.position, `Found the end of the line after '${at.text}', expected ${more}`);
  }
  return surplus === undefined && words.length >= min;
}

/** Reads one property: `args` are the words after its name. */
export type PropertyReader = (args: readonly Word[], name: Word, line: PropertyLine) => void;

/** Hands every line of a directive to the reader of its first word; complains about others. */
export function readProperties(
  lines: readonly PropertyLine[],
  readers: Readonly<Record<string, PropertyReader>>,
  complaints: Complaints,
): void {
  const known = Object.keys(readers);
  for (const line of lines) {
    const name = line.words[0]!;
    if (known.includes(name.text)) {
      readers[name.text]!(line.words.slice(1), name, line);
      continue;
    }
    complaints.error(name.position, `Found ${unknownWord(name.text, known)}`);
  }
}

/** "'gatway', expected one of a, b (did you mean 'gateway'?)". */
export function unknownWord(text: string, known: readonly string[]): string {
  const near = nearestWord(text, known);
  const hint = near === undefined ? "" : `; did you mean '${near}'?`;
  const list = known.length > 0 ? `one of ${known.join(", ")}` : "no property";
  return `'${text}', expected ${list}${hint}`;
}

/** One of a few words. */
export function choiceOf<Choice extends string>(
  word: Word,
  choices: readonly Choice[],
  complaints: Complaints,
): Choice | undefined {
  const found = choices.find((choice) => choice === word.text);
  if (found === undefined) {
    complaints.error(word.position, `Found ${unknownWord(word.text, choices)}`);
  }
  return found;
}

/** Complains about braces after a directive that has none. */
export function expectNoLines(directive: Directive, complaints: Complaints): void {
  const line = directive.lines[0];
  if (line === undefined) return;
  complaints.error(
    line.words[0]!.position,
    `Found '${line.words[0]!.text}', expected no properties of '${directive.name.text}'`,
  );
}
