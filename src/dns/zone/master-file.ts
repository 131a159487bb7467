/**
 * Reads a master file (RFC 1035 5, spec/resolver.md 3.1).
 *
 *   entry = [owner] [TTL] [class] type rdata      TTL and class in either order
 *
 * A bad entry is reported and passed over, so that one run tells of every mistake.
 */

import { nearestWord } from "../../base/nearest-word.js";
import { type Name, parseName } from "../../wire/dns/name.js";
import { TYPE_SOA, typeNumber } from "../../wire/dns/numbers.js";
import { type ResourceRecord, recordOf } from "../../wire/dns/record.js";
import { resolveBeside } from "../corefile/import.js";
import type { Position } from "../corefile/structure.js";
import type { Complaints } from "../plugin.js";
import { timeSeconds } from "./field-text.js";
import { recordData } from "./record-text.js";
import { type ZoneEntry, ZoneScanner, type ZoneWord, zoneText } from "./scanner.js";
import { soaMinimum } from "./serial.js";

/** A record and where it was written. */
export interface LocatedRecord {
  readonly record: ResourceRecord;
  readonly position: Position;
}

/** Content of a file; `error` says why not. */
export type ZoneFileReader = (
  path: string,
) => Promise<{ readonly bytes: Uint8Array } | { readonly error: string }>;

/** spec/resolver.md 3.1. */
const INCLUDE_DEPTH_MAX = 7;

const DIRECTIVES = ["$ORIGIN", "$TTL", "$INCLUDE", "$GENERATE"];

/** Reads all records of a file and its includes. `path` is its name in complaints. */
export async function parseMasterFile(
  bytes: Uint8Array,
  path: string,
  origin: Name,
  readFile: ZoneFileReader,
  complaints: Complaints,
): Promise<readonly LocatedRecord[]> {
  const parser = new MasterFileParser(origin, readFile, complaints);
  await parser.parse(bytes, path, 0);
  return parser.records;
}

class MasterFileParser {
  readonly records: LocatedRecord[] = [];
  readonly #readFile: ZoneFileReader;
  readonly #complaints: Complaints;
  #origin: Name;
  #owner: Name | undefined;
  /** `$TTL`. */
  #defaultTtl: number | undefined;
  #lastTtl: number | undefined;
  #soaMinimum: number | undefined;

  constructor(origin: Name, readFile: ZoneFileReader, complaints: Complaints) {
    this.#origin = origin;
    this.#readFile = readFile;
    this.#complaints = complaints;
  }

  async parse(bytes: Uint8Array, path: string, depth: number): Promise<void> {
    const scanner = new ZoneScanner(zoneText(bytes), path, this.#complaints);
    for (let entry = scanner.next(); entry !== undefined; entry = scanner.next()) {
      const first = entry.words[0]!;
      const isDirective = first.text.startsWith("$") && !first.isQuoted && !entry.isIndented;
      if (isDirective) await this.#directive(entry, path, depth);
      else this.#record(entry);
    }
  }

  #found(word: ZoneWord | undefined, position: Position, expected: string): undefined {
    const found = word === undefined ? "the end of the entry" : `'${word.text}'`;
    this.#complaints.error(word?.position ?? position, `Found ${found}, expected ${expected}`);
    return undefined;
  }

