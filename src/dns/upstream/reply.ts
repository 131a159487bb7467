/**
 * A reply that answers the question, read in one pass: every record is checked, nothing is decoded
 * that only travels on. Names, lengths and data must be valid (spec/resolver.md 4.3), and of the
 * answer section counts only what the question leads to (4.4).
 */

import { readU16, writeU16 } from "../../wire/bytes.js";
import { type DecodedMessage, decodeMessage } from "../../wire/dns/message.js";
import type { Name } from "../../wire/dns/name.js";
import {
  CLASS_IN,
  FLAG_RCODE_MASK,
  RCODE_SERVFAIL,
  TYPE_A,
  TYPE_AAAA,
  TYPE_OPT,
} from "../../wire/dns/numbers.js";
import type { PackedSections } from "../../wire/dns/packed.js";
import { HEADER_LENGTH, RECORD_LENGTH_MIN, WireReader } from "../../wire/dns/reader.js";
import { areOptionsValid } from "../../wire/dns/request.js";
import type { UpstreamReply } from "../ports.js";
import { reachableAnswers } from "./answer-chain.js";

const TTL_MAX = 0x7fff_ffff;
/** A pointer to the question's name, the usual owner of an answer. */
const POINTER_TO_QUESTION = 0xc000 | HEADER_LENGTH;

/** TTL places of the message being read; 65,535 octets hold at most 5,957 records. */
const offsetScratch = new Uint16Array(Math.ceil(65_535 / RECORD_LENGTH_MIN));

/** The question that a reply belongs to. */
interface Asked {
  readonly name: Name;
  readonly type: number;
}

/** A checked reply; decodes when somebody asks for its records. */
export class ReceivedReply implements UpstreamReply {
  readonly ok = true;
  /** Header flags of the reply. */
  readonly flags: number;
  readonly rcode: number;
  readonly hasOpt: boolean;
  readonly sections: PackedSections | undefined;
  readonly #asked: Asked;
  #bytes: Uint8Array | undefined;
  #message: DecodedMessage | undefined;

  /** `bytes`: the whole message; undefined when it can be made of `sections`. */
  constructor(
    asked: Asked,
    flags: number,
    rcode: number,
    hasOpt: boolean,
    sections: PackedSections | undefined,
    bytes: Uint8Array | undefined,
  ) {
    this.#asked = asked;
    this.flags = flags;
    this.rcode = rcode;
    this.hasOpt = hasOpt;
    this.sections = sections;
    this.#bytes = bytes;
  }

  get bytes(): Uint8Array {
    this.#bytes ??= messageOf(this.#asked, this.flags, this.sections!);
    return this.#bytes;
  }

  get message(): DecodedMessage {
    this.#message ??= this.#decode();
    return this.#message;
  }

  /** The same reply to a question that is spelled differently. */
  spelledAs(name: Name): ReceivedReply {
    const { flags, rcode, hasOpt, sections } = this;
    const bytes = this.bytes.slice();
    bytes.set(name.wire, HEADER_LENGTH);
    const asked = { name, type: this.#asked.type };
    return new ReceivedReply(asked, flags, rcode, hasOpt, sections, bytes);
  }

  #decode(): DecodedMessage {
    const decoded = decodeMessage(this.bytes);
    if (!decoded.ok) return emptyMessage(this.flags);
    const { message } = decoded;
    return { ...message, rcode: this.rcode, answer: reachableAnswers(message) };
  }
}

/** A decoder and a checker that disagree would be a bug; the answer is then SERVFAIL. */
function emptyMessage(flags: number): DecodedMessage {
  const empty = { questions: [], answer: [], authority: [], additional: [], edns: undefined };
  return { id: 0, flags, rcode: RCODE_SERVFAIL, ...empty };
}

/** The message around packed sections, without OPT. */
function messageOf(asked: Asked, flags: number, sections: PackedSections): Uint8Array {
  const { body, questionEnd, answerCount, authorityCount, additionalCount } = sections;
  const bytes = new Uint8Array(questionEnd + body.length);
  writeU16(bytes, 2, flags);
  writeU16(bytes, 4, 1);
  writeU16(bytes, 6, answerCount);
  writeU16(bytes, 8, authorityCount);
  writeU16(bytes, 10, additionalCount);
  bytes.set(asked.name.wire, HEADER_LENGTH);
  writeU16(bytes, questionEnd - 4, asked.type);
  writeU16(bytes, questionEnd - 2, CLASS_IN);
  bytes.set(body, questionEnd);
  return bytes;
}

/**
 * Reads bytes[0, length), a reply that repeats the question `asked`; borrows. Undefined when a
 * record does not decode.
 */
export function readReply(
  bytes: Uint8Array,
  length: number,
  asked: Asked,
): ReceivedReply | undefined {
  const questionEnd = HEADER_LENGTH + asked.name.wire.length + 4;
  const walk = new ReplyWalk(bytes, length, questionEnd);
  if (!walk.run()) return undefined;
  const { hasOpt } = walk;
  const flags = readU16(bytes, 2);
  const rcode = (flags & FLAG_RCODE_MASK) | walk.rcodeUpper;
  const sections = walk.sections();
  if (sections !== undefined && walk.isDirect) {
    return new ReceivedReply(asked, flags, rcode, hasOpt, sections, undefined);
  }
  const own = new Uint8Array(length);
  own.set(bytes.subarray(0, length));
  own.set(asked.name.wire, HEADER_LENGTH);
  const reply = new ReceivedReply(asked, flags, rcode, hasOpt, sections, own);
  if (reply.message.answer.length === walk.answerCount) return reply;
  return new ReceivedReply(asked, flags, rcode, hasOpt, undefined, own);
}

