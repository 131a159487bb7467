/**
 * Response rate limit for clients outside (spec/resolver.md 5.2): 20 equal responses a second to a
 * /24 or /56; of those beyond, every second one is sent truncated, so that a real client can come
 * back over TCP, and the others are dropped. Sources that 5.1 calls local are not limited.
 *
 * Equal are responses with the same question and code. Errors and denials count by code and parent
 * of the name, because floods of random names get a different name each time.
 *
 * The table has a fixed size; two keys of one place share it, the later one starts afresh.
 */

import type { IpAddress } from "../../base/ip.js";
import type { RandomSource } from "../../base/random.js";
import { readU16, writeU16, writeU32 } from "../../wire/bytes.js";
import { FLAG_RCODE_MASK, FLAG_TC, RCODE_NOERROR } from "../../wire/dns/numbers.js";

/** spec/resolver.md 5.2. */
export const EQUAL_RESPONSES_PER_SECOND = 20;
const IPV4_PREFIX_BYTES = 3;
const IPV6_PREFIX_BYTES = 7;

/** Places of the table, a power of two. */
const PLACES = 65_536;

const HEADER_LENGTH = 12;

/** Counts of what the limit did. */
export interface ResponseRateCounts {
  truncated: number;
  dropped: number;
}

/** The limit of one thread. Monotonic clock in milliseconds. */
export class ResponseRate {
  readonly counts: ResponseRateCounts = { truncated: 0, dropped: 0 };
  readonly #seed: number;
  readonly #keys = new Uint32Array(PLACES);
  readonly #tokens = new Float32Array(PLACES);
  readonly #filledAtMs = new Float64Array(PLACES);
  readonly #excess = new Uint8Array(PLACES);

  constructor(random: RandomSource) {
    this.#seed = random.word();
  }

  /**
   * How many octets of reply[0, length) to send to `client`: all, the question alone with TC set
   * (the reply is changed), or none.
   */
  admit(reply: Uint8Array, length: number, client: IpAddress, nowMs: number): number {
    const questionEnd = questionEndOf(reply, length);
    const key = this.#keyOf(reply, questionEnd, client);
    const place = key & (PLACES - 1);
    if (this.#take(place, key, nowMs)) return length;
    this.#excess[place] = this.#excess[place]! ^ 1;
    if (this.#excess[place] === 0) {
      this.counts.dropped++;
      return 0;
    }
    this.counts.truncated++;
    return truncate(reply, questionEnd);
  }

  #take(place: number, key: number, nowMs: number): boolean {
    if (this.#keys[place] !== key) {
      this.#keys[place] = key;
      this.#tokens[place] = EQUAL_RESPONSES_PER_SECOND;
      this.#filledAtMs[place] = nowMs;
      this.#excess[place] = 0;
    }
    const grown = ((nowMs - this.#filledAtMs[place]!) * EQUAL_RESPONSES_PER_SECOND) / 1000;
    const tokens = Math.min(EQUAL_RESPONSES_PER_SECOND, this.#tokens[place]! + grown);
    this.#filledAtMs[place] = nowMs;
    this.#tokens[place] = tokens < 1 ? tokens : tokens - 1;
    return tokens >= 1;
  }

  #keyOf(reply: Uint8Array, questionEnd: number, { version, bytes }: IpAddress): number {
    const prefixBytes = version === 4 ? IPV4_PREFIX_BYTES : IPV6_PREFIX_BYTES;
    let hash = this.#seed;
    for (let at = 0; at < prefixBytes; at++) hash = mix(hash, bytes[at]!);
    const rcode = readU16(reply, 2) & FLAG_RCODE_MASK;
    hash = mix(hash, rcode);
    const isAnswer = rcode === RCODE_NOERROR && readU16(reply, 6) > 0;
    const isNamed = questionEnd > HEADER_LENGTH;
    const start = isAnswer || !isNamed ? HEADER_LENGTH : HEADER_LENGTH + 1 + reply[HEADER_LENGTH]!;
    const end = isAnswer ? questionEnd : questionEnd - 4;
    for (let at = start; at < end; at++) hash = mix(hash, reply[at]! | 0x20);
    return hash >>> 0;
  }
}

function mix(hash: number, octet: number): number {
  const mixed = Math.imul(hash ^ octet, 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}

/** End of the question section; 12 without a question. */
function questionEndOf(reply: Uint8Array, length: number): number {
  if (readU16(reply, 4) === 0) return HEADER_LENGTH;
  let at = HEADER_LENGTH;
  while (at < length && reply[at] !== 0) at += 1 + reply[at]!;
  return Math.min(length, at + 5);
}

function truncate(reply: Uint8Array, questionEnd: number): number {
  writeU16(reply, 2, readU16(reply, 2) | FLAG_TC);
  writeU16(reply, 6, 0);
  writeU32(reply, 8, 0);
  return questionEnd;
}
