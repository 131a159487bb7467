/**
 * A reply that answers the question, read in one pass: every record is checked, nothing is decoded
 * that only travels on. Names, lengths and data must be valid (spec/resolver.md 4.3), and of the
 * answer section counts only what the question leads to (4.4).
 */

import { readU16 } from "../../wire/bytes.js";
import { type DecodedMessage, decodeMessage } from "../../wire/dns/message.js";
import type { Name } from "../../wire/dns/name.js";
import { FLAG_RCODE_MASK, TYPE_A, TYPE_AAAA, TYPE_OPT } from "../../wire/dns/numbers.js";
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

/** A checked reply; decodes when somebody asks for its records. */
export class ReceivedReply implements UpstreamReply {
  readonly ok = true;
  readonly bytes: Uint8Array;
  readonly sections: PackedSections | undefined;
  readonly rcode: number;
  readonly hasOpt: boolean;
  #message: DecodedMessage | undefined;

  constructor(
    bytes: Uint8Array,
    sections: PackedSections | undefined,
    rcode: number,
    hasOpt: boolean,
  ) {
    this.bytes = bytes;
    this.sections = sections;
    this.rcode = rcode;
    this.hasOpt = hasOpt;
  }

  get message(): DecodedMessage {
    this.#message ??= reachable(decodeValid(this.bytes));
    return this.#message;
  }

  /** The same reply to a question that is spelled differently. */
  spelledAs(name: Name): ReceivedReply {
    const bytes = this.bytes.slice();
    bytes.set(name.wire, HEADER_LENGTH);
    return new ReceivedReply(bytes, this.sections, this.rcode, this.hasOpt);
  }
}

/** A decoder and a checker that disagree would be a bug; the answer is then an empty message. */
function decodeValid(bytes: Uint8Array): DecodedMessage {
  const decoded = decodeMessage(bytes);
  if (decoded.ok) return decoded.message;
  const empty = { questions: [], answer: [], authority: [], additional: [], edns: undefined };
  return { id: 0, flags: readU16(bytes, 2), rcode: 2, ...empty };
}

function reachable(message: DecodedMessage): DecodedMessage {
  const answer = reachableAnswers(message);
  return answer.length === message.answer.length ? message : { ...message, answer };
}

/**
 * Reads a reply whose question section ends at `questionEnd` and is spelled as it shall be. Takes
 * `bytes`. Undefined when a record does not decode.
 */
export function readReply(bytes: Uint8Array, questionEnd: number): ReceivedReply | undefined {
  const walk = new ReplyWalk(bytes, questionEnd);
  if (!walk.run()) return undefined;
  const rcode = (readU16(bytes, 2) & FLAG_RCODE_MASK) | walk.rcodeUpper;
  const reply = new ReceivedReply(bytes, walk.sections(), rcode, walk.hasOpt);
  if (walk.isDirect || reply.message.answer.length === walk.answerCount) return reply;
  return new ReceivedReply(bytes, undefined, rcode, walk.hasOpt);
}

/** One pass over the records. */
class ReplyWalk {
  readonly #bytes: Uint8Array;
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

  constructor(bytes: Uint8Array, questionEnd: number) {
    this.#bytes = bytes;
    this.#questionEnd = questionEnd;
    this.#bodyEnd = questionEnd;
    this.#reader = new WireReader(bytes, bytes.length, questionEnd);
    this.answerCount = readU16(bytes, 6);
    this.#authorityCount = readU16(bytes, 8);
    this.#additionalCount = readU16(bytes, 10);
  }

  run(): boolean {
    const reader = this.#reader;
    const additionalStart = this.answerCount + this.#authorityCount;
    const total = additionalStart + this.#additionalCount;
    if (RECORD_LENGTH_MIN * total > this.#bytes.length - this.#questionEnd) return false;
    for (let index = 0; index < total; index++) {
      if (index < this.answerCount) this.#checkOwner();
      if (index >= additionalStart && this.#passOpt()) continue;
      this.#passRecord();
      if (reader.fault !== undefined) return false;
    }
    return reader.fault === undefined && reader.position === this.#bytes.length;
  }

  /** Looks whether the record at the position is owned by the question's name. */
  #checkOwner(): void {
    const at = this.#reader.position;
    if (at + 2 > this.#bytes.length || readU16(this.#bytes, at) !== POINTER_TO_QUESTION) {
      this.isDirect = false;
    }
  }

  #passRecord(): void {
    const reader = this.#reader;
    const bytes = this.#bytes;
    const start = reader.position;
    if (start + 12 <= bytes.length && readU16(bytes, start) === POINTER_TO_QUESTION) {
      reader.position = start + 2;
    } else {
      reader.skipName();
    }
    const at = reader.position;
    if (at + 10 > bytes.length) {
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
    if (end > this.#bytes.length) this.#reader.fail("record-truncated");
    else this.#reader.position = end;
  }

  /** Passes over an OPT; false, without moving, when the record is another one. */
  #passOpt(): boolean {
    const bytes = this.#bytes;
    const at = this.#reader.position;
    if (at + RECORD_LENGTH_MIN > bytes.length || bytes[at] !== 0) return false;
    if (readU16(bytes, at + 1) !== TYPE_OPT) return false;
    const start = at + RECORD_LENGTH_MIN;
    const end = start + readU16(bytes, at + 9);
    if (this.hasOpt) this.#reader.fail("opt-repeated");
    else if (end > bytes.length) this.#reader.fail("record-truncated");
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
    const ttlOffsets = new Uint16Array(this.#ttlCount);
    for (let index = 0; index < ttlOffsets.length; index++) {
      ttlOffsets[index] = offsetScratch[index]!;
    }
    return {
      body: this.#bytes.subarray(this.#questionEnd, this.#bodyEnd),
      questionEnd: this.#questionEnd,
      answerCount,
      authorityCount: this.#authorityCount,
      additionalCount: this.#additionalCount - (this.hasOpt ? 1 : 0),
      ttlOffsets,
      ttlSecondsMin: this.#ttlSecondsMin,
    };
  }
}
