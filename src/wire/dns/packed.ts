/**
 * Sections of a message in wire form, kept to be sent again (caches, relays). They start right
 * behind the question, so compression pointers stay valid exactly for questions whose name has the
 * same length; names equal but for case do. Age is applied by patching the TTL fields in place.
 */

import { readU32, writeU16, writeU32 } from "../bytes.js";

/** Takes `body`; nobody changes it afterwards. */
export interface PackedSections {
  /** Answer, authority and additional records without OPT, as they stood behind the question. */
  readonly body: Uint8Array;
  /** End of the question in the message the body comes from: 12 + name + 4. */
  readonly questionEnd: number;
  readonly answerCount: number;
  readonly authorityCount: number;
  readonly additionalCount: number;
  /** Places of the TTL fields, relative to `body`. */
  readonly ttlOffsets: Uint16Array;
  /** Smallest TTL of all records; 2^31 - 1 without records. */
  readonly ttlSecondsMin: number;
}

/**
 * Fills header counts and body behind a question that ends at `packed.questionEnd`; TTLs are
 * lowered by `ageSeconds` (not below 0) and cut to `ttlSecondsMax`. Returns the end offset; the
 * caller has checked that it fits.
 */
export function packedInto(
  target: Uint8Array,
  packed: PackedSections,
  ageSeconds: number,
  ttlSecondsMax: number,
): number {
  const { body, questionEnd, ttlOffsets } = packed;
  target.set(body, questionEnd);
  writeU16(target, 6, packed.answerCount);
  writeU16(target, 8, packed.authorityCount);
  writeU16(target, 10, packed.additionalCount);
  for (let index = 0; index < ttlOffsets.length; index++) {
    const at = questionEnd + ttlOffsets[index]!;
    const ttl = Math.max(0, readU32(target, at) - ageSeconds);
    writeU32(target, at, Math.min(ttl, ttlSecondsMax));
  }
  return questionEnd + body.length;
}
