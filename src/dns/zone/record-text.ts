/**
 * Data of a record from its words in a master file (spec/resolver.md 3.1), for every type with a
 * syntax of its own; RFC 3597 5 (`\# length hex`) for all.
 */

import { parseIp } from "../../base/ip.js";
import { type Name, parseName } from "../../wire/dns/name.js";
import * as n from "../../wire/dns/numbers.js";
import { WireReader } from "../../wire/dns/reader.js";
import {
  base32HexOctets,
  base64Octets,
  hexOctets,
  signatureTime,
  stringOctets,
  timeSeconds,
  typeBitmap,
  unsignedOf,
} from "./field-text.js";
import type { ZoneWord } from "./scanner.js";
import { serviceParameters } from "./service-parameters.js";

/** Data, or what is wrong with which word (undefined: with the end of the entry). */
export type RecordData =
  | { readonly ok: true; readonly data: Uint8Array }
  | { readonly ok: false; readonly word: ZoneWord | undefined; readonly expected: string };

/** Reads the data of a record of this type. */
export function recordData(type: number, words: readonly ZoneWord[], origin: Name): RecordData {
  const reader = new FieldReader(words, origin);
  const first = words[0];
  const isGeneric = first?.text === "\\#" && !first.isQuoted;
  if (isGeneric) readGeneric(reader, type);
  else {
    const syntax = SYNTAX.get(type);
    if (syntax === undefined) reader.fail(first, "data in the form \\# length hex for this type");
    else syntax(reader);
  }
  reader.end();
  return reader.result();
}

/** Takes word after word and collects octets; the first mistake stays. */
class FieldReader {
  readonly octets: number[] = [];
  readonly #words: readonly ZoneWord[];
  readonly #origin: Name;
  #next = 0;
  #mistake: { readonly word: ZoneWord | undefined; readonly expected: string } | undefined;

  constructor(words: readonly ZoneWord[], origin: Name) {
    this.#words = words;
    this.#origin = origin;
  }

