/**
 * Questions to other servers (spec/resolver.md 4.3, 4.4): header, one question in random case
 * (0x20), OPT of our own. Client options do not cross.
 */

import type { RandomSource } from "../../base/random.js";
import { writeU16, writeU32 } from "../../wire/bytes.js";
import type { Name } from "../../wire/dns/name.js";
import {
  CLASS_IN,
  EDNS_SIZE_BYTES,
  FLAG_AD,
  FLAG_CD,
  FLAG_RD,
  TYPE_OPT,
} from "../../wire/dns/numbers.js";
import { HEADER_LENGTH } from "../../wire/dns/reader.js";
import type { UpstreamQuestion } from "../ports.js";

/** DO in the low half of the OPT's TTL (RFC 6891 6.1.4). */
const EDNS_DO = 0x8000;
/** Bit 5 tells lower from upper case in ASCII. */
const CASE_BIT = 0x20;

/** RD, CD and AD of the client (spec/resolver.md 4.3). */
export function questionFlags(question: UpstreamQuestion): number {
  const { isRecursionDesired, isCheckingDisabled, isAuthenticDataWanted } = question;
  return (
    (isRecursionDesired ? FLAG_RD : 0) |
    (isCheckingDisabled ? FLAG_CD : 0) |
    (isAuthenticDataWanted === true ? FLAG_AD : 0)
  );
}

/** How one attempt asks. */
export interface QuestionForm {
  readonly id: number;
  readonly flags: number;
  /** Source of the random case; undefined leaves the spelling. */
  readonly caseRandom: RandomSource | undefined;
  readonly hasEdns: boolean;
}

/** Writes the whole message and returns its length, at most `QUESTION_MESSAGE_MAX_BYTES`. */
export function questionInto(
  target: Uint8Array,
  question: Pick<UpstreamQuestion, "name" | "type" | "isDnssecOk">,
  form: QuestionForm,
): number {
  writeU16(target, 0, form.id);
  writeU16(target, 2, form.flags);
  writeU32(target, 4, 0x0001_0000);
  writeU32(target, 8, form.hasEdns ? 1 : 0);
  target.set(question.name.wire, HEADER_LENGTH);
  const nameEnd = HEADER_LENGTH + question.name.wire.length;
  if (form.caseRandom !== undefined) mixCase(target, nameEnd, form.caseRandom);
  writeU16(target, nameEnd, question.type);
  writeU16(target, nameEnd + 2, CLASS_IN);
  return form.hasEdns ? optInto(target, nameEnd + 4, question.isDnssecOk) : nameEnd + 4;
}

function optInto(target: Uint8Array, at: number, isDnssecOk: boolean): number {
  target[at] = 0;
  writeU16(target, at + 1, TYPE_OPT);
  writeU16(target, at + 3, EDNS_SIZE_BYTES);
  writeU16(target, at + 5, 0);
  writeU16(target, at + 7, isDnssecOk ? EDNS_DO : 0);
  writeU16(target, at + 9, 0);
  return at + 11;
}

/** Flips each letter of the name at offset 12 with probability one half; lengths stay. */
function mixCase(bytes: Uint8Array, nameEnd: number, random: RandomSource): void {
  let bits = 0;
  let bitCount = 0;
  let labelEnd = HEADER_LENGTH;
  for (let at = HEADER_LENGTH; at < nameEnd; at++) {
    const octet = bytes[at]!;
    if (at === labelEnd) {
      labelEnd = at + 1 + octet;
      continue;
    }
    if (!isLetter(octet)) continue;
    if (bitCount === 0) {
      bits = random.word();
      bitCount = 32;
    }
    if ((bits & 1) !== 0) bytes[at] = octet ^ CASE_BIT;
    bits >>>= 1;
    bitCount--;
  }
}

/** True for ASCII letters. */
export function isLetter(octet: number): boolean {
  const lower = octet | CASE_BIT;
  return lower >= 0x61 && lower <= 0x7a;
}

/** A name to be asked once, such as a loop probe. */
export function questionOf(name: Name, type: number, budgetMs: number): UpstreamQuestion {
  return {
    name,
    type,
    isRecursionDesired: true,
    isCheckingDisabled: false,
    isDnssecOk: false,
    budgetMs,
  };
}
