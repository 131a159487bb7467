/** In-memory ports of the worker loops, and both workers of a gateway over them, run by hand. */

import { seededRandom } from "../../src/base/random.js";
import type { KernelName } from "../../src/control/gateway-flags.js";
import { EgressTap, IngressTap } from "../../src/forward/capture-tap.js";
import { EgressLoop } from "../../src/forward/egress.js";
import { FastEgress } from "../../src/forward/fast-egress.js";
import { EgressFragments, IngressFragments } from "../../src/forward/fast-fragments.js";
import { FastIngress } from "../../src/forward/fast-ingress.js";
import type { FastPathMemory } from "../../src/forward/fast-path.js";
import { HandOver } from "../../src/forward/hand-over.js";
import { IngressLoop } from "../../src/forward/ingress.js";
import { MssClamp } from "../../src/forward/mss-clamp.js";
import {
  type PacketBatch,
  SEND_DONE,
  type TunnelPort,
  type TunPort,
  VNET_HEADER_BYTES,
  type WriteBatch,
} from "../../src/forward/ports.js";
import {
  BATCH_PACKETS_MAX,
  counterWriter,
  GROUP_PACKETS_MAX,
  slabLayout,
  slotPacketOffset,
} from "../../src/tables/arena.js";
import { CounterBlock, CounterReader } from "../../src/tables/counters.js";
import { PacketRingConsumer, PacketRingProducer } from "../../src/tables/packet-ring.js";
import type { FastWorld, TestDatagram } from "./fast-world.js";

/** What workers are made over. */
export type WorkerWorld = Pick<
  FastWorld,
  "options" | "plan" | "buffer" | "bytes" | "fastSettings" | "worker"
>;

/** A message of one or more datagrams of one size. */
export interface TestMessage extends TestDatagram {
  /** Octets of each datagram but the last, or MESSAGE_…; the whole message when absent. */
  readonly segmentSize?: number;
}

/** A TUN device: what waits, and what was written. */
export class MemoryTun implements TunPort {
  readonly waiting: Uint8Array[] = [];
  /** In the side queue. */
  readonly waitingAside: Uint8Array[] = [];
  readonly written: Uint8Array[] = [];
  refuses = false;
  readonly #world: WorkerWorld;
  readonly #headerBytes: number;

  /** With a device header, what waits and what was written begins with one. */
  constructor(world: WorkerWorld, hasDeviceHeader: boolean) {
    this.#world = world;
    this.#headerBytes = hasDeviceHeader ? VNET_HEADER_BYTES : 0;
  }

  waitReadable(): boolean {
    return this.waiting.length > 0 || this.waitingAside.length > 0;
  }

  readBatch(batch: PacketBatch): void {
    this.#read(batch, this.waiting);
  }

