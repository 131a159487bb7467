/**
 * A request as it arrived (RFC 1035 4.1, RFC 6891 6.1): the checks of spec/resolver.md 1.2 and a
 * view of what later steps ask for. A view is used again for the next request; nothing is copied
 * until somebody asks for the name, so a request answered from memory costs no garbage.
 *
 *   0-1 id   2-3 flags   4-5 QDCOUNT   6-7 ANCOUNT   8-9 NSCOUNT   10-11 ARCOUNT   12 question
 */

import { readU16 } from "../bytes.js";
import type { DnsFault } from "./fault.js";
import { LABEL_MAX_BYTES, NAME_MAX_BYTES, Name, nameKeyAt } from "./name.js";
import {
  FLAG_OPCODE_SHIFT,
  FLAG_QR,
  OPCODE_NOTIFY,
  OPCODE_QUERY,
  TYPE_OPT,
  UDP_SIZE_MIN_BYTES,
} from "./numbers.js";
import { HEADER_LENGTH, QUESTION_LENGTH_MIN, RECORD_LENGTH_MIN, WireReader } from "./reader.js";
import type { ResourceRecord } from "./record.js";

/** spec/resolver.md 1.2: IXFR needs one SOA in authority, NOTIFY one in answer, OPT and TSIG. */
const ANSWERS_MAX = 1;
const AUTHORITIES_MAX = 1;
const ADDITIONALS_MAX = 2;

/** DO, the top bit of the low half of the OPT's TTL (RFC 6891 6.1.4). */
const EDNS_DO = 0x8000;

const NO_BYTES = new Uint8Array(0);
const NO_RECORDS: readonly ResourceRecord[] = [];

/** One request. Borrows the receive buffer until `retain`. */
export class RequestView {
  bytes: Uint8Array = NO_BYTES;
  /** Octets of the message. */
  length = 0;
  id = 0;
  /** The 16-bit flags field as received. */
  flags = 0;
  /** End of the question name; the question ends four octets later. */
  nameEnd = 0;
  type = 0;
  class = 0;
  hasEdns = false;
  ednsVersion = 0;
  /** Client's UDP payload size, at least 512 (RFC 6891 6.2.3); 512 without EDNS. */
  ednsSizeBytes = UDP_SIZE_MIN_BYTES;
  isDnssecOk = false;
  /** EDNS options, a range of `bytes`. */
  optionsStart = 0;
  optionsEnd = 0;
  /** SOA of an IXFR or NOTIFY request; usually empty. */
  answers: readonly ResourceRecord[] = NO_RECORDS;
  authorities: readonly ResourceRecord[] = NO_RECORDS;
  #name: Name | undefined;

  get opcode(): number {
    return (this.flags >>> FLAG_OPCODE_SHIFT) & 15;
  }

  /** End of the question section. */
  get questionEnd(): number {
    return this.nameEnd + 4;
  }

