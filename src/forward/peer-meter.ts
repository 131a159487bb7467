/**
 * Counts what a worker sends to and receives from each remote gateway (tables/peer-traffic.ts),
 * once per batch: packets of one batch mostly have one gateway, so that a run of them costs one
 * look-up. No allocation.
 */

import type { PeerTrafficBlock } from "../tables/peer-traffic.js";
import type { FastPathMemory } from "./fast-path.js";
import { type PacketBatch, SEND_DONE } from "./ports.js";

/** The meter of one worker. */
export class PeerMeter {
  readonly #memory: FastPathMemory;
  readonly #block: PeerTrafficBlock;

  constructor(memory: FastPathMemory, block: PeerTrafficBlock) {
    this.#memory = memory;
    this.#block = block;
  }

  /** Counts a batch that was sent; `hasFailures`: its outcomes are to be looked at. */
  sent(batch: PacketBatch, hasFailures: boolean): void {
    const { addressOffsets, lengths, payloadLengths, outcomes, count } = batch;
    let packets = 0;
    let octets = 0;
    let word = addressOffsets[0]! >>> 2;
    for (let index = 0; index < count; index++) {
      if (hasFailures && outcomes[index] !== SEND_DONE) continue;
      const next = addressOffsets[index]! >>> 2;
      if (!this.#isSame(word, next)) {
        this.#add(word, packets, octets);
        packets = 0;
        octets = 0;
      }
      word = next;
      packets++;
      octets += lengths[index]! + payloadLengths[index]!;
    }
    this.#add(word, packets, octets);
  }

  /** Counts a batch of messages that was received, whatever becomes of their datagrams. */
  received(batch: PacketBatch): void {
    const { addressOffsets, lengths, segmentSizes, count } = batch;
    let packets = 0;
    let octets = 0;
    let word = addressOffsets[0]! >>> 2;
    for (let index = 0; index < count; index++) {
      const next = addressOffsets[index]! >>> 2;
      if (!this.#isSame(word, next)) {
        this.#add(word, packets, octets);
        packets = 0;
        octets = 0;
      }
      word = next;
      const length = lengths[index]!;
      const size = segmentSizes[index]!;
      packets += size <= 0 || size >= length ? 1 : Math.ceil(length / size);
      octets += length;
    }
    this.#add(word, packets, octets);
  }

  #isSame(a: number, b: number): boolean {
    return a === b || this.#memory.sameWords(a, b, this.#memory.contextWords);
  }

  #add(word: number, packets: number, octets: number): void {
    if (packets === 0) return;
    const { peers, contextWords } = this.#memory;
    this.#block.add(peers.findAt(word, contextWords), packets, octets);
  }
}
