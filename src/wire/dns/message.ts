/**
 * A whole message as a value: replies of other servers, and whatever tests look at. RFC 1035 4.1,
 * RFC 6891 6.1.
 */

import { readU16 } from "../bytes.js";
import type { DnsFault } from "./fault.js";
import type { Name } from "./name.js";
import { FLAG_RCODE_MASK, TYPE_OPT } from "./numbers.js";
import type { PackedSections } from "./packed.js";
import { HEADER_LENGTH, QUESTION_LENGTH_MIN, RECORD_LENGTH_MIN, WireReader } from "./reader.js";
import type { ResourceRecord } from "./record.js";
import { areOptionsValid } from "./request.js";

export interface Question {
  readonly name: Name;
  readonly type: number;
  readonly class: number;
}

/** An OPT record, RFC 6891 6.1. */
export interface Edns {
  readonly udpSizeBytes: number;
  readonly version: number;
  readonly isDnssecOk: boolean;
  /** Options as they stood on the wire. */
  readonly options: Uint8Array;
}

/** Every field of a message; sections without the OPT. Borrows nothing. */
export interface DecodedMessage {
  readonly id: number;
  /** The 16-bit flags field. */
  readonly flags: number;
  /** With the upper bits of the OPT. */
  readonly rcode: number;
  readonly questions: readonly Question[];
  readonly answer: readonly ResourceRecord[];
  readonly authority: readonly ResourceRecord[];
  readonly additional: readonly ResourceRecord[];
  readonly edns: Edns | undefined;
}

export type Decoded =
  | { readonly ok: true; readonly message: DecodedMessage }
  | { readonly ok: false; readonly fault: DnsFault };

/** Reads bytes[0, length); any request or response. */
export function decodeMessage(bytes: Uint8Array, length: number = bytes.length): Decoded {
  if (length < HEADER_LENGTH) return { ok: false, fault: "message-too-short" };
  const questionCount = readU16(bytes, 4);
  const recordCount = readU16(bytes, 6) + readU16(bytes, 8) + readU16(bytes, 10);
  const need = QUESTION_LENGTH_MIN * questionCount + RECORD_LENGTH_MIN * recordCount;
  if (need > length - HEADER_LENGTH) return { ok: false, fault: "counts-exceed-length" };
  const reader = new WireReader(bytes, length);
  const questions = readQuestions(reader, questionCount);
  const answer = readSection(reader, readU16(bytes, 6));
  const authority = readSection(reader, readU16(bytes, 8));
  const { records: additional, opt } = readAdditional(reader, readU16(bytes, 10));
  if (reader.fault === undefined && reader.position !== length) reader.fail("trailing-octets");
  if (reader.fault !== undefined) return { ok: false, fault: reader.fault };
  const flags = readU16(bytes, 2);
  const edns = opt && ednsOf(opt);
  const upperRcode = opt === undefined ? 0 : (opt.ttlBits >>> 24) << 4;
  const rcode = (flags & FLAG_RCODE_MASK) | upperRcode;
  const id = readU16(bytes, 0);
  return {
    ok: true,
    message: { id, flags, rcode, questions, answer, authority, additional, edns },
  };
}

function readQuestions(reader: WireReader, count: number): Question[] {
  const questions: Question[] = [];
  while (questions.length < count && reader.fault === undefined) {
    const name = reader.name();
    const type = reader.u16();
    const question = { name, type, class: reader.u16() };
    if (reader.fault === undefined) questions.push(question);
  }
  return questions;
}

function readSection(reader: WireReader, count: number): ResourceRecord[] {
  const records: ResourceRecord[] = [];
  while (records.length < count && reader.fault === undefined) {
    const record = reader.record();
    if (record === undefined) break;
    if (record.type === TYPE_OPT) reader.fail("opt-misplaced");
    else records.push(record);
  }
  return records;
}

