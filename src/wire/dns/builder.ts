/**
 * Writes DNS messages into memory of the caller (RFC 1035 4.1). One builder is used for message
 * after message. Names are compressed against the question first, which costs one comparison, then
 * against a table of suffixes. Only owners and the types of RFC 3597 4 are compressed, only by
 * pointers below 16,384.
 *
 * A record that does not fit is not written: the method returns false and the message stands as
 * before. Nothing throws.
 */

import { writeU16, writeU32 } from "../bytes.js";
import { Name } from "./name.js";
import { EDNS_SIZE_BYTES, TYPE_OPT } from "./numbers.js";
import { fixedFieldLength, hasCompressibleNames, rdataLayout } from "./rdata-layout.js";
import { HEADER_LENGTH } from "./reader.js";
import type { ResourceRecord } from "./record.js";
import { SuffixTable } from "./suffix-table.js";

/** A pointer has 14 bits (RFC 1035 4.1.4). */
const POINTER_LIMIT = 0x4000;
const POINTER_TO_QUESTION = 0xc000 | HEADER_LENGTH;

/** Length of an OPT without options. */
export const OPT_LENGTH = 11;

/** EDNS option code of extended errors (RFC 8914 2). */
const OPTION_EXTENDED_ERROR = 15;

/** Section counts stand at these offsets. */
export const ANSWER_COUNT_OFFSET = 6;
export const AUTHORITY_COUNT_OFFSET = 8;
export const ADDITIONAL_COUNT_OFFSET = 10;

export type SectionOffset =
  | typeof ANSWER_COUNT_OFFSET
  | typeof AUTHORITY_COUNT_OFFSET
  | typeof ADDITIONAL_COUNT_OFFSET;

const NO_BYTES = new Uint8Array(0);

/** Writer of one message at a time. Fills the target given to `begin`. */
export class MessageBuilder {
  #target: Uint8Array = NO_BYTES;
  #limit = 0;
  #position = 0;
  #questionKey = "";
  /** Places of names and their suffixes, those of the question once another name follows. */
  readonly #suffixes = new SuffixTable();
  readonly #isCaseExact: boolean;

  /** `isCaseExact`: compress only names spelled alike (RFC 5936 3.4, zone transfers). */
  constructor(isCaseExact = false) {
    this.#isCaseExact = isCaseExact;
  }

  /** Octets written so far. */
  get length(): number {
    return this.#position;
  }

  get limit(): number {
    return this.#limit;
  }

