/**
 * Samples of what passes, for a look at the busiest conversations, in shared memory. Nothing is
 * sampled unless somebody looks: then the main thread counts up the round in the control block some
 * hundred times a second, and each forwarding worker answers a new round once, with packets spread
 * over its next batch. Sampled batches are as large as batches are, so shares of octets come out
 * right; the totals beside them turn shares into rates.
 *
 *   block of one worker, 64 + SAMPLES_MAX x SAMPLE_BYTES octets, words little-endian
 *     w0 round that the samples answer   w1 samples   16 packets so far, 24 octets so far (doubles)
 *   sample
 *     w0 octets, w1 packets that it stands for   w2 octets of the header   w3 octets of the address
 *     16 address of the remote gateway (4 or 16)   32 start of the tunnel packet
 *
 * Writers: each worker its block. It publishes w0 last; the main thread reads a block whose w0 is
 * the present round and only then goes on to the next one, so that it never reads what is being
 * written.
 */

import { assert } from "../base/assert.js";

/** Samples of one batch. */
export const SAMPLES_MAX = 32;
/** The longest tunnel header (76, spec/tunnel.md 2.1), and the ports behind it. */
export const SAMPLE_HEADER_BYTES_MAX = 80;
const SAMPLE_HEADER = 32;
export const SAMPLE_BYTES = SAMPLE_HEADER + SAMPLE_HEADER_BYTES_MAX;
const BLOCK_HEAD_BYTES = 64;
const BLOCK_BYTES =
  Math.ceil((BLOCK_HEAD_BYTES + SAMPLES_MAX * SAMPLE_BYTES) / BLOCK_HEAD_BYTES) * BLOCK_HEAD_BYTES;

/** Octets of the blocks of `writers` threads. */
export function flowSamplesBytes(writers: number): number {
  return writers * BLOCK_BYTES;
}

/** One worker's block. */
export class FlowSampleBlock {
  protected readonly bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #totals: Float64Array;
  #count = 0;

  constructor(memory: ArrayBufferLike, baseOffset: number, writer: number) {
    assert(baseOffset % 8 === 0, "flow samples are aligned to 8 octets");
    const offset = baseOffset + writer * BLOCK_BYTES;
    this.bytes = new Uint8Array(memory, offset, BLOCK_BYTES);
    this.#words = new Int32Array(memory, offset, BLOCK_BYTES / 4);
    this.#totals = new Float64Array(memory, offset + 16, 2);
  }

  /** Worker: counts a batch, sampled or not. */
  count(packets: number, octets: number): void {
    this.#totals[0]! += packets;
    this.#totals[1]! += octets;
  }

  /** Worker: begins the samples of a round. */
  begin(): void {
    this.#count = 0;
  }

  /**
   * Worker: adds a sample that stands for `packets` and `octets`; `source` holds the start of the
   * tunnel packet at `header`, `length` octets, and the gateway's address at `address`.
   */
  add(
    packets: number,
    octets: number,
    source: Uint8Array,
    header: number,
    length: number,
    address: number,
    addressLength: number,
  ): void {
    if (this.#count === SAMPLES_MAX) return;
    const at = BLOCK_HEAD_BYTES + this.#count++ * SAMPLE_BYTES;
    const kept = Math.min(length, SAMPLE_HEADER_BYTES_MAX);
    const word = at >>> 2;
    this.#words[word] = octets;
    this.#words[word + 1] = packets;
    this.#words[word + 2] = kept;
    this.#words[word + 3] = addressLength;
    const { bytes } = this;
    for (let index = 0; index < addressLength; index++) {
      bytes[at + 16 + index] = source[address + index]!;
    }
    for (let index = 0; index < kept; index++) {
      bytes[at + SAMPLE_HEADER + index] = source[header + index]!;
    }
  }

  /** Worker: the samples of a round are complete. */
  publish(round: number): void {
    Atomics.store(this.#words, 1, this.#count);
    Atomics.store(this.#words, 0, round);
  }

  /** Main thread: the round that was answered last. */
  round(): number {
    return Atomics.load(this.#words, 0);
  }

  /** Main thread: samples of that round. */
  sampleCount(): number {
    return Math.min(Math.max(Atomics.load(this.#words, 1), 0), SAMPLES_MAX);
  }

  /** Main thread: sample `index`; its arrays are borrowed until the next round. */
  sample(index: number): FlowSample {
    const at = BLOCK_HEAD_BYTES + index * SAMPLE_BYTES;
    const word = at >>> 2;
    const length = Math.min(this.#words[word + 2]!, SAMPLE_HEADER_BYTES_MAX);
    const addressLength = this.#words[word + 3] === 4 ? 4 : 16;
    return {
      octets: this.#words[word]!,
      packets: this.#words[word + 1]!,
      address: this.bytes.subarray(at + 16, at + 16 + addressLength),
      header: this.bytes.subarray(at + SAMPLE_HEADER, at + SAMPLE_HEADER + length),
    };
  }

  /** Main thread: packets and octets that the worker has moved so far. */
  totals(): { readonly packets: number; readonly octets: number } {
    return { packets: this.#totals[0]!, octets: this.#totals[1]! };
  }
}

/** One sample, as the main thread sees it. */
export interface FlowSample {
  readonly packets: number;
  readonly octets: number;
  readonly address: Uint8Array;
  readonly header: Uint8Array;
}
