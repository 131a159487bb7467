/**
 * Reads a DNS message octet by octet. A reader never leaves its bounds and never throws: the first
 * fault sticks, later reads return zeros, and the caller asks `fault` once at the end.
 *
 * Rules (spec/resolver.md 7.4): compression pointers go strictly backwards and never into the
 * header, names have at most 255 octets, data lengths are honoured exactly.
 */

import type { DnsFault } from "./fault.js";
import { LABEL_MAX_BYTES, NAME_MAX_BYTES, Name } from "./name.js";
import { fixedFieldLength, hasNames, type RdataField, rdataLayout } from "./rdata-layout.js";
import type { ResourceRecord } from "./record.js";

/** RFC 1035 4.1.1. */
export const HEADER_LENGTH = 12;

/** Shortest record: root owner, type, class, TTL, data length. */
export const RECORD_LENGTH_MIN = 11;
/** Shortest question: root name, type, class. */
export const QUESTION_LENGTH_MIN = 5;

const POINTER_BITS = 0xc0;
/** RFC 2181 8: a TTL with the top bit set counts as zero. */
const TTL_MAX = 0x7fff_ffff;

/** Expanded names and data are assembled here and copied out before the next call. */
const scratch = new Uint8Array(66_560);

/** A position in a message. Borrows the bytes. */
export class WireReader {
  readonly bytes: Uint8Array;
  /** End of the message; `position` never passes it. */
  readonly end: number;
  position: number;
  fault: DnsFault | undefined;

  constructor(bytes: Uint8Array, end: number, position: number = HEADER_LENGTH) {
    this.bytes = bytes;
    this.end = end;
    this.position = position;
  }

  /** Records the first fault and moves to the end, so that nothing more is read. */
  fail(fault: DnsFault): void {
    this.fault ??= fault;
    this.position = this.end;
  }

  u8(): number {
    if (this.position + 1 > this.end) {
      this.fail("record-truncated");
      return 0;
    }
    return this.bytes[this.position++]!;
  }

  u16(): number {
    const at = this.position;
    if (at + 2 > this.end) {
      this.fail("record-truncated");
      return 0;
    }
    this.position = at + 2;
    return (this.bytes[at]! << 8) | this.bytes[at + 1]!;
  }

  u32(): number {
    const high = this.u16();
    return high * 0x1_0000 + this.u16();
  }

  /** Reads a name, following pointers. The root after a fault. */
  name(): Name {
    const length = this.#expandNameInto(0, this.end);
    return length <= 1 ? Name.ROOT : new Name(scratch.slice(0, length));
  }

  /** Passes over a name with all its checks. */
  skipName(): void {
    this.#expandNameInto(0, this.end);
  }

  /** Reads one record; undefined after a fault. */
  record(): ResourceRecord | undefined {
    const owner = this.name();
    const type = this.u16();
    const klass = this.u16();
    const ttl = this.u32();
    const length = this.u16();
    const data = this.rdata(type, length);
    if (this.fault !== undefined || data === undefined) return undefined;
    return { owner, type, class: klass, ttlSeconds: ttl > TTL_MAX ? 0 : ttl, data };
  }

  /** Reads `length` octets of data of a type; names in it come out complete. */
  rdata(type: number, length: number): Uint8Array | undefined {
    const dataEnd = this.position + length;
    if (dataEnd > this.end) this.fail("record-truncated");
    if (this.fault !== undefined) return undefined;
    const start = this.position;
    const expanded = this.#fields(rdataLayout(type), dataEnd);
    if (this.fault === undefined && this.position !== dataEnd) this.fail("record-data");
    if (this.fault !== undefined) return undefined;
    return hasNames(type) ? scratch.slice(0, expanded) : this.bytes.slice(start, dataEnd);
  }

  /** Passes over `length` octets of data of a type with all its checks. */
  skipRdata(type: number, length: number): void {
    const dataEnd = this.position + length;
    if (dataEnd > this.end) this.fail("record-truncated");
    if (this.fault !== undefined) return;
    this.#fields(rdataLayout(type), dataEnd);
    if (this.fault === undefined && this.position !== dataEnd) this.fail("record-data");
  }

  /** Expands all fields into the scratch; returns the length. Faults with "record-data". */
  #fields(layout: readonly RdataField[], dataEnd: number): number {
    let length = 0;
    for (const field of layout) {
      if (this.fault !== undefined) return 0;
      if (field === "cname" || field === "name") length += this.#expandNameInto(length, dataEnd);
      else length += this.#copyFieldInto(length, field, dataEnd);
    }
    return length;
  }

  #copyFieldInto(target: number, field: RdataField, dataEnd: number): number {
    const start = this.position;
    const length = this.#fieldLength(field, dataEnd);
    if (length < 0 || start + length > dataEnd) {
      this.fail("record-data");
      return 0;
    }
    for (let index = 0; index < length; index++)
      scratch[target + index] = this.bytes[start + index]!;
    this.position = start + length;
    return length;
  }

  /** Length of a field that is no name; -1 when the strings do not end at the data's end. */
  #fieldLength(field: RdataField, dataEnd: number): number {
    const start = this.position;
    if (field === "rest") return dataEnd - start;
    if (field === "string") return start < dataEnd ? 1 + this.bytes[start]! : -1;
    if (field !== "strings") return fixedFieldLength(field);
    let at = start;
    while (at < dataEnd) at += 1 + this.bytes[at]!;
    return at === dataEnd && at > start ? at - start : -1;
  }

  /**
   * Copies the name at the position to scratch[target] without compression and moves behind it.
   * `limit` bounds the part that is not reached by a pointer. Returns the length; 0 at a fault.
   */
  #expandNameInto(target: number, limit: number): number {
    const bytes = this.bytes;
    let at = this.position;
    let segmentStart = at;
    let segmentLimit = limit;
    let after = -1;
    let length = 0;
    for (;;) {
      if (at >= segmentLimit) return this.#nameFault("name-truncated");
      const octet = bytes[at]!;
      if (octet > LABEL_MAX_BYTES) {
        if (octet < POINTER_BITS) return this.#nameFault("name-label-type");
        if (at + 2 > segmentLimit) return this.#nameFault("name-truncated");
        const pointer = ((octet & 0x3f) << 8) | bytes[at + 1]!;
        if (pointer < HEADER_LENGTH) return this.#nameFault("name-pointer-header");
        if (pointer >= segmentStart) return this.#nameFault("name-pointer-forward");
        if (after < 0) after = at + 2;
        at = pointer;
        segmentLimit = segmentStart;
        segmentStart = pointer;
        continue;
      }
      if (at + 1 + octet > segmentLimit) return this.#nameFault("name-truncated");
      if (length + 1 + octet > NAME_MAX_BYTES) return this.#nameFault("name-too-long");
      for (let index = 0; index <= octet; index++)
        scratch[target + length + index] = bytes[at + index]!;
      length += 1 + octet;
      at += 1 + octet;
      if (octet === 0) break;
    }
    this.position = after < 0 ? at : after;
    return length;
  }

  #nameFault(fault: DnsFault): number {
    this.fail(fault);
    return 0;
  }
}
