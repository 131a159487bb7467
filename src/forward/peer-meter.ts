/**
 * Counts what a worker sends to and receives from each remote gateway (tables/peer-traffic.ts),
 * once per batch: packets of one batch mostly have one gateway, so that a run of them costs one
 * look-up. When somebody looks at conversations, it samples a batch now and then as well
 * (tables/flow-samples.ts). No allocation.
 */

import { type FlowSampleBlock, SAMPLES_MAX } from "../tables/flow-samples.js";
import type { PeerTrafficBlock } from "../tables/peer-traffic.js";
import type { FastPathMemory } from "./fast-path.js";
import { type PacketBatch, SEND_DONE } from "./ports.js";

/** The meter of one worker. */
export class PeerMeter {
  readonly #memory: FastPathMemory;
  readonly #traffic: PeerTrafficBlock;
  readonly #samples: FlowSampleBlock;
  #round: number;
  /** The batch so far. */
  #packets = 0;
  #octets = 0;

  constructor(memory: FastPathMemory, traffic: PeerTrafficBlock, samples: FlowSampleBlock) {
    this.#memory = memory;
    this.#traffic = traffic;
    this.#samples = samples;
    this.#round = memory.control.samplingRound();
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
    this.#endBatch();
    if (this.#isRoundNew()) this.#sampleSent(batch);
  }

  /** Counts a batch of messages that was received, whatever becomes of their datagrams. */
  received(batch: PacketBatch): void {
    const { addressOffsets, lengths, count } = batch;
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
      packets += datagrams(batch, index);
      octets += lengths[index]!;
    }
    this.#add(word, packets, octets);
    this.#endBatch();
    if (this.#isRoundNew()) this.#sampleReceived(batch);
  }

  #isSame(a: number, b: number): boolean {
    return a === b || this.#memory.sameWords(a, b, this.#memory.contextWords);
  }

  #add(word: number, packets: number, octets: number): void {
    if (packets === 0) return;
    const { peers, contextWords } = this.#memory;
    this.#traffic.add(peers.findAt(word, contextWords), packets, octets);
    this.#packets += packets;
    this.#octets += octets;
  }

  #endBatch(): void {
    this.#samples.count(this.#packets, this.#octets);
    this.#packets = 0;
    this.#octets = 0;
  }

  /** The one test that sampling costs while nobody looks. */
  #isRoundNew(): boolean {
    const round = this.#memory.control.samplingRound();
    if (round === this.#round) return false;
    this.#round = round;
    return true;
  }

  #sampleSent(batch: PacketBatch): void {
    const { offsets, lengths, payloadLengths, addressOffsets, count } = batch;
    const { bytes, contextWords } = this.#memory;
    const samples = this.#samples;
    const stride = Math.ceil(count / SAMPLES_MAX);
    samples.begin();
    for (let index = this.#round % stride; index < count; index += stride) {
      const octets = stride * (lengths[index]! + payloadLengths[index]!);
      const [header, address] = [offsets[index]!, addressOffsets[index]!];
      samples.add(stride, octets, bytes, header, lengths[index]!, address, 4 * contextWords);
    }
    samples.publish(this.#round);
  }

  /** Of each message one datagram stands for all. */
  #sampleReceived(batch: PacketBatch): void {
    const { offsets, lengths, segmentSizes, addressOffsets, count } = batch;
    const { bytes, contextWords } = this.#memory;
    const samples = this.#samples;
    const stride = Math.ceil(count / SAMPLES_MAX);
    samples.begin();
    for (let index = this.#round % stride; index < count; index += stride) {
      const packets = datagrams(batch, index);
      const before = packets === 1 ? 0 : (this.#round % packets) * segmentSizes[index]!;
      const left = lengths[index]! - before;
      const length = packets === 1 ? left : Math.min(segmentSizes[index]!, left);
      const octets = stride * lengths[index]!;
      const [header, address] = [offsets[index]! + before, addressOffsets[index]!];
      const weight = stride * packets;
      samples.add(weight, octets, bytes, header, length, address, 4 * contextWords);
    }
    samples.publish(this.#round);
  }
}

/** Datagrams of a received message; one that cannot be cut counts as one. */
function datagrams({ lengths, segmentSizes }: PacketBatch, index: number): number {
  const size = segmentSizes[index]!;
  const length = lengths[index]!;
  return size <= 0 || size >= length ? 1 : Math.ceil(length / size);
}
