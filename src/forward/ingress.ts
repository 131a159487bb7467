/**
 * The loop of an ingress worker: tunnel to local network. Blocks until datagrams wait, receives a
 * batch, translates in place, writes a batch; hands over what the fast path does not take.
 */

import { BATCH_PACKETS_MAX } from "../tables/arena.js";
import { type CounterBlock, counterIndex, dropCounterIndex } from "../tables/counters.js";
import { RING_FROM_TUNNEL } from "../tables/packet-ring.js";
import type { FastIngress } from "./fast-ingress.js";
import type { FastPathMemory } from "./fast-path.js";
import type { HandOver } from "./hand-over.js";
import { PacketBatch, type TunnelPort, type TunPort } from "./ports.js";

/** Parts of an ingress worker. */
export interface IngressParts {
  readonly tunnel: Pick<TunnelPort, "waitReadable" | "takeErrorNotice" | "receiveBatch">;
  readonly tun: Pick<TunPort, "writeBatch">;
  readonly memory: FastPathMemory;
  readonly fast: FastIngress;
  readonly handOver: HandOver;
  readonly counters: CounterBlock;
}

const PACKETS = counterIndex("ingress-packets");
const BYTES = counterIndex("ingress-bytes");
const BATCHES = counterIndex("ingress-batches");
const WRITE_DROP = dropCounterIndex("write-failed");

/** One ingress worker. */
export class IngressLoop {
  readonly #parts: IngressParts;
  readonly #input = new PacketBatch(BATCH_PACKETS_MAX);
  readonly #output = new PacketBatch(BATCH_PACKETS_MAX);

  constructor(parts: IngressParts) {
    this.#parts = parts;
  }

  /** Runs until the tunnel port says that the worker is to end. */
  run(): void {
    const { tunnel, handOver } = this.#parts;
    while (tunnel.waitReadable()) {
      if (tunnel.takeErrorNotice()) handOver.socketErrors();
      this.runBatch();
    }
  }

  /** Moves the datagrams that wait, at most one batch. */
  runBatch(): void {
    const { tunnel, memory, handOver } = this.#parts;
    tunnel.receiveBatch(this.#input);
    if (this.#input.count === 0) return;
    memory.refresh();
    const bytes = this.#translate();
    this.#write(bytes);
    handOver.endBatch();
  }

  /** Translates the input batch into the output batch; octets of the native packets. */
  #translate(): number {
    const { fast, handOver } = this.#parts;
    const input = this.#input;
    const output = this.#output;
    let bytes = 0;
    output.count = 0;
    for (let index = 0; index < input.count; index++) {
      const offset = input.offsets[index]!;
      const length = input.lengths[index]!;
      const source = input.addressOffsets[index]!;
      const port = input.ports[index]!;
      const start = fast.translate(offset, length, source, port);
      if (start === 0) {
        handOver.datagram(RING_FROM_TUNNEL, offset, length, source, port);
        continue;
      }
      output.addLocal(start, offset + length - start);
      bytes += offset + length - start;
    }
    return bytes;
  }

  #write(bytes: number): void {
    const output = this.#output;
    if (output.count === 0) return;
    const { tun, counters } = this.#parts;
    const refused = tun.writeBatch(output);
    counters.add(PACKETS, output.count - refused);
    counters.add(BYTES, bytes);
    counters.add(BATCHES, 1);
    if (refused !== 0) counters.add(WRITE_DROP, refused);
  }
}
