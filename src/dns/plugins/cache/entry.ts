/**
 * What is kept of an answer and for how long (RFC 2308, spec/resolver.md 2.6 `cache`): success by
 * the smallest TTL, NXDOMAIN and NODATA by the SOA in the authority section, SERVFAIL and NOTIMP
 * briefly (RFC 9520). Monotonic clock.
 */

import { readU32 } from "../../../wire/bytes.js";
import type { Name } from "../../../wire/dns/name.js";
import {
  FLAG_AA,
  FLAG_TC,
  RCODE_NOERROR,
  RCODE_NOTIMP,
  RCODE_NXDOMAIN,
  RCODE_SERVFAIL,
  TYPE_NS,
  TYPE_SOA,
} from "../../../wire/dns/numbers.js";
import type { PackedSections } from "../../../wire/dns/packed.js";
import type { ResourceRecord } from "../../../wire/dns/record.js";
import type { Answer, PackedAnswer } from "../../answer.js";
import { packRecords, unpackSections } from "./pack.js";
import type { CacheSettings } from "./settings.js";

export type EntryKind = "success" | "denial" | "failure";

/** One stored answer. */
export class CacheEntry {
  readonly kind: EntryKind;
  readonly sections: PackedSections;
  readonly ttlSeconds: number;
  readonly storedAtMs: number;
  /** Hits in a row, none more than the prefetch duration after the one before. */
  hitCount = 0;
  lastHitMs: number;
  isRefreshing = false;
  readonly #template: Answer;
  readonly #isTtlKept: boolean;
  #answer: PackedAnswer | undefined;

  constructor(
    kind: EntryKind,
    template: Answer,
    sections: PackedSections,
    ttlSeconds: number,
    nowMs: number,
    isTtlKept: boolean,
  ) {
    this.kind = kind;
    this.#template = template;
    this.sections = sections;
    this.ttlSeconds = ttlSeconds;
    this.storedAtMs = nowMs;
    this.lastHitMs = nowMs;
    this.#isTtlKept = isTtlKept;
  }

  get expiresAtMs(): number {
    return this.storedAtMs + 1000 * this.ttlSeconds;
  }

  /** About how many octets the entry holds. */
  get sizeBytes(): number {
    return this.sections.body.length + 2 * this.sections.ttlOffsets.length + 300;
  }

  /** The answer as of now. One object serves all queries of one second. */
  answerAt(nowMs: number): PackedAnswer {
    const elapsed = Math.floor((nowMs - this.storedAtMs) / 1000);
    const ageSeconds = this.#isTtlKept ? 0 : Math.max(0, elapsed);
    if (this.#answer?.ageSeconds !== ageSeconds) this.#answer = this.#make(ageSeconds);
    return this.#answer!;
  }

  #make(ageSeconds: number): PackedAnswer {
    const { rcode, flags, extendedError, cause } = this.#template;
    return {
      kind: "packed",
      rcode,
      flags: flags & ~FLAG_AA,
      isStorable: false,
      ttlSecondsMax: Math.max(0, this.ttlSeconds - ageSeconds),
      extendedError,
      cause,
      sections: this.sections,
      ageSeconds,
    };
  }
}

/** An entry for an answer; undefined when it must not be kept. */
export function entryFor(
  settings: CacheSettings,
  name: Name,
  type: number,
  answer: Answer,
  nowMs: number,
): CacheEntry | undefined {
  if (answer.kind === "silent" || answer.kind === "stream") return undefined;
  if (!answer.isStorable || (answer.flags & FLAG_TC) !== 0) return undefined;
  const sections = answer.kind === "packed" ? answer.sections : packRecords(name, type, answer);
  if (sections === undefined) return undefined;
  const age = answer.kind === "packed" ? answer.ageSeconds : 0;
  const found = lifetime(settings, name, type, answer, sections);
  if (found === undefined) return undefined;
  const ttlSeconds = Math.min(found.ttlSeconds - age, answer.ttlSecondsMax);
  if (ttlSeconds <= 0) return undefined;
  return new CacheEntry(
    found.kind,
    answer,
    sections,
    ttlSeconds,
    nowMs,
    settings.isTtlKept && found.kind !== "failure",
  );
}

interface Lifetime {
  readonly kind: EntryKind;
  readonly ttlSeconds: number;
}

interface Lifetime {
  readonly kind: EntryKind;
  readonly ttlSeconds: number;
}

function lifetime(
  settings: CacheSettings,
  name: Name,
  type: number,
  answer: Answer,
  sections: PackedSections,
): Lifetime | undefined {
  if (answer.rcode === RCODE_SERVFAIL || answer.rcode === RCODE_NOTIMP) {
    return { kind: "failure", ttlSeconds: settings.failureSeconds };
  }
  const isNoError = answer.rcode === RCODE_NOERROR;
  if (!isNoError && answer.rcode !== RCODE_NXDOMAIN) return undefined;
  const least = sections.ttlSecondsMin;
  if (isNoError && sections.answerCount > 0 && sections.authorityCount === 0) {
    return succeeded(settings, least);
  }
  const records = answer.kind === "records" ? answer : unpackSections(name, type, sections);
  if (records === undefined) return undefined;
  const soa = records.authority.find((record) => record.type === TYPE_SOA);
  const isEmpty = records.answer.at(-1)?.type !== type;
  // A chain of CNAMEs without a record at its end is a denial as well (RFC 2308 2.2).
  if (soa !== undefined && (isEmpty || !isNoError)) {
    return denied(settings, Math.min(negativeTtl(soa), least));
  }
  if (isNoError && sections.answerCount > 0) return succeeded(settings, least);
  // A referral; anything else without an SOA cannot be kept (RFC 2308 5).
  const isReferral = records.authority.some((record) => record.type === TYPE_NS);
  return isNoError && isReferral ? succeeded(settings, least) : undefined;
}

function succeeded(settings: CacheSettings, ttlSeconds: number): Lifetime {
  const { ttlMaxSeconds, ttlMinSeconds } = settings.success;
  return { kind: "success", ttlSeconds: clamp(ttlSeconds, ttlMinSeconds, ttlMaxSeconds) };
}

function denied(settings: CacheSettings, ttlSeconds: number): Lifetime {
  const { ttlMaxSeconds, ttlMinSeconds } = settings.denial;
  return { kind: "denial", ttlSeconds: clamp(ttlSeconds, ttlMinSeconds, ttlMaxSeconds) };
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, value));
}

/** RFC 2308 5: the smaller of the SOA's TTL and its minimum field. */
export function negativeTtl(soa: ResourceRecord): number {
  return Math.min(soa.ttlSeconds, readU32(soa.data, soa.data.length - 4));
}