  #read(batch: PacketBatch, waiting: Uint8Array[]): void {
    const slab = slabLayout(this.#world.plan.lanes[0]!.egressSlabOffset);
    const countMax = Math.min(BATCH_PACKETS_MAX, batch.capacity);
    for (batch.count = 0; batch.count < countMax && waiting.length > 0; ) {
      const packet = waiting.shift()!;
      const offset = slotPacketOffset(slab, batch.count);
      this.#world.bytes.set(packet, offset - this.#headerBytes);
      batch.addLocal(offset, packet.length - this.#headerBytes);
    }
  }

  hasSidePackets(): boolean {
    return this.waitingAside.length > 0;
  }

  readSideBatch(batch: PacketBatch): void {
    this.#read(batch, this.waitingAside);
  }

  writeBatch(batch: WriteBatch): number {
    batch.refusedPackets = 0;
    for (let index = 0; index < batch.count; index++) {
      batch.refusedPackets += this.refuses ? batch.packetCounts[index]! : 0;
    }
    batch.refused.fill(this.refuses ? 1 : 0, 0, batch.count);
    if (this.refuses) return batch.count;
    for (let index = 0; index < batch.count; index++) {
      const start = batch.offsets[index]! - this.#headerBytes;
      const end = batch.offsets[index]! + batch.lengths[index]!;
      const parts = [...this.#world.bytes.slice(start, end)];
      const first = index * GROUP_PACKETS_MAX;
      for (let piece = first; piece < first + batch.pieceCounts[index]!; piece++) {
        const at = batch.pieceOffsets[piece]!;
        parts.push(...this.#world.bytes.slice(at, at + batch.pieceLengths[piece]!));
      }
      this.written.push(Uint8Array.from(parts));
    }
    return 0;
  }
}

/** A tunnel socket: what waits, what was sent, and how sending ends. */
export class MemoryTunnel implements TunnelPort {
  readonly waiting: TestMessage[] = [];
  readonly sent: TestDatagram[] = [];
  outcome = SEND_DONE;
  hasErrors = false;
  readonly #world: WorkerWorld;

  constructor(world: WorkerWorld) {
    this.#world = world;
  }

  waitReadable(): boolean {
    return this.waiting.length > 0 || this.hasErrors;
  }

  takeErrorNotice(): boolean {
    const hadErrors = this.hasErrors;
    this.hasErrors = false;
    return hadErrors;
  }

  receiveBatch(batch: PacketBatch): void {
    const slab = slabLayout(this.#world.plan.lanes[0]!.ingressSlabOffset);
    for (batch.count = 0; batch.count < BATCH_PACKETS_MAX && this.waiting.length > 0; ) {
      const { packet, source, port, segmentSize } = this.waiting.shift()!;
      const offset = slotPacketOffset(slab, batch.count);
      const address = slab.socketAddressesOffset + 32 * batch.count + 8;
      this.#world.bytes.set(packet, offset);
      this.#world.bytes.set(source.bytes, address);
      batch.addMessage(offset, packet.length, segmentSize ?? packet.length, address, port);
    }
  }

  sendBatch(batch: PacketBatch): number {
    batch.outcomes.fill(this.outcome);
    if (this.outcome !== SEND_DONE) return batch.count;
    const { bytes } = this.#world;
    for (let index = 0; index < batch.count; index++) {
      const start = batch.offsets[index]!;
      const at = batch.addressOffsets[index]!;
      const version = this.#world.options.tunnelVersion;
      const source = { version, bytes: bytes.slice(at, at + (version === 4 ? 4 : 16)) };
      const header = bytes.slice(start, start + batch.lengths[index]!);
      const from = batch.payloadOffsets[index]!;
      const payload = bytes.slice(from, from + batch.payloadLengths[index]!);
      const packet = Uint8Array.from([...header, ...payload]);
      this.sent.push({ packet, source, port: batch.ports[index]! });
    }
    return 0;
  }
}

/** Both workers of a gateway, run by hand. */
export function makeGateway<World extends WorkerWorld>(
  world: World,
  options: { hasDeviceHeader?: boolean; kernel?: KernelName; localMssMax?: number } = {},
) {
  const { buffer, plan } = world;
  const { hasDeviceHeader = false, kernel = "ts", localMssMax } = options;
  const tun = new MemoryTun(world, hasDeviceHeader);
  const tunnel = new MemoryTunnel(world);
  const wakes = { count: 0 };
  const lane = plan.lanes[0]!;
  const { ringBytes } = plan.options;
  const tapParts = (memory: FastPathMemory, ringOffset: number) => {
    return { memory, areaOffset: plan.captureOffset, ringOffset, nowMs: () => 1234.5 };
  };
  const parts = (role: "egress" | "ingress", ring: number) => {
    const { memory } = world.worker(role, kernel);
    const counters = new CounterBlock(buffer, plan.countersOffset, counterWriter(0, role));
    const producer = new PacketRingProducer(buffer, ring, ringBytes);
    const wake = () => void wakes.count++;
    const name = `${role}-slow-path` as const;
    const capture =
      role === "egress"
        ? new EgressTap(tapParts(memory, lane.egressCaptureOffset))
        : new IngressTap(tapParts(memory, lane.ingressCaptureOffset));
    const handOver = new HandOver(producer, counters, name, memory.contextWords, wake, capture);
    const { tunnelVersion } = world.options;
    const isClamped = localMssMax !== undefined;
    const mssClamp = isClamped ? new MssClamp(memory, tunnelVersion, localMssMax) : undefined;
    return { tun, tunnel, memory, counters, handOver, mssClamp, capture };
  };
  const out = parts("egress", lane.egressRingOffset);
  const back = parts("ingress", lane.ingressRingOffset);
  const settings = world.fastSettings;
  const { localVersion, tunnelVersion } = world.options;
  const joining = { hasDeviceHeader, joinsTcp: true, joinsUdp: true, localVersion };
  const fastIngress = new FastIngress(back.memory, settings, seededRandom(1));
  const fastEgress = new FastEgress(out.memory, settings);
  return {
    world,
    tun,
    tunnel,
    wakes,
    egress: new EgressLoop({
      ...out,
      capture: out.capture instanceof EgressTap ? out.capture : undefined,
      fast: fastEgress,
      fragments: new EgressFragments(out.memory, fastEgress, settings),
      hasDeviceHeader,
    }),
    ingress: new IngressLoop({
      ...back,
      capture: back.capture instanceof IngressTap ? back.capture : undefined,
      fast: fastIngress,
      fragments: new IngressFragments(back.memory, fastIngress, settings),
      joining,
    }),
    egressRing: new PacketRingConsumer(buffer, lane.egressRingOffset, ringBytes, tunnelVersion),
    ingressRing: new PacketRingConsumer(buffer, lane.ingressRingOffset, ringBytes, tunnelVersion),
    counters: new CounterReader(buffer, plan.countersOffset, plan.counterWriters),
  };
}
