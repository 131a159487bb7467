/**
 * The loop of an egress worker: local network to tunnel. Blocks until packets wait, reads a batch,
 * translates in place, sends a batch; hands over what the fast path does not take.
 */

import { BATCH_PACKETS_MAX } from "../tables/arena.js";
import { type CounterBlock, counterIndex, dropCounterIndex } from "../tables/counters.js";
import { RING_FROM_LOCAL, RING_SEND_TOO_BIG } from "../tables/packet-ring.js";
import type { FastEgress } from "./fast-egress.js";
import type { FastPathMemory } from "./fast-path.js";
import type { HandOver } from "./hand-over.js";
import { PacketBatch, SEND_DONE, SEND_TOO_BIG, type TunnelPort, type TunPort } from "./ports.js";

/** Parts of an egress worker. */
export interface EgressParts {
  readonly tun: TunPort;
  readonly tunnel: Pick<TunnelPort, "sendBatch">;
  readonly memory: FastPathMemory;
  readonly fast: FastEgress;
  readonly handOver: HandOver;
  readonly counters: CounterBlock;
}

const PACKETS = counterIndex("egress-packets");
const BYTES = counterIndex("egress-bytes");
const BATCHES = counterIndex("egress-batches");
const SEND_DROP = dropCounterIndex("send-failed");

/** One egress worker. */
export class EgressLoop {
  readonly #parts: EgressParts;
  readonly #input = new PacketBatch(BATCH_PACKETS_MAX);
  readonly #output = new PacketBatch(BATCH_PACKETS_MAX);

  constructor(parts: EgressParts) {
    this.#parts = parts;
  }

  /** Runs until the TUN port says that the worker is to end. */
  run(): void {
    while (this.#parts.tun.waitReadable()) this.runBatch();
  }

  /** Moves the packets that wait, at most one batch. */
  runBatch(): void {
    const { tun, memory, handOver } = this.#parts;
    tun.readBatch(this.#input);
    if (this.#input.count === 0) return;
    memory.refresh();
    const bytes = this.#translate();
    this.#send(bytes);
    handOver.endBatch();
  }

  /** Translates the input batch into the output batch; octets of the packets taken. */
  #translate(): number {
    const { fast, handOver } = this.#parts;
    const input = this.#input;
    const output = this.#output;
    let bytes = 0;
    output.count = 0;
    for (let index = 0; index < input.count; index++) {
      const offset = input.offsets[index]!;
      const length = input.lengths[index]!;
      const start = fast.translate(offset, length);
      if (start === 0) {
        handOver.packet(RING_FROM_LOCAL, offset, length);
        continue;
      }
      output.addTunnel(start, offset + length - start, fast.addressOffset, fast.port);
      bytes += length;
    }
    return bytes;
  }

  #send(bytes: number): void {
    const output = this.#output;
    if (output.count === 0) return;
    const { tunnel, counters } = this.#parts;
    const failed = tunnel.sendBatch(output);
    counters.add(PACKETS, output.count - failed);
    counters.add(BYTES, bytes);
    counters.add(BATCHES, 1);
    if (failed !== 0) this.#handleFailures();
  }

  /** Packets too big for the path go to the slow path, which asks for the path MTU anew. */
  #handleFailures(): void {
    const { handOver, counters } = this.#parts;
    const { count, outcomes, offsets, lengths, addressOffsets, ports } = this.#output;
    for (let index = 0; index < count; index++) {
      if (outcomes[index] === SEND_DONE) continue;
      if (outcomes[index] !== SEND_TOO_BIG) {
        counters.add(SEND_DROP, 1);
        continue;
      }
      const address = addressOffsets[index]!;
      const kind = RING_SEND_TOO_BIG;
      handOver.datagram(kind, offsets[index]!, lengths[index]!, address, ports[index]!);
    }
  }
}
