/**
 * Mapper seconds: whole seconds since a stored time base, at least 1, never running backwards
 * across restarts (spec/mapper.md 3.1). The shell anchors them once to the wall clock and counts on
 * with a monotonic clock.
 *
 * Stored in the shelf `meta`: 0 format version, 1 version of local addresses, 2 version of the
 * tunnel, 3 zero, 4..11 time base in milliseconds since 1970 (IEEE double), 12..15 last seconds.
 */

import type { IpVersion } from "../base/ip.js";
import { META_KEY, STORE_FORMAT_VERSION, type StoredState } from "./store.js";

const META_BYTES = 16;

/** Where the clock of this run begins. */
export interface TimeBase {
  readonly baseMs: number;
  /** Mapper seconds at the moment given to `startTimeBase`. */
  readonly startSeconds: number;
}

/** The time base of a store, or a new one: "start time minus one second" (spec/mapper.md 3.1). */
export function startTimeBase(state: StoredState, wallMs: number): TimeBase {
  for (const { key, value } of state.entries("meta")) {
    if (key !== META_KEY || value.length !== META_BYTES) continue;
    if (value[0] !== STORE_FORMAT_VERSION) continue;
    const view = new DataView(value.buffer, value.byteOffset, value.length);
    const baseMs = view.getFloat64(4);
    const seconds = Math.floor((wallMs - baseMs) / 1000);
    return { baseMs, startSeconds: Math.max(1, seconds, view.getUint32(12)) };
  }
  return { baseMs: wallMs - 1000, startSeconds: 1 };
}

/** The value of the shelf `meta`. */
export function metaBytes(
  baseMs: number,
  nowSeconds: number,
  localVersion: IpVersion,
  tunnelVersion: IpVersion,
): Uint8Array {
  const bytes = new Uint8Array(META_BYTES);
  const view = new DataView(bytes.buffer);
  bytes[0] = STORE_FORMAT_VERSION;
  bytes[1] = localVersion;
  bytes[2] = tunnelVersion;
  view.setFloat64(4, baseMs);
  view.setUint32(12, nowSeconds);
  return bytes;
}

/** Why a store cannot be used by this gateway; undefined when it can. */
export function storeMismatch(
  state: StoredState,
  localVersion: IpVersion,
  tunnelVersion: IpVersion,
): string | undefined {
  for (const { key, value } of state.entries("meta")) {
    if (key !== META_KEY) continue;
    if (value[0] !== STORE_FORMAT_VERSION) return `format ${value[0]} instead of 1`;
    if (value[1] !== localVersion || value[2] !== tunnelVersion) {
      return `mappings of IPv${value[1]} over IPv${value[2]}`;
    }
  }
  return undefined;
}
