/**
 * The way from a forwarding worker to the slow path: one ring and one event descriptor. A full
 * ring drops the packet and counts it; the worker never waits for the main thread.
 */

import {
  type CounterBlock,
  type CounterName,
  counterIndex,
  dropCounterIndex,
} from "../tables/counters.js";
import {
  type PacketRingProducer,
  RING_SOCKET_ERROR,
  type RingKind,
} from "../tables/packet-ring.js";

/** Told of packets that found the ring full. */
export interface LossTap {
  lost(isDatagram: boolean, offset: number, length: number, address: number, port: number): void;
}

/** What a worker hands over with; one object for the worker's life. */
export class HandOver {
  readonly #ring: PacketRingProducer;
  readonly #counters: CounterBlock;
  readonly #wake: () => void;
  readonly #countIndex: number;
  readonly #dropIndex = dropCounterIndex("slow-path-full");
  readonly #contextWords: number;
  readonly #tap: LossTap | undefined;

  /** `wake` makes the main thread look at the ring. `counter` counts what is handed over. */
  constructor(
    ring: PacketRingProducer,
    counters: CounterBlock,
    counter: CounterName,
    contextWords: number,
    wake: () => void,
    tap?: LossTap,
  ) {
    this.#ring = ring;
    this.#counters = counters;
    this.#countIndex = counterIndex(counter);
    this.#contextWords = contextWords;
    this.#wake = wake;
    this.#tap = tap;
  }

  /** Copies a packet without remote address. */
  packet(kind: RingKind, offset: number, length: number): void {
    const isTaken = this.#ring.push(kind, offset, length, 0, 0, 0);
    this.#count(isTaken);
    if (!isTaken) this.#tap?.lost(false, offset, length, 0, 0);
  }

  /** Copies a datagram with the remote gateway's address and port. */
  datagram(
    kind: RingKind,
    offset: number,
    length: number,
    addressOffset: number,
    port: number,
  ): void {
    const words = this.#contextWords;
    const isTaken = this.#ring.push(kind, offset, length, addressOffset >>> 2, words, port);
    this.#count(isTaken);
    if (!isTaken) this.#tap?.lost(true, offset, length, addressOffset, port);
  }

  /** Tells the main thread to read the socket's error queue. */
  socketErrors(): void {
    this.#ring.push(RING_SOCKET_ERROR, 0, 0, 0, 0, 0);
    this.endBatch();
  }

  /** After each batch: wakes the main thread if it sleeps and there is something for it. */
  endBatch(): void {
    if (this.#ring.mustWake()) this.#wake();
  }

  #count(isTaken: boolean): void {
    this.#counters.add(isTaken ? this.#countIndex : this.#dropIndex, 1);
  }
}
