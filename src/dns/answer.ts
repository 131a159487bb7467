/**
 * What a chain returns for a query. An answer says what is known; id, question, RD, CD, RA, the OPT
 * and truncation are added when it is written (server/finish.ts), so that one answer serves many
 * clients.
 */

import { assert } from "../base/assert.js";
import { type DecodedMessage, decodeMessage } from "../wire/dns/message.js";
import {
  FLAG_AA,
  RCODE_NOERROR,
  RCODE_NXDOMAIN,
  RCODE_REFUSED,
  RCODE_SERVFAIL,
} from "../wire/dns/numbers.js";
import { type PackedSections, packedInto } from "../wire/dns/packed.js";
import type { ResourceRecord } from "../wire/dns/record.js";
import type { Query } from "./query.js";

/** RFC 8914; `code` 0 to 65,535. */
export interface ExtendedError {
  readonly code: number;
  readonly text: string;
}

interface AnswerBase {
  /** Response code, above 15 only with EDNS. */
  readonly rcode: number;
  /** AA, TC (a relayed truncated reply) and AD as they stand in the header. */
  readonly flags: number;
  /** False for whatever a cache must not keep: `ipref` results, failures passed on. */
  readonly isStorable: boolean;
  /** TTLs are cut to this when the answer is written (spec/resolver.md 1.10). */
  readonly ttlSecondsMax: number;
  readonly extendedError: ExtendedError | undefined;
  /** What went wrong, for `errors`; undefined when nothing did. */
  readonly cause: string | undefined;
}

/** Sections as records. */
export interface RecordsAnswer extends AnswerBase {
  readonly kind: "records";
  readonly answer: readonly ResourceRecord[];
  readonly authority: readonly ResourceRecord[];
  readonly additional: readonly ResourceRecord[];
  /** Additional records are needed, as glue is (RFC 9471): TC when they do not fit. */
  readonly isAdditionalNeeded: boolean;
}

/**
 * Sections in wire form behind a question with a name of the same length and key: written by
 * copying and by patching TTLs. Caches and relays use it.
 */
export interface PackedAnswer extends AnswerBase {
  readonly kind: "packed";
  readonly sections: PackedSections;
  /** Seconds since the TTLs in `sections` were right. */
  readonly ageSeconds: number;
}

/** Several messages over TCP, pulled as the connection drains: a zone transfer. */
export interface StreamAnswer extends AnswerBase {
  readonly kind: "stream";
  /** Fills the next whole message for `query`'s id and returns its length; 0 at the end. */
  nextInto(target: Uint8Array): number;
  /** Called once when the stream ended or the connection closed first. */
  close(): void;
}

/** No reply at all (`acl` drop). */
export interface SilentAnswer extends AnswerBase {
  readonly kind: "silent";
}

export type Answer = RecordsAnswer | PackedAnswer | StreamAnswer | SilentAnswer;

/** An answer now or later; handlers that know it return it directly, without a promise. */
export type Reply = Answer | Promise<Answer>;

const NO_RECORDS: readonly ResourceRecord[] = [];
const TTL_UNLIMITED = 0x7fff_ffff;

/** Fields of a records answer that differ from an empty NOERROR. */
export type AnswerParts = Partial<Omit<RecordsAnswer, "kind">>;

/** A records answer; whatever is not given is empty, NOERROR, storable. */
export function answerOf(parts: AnswerParts): RecordsAnswer {
  return {
    kind: "records",
    rcode: parts.rcode ?? RCODE_NOERROR,
    flags: parts.flags ?? 0,
    isStorable: parts.isStorable ?? true,
    ttlSecondsMax: parts.ttlSecondsMax ?? TTL_UNLIMITED,
    extendedError: parts.extendedError,
    cause: parts.cause,
    answer: parts.answer ?? NO_RECORDS,
    authority: parts.authority ?? NO_RECORDS,
    additional: parts.additional ?? NO_RECORDS,
    isAdditionalNeeded: parts.isAdditionalNeeded ?? false,
  };
}

/** An answer without records. */
export function failure(
  rcode: number,
  cause?: string,
  extendedError?: ExtendedError,
): RecordsAnswer {
  return answerOf({ rcode, isStorable: rcode === RCODE_SERVFAIL, cause, extendedError });
}

export const REFUSED: Answer = failure(RCODE_REFUSED);
/** The chain ran out without an answer (spec/resolver.md 1.2). */
export const NO_HANDLER: Answer = failure(RCODE_SERVFAIL, "no plugin answered");

export const SILENT: Answer = {
  kind: "silent",
  rcode: RCODE_NOERROR,
  flags: 0,
  isStorable: false,
  ttlSecondsMax: TTL_UNLIMITED,
  extendedError: undefined,
  cause: undefined,
};

/** NODATA or NXDOMAIN with its SOA (RFC 2308); authoritative unless said otherwise. */
export function negative(soa: ResourceRecord, isNameKnown: boolean, flags = FLAG_AA): Answer {
  const rcode = isNameKnown ? RCODE_NOERROR : RCODE_NXDOMAIN;
  return answerOf({ rcode, flags, authority: [soa] });
}

/** The same answer as records; `query` asked for it, so its question fits the sections. */
export function unpackAnswer(packed: PackedAnswer, query: Query): RecordsAnswer {
  const { sections, ageSeconds, ttlSecondsMax } = packed;
  const bytes = new Uint8Array(query.questionEnd + sections.body.length);
  bytes.set(query.bytes.subarray(0, query.questionEnd));
  const end = packedInto(bytes, sections, ageSeconds, ttlSecondsMax);
  const decoded = decodeMessage(bytes, end);
  assert(decoded.ok, "packed sections are valid behind their question");
  const { answer, authority, additional } = decoded.message;
  const { kind: _, sections: __, ageSeconds: ___, ...base } = packed;
  return { ...base, kind: "records", answer, authority, additional, isAdditionalNeeded: false };
}

/** A reply received from another server as an answer; sections without its OPT. */
export function answerOfMessage(message: DecodedMessage, flags: number): RecordsAnswer {
  return answerOf({
    rcode: message.rcode,
    flags,
    answer: message.answer,
    authority: message.authority,
    additional: message.additional,
  });
}
