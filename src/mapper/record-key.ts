/**
 * The 48 key bytes of a record (tables/address-table-layout.ts, from the local address on) in a
 * buffer that is filled again for each look-up. Owned by whoever constructs it.
 */

import type { IpAddress } from "../base/ip.js";
import { type Reference, readReference, writeReferenceInto } from "../base/reference.js";

export const KEY_LOCAL = 0;
export const KEY_CONTEXT = 16;
export const KEY_REFERENCE = 32;
export const KEY_BYTES = 48;

/** A reusable key. */
export class RecordKey {
  readonly bytes = new Uint8Array(KEY_BYTES);
  readonly view = new DataView(this.bytes.buffer);

  /** Sets all three fields; what is undefined becomes zero. */
  set(local: IpAddress | undefined, context: IpAddress | undefined, reference: Reference): this {
    this.bytes.fill(0);
    if (local !== undefined) this.bytes.set(local.bytes, KEY_LOCAL);
    if (context !== undefined) this.bytes.set(context.bytes, KEY_CONTEXT);
    if (reference !== 0n) writeReferenceInto(this.bytes, KEY_REFERENCE, reference);
    return this;
  }

  /** The reference field. */
  reference(): Reference {
    return readReference(this.bytes, KEY_REFERENCE);
  }
}
