/**
 * Is this datagram the reply to that question? spec/resolver.md 4.4: response, same id, opcode
 * QUERY, one question with the same octets. Whatever fails is ignored and counted.
 */

import { readU16 } from "../../wire/bytes.js";
import {
  FLAG_OPCODE_SHIFT,
  FLAG_QR,
  FLAG_RCODE_MASK,
  RCODE_FORMERR,
} from "../../wire/dns/numbers.js";
import { HEADER_LENGTH } from "../../wire/dns/reader.js";
import { isLetter } from "./question.js";

/** Why a message is not the reply. */
export type Mismatch = "short" | "id" | "not-response" | "opcode" | "question" | "case";

/**
 * `reply`: the question is repeated exactly. `bare`: FORMERR without question, which servers that
 * do not know EDNS send (RFC 6891 7).
 */
export type Judgement = "reply" | "bare" | Mismatch;

/** Compares bytes[0, length) with the question `sent`, whose question section ends there. */
export function judgeReply(
  bytes: Uint8Array,
  length: number,
  sent: Uint8Array,
  questionEnd: number,
): Judgement {
  if (length < HEADER_LENGTH) return "short";
  if (bytes[0] !== sent[0] || bytes[1] !== sent[1]) return "id";
  const flags = readU16(bytes, 2);
  if ((flags & FLAG_QR) === 0) return "not-response";
  if (((flags >>> FLAG_OPCODE_SHIFT) & 15) !== 0) return "opcode";
  const questionCount = readU16(bytes, 4);
  if (questionCount === 0 && (flags & FLAG_RCODE_MASK) === RCODE_FORMERR) return "bare";
  if (questionCount !== 1 || length < questionEnd) return "question";
  return compareQuestions(bytes, sent, questionEnd);
}

function compareQuestions(bytes: Uint8Array, sent: Uint8Array, questionEnd: number): Judgement {
  let isCaseEqual = true;
  for (let at = HEADER_LENGTH; at < questionEnd; at++) {
    const octet = bytes[at]!;
    const wanted = sent[at]!;
    if (octet === wanted) continue;
    // Lengths of labels are below 64, so a letter of either case is always a letter of the name.
    if ((octet ^ wanted) !== 0x20 || !isLetter(wanted) || at >= questionEnd - 4) return "question";
    isCaseEqual = false;
  }
  return isCaseEqual ? "reply" : "case";
}