  result(): RecordData {
    if (this.#mistake !== undefined) return { ok: false, ...this.#mistake };
    if (this.octets.length > 65_535) {
      return { ok: false, word: this.#words[0], expected: "at most 65,535 octets of data" };
    }
    return { ok: true, data: Uint8Array.from(this.octets) };
  }

  fail(word: ZoneWord | undefined, expected: string): void {
    this.#mistake ??= { word, expected };
  }

  get isFailed(): boolean {
    return this.#mistake !== undefined;
  }

  /** The next word; undefined, with a mistake noted, when there is none. */
  take(expected: string): ZoneWord | undefined {
    const word = this.#words[this.#next++];
    if (word === undefined) this.fail(undefined, expected);
    return word;
  }

  /** All words that are left, at least `min`. */
  rest(min: number, expected: string): readonly ZoneWord[] {
    const words = this.#words.slice(this.#next);
    this.#next = this.#words.length;
    if (words.length < min) this.fail(undefined, expected);
    return words;
  }

  end(): void {
    const surplus = this.#words[this.#next];
    if (surplus !== undefined) this.fail(surplus, "the end of the entry");
  }

  number(bytes: 1 | 2 | 4, expected: string): void {
    const word = this.take(expected);
    const value = word && unsignedOf(word.text, 256 ** bytes - 1);
    this.#push(word, value, bytes, expected);
  }

  time(expected: string): void {
    const word = this.take(expected);
    this.#push(word, word && timeSeconds(word.text), 4, expected);
  }

  signatureTime(expected: string): void {
    const word = this.take(expected);
    this.#push(word, word && signatureTime(word.text), 4, expected);
  }

  typeCode(): void {
    const word = this.take("a record type");
    this.#push(word, word && n.typeNumber(word.text), 2, "a record type");
  }

  #push(
    word: ZoneWord | undefined,
    value: number | undefined,
    bytes: number,
    expected: string,
  ): void {
    if (word === undefined) return;
    if (value === undefined) this.fail(word, expected);
    else
      for (let shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
        this.octets.push((value >>> shift) & 255);
  }

  name(expected = "a name"): void {
    const word = this.take(expected);
    if (word === undefined) return;
    if (word.text === "@" && !word.isQuoted) {
      this.octets.push(...this.#origin.wire);
      return;
    }
    const parsed = parseName(word.text, this.#origin);
    if (parsed.ok) this.octets.push(...parsed.name.wire);
    else this.fail(word, `${expected} (${parsed.error})`);
  }

  address(version: 4 | 6): void {
    const expected = `an IPv${version} address`;
    const word = this.take(expected);
    const address = word && parseIp(word.text);
    if (address?.version === version) this.octets.push(...address.bytes);
    else this.fail(word, expected);
  }

  /** One character-string of at most 255 octets. */
  string(expected: string): void {
    const word = this.take(expected);
    const octets = word && stringOctets(word.text);
    if (octets !== undefined && octets.length <= 255) this.octets.push(octets.length, ...octets);
    else this.fail(word, expected);
  }

  /** One or more character-strings; a longer one is split into chunks of 255. */
  strings(): void {
    for (const word of this.rest(1, "a text")) {
      const octets = stringOctets(word.text);
      if (octets === undefined) {
        this.fail(word, "a text with valid escapes");
        continue;
      }
      for (let at = 0; at === 0 || at < octets.length; at += 255) {
        const chunk = octets.slice(at, at + 255);
        this.octets.push(chunk.length, ...chunk);
      }
    }
  }

  /** Octets that `read` makes of all words left. */
  joined(
    read: (words: readonly string[]) => Uint8Array | undefined,
    expected: string,
    min = 1,
  ): void {
    const words = this.rest(min, expected);
    const octets = read(words.map((word) => word.text));
    if (octets === undefined) this.fail(words[0], expected);
    else for (const octet of octets) this.octets.push(octet);
  }

  /** Hexadecimal digits; `kind`, the octet before them, may fix their number. */
  digest(lengths: ReadonlyMap<number, number>): void {
    const start = this.octets.length;
    const kind = this.octets[start - 1];
    const [first] = this.#words.slice(this.#next);
    this.joined(hexOctets, "hexadecimal digits");
    const length = kind === undefined ? undefined : lengths.get(kind);
    if (length !== undefined && this.octets.length - start !== length) {
      this.fail(first, `a digest of ${length} octets for type ${kind}`);
    }
  }

  /** A word as octets with a length octet in front. */
  counted(read: (text: string) => Uint8Array | undefined, expected: string): void {
    const word = this.take(expected);
    const octets = word && read(word.text);
    if (octets !== undefined && octets.length <= 255) this.octets.push(octets.length, ...octets);
    else this.fail(word, expected);
  }
}

/** Octets of a DS digest by type (RFC 4034 A.2, RFC 4509, RFC 6605); receivers refuse others. */
const DIGEST_BYTES = new Map([
  [1, 20],
  [2, 32],
  [4, 48],
]);

/** Octets of an SSHFP fingerprint by type (RFC 4255 3.1.2, RFC 6594). */
const FINGERPRINT_BYTES = new Map([
  [1, 20],
  [2, 32],
]);

/** RFC 3597 5; data of known types must be valid for them. */
function readGeneric(reader: FieldReader, type: number): void {
  const mark = reader.take("\\#");
  const lengthWord = reader.take("the length of the data");
  const length = lengthWord && unsignedOf(lengthWord.text, 65_535);
  if (length === undefined) {
    reader.fail(lengthWord, "the length of the data");
    return;
  }
  reader.joined(hexOctets, "hexadecimal digits", 0);
  if (reader.isFailed) return;
  if (reader.octets.length !== length) reader.fail(lengthWord, `${length} octets of data`);
  const bytes = Uint8Array.from(reader.octets);
  const check = new WireReader(bytes, bytes.length, 0);
  // Compression is impossible here, so that what is read has the same octets.
  if (check.rdata(type, bytes.length)?.length !== length) {
    reader.fail(mark, `data that is valid for ${n.typeName(type)}`);
  }
}

type Syntax = (reader: FieldReader) => void;

const oneName: Syntax = (reader) => reader.name();

const service: Syntax = (reader) => {
  reader.number(2, "a priority");
  reader.name("a target");
  const words = reader.rest(0, "");
  const parameters = serviceParameters(words.map((word) => word.text));
  if (typeof parameters === "string") reader.fail(words[0], parameters);
  else reader.octets.push(...parameters);
};

const SYNTAX: ReadonlyMap<number, Syntax> = new Map<number, Syntax>([
  [n.TYPE_A, (reader) => reader.address(4)],
  [n.TYPE_AAAA, (reader) => reader.address(6)],
  [n.TYPE_NS, oneName],
  [n.TYPE_CNAME, oneName],
  [n.TYPE_DNAME, oneName],
  [n.TYPE_PTR, oneName],
  [
    n.TYPE_MX,
    (reader) => {
      reader.number(2, "a preference");
      reader.name();
    },
  ],
  [
    n.TYPE_SOA,
    (reader) => {
      reader.name("the primary server's name");
      reader.name("the mailbox of the zone");
      reader.number(4, "a serial number");
      for (const what of ["refresh", "retry", "expire", "minimum"]) reader.time(`the ${what} time`);
    },
  ],
  [
    n.TYPE_SRV,
    (reader) => {
      for (const what of ["a priority", "a weight", "a port"]) reader.number(2, what);
      reader.name("a target");
    },
  ],
  [n.TYPE_TXT, (reader) => reader.strings()],
  [n.TYPE_SPF, (reader) => reader.strings()],
  [
    n.TYPE_HINFO,
    (reader) => {
      reader.string("a CPU name");
      reader.string("an operating system");
    },
  ],
  [
    n.TYPE_NAPTR,
    (reader) => {
      reader.number(2, "an order");
      reader.number(2, "a preference");
      for (const what of ["flags", "a service", "a regular expression"]) reader.string(what);
      reader.name("a replacement");
    },
  ],
  [
    n.TYPE_CAA,
    (reader) => {
      reader.number(1, "flags");
      reader.string("a tag");
      reader.joined((words) => valueOctets(words), "a value");
    },
  ],
  [
    n.TYPE_SSHFP,
    (reader) => {
      reader.number(1, "an algorithm number");
      reader.number(1, "a fingerprint type");
      reader.digest(FINGERPRINT_BYTES);
    },
  ],
  [
    n.TYPE_TLSA,
    (reader) => {
      for (const what of ["a usage", "a selector", "a matching type"]) reader.number(1, what);
      reader.joined(hexOctets, "hexadecimal digits");
    },
  ],
  [
    n.TYPE_DS,
    (reader) => {
      reader.number(2, "a key tag");
      reader.number(1, "an algorithm number");
      reader.number(1, "a digest type");
      reader.digest(DIGEST_BYTES);
    },
  ],
  [
    n.TYPE_DNSKEY,
    (reader) => {
      reader.number(2, "flags");
      reader.number(1, "the protocol 3");
      reader.number(1, "an algorithm number");
      reader.joined(base64Octets, "a key in base64");
    },
  ],
  [
    n.TYPE_RRSIG,
    (reader) => {
      reader.typeCode();
      reader.number(1, "an algorithm number");
      reader.number(1, "a number of labels");
      reader.time("a TTL");
      reader.signatureTime("an expiration time");
      reader.signatureTime("an inception time");
      reader.number(2, "a key tag");
      reader.name("the signer's name");
      reader.joined(base64Octets, "a signature in base64");
    },
  ],
  [
    n.TYPE_NSEC,
    (reader) => {
      reader.name("the next name");
      reader.joined(typeBitmap, "record types");
    },
  ],
  [
    n.TYPE_NSEC3,
    (reader) => {
      readNsec3Head(reader);
      reader.counted(base32HexOctets, "a hash in base32");
      reader.joined(typeBitmap, "record types", 0);
    },
  ],
  [n.TYPE_NSEC3PARAM, readNsec3Head],
  [n.TYPE_SVCB, service],
  [n.TYPE_HTTPS, service],
]);

function readNsec3Head(reader: FieldReader): void {
  reader.number(1, "a hash algorithm");
  reader.number(1, "flags");
  reader.number(2, "a number of iterations");
  reader.counted((text) => (text === "-" ? new Uint8Array(0) : hexOctets([text])), "a salt");
}

/** The one value of a CAA record: octets without a length in front. */
function valueOctets([value, ...surplus]: readonly string[]): Uint8Array | undefined {
  const octets = value === undefined || surplus.length > 0 ? undefined : stringOctets(value);
  return octets && Uint8Array.from(octets);
}