  /** The question name, spelled as the client did. Made on first use. */
  get name(): Name {
    this.#name ??= new Name(
      this.bytes.slice(HEADER_LENGTH, this.nameEnd),
      nameKeyAt(this.bytes, HEADER_LENGTH, this.nameEnd),
    );
    return this.#name;
  }

  /** Copies the message, so that the receive buffer may be used again. */
  retain(): void {
    this.bytes = this.bytes.slice(0, this.length);
  }

  /**
   * Reads bytes[0, length). On a fault `id` and `flags` are valid when the message has a header;
   * the question is valid when `nameEnd` is not 0.
   */
  read(bytes: Uint8Array, length: number): DnsFault | undefined {
    this.#clear(bytes, length);
    if (length < HEADER_LENGTH) return "message-too-short";
    this.id = readU16(bytes, 0);
    this.flags = readU16(bytes, 2);
    if ((this.flags & FLAG_QR) !== 0) return "message-is-response";
    const opcode = this.opcode;
    if (opcode !== OPCODE_QUERY && opcode !== OPCODE_NOTIFY) return "opcode-unknown";
    const answers = readU16(bytes, 6);
    const authorities = readU16(bytes, 8);
    const additionals = readU16(bytes, 10);
    if (readU16(bytes, 4) !== 1) return "question-count";
    if (answers > ANSWERS_MAX || authorities > AUTHORITIES_MAX || additionals > ADDITIONALS_MAX) {
      return "record-count";
    }
    const records = answers + authorities + additionals;
    if (QUESTION_LENGTH_MIN + RECORD_LENGTH_MIN * records > length - HEADER_LENGTH) {
      return "counts-exceed-length";
    }
    return this.#readQuestion() ?? this.#readRecords(answers, authorities, additionals);
  }

  #clear(bytes: Uint8Array, length: number): void {
    this.bytes = bytes;
    this.length = length;
    this.id = 0;
    this.flags = 0;
    this.nameEnd = 0;
    this.type = 0;
    this.class = 0;
    this.hasEdns = false;
    this.ednsVersion = 0;
    this.ednsSizeBytes = UDP_SIZE_MIN_BYTES;
    this.isDnssecOk = false;
    this.optionsStart = 0;
    this.optionsEnd = 0;
    this.answers = NO_RECORDS;
    this.authorities = NO_RECORDS;
    this.#name = undefined;
  }

  /** The first name of a message has nothing to point back to, so no pointer is legal in it. */
  #readQuestion(): DnsFault | undefined {
    const { bytes, length } = this;
    let at = HEADER_LENGTH;
    for (;;) {
      if (at >= length) return "name-truncated";
      const octet = bytes[at]!;
      if (octet > LABEL_MAX_BYTES) return this.#labelFault(at, octet);
      at += 1 + octet;
      if (at - HEADER_LENGTH > NAME_MAX_BYTES) return "name-too-long";
      if (octet === 0) break;
    }
    if (at + 4 > length) return "question-truncated";
    this.nameEnd = at;
    this.type = readU16(bytes, at);
    this.class = readU16(bytes, at + 2);
    return undefined;
  }

  #labelFault(at: number, octet: number): DnsFault {
    if (octet < 0xc0) return "name-label-type";
    if (at + 2 > this.length) return "name-truncated";
    const pointer = ((octet & 0x3f) << 8) | this.bytes[at + 1]!;
    return pointer < HEADER_LENGTH ? "name-pointer-header" : "name-pointer-forward";
  }

  #readRecords(answers: number, authorities: number, additionals: number): DnsFault | undefined {
    if (answers + authorities + additionals === 0) {
      return this.questionEnd === this.length ? undefined : "trailing-octets";
    }
    const reader = new WireReader(this.bytes, this.length, this.questionEnd);
    this.answers = this.#section(reader, answers);
    this.authorities = this.#section(reader, authorities);
    for (let count = 0; count < additionals && reader.fault === undefined; count++) {
      if (!this.#readOpt(reader)) this.#section(reader, 1);
    }
    if (reader.fault === undefined && reader.position !== this.length)
      reader.fail("trailing-octets");
    return reader.fault;
  }

  #section(reader: WireReader, count: number): readonly ResourceRecord[] {
    if (count === 0) return NO_RECORDS;
    const records: ResourceRecord[] = [];
    while (records.length < count) {
      const record = reader.record();
      if (record === undefined) return NO_RECORDS;
      if (record.type === TYPE_OPT) reader.fail("opt-misplaced");
      records.push(record);
    }
    return records;
  }

  /** Reads an OPT at the position; false when the record there is another one. */
  #readOpt(reader: WireReader): boolean {
    const { bytes } = this;
    const start = reader.position;
    if (bytes[start] !== 0 || start + RECORD_LENGTH_MIN > this.length) return false;
    if (readU16(bytes, start + 1) !== TYPE_OPT) return false;
    if (this.hasEdns) {
      reader.fail("opt-repeated");
      return true;
    }
    this.hasEdns = true;
    this.ednsSizeBytes = Math.max(UDP_SIZE_MIN_BYTES, readU16(bytes, start + 3));
    this.ednsVersion = bytes[start + 6]!;
    this.isDnssecOk = (readU16(bytes, start + 7) & EDNS_DO) !== 0;
    this.optionsStart = start + RECORD_LENGTH_MIN;
    this.optionsEnd = this.optionsStart + readU16(bytes, start + 9);
    if (this.optionsEnd > this.length) reader.fail("record-truncated");
    else if (!areOptionsValid(bytes, this.optionsStart, this.optionsEnd)) reader.fail("opt-data");
    else reader.position = this.optionsEnd;
    return true;
  }
}

/** RFC 6891 6.1.2: code, length, data, repeated to the end. */
export function areOptionsValid(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (at + 4 <= end) at += 4 + readU16(bytes, at + 2);
  return at === end;
}

/** Calls `visit` with code and data of each EDNS option; the range must be valid. */
export function forEachOption(
  bytes: Uint8Array,
  start: number,
  end: number,
  visit: (code: number, data: Uint8Array) => void,
): void {
  for (let at = start; at < end; ) {
    const dataEnd = at + 4 + readU16(bytes, at + 2);
    visit(readU16(bytes, at), bytes.subarray(at + 4, dataEnd));
    at = dataEnd;
  }
}
