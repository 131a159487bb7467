/**
 * Writes the reply to a query (spec/resolver.md 1.9, 5.2): id, question octet for octet, RD and CD
 * of the request, RA of the block, the sections, an OPT exactly when the request had one.
 *
 * What does not fit: additional records that are not needed are left out; otherwise TC with empty
 * sections.
 */

import { assert } from "../../base/assert.js";
import { writeU16 } from "../../wire/bytes.js";
import {
  ADDITIONAL_COUNT_OFFSET,
  ANSWER_COUNT_OFFSET,
  AUTHORITY_COUNT_OFFSET,
  extendedErrorOption,
  MessageBuilder,
  OPT_LENGTH,
  type SectionOffset,
} from "../../wire/dns/builder.js";
import {
  FLAG_CD,
  FLAG_QR,
  FLAG_RCODE_MASK,
  FLAG_RD,
  FLAG_TC,
  RCODE_BADVERS,
  RCODE_SERVFAIL,
} from "../../wire/dns/numbers.js";
import { packedInto } from "../../wire/dns/packed.js";
import { HEADER_LENGTH } from "../../wire/dns/reader.js";
import type { ResourceRecord } from "../../wire/dns/record.js";
import { forEachOption } from "../../wire/dns/request.js";
import type { Answer, PackedAnswer, RecordsAnswer } from "../answer.js";
import { TIMEOUT_DEFAULTS } from "../plugins/timeouts/setup.js";
import type { Query } from "../query.js";

/** Opcode, RD and CD of the request come back (RFC 1035 4.1.1, RFC 4035 3.2.2). */
const FLAGS_COPIED = 0x7800 | FLAG_RD | FLAG_CD;

/** EDNS option code of TCP keepalive (RFC 7828 3.1). */
const OPTION_KEEPALIVE = 11;

const NO_BYTES = new Uint8Array(0);

/** Writer of replies; one for a thread. */
export class Finisher {
  readonly #builder = new MessageBuilder();
  /** Time that an idle connection stays open, told to clients that ask (RFC 7828). */
  tcpIdleMs = TIMEOUT_DEFAULTS.idleMs;

  /**
   * Fills the reply to `query` into `target`, at most `sizeMax` octets, and returns its length; 0
   * for a silent answer. `target` has room for 65,535 octets over TCP, for `sizeMax` + 1,024 over
   * UDP. A stream answer is not for this function.
   */
  finishInto(
    target: Uint8Array,
    query: Query,
    answer: Answer,
    replyFlags: number,
    sizeMax: number,
  ): number {
    if (answer.kind === "silent") return 0;
    const flags = replyFlagsOf(query, answer, replyFlags);
    const options = query.hasEdns ? optionsOf(query, answer, this.tcpIdleMs) : NO_BYTES;
    const optLength = query.hasEdns ? OPT_LENGTH + options.length : 0;
    this.#builder.begin(target, sizeMax - optLength, query.id, flags);
    this.#copyQuestion(target, query);
    const fits =
      answer.kind === "packed"
        ? this.#packed(target, query, answer, sizeMax - optLength)
        : answer.kind !== "records" || this.#records(answer, query.questionEnd);
    if (!fits) {
      this.#builder.dropSections(query.questionEnd);
      writeU16(target, 2, flags | FLAG_TC);
    }
    if (!query.hasEdns) return this.#builder.length;
    this.#builder.extend(optLength);
    this.#builder.opt(answer.rcode >> 4, query.isDnssecOk, options);
    return this.#builder.length;
  }

