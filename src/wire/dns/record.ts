/**
 * Resource records as values (RFC 1035 3.2.1). Data is held in uncompressed wire form: names inside
 * it are complete, so two records are equal exactly when their octets are.
 */

import type { Name } from "./name.js";
import { CLASS_IN } from "./numbers.js";

/** One record. Immutable; nobody changes `data`. */
export interface ResourceRecord {
  readonly owner: Name;
  readonly type: number;
  readonly class: number;
  /** Seconds, 0 to 2^31 - 1 (RFC 2181 8). */
  readonly ttlSeconds: number;
  /** RDATA without compression. */
  readonly data: Uint8Array;
}

/** A record of class IN. */
export function recordOf(
  owner: Name,
  type: number,
  ttlSeconds: number,
  data: Uint8Array,
): ResourceRecord {
  return { owner, type, class: CLASS_IN, ttlSeconds, data };
}

/** The same octets. */
export function sameData(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}
