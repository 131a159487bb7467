/**
 * Answers that were made once and serve every query of their second (spec/resolver.md 1.9, 1.13):
 * packed, so that sending one is a copy.
 */

import type { Name } from "../../../wire/dns/name.js";
import { RCODE_SERVFAIL } from "../../../wire/dns/numbers.js";
import type { ResourceRecord } from "../../../wire/dns/record.js";
import { type Answer, answerOf, failure } from "../../answer.js";
import { packRecords } from "../cache/pack.js";

/** Why no encoded address was obtained. */
export type MapFailure = "upstream" | "unavailable" | "refused" | "limited";

/** An answer for every query until `validUntilMs`. */
export interface ReadyAnswer {
  readonly answer: Answer;
  readonly validUntilMs: number;
}

/** An answer with encoded addresses; void when the mapper was lost since. */
export interface MappedAnswer extends ReadyAnswer {
  readonly kind: "answer";
  readonly generation: number;
}

export interface MapFailed {
  readonly kind: "failed";
  readonly cause: MapFailure;
  readonly detail: string;
}

/** Encoded addresses, or why there are none. */
export type MapResult = MappedAnswer | MapFailed;

/** Longest use of one answer; its TTLs do not count down meanwhile. */
export const READY_MS = 1000;

/** An answer to questions with this name and type; never stored by `cache`. */
export function readyAnswer(
  name: Name,
  type: number,
  answer: readonly ResourceRecord[],
  authority: readonly ResourceRecord[],
): Answer {
  const records = answerOf({ answer, authority, isStorable: false });
  const sections = packRecords(name, type, records);
  // Eight addresses behind eight CNAMEs of 255 octets fit a message; this is for safety only.
  if (sections === undefined) return failure(RCODE_SERVFAIL, "the answer exceeds a message");
  const { rcode, flags, ttlSecondsMax, extendedError, cause } = records;
  return {
    kind: "packed",
    rcode,
    flags,
    isStorable: false,
    ttlSecondsMax,
    extendedError,
    cause,
    sections,
    ageSeconds: 0,
  };
}
