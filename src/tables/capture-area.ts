/**
 * Order of a capture: what forwarding workers are to capture, in shared memory. The generation in
 * the control block (control-block.ts) says whether there is a capture, and which one.
 *
 * Layout, little-endian words: w0 octets of each packet to keep, w1 length of the filter's text,
 * then the text (ASCII) from octet 16. Single writer: the main thread, and only while the
 * generation is 0. A worker that sees a new generation copies the order and looks at the
 * generation once more: unchanged, the copy is whole.
 */

import { assert } from "../base/assert.js";

/** Longest text of a filter. */
export const CAPTURE_FILTER_BYTES_MAX = 1024;

const WORD_SNAPLEN = 0;
const WORD_FILTER_LENGTH = 1;
const OFFSET_FILTER = 16;

export const CAPTURE_AREA_BYTES = OFFSET_FILTER + CAPTURE_FILTER_BYTES_MAX;

/** What is to be captured. */
export interface CaptureOrder {
  /** Octets of each packet that are kept. */
  readonly snaplen: number;
  /** Text of the filter (capture/filter.ts), ASCII. */
  readonly filter: string;
}

/** A view of the order; `baseOffset` is a multiple of 4. */
export class CaptureArea {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;

  constructor(memory: ArrayBufferLike, baseOffset: number) {
    this.#words = new Int32Array(memory, baseOffset, CAPTURE_AREA_BYTES / 4);
    this.#bytes = new Uint8Array(memory, baseOffset, CAPTURE_AREA_BYTES);
  }

  /** Main thread, while no capture runs. */
  write({ snaplen, filter }: CaptureOrder): void {
    assert(filter.length <= CAPTURE_FILTER_BYTES_MAX, "the filter fits the shared memory");
    for (let index = 0; index < filter.length; index++) {
      this.#bytes[OFFSET_FILTER + index] = filter.charCodeAt(index);
    }
    Atomics.store(this.#words, WORD_SNAPLEN, snaplen);
    Atomics.store(this.#words, WORD_FILTER_LENGTH, filter.length);
  }

  /** Any thread. Whole only if the generation is the same before and after. */
  read(): CaptureOrder {
    const snaplen = Atomics.load(this.#words, WORD_SNAPLEN);
    const length = Atomics.load(this.#words, WORD_FILTER_LENGTH);
    const count = Math.min(Math.max(length, 0), CAPTURE_FILTER_BYTES_MAX);
    let filter = "";
    for (let index = 0; index < count; index++) {
      filter += String.fromCharCode(this.#bytes[OFFSET_FILTER + index]!);
    }
    return { snaplen, filter };
  }
}