  /** Starts a message of at most `limit` octets in `target`; counts are zero. */
  begin(target: Uint8Array, limit: number, id: number, flags: number): void {
    this.#target = target;
    this.#limit = Math.min(limit, target.length);
    this.#questionKey = "";
    if (!this.#suffixes.isEmpty) this.#suffixes.clear();
    writeU16(target, 0, id);
    writeU16(target, 2, flags);
    writeU32(target, 4, 0);
    writeU32(target, 8, 0);
    this.#position = HEADER_LENGTH;
  }

  /** Writes the question; it must come first and always fits 512 octets. */
  question(name: Name, type: number, klass: number): void {
    this.#target.set(name.wire, HEADER_LENGTH);
    this.#questionKey = this.#keyOf(name);
    this.#position = HEADER_LENGTH + name.wire.length;
    this.#u16(type);
    this.#u16(klass);
    writeU16(this.#target, 4, 1);
  }

  /** Goes on behind sections that somebody else copied behind the header. */
  resumeAt(position: number): void {
    this.#position = position;
  }

  /** Goes on behind a question that the caller copied, its count included. */
  resumeAfterQuestion(name: Name, questionEnd: number): void {
    this.#questionKey = this.#keyOf(name);
    this.#position = questionEnd;
  }

  /** Raises the limit, for an OPT whose room was kept free. */
  extend(length: number): void {
    this.#limit = Math.min(this.#limit + length, this.#target.length);
  }

  /** Removes the additional section, which starts at `position`. */
  dropAdditional(position: number): void {
    this.rewind(position);
    writeU16(this.#target, ADDITIONAL_COUNT_OFFSET, 0);
  }

  /** Appends a record to a section; sections in wire order. False when it does not fit. */
  record(section: SectionOffset, record: ResourceRecord, ttlSecondsMax = 0x7fff_ffff): boolean {
    const start = this.#position;
    // Uncompressed length bounds the compressed one; near the limit it is tried all the same.
    if (start + record.owner.wire.length + 10 + record.data.length > this.#target.length) {
      return false;
    }
    this.#name(record.owner);
    const head = this.#position;
    this.#position = head + 10;
    writeU16(this.#target, head, record.type);
    writeU16(this.#target, head + 2, record.class);
    writeU32(this.#target, head + 4, Math.min(record.ttlSeconds, ttlSecondsMax));
    this.#data(record);
    writeU16(this.#target, head + 8, this.#position - head - 10);
    if (this.#position > this.#limit) {
      this.rewind(start);
      return false;
    }
    this.#add(section);
    return true;
  }

  /** Forgets everything from `position` on, suffixes included; counts are the caller's. */
  rewind(position: number): void {
    this.#position = position;
    this.#suffixes.rewind(position);
  }

  /** Empties all sections behind the question. */
  dropSections(questionEnd: number): void {
    this.rewind(questionEnd);
    writeU16(this.#target, ANSWER_COUNT_OFFSET, 0);
    writeU32(this.#target, AUTHORITY_COUNT_OFFSET, 0);
  }

  /** Sets the flags field. */
  flags(flags: number): void {
    writeU16(this.#target, 2, flags);
  }

  /**
   * Appends an OPT (RFC 6891 6.1.2). `rcodeUpper`: bits 4 to 11 of the response code. `options`:
   * whole options. False when it does not fit.
   */
  opt(rcodeUpper: number, isDnssecOk: boolean, options: Uint8Array = NO_BYTES): boolean {
    const at = this.#position;
    const end = at + OPT_LENGTH + options.length;
    if (end > this.#limit) return false;
    const target = this.#target;
    target[at] = 0;
    writeU16(target, at + 1, TYPE_OPT);
    writeU16(target, at + 3, EDNS_SIZE_BYTES);
    target[at + 5] = rcodeUpper;
    target[at + 6] = 0;
    writeU16(target, at + 7, isDnssecOk ? 0x8000 : 0);
    writeU16(target, at + 9, options.length);
    if (options.length > 0) target.set(options, at + OPT_LENGTH);
    this.#position = end;
    this.#add(ADDITIONAL_COUNT_OFFSET);
    return true;
  }

  #add(section: SectionOffset): void {
    const target = this.#target;
    const low = target[section + 1]! + 1;
    target[section + 1] = low;
    if (low > 255) target[section] = target[section]! + 1;
  }

  #u16(value: number): void {
    writeU16(this.#target, this.#position, value);
    this.#position += 2;
  }

  #keyOf(name: Name): string {
    return this.#isCaseExact ? name.spelling : name.key;
  }

  /** Writes a name, compressed. The caller has checked the room for its full length. */
  #name(name: Name): void {
    const key = this.#keyOf(name);
    if (key === this.#questionKey) this.#u16(POINTER_TO_QUESTION);
    else this.#compress(name, key);
  }

  #compress(name: Name, key: string): void {
    const { wire } = name;
    this.#ensureQuestionSuffixes();
    let at = 0;
    while (wire[at] !== 0) {
      const suffix = at === 0 ? key : key.slice(at);
      const place = this.#suffixes.get(suffix);
      if (place !== undefined) {
        this.#u16(0xc000 | place);
        return;
      }
      if (this.#position < POINTER_LIMIT) this.#suffixes.add(suffix, this.#position);
      const length = 1 + wire[at]!;
      for (let index = 0; index < length; index++) {
        this.#target[this.#position + index] = wire[at + index]!;
      }
      this.#position += length;
      at += length;
    }
    this.#target[this.#position++] = 0;
  }

  /** Enters the question name and its suffixes once another name has to be written. */
  #ensureQuestionSuffixes(): void {
    const key = this.#questionKey;
    if (!this.#suffixes.isEmpty || key === "") return;
    for (let at = 0; key.charCodeAt(at) !== 0; at += 1 + key.charCodeAt(at)) {
      this.#suffixes.add(key.slice(at), HEADER_LENGTH + at);
    }
  }

  #data(record: ResourceRecord): void {
    const { data, type } = record;
    if (!hasCompressibleNames(type)) {
      this.#target.set(data, this.#position);
      this.#position += data.length;
      return;
    }
    let at = 0;
    for (const field of rdataLayout(type)) {
      if (field === "cname") {
        const end = nameEndAt(data, at);
        this.#name(new Name(data.subarray(at, end)));
        at = end;
        continue;
      }
      const length = fixedFieldLength(field);
      this.#target.set(data.subarray(at, at + length), this.#position);
      this.#position += length;
      at += length;
    }
  }
}

/** End of the uncompressed, valid name at `start`. */
export function nameEndAt(bytes: Uint8Array, start: number): number {
  let at = start;
  while (bytes[at] !== 0) at += 1 + bytes[at]!;
  return at + 1;
}

/** An extended error as an EDNS option (RFC 8914 2); text in ASCII. */
export function extendedErrorOption(code: number, text: string): Uint8Array {
  const option = new Uint8Array(6 + text.length);
  writeU16(option, 0, OPTION_EXTENDED_ERROR);
  writeU16(option, 2, 2 + text.length);
  writeU16(option, 4, code);
  for (let index = 0; index < text.length; index++)
    option[6 + index] = text.charCodeAt(index) & 127;
  return option;
}