/** Places of a single TTL; most replies have one record, so these are shared. */
const SINGLE_OFFSETS: readonly Uint16Array[] = Array.from({ length: 64 }, (_, offset) =>
  Uint16Array.of(offset),
);

/** One pass over the records. */
class ReplyWalk {
  readonly #bytes: Uint8Array;
  readonly #length: number;
  readonly #questionEnd: number;
  readonly #reader: WireReader;
  readonly answerCount: number;
  readonly #authorityCount: number;
  readonly #additionalCount: number;
  /** Every answer belongs to the question's own name. */
  isDirect = true;
  hasOpt = false;
  rcodeUpper = 0;
  #ttlCount = 0;
  #ttlSecondsMin = TTL_MAX;
  #bodyEnd: number;
  /** The OPT was the last record, so that the body is one piece. */
  #isOptLast = true;

  constructor(bytes: Uint8Array, length: number, questionEnd: number) {
    this.#bytes = bytes;
    this.#length = length;
    this.#questionEnd = questionEnd;
    this.#bodyEnd = questionEnd;
    this.#reader = new WireReader(bytes, length, questionEnd);
    this.answerCount = readU16(bytes, 6);
    this.#authorityCount = readU16(bytes, 8);
    this.#additionalCount = readU16(bytes, 10);
  }

  run(): boolean {
    const reader = this.#reader;
    const additionalStart = this.answerCount + this.#authorityCount;
    const total = additionalStart + this.#additionalCount;
    if (RECORD_LENGTH_MIN * total > this.#length - this.#questionEnd) return false;
    for (let index = 0; index < total; index++) {
      if (index < this.answerCount) this.#checkOwner();
      if (index >= additionalStart && this.#passOpt()) continue;
      this.#passRecord();
      if (reader.fault !== undefined) return false;
    }
    return reader.fault === undefined && reader.position === this.#length;
  }

  /** Looks whether the record at the position is owned by the question's name. */
  #checkOwner(): void {
    const at = this.#reader.position;
    if (at + 2 > this.#length || readU16(this.#bytes, at) !== POINTER_TO_QUESTION) {
      this.isDirect = false;
    }
  }

  #passRecord(): void {
    const reader = this.#reader;
    const bytes = this.#bytes;
    const start = reader.position;
    if (start + 12 <= this.#length && readU16(bytes, start) === POINTER_TO_QUESTION) {
      reader.position = start + 2;
    } else {
      reader.skipName();
    }
    const at = reader.position;
    if (at + 10 > this.#length) {
      reader.fail("record-truncated");
      return;
    }
    const type = readU16(bytes, at);
    if (type === TYPE_OPT) reader.fail("opt-misplaced");
    else this.#passData(type, at);
  }

  /** `at`: place of the type field. */
  #passData(type: number, at: number): void {
    const reader = this.#reader;
    const bytes = this.#bytes;
    const ttl = readU16(bytes, at + 4) * 0x1_0000 + readU16(bytes, at + 6);
    const length = readU16(bytes, at + 8);
    reader.position = at + 10;
    if (type === TYPE_A && length === 4) this.#skip(4);
    else if (type === TYPE_AAAA && length === 16) this.#skip(16);
    else reader.skipRdata(type, length);
    if (this.hasOpt) this.#isOptLast = false;
    offsetScratch[this.#ttlCount++] = at + 4 - this.#questionEnd;
    this.#ttlSecondsMin = Math.min(this.#ttlSecondsMin, ttl > TTL_MAX ? 0 : ttl);
    this.#bodyEnd = reader.position;
  }

  #skip(length: number): void {
    const end = this.#reader.position + length;
    if (end > this.#length) this.#reader.fail("record-truncated");
    else this.#reader.position = end;
  }

  /** Passes over an OPT; false, without moving, when the record is another one. */
  #passOpt(): boolean {
    const bytes = this.#bytes;
    const at = this.#reader.position;
    if (at + RECORD_LENGTH_MIN > this.#length || bytes[at] !== 0) return false;
    if (readU16(bytes, at + 1) !== TYPE_OPT) return false;
    const start = at + RECORD_LENGTH_MIN;
    const end = start + readU16(bytes, at + 9);
    if (this.hasOpt) this.#reader.fail("opt-repeated");
    else if (end > this.#length) this.#reader.fail("record-truncated");
    else if (!areOptionsValid(bytes, start, end)) this.#reader.fail("opt-data");
    else this.#reader.position = end;
    this.hasOpt = true;
    this.rcodeUpper = bytes[at + 5]! << 4;
    return true;
  }

  /** Undefined when an OPT stands between other records. */
  sections(): PackedSections | undefined {
    if (!this.#isOptLast) return undefined;
    const { answerCount } = this;
    return {
      body: this.#bytes.slice(this.#questionEnd, this.#bodyEnd),
      questionEnd: this.#questionEnd,
      answerCount,
      authorityCount: this.#authorityCount,
      additionalCount: this.#additionalCount - (this.hasOpt ? 1 : 0),
      ttlOffsets: this.#ttlOffsets(),
      ttlSecondsMin: this.#ttlSecondsMin,
    };
  }

  #ttlOffsets(): Uint16Array {
    const count = this.#ttlCount;
    const single = count === 1 ? SINGLE_OFFSETS[offsetScratch[0]!] : undefined;
    return single ?? offsetScratch.slice(0, count);
  }
}
