/**
 * Packet counters in shared memory: one block of doubles for each thread that counts, so that
 * every block has a single writer; a reader sums over the blocks. An aligned double is read and
 * written whole, so a sum is at most one batch behind.
 *
 * A block holds the named counters and then one counter for each drop reason, in the order of
 * base/drop-reason.ts.
 */

import { DROP_REASONS, type DropReason, dropReasonIndex } from "../base/drop-reason.js";

const NAMES = [
  // Local network to tunnel
  "egress-packets",
  "egress-bytes",
  "egress-slow-path",
  "egress-batches",
  "egress-super-packets",
  // Tunnel to local network
  "ingress-packets",
  "ingress-bytes",
  "ingress-slow-path",
  "ingress-batches",
  "ingress-super-packets",
  "ingress-joined",
  // Messages of several datagrams
  "send-groups",
  "send-groups-off",
  "receive-groups",
  // System calls that had to be repeated or waited for
  "send-waits",
  "send-errors",
  "write-waits",
  // Nudges answered: the sign of life of a worker
  "heartbeats",
] as const;

/** Name of a counter other than the drop counters. */
export type CounterName = (typeof NAMES)[number];

/** All names in counter order. */
export const COUNTER_NAMES: readonly CounterName[] = NAMES;

/** Place of a counter in a block. */
export function counterIndex(name: CounterName): number {
  return NAMES.indexOf(name);
}

/** Place of a drop reason's counter in a block. */
export function dropCounterIndex(reason: DropReason): number {
  return NAMES.length + dropReasonIndex(reason);
}

/** Counters in a block. */
export const COUNTERS_PER_BLOCK = NAMES.length + DROP_REASONS.length;

/** Bytes of one block, in whole cache lines so that two writers never share one. */
export const COUNTER_BLOCK_BYTES = Math.ceil((8 * COUNTERS_PER_BLOCK) / 64) * 64;

/** Bytes of the blocks of `writers` threads. */
export function countersBytes(writers: number): number {
  return writers * COUNTER_BLOCK_BYTES;
}

/** The block of one writer; `baseOffset` is that of all blocks, a multiple of 8. */
export class CounterBlock {
  /** The counters themselves, for code that counts once per batch. */
  readonly values: Float64Array;

  constructor(memory: ArrayBufferLike, baseOffset: number, writer: number) {
    const offset = baseOffset + writer * COUNTER_BLOCK_BYTES;
    this.values = new Float64Array(memory, offset, COUNTERS_PER_BLOCK);
  }

  /** Adds to a counter by its place (`counterIndex`, `dropCounterIndex`). */
  add(index: number, amount: number): void {
    this.values[index]! += amount;
  }

  /** Counts one dropped packet. */
  drop(reason: DropReason): void {
    this.values[dropCounterIndex(reason)]! += 1;
  }
}

/** Sums over all blocks, for status and metrics. */
export class CounterReader {
  readonly #blocks: readonly CounterBlock[];

  constructor(memory: ArrayBufferLike, baseOffset: number, writers: number) {
    this.#blocks = Array.from(
      { length: writers },
      (_, writer) => new CounterBlock(memory, baseOffset, writer),
    );
  }

  /** Total of a named counter. */
  total(name: CounterName): number {
    return this.#sum(counterIndex(name));
  }

  /** Packets dropped for a reason. */
  drops(reason: DropReason): number {
    return this.#sum(dropCounterIndex(reason));
  }

  #sum(index: number): number {
    return this.#blocks.reduce((total, block) => total + block.values[index]!, 0);
  }
}
