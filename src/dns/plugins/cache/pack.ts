/**
 * Answers between their two forms: records, as handlers make and look at them, and packed sections,
 * as caches keep and send them (RFC 1035 4.1).
 */

import { writeU16 } from "../../../wire/bytes.js";
import {
  ADDITIONAL_COUNT_OFFSET,
  ANSWER_COUNT_OFFSET,
  AUTHORITY_COUNT_OFFSET,
  MessageBuilder,
  type SectionOffset,
} from "../../../wire/dns/builder.js";
import { type DecodedMessage, decodeMessage, packMessage } from "../../../wire/dns/message.js";
import type { Name } from "../../../wire/dns/name.js";
import { CLASS_IN, MESSAGE_MAX_BYTES } from "../../../wire/dns/numbers.js";
import type { PackedSections } from "../../../wire/dns/packed.js";
import type { ResourceRecord } from "../../../wire/dns/record.js";
import type { RecordsAnswer } from "../../answer.js";

const HEADER_BYTES = 12;

const scratch = new Uint8Array(MESSAGE_MAX_BYTES + 1);
const builder = new MessageBuilder();

/** Sections of an answer for questions with this name; undefined when they exceed a message. */
export function packRecords(
  name: Name,
  type: number,
  answer: Pick<RecordsAnswer, "answer" | "authority" | "additional">,
): PackedSections | undefined {
  builder.begin(scratch, MESSAGE_MAX_BYTES, 0, 0);
  builder.question(name, type, CLASS_IN);
  const fits =
    writeAll(ANSWER_COUNT_OFFSET, answer.answer) &&
    writeAll(AUTHORITY_COUNT_OFFSET, answer.authority) &&
    writeAll(ADDITIONAL_COUNT_OFFSET, answer.additional);
  return fits ? packMessage(scratch, builder.length) : undefined;
}

function writeAll(section: SectionOffset, records: readonly ResourceRecord[]): boolean {
  return records.every((record) => builder.record(section, record));
}

/** The packed sections as a message; undefined when they do not decode. */
export function unpackSections(
  name: Name,
  type: number,
  sections: PackedSections,
): DecodedMessage | undefined {
  const length = sections.questionEnd + sections.body.length;
  if (HEADER_BYTES + name.wire.length + 4 !== sections.questionEnd) return undefined;
  const bytes = new Uint8Array(length);
  writeU16(bytes, 4, 1);
  writeU16(bytes, 6, sections.answerCount);
  writeU16(bytes, 8, sections.authorityCount);
  writeU16(bytes, 10, sections.additionalCount);
  bytes.set(name.wire, HEADER_BYTES);
  writeU16(bytes, sections.questionEnd - 4, type);
  writeU16(bytes, sections.questionEnd - 2, CLASS_IN);
  bytes.set(sections.body, sections.questionEnd);
  const decoded = decodeMessage(bytes, length);
  return decoded.ok ? decoded.message : undefined;
}