  async #directive(entry: ZoneEntry, path: string, depth: number): Promise<void> {
    const [word, argument, second, surplus] = entry.words;
    const { position } = entry;
    const name = word!.text.toUpperCase();
    const extra = name === "$INCLUDE" ? surplus : second;
    if (name === "$GENERATE") {
      const message = "Found '$GENERATE', which is not supported; write the records out";
      this.#complaints.error(position, message);
    } else if (!DIRECTIVES.includes(name)) {
      const near = nearestWord(name, DIRECTIVES.slice(0, 3));
      const hint = near === undefined ? "" : `; did you mean ${near}?`;
      this.#found(word, position, `$ORIGIN, $TTL or $INCLUDE${hint}`);
    } else if (extra !== undefined) this.#found(extra, position, "the end of the entry");
    else if (name === "$ORIGIN") this.#origin = this.#name(argument, position) ?? this.#origin;
    else if (name === "$TTL") {
      const ttl = argument && timeSeconds(argument.text);
      if (ttl === undefined) this.#found(argument, position, "a time such as 3600 or 1h");
      else this.#defaultTtl = ttl;
    } else await this.#include(argument, second, position, path, depth);
  }

  /** `$INCLUDE file [origin]`: origin and owner are restored afterwards. */
  async #include(
    file: ZoneWord | undefined,
    originWord: ZoneWord | undefined,
    position: Position,
    path: string,
    depth: number,
  ): Promise<void> {
    if (file === undefined) return this.#found(file, position, "a file name");
    if (depth >= INCLUDE_DEPTH_MAX) {
      return this.#found(file, position, `at most ${INCLUDE_DEPTH_MAX} files inside each other`);
    }
    if (file.text.split("/").includes("..") && !file.text.startsWith("/")) {
      return this.#found(file, position, "an absolute path for a file outside the directory");
    }
    const origin = originWord ? this.#name(originWord, position) : this.#origin;
    if (origin === undefined) return;
    const includedPath = resolveBeside(path, file.text);
    const content = await this.#readFile(includedPath);
    if ("error" in content) {
      this.#complaints.error(file.position, `Cannot include '${file.text}': ${content.error}`);
      return;
    }
    const saved = { origin: this.#origin, owner: this.#owner };
    this.#origin = origin;
    await this.parse(content.bytes, includedPath, depth + 1);
    this.#origin = saved.origin;
    this.#owner = saved.owner;
  }

  /** A name relative to the origin; undefined after a complaint. */
  #name(word: ZoneWord | undefined, position: Position): Name | undefined {
    if (word === undefined) return this.#found(word, position, "a name");
    if (word.text === "@" && !word.isQuoted) return this.#origin;
    const parsed = parseName(word.text, this.#origin);
    if (parsed.ok) return parsed.name;
    return this.#found(word, position, `a name (${parsed.error})`);
  }

  #record(entry: ZoneEntry): void {
    const { words, position } = entry;
    let next = 0;
    if (!entry.isIndented) {
      const owner = this.#name(words[next++], position);
      if (owner === undefined) return;
      this.#owner = owner;
    }
    if (this.#owner === undefined) {
      this.#found(words[0], position, "an owner name at the start of the line");
      return;
    }
    const head = this.#head(words, next, position);
    if (head === undefined) return;
    const data = recordData(head.type, words.slice(head.next), this.#origin);
    if (!data.ok) {
      this.#found(data.word, position, data.expected);
      return;
    }
    this.#add(recordOf(this.#owner, head.type, head.ttl ?? -1, data.data), position);
  }

  /** TTL, class and type. */
  #head(words: readonly ZoneWord[], start: number, position: Position) {
    let ttl: number | undefined;
    let hasClass = false;
    for (let next = start; ; next++) {
      const word = words[next];
      const text = word?.text ?? "";
      if (ttl === undefined && /^[0-9]/.test(text)) {
        ttl = timeSeconds(text);
        if (ttl === undefined) return this.#found(word, position, "a TTL below 2^31 seconds");
        continue;
      }
      if (!hasClass && /^(IN|CS|CH|HS|CLASS[0-9]+)$/i.test(text)) {
        if (!/^(IN|CLASS1)$/i.test(text)) return this.#found(word, position, "the class IN");
        hasClass = true;
        continue;
      }
      const type = typeNumber(text);
      const isData = type !== undefined && type > 0 && type !== 41 && !(type > 127 && type < 256);
      if (isData) return { ttl, type, next: next + 1 };
      return this.#found(word, position, "a record type");
    }
  }

  /** Completes the TTL (spec/resolver.md 3.1): `$TTL`, the last one, the SOA minimum. */
  #add(record: ResourceRecord, position: Position): void {
    if (record.type === TYPE_SOA) this.#soaMinimum ??= soaMinimum(record);
    const isExplicit = record.ttlSeconds >= 0;
    if (isExplicit) this.#lastTtl = record.ttlSeconds;
    const inherited = this.#defaultTtl ?? this.#lastTtl ?? this.#soaMinimum;
    const ttlSeconds = isExplicit ? record.ttlSeconds : inherited;
    if (ttlSeconds === undefined) {
      const message = "Found a record without TTL, expected one or $TTL before it";
      this.#complaints.error(position, message);
    } else this.records.push({ record: { ...record, ttlSeconds }, position });
  }
}