  /** The question as it was received, octet for octet. */
  #copyQuestion(target: Uint8Array, query: Query): void {
    const { bytes, questionEnd } = query;
    if (bytes !== target) {
      for (let at = HEADER_LENGTH; at < questionEnd; at++) target[at] = bytes[at]!;
    }
    writeU16(target, 4, 1);
    this.#builder.resumeAfterQuestion(query.name, questionEnd);
  }

  #packed(target: Uint8Array, query: Query, answer: PackedAnswer, limit: number): boolean {
    const { sections, ageSeconds, ttlSecondsMax } = answer;
    assert(sections.questionEnd === query.questionEnd, "packed sections fit their question only");
    if (query.questionEnd + sections.body.length > limit) return false;
    this.#builder.resumeAt(packedInto(target, sections, ageSeconds, ttlSecondsMax));
    return true;
  }

  #records(answer: RecordsAnswer, questionEnd: number): boolean {
    const ttlMax = answer.ttlSecondsMax;
    if (!this.#section(ANSWER_COUNT_OFFSET, answer.answer, ttlMax)) return false;
    if (!this.#section(AUTHORITY_COUNT_OFFSET, answer.authority, ttlMax)) return false;
    const end = this.#builder.length;
    if (this.#section(ADDITIONAL_COUNT_OFFSET, answer.additional, ttlMax)) return true;
    if (answer.isAdditionalNeeded || end < questionEnd) return false;
    this.#builder.dropAdditional(end);
    return true;
  }

  #section(
    section: SectionOffset,
    records: readonly ResourceRecord[],
    ttlSecondsMax: number,
  ): boolean {
    for (let index = 0; index < records.length; index++) {
      if (!this.#builder.record(section, records[index]!, ttlSecondsMax)) return false;
    }
    return true;
  }
}

/** Codes above 15 need an OPT; without one the client hears SERVFAIL (RFC 6891 6.1.3). */
function replyFlagsOf(query: Query, answer: Answer, replyFlags: number): number {
  const isExpressible = answer.rcode < 16 || query.hasEdns;
  const rcode = isExpressible ? answer.rcode & FLAG_RCODE_MASK : RCODE_SERVFAIL;
  return FLAG_QR | (query.flags & FLAGS_COPIED) | replyFlags | answer.flags | rcode;
}

/** Extended error, and over TCP the keepalive option if the client sent one. */
function optionsOf(query: Query, answer: Answer, tcpIdleMs: number): Uint8Array {
  const { extendedError } = answer;
  const first = extendedError
    ? extendedErrorOption(extendedError.code, extendedError.text)
    : NO_BYTES;
  if (query.transport !== "tcp" || !hasKeepalive(query)) return first;
  // The length 2 and the time in units of 100 ms (RFC 7828 3.1).
  const second = Uint8Array.of(0, OPTION_KEEPALIVE, 0, 2, 0, 0);
  writeU16(second, 4, Math.min(65_535, Math.floor(tcpIdleMs / 100)));
  return Uint8Array.of(...first, ...second);
}

function hasKeepalive({ bytes, optionsStart, optionsEnd }: Query): boolean {
  let isFound = false;
  forEachOption(bytes, optionsStart, optionsEnd, (code) => {
    if (code === OPTION_KEEPALIVE) isFound = true;
  });
  return isFound;
}

/**
 * Fills a reply without question: a header with the request's id and opcode (spec/resolver.md 1.2).
 */
export function headerOnlyInto(target: Uint8Array, id: number, flags: number, rcode: number) {
  target.fill(0, 0, HEADER_LENGTH);
  writeU16(target, 0, id);
  writeU16(target, 2, FLAG_QR | (flags & (0x7800 | FLAG_RD)) | rcode);
  return HEADER_LENGTH;
}

/** Fills BADVERS: header and an OPT of version 0, nothing else (spec/resolver.md 1.2). */
export function badVersionInto(target: Uint8Array, query: Query): number {
  const builder = new MessageBuilder();
  const flags = FLAG_QR | (query.flags & FLAGS_COPIED);
  builder.begin(target, HEADER_LENGTH + OPT_LENGTH, query.id, flags);
  builder.opt(RCODE_BADVERS >> 4, query.isDnssecOk);
  return builder.length;
}