/** An OPT with its TTL as bits, which `ResourceRecord` would read as a time. */
interface RawOpt {
  readonly size: number;
  readonly ttlBits: number;
  readonly options: Uint8Array;
}

function readAdditional(reader: WireReader, count: number) {
  const records: ResourceRecord[] = [];
  let opt: RawOpt | undefined;
  for (let index = 0; index < count && reader.fault === undefined; index++) {
    const found = readOpt(reader);
    if (found !== undefined) {
      if (opt !== undefined) reader.fail("opt-repeated");
      opt = found;
      continue;
    }
    const record = reader.record();
    if (record?.type === TYPE_OPT) reader.fail("opt-misplaced");
    else if (record !== undefined) records.push(record);
  }
  return { records, opt };
}

/** Reads an OPT with the root as owner; undefined, without moving, when there is none. */
function readOpt(reader: WireReader): RawOpt | undefined {
  const { bytes, position, end } = reader;
  if (position + RECORD_LENGTH_MIN > end || bytes[position] !== 0) return undefined;
  if (readU16(bytes, position + 1) !== TYPE_OPT) return undefined;
  reader.position = position + 3;
  const size = reader.u16();
  const ttlBits = reader.u32();
  const start = position + RECORD_LENGTH_MIN;
  const optionsEnd = start + readU16(bytes, position + 9);
  if (optionsEnd > end) reader.fail("record-truncated");
  else if (!areOptionsValid(bytes, start, optionsEnd)) reader.fail("opt-data");
  else reader.position = optionsEnd;
  return { size, ttlBits, options: bytes.slice(start, Math.min(optionsEnd, end)) };
}

function ednsOf(opt: RawOpt): Edns {
  return {
    udpSizeBytes: opt.size,
    version: (opt.ttlBits >>> 16) & 0xff,
    isDnssecOk: (opt.ttlBits & 0x8000) !== 0,
    options: opt.options,
  };
}

/**
 * The sections of a valid message in wire form, without its OPT. Undefined when the OPT is not the
 * last record or the message has not one question; such a message is written from its records.
 */
export function packMessage(bytes: Uint8Array, length: number): PackedSections | undefined {
  if (readU16(bytes, 4) !== 1) return undefined;
  const reader = new WireReader(bytes, length);
  reader.skipName();
  reader.position += 4;
  const questionEnd = reader.position;
  const counts = [readU16(bytes, 6), readU16(bytes, 8), readU16(bytes, 10)] as const;
  const total = counts[0] + counts[1] + counts[2];
  const ttlOffsets: number[] = [];
  let ttlSecondsMin = 0x7fff_ffff;
  let bodyEnd = questionEnd;
  let optCount = 0;
  for (let index = 0; index < total; index++) {
    reader.skipName();
    const type = reader.u16();
    reader.position += 2;
    const ttlOffset = reader.position - questionEnd;
    const ttl = reader.u32();
    reader.position += 2 + readU16(bytes, reader.position);
    if (optCount > 0) return undefined;
    if (type === TYPE_OPT) {
      optCount++;
      continue;
    }
    ttlOffsets.push(ttlOffset);
    ttlSecondsMin = Math.min(ttlSecondsMin, ttl > 0x7fff_ffff ? 0 : ttl);
    bodyEnd = reader.position;
  }
  if (reader.fault !== undefined) return undefined;
  return {
    body: bytes.slice(questionEnd, bodyEnd),
    questionEnd,
    answerCount: counts[0],
    authorityCount: counts[1],
    additionalCount: counts[2] - optCount,
    ttlOffsets: Uint16Array.from(ttlOffsets),
    ttlSecondsMin,
  };
}

/** True when two questions ask the same, without regard to case. */
export function sameQuestion(a: Question, b: Question): boolean {
  return a.name.equals(b.name) && a.type === b.type && a.class === b.class;
}

/** The first question; undefined when there is not exactly one. */
export function onlyQuestion(message: DecodedMessage): Question | undefined {
  return message.questions.length === 1 ? message.questions[0] : undefined;
}
