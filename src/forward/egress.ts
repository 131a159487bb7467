/**
 * The loop of an egress worker: local network to tunnel. Blocks until packets wait, reads a batch,
 * translates in place, sends a batch; hands over what the fast path does not take.
 *
 * A super-packet becomes one tunnel packet for each of its segments: headers in header slots, the
 * payload stays where it was read. What the fast path does not take of it reaches the slow path
 * as the ordinary packets that it stands for.
 */

import type { DropReason } from "../base/drop-reason.js";
import {
  SEGMENT_COUNT_MAX,
  SEGMENT_DISTANCE,
  SEGMENT_FIRST,
  SEGMENT_TARGET,
  SEGMENT_TEMPLATE_LENGTH,
} from "../kernel/jobs.js";
import { RESULT_HAND_OVER, RESULT_UNKNOWN } from "../kernel/translation.js";
import {
  HEADER_SLOT_BYTES,
  headerSlotOffset,
  READ_PACKETS_MAX,
  SEND_PACKETS_MAX,
} from "../tables/arena.js";
import { type CounterBlock, counterIndex, dropCounterIndex } from "../tables/counters.js";
import { RING_FROM_LOCAL, RING_SEND_TOO_BIG } from "../tables/packet-ring.js";
import type { EgressTap } from "./capture-tap.js";
import type { Coalescing } from "./coalescing.js";
import type { FastEgress } from "./fast-egress.js";
import type { EgressFragments } from "./fast-fragments.js";
import type { FastPathMemory } from "./fast-path.js";
import type { HandOver } from "./hand-over.js";
import type { MssClamp } from "./mss-clamp.js";
import { eachNativeSegment } from "./native-segments.js";
import type { PeerMeter } from "./peer-meter.js";
import { PacketBatch, SEND_DONE, SEND_TOO_BIG, type TunnelPort, type TunPort } from "./ports.js";
import type { SideQueue } from "./side-queue.js";
import {
  VNET_BAD_CHECKSUM_PLACE,
  VNET_BAD_HEADER,
  VNET_BAD_LENGTH,
  VNET_BAD_SEGMENT_SIZE,
  VnetReader,
} from "./vnet-header.js";

/** Parts of an egress worker. */
export interface EgressParts {
  readonly tun: Omit<TunPort, "writeBatch">;
  readonly tunnel: Pick<TunnelPort, "sendBatch">;
  readonly memory: FastPathMemory;
  readonly fast: FastEgress;
  /** Translates fragments; without it they are handed over. */
  readonly fragments?: EgressFragments | undefined;
  readonly handOver: HandOver;
  readonly counters: CounterBlock;
  /** Lowers the segment sizes that SYNs ask for; without it they stay. */
  readonly mssClamp?: MssClamp | undefined;
  /** Counts traffic by remote gateway. */
  readonly meter?: PeerMeter | undefined;
  /** Captures packets while a capture is on. */
  readonly capture?: EgressTap | undefined;
  /** When to pause in place of waiting to be woken; without it, never. */
  readonly coalescing?: Coalescing | undefined;
  /** When the side queue may be read; without it, always. */
  readonly side?: SideQueue | undefined;
  /** True when each packet of the TUN device has a device header in front. */
  readonly hasDeviceHeader: boolean;
}

const PACKETS = counterIndex("egress-packets");
const BYTES = counterIndex("egress-bytes");
const BATCHES = counterIndex("egress-batches");
const SUPER_PACKETS = counterIndex("egress-super-packets");
const SEND_DROP = dropCounterIndex("send-failed");

/** Packets of the side queue between two batches of the main one: a fraction of a millisecond. */
const SIDE_PACKETS_MAX = 64;

/** Drop reasons of VNET_BAD_…. */
const VNET_DROPS: Readonly<Record<number, DropReason>> = {
  [VNET_BAD_HEADER]: "local-bad-offload",
  [VNET_BAD_SEGMENT_SIZE]: "local-bad-segment-size",
  [VNET_BAD_CHECKSUM_PLACE]: "local-bad-checksum-place",
  [VNET_BAD_LENGTH]: "local-bad-length",
};

/** One egress worker. */
export class EgressLoop {
  readonly #parts: EgressParts;
  readonly #input = new PacketBatch(READ_PACKETS_MAX);
  readonly #sideInput = new PacketBatch(SIDE_PACKETS_MAX);
  readonly #output = new PacketBatch(SEND_PACKETS_MAX);
  readonly #reader: VnetReader;
  /** Octets of native packets in the output batch. */
  #bytes = 0;
  /** While a capture is on. */
  #tap: EgressTap | undefined;

  constructor(parts: EgressParts) {
    this.#parts = parts;
    this.#reader = new VnetReader(parts.memory);
  }

  /** Runs until the TUN port says that the worker is to end. */
  run(): void {
    const { tun, side, coalescing } = this.#parts;
    for (let pauseUs = 0; tun.waitReadable(side?.restMs() ?? 0, pauseUs); ) {
      this.runBatch();
      pauseUs = coalescing?.pauseUs(this.#input.count) ?? 0;
    }
  }

  /** Moves the packets that wait, at most one batch of each queue. */
  runBatch(): void {
    const { tun, side } = this.#parts;
    tun.readBatch(this.#input);
    if (this.#input.count > 0) this.#move(this.#input);
    if (!tun.hasSidePackets()) return;
    side?.begin();
    const input = this.#sideInput;
    tun.readSideBatch(input);
    if (input.count > 0) this.#move(input);
    side?.end(input.count, octetsOf(input));
  }

  #move(input: PacketBatch): void {
    const { memory, fast, handOver, hasDeviceHeader, capture } = this.#parts;
    memory.refresh();
    this.#tap = capture?.beginBatch(input);
    const isTranslated = fast.translateBatch(input, hasDeviceHeader);
    for (let index = 0; index < input.count; index++) {
      const offset = input.offsets[index]!;
      const length = input.lengths[index]!;
      const result = isTranslated ? fast.resultOf(index) : RESULT_UNKNOWN;
      if (result > 0) {
        this.#add(result, result + fast.contextOffset, offset, length, fast.portOf(index));
      } else if (result === RESULT_HAND_OVER) this.#takeFragment(offset, length);
      else if (hasDeviceHeader) this.#takeOffloaded(offset, length);
      else this.#take(offset, length);
    }
    this.#send();
    handOver.endBatch();
  }

  #takeOffloaded(offset: number, length: number): void {
    const verdict = this.#reader.read(offset, length);
    if (verdict === 0) this.#take(offset, length);
    else if (verdict > 0) this.#takeSuperPacket(offset, length, verdict);
    else {
      this.#parts.counters.drop(VNET_DROPS[verdict]!);
      this.#tap?.dropped(VNET_DROPS[verdict]!, offset, length);
    }
  }

  /** One packet: into the output batch, or handed over. */
  #take(offset: number, length: number): void {
    const { fast } = this.#parts;
    const start = fast.translate(offset, length);
    if (start === 0) this.#takeFragment(offset, length);
    else this.#add(start, fast.addressOffset, offset, length, fast.port);
  }

  /** A packet that is not whole, or not simple: into the output batch, or handed over. */
  #takeFragment(offset: number, length: number): void {
    const { fast, fragments, handOver } = this.#parts;
    const start = fragments?.translate(offset, length) ?? 0;
    if (start === 0) handOver.packet(RING_FROM_LOCAL, offset, length);
    else this.#add(start, fast.addressOffset, offset, length, fast.port);
  }

  /** Appends the tunnel packet at `start` that a native packet became; it goes to `address`. */
  #add(start: number, address: number, offset: number, length: number, port: number): void {
    const output = this.#output;
    if (output.count === output.capacity) this.#send();
    const { mssClamp } = this.#parts;
    const tunnelLength = offset + length - start;
    mssClamp?.toTunnel(start, tunnelLength, address);
    output.addTunnel(start, tunnelLength, address, port);
    this.#bytes += length;
  }

  /** All segments of a super-packet: into the output batch, or handed over. */
  #takeSuperPacket(offset: number, length: number, segmentSize: number): void {
    const { fast, memory, handOver, counters } = this.#parts;
    const reader = this.#reader;
    if (!fast.prepareSegments(offset, length, segmentSize, reader)) {
      eachNativeSegment(memory, offset, segmentSize, reader, (packet, packetLength) => {
        handOver.packet(RING_FROM_LOCAL, packet, packetLength);
      });
      return;
    }
    counters.add(SUPER_PACKETS, 1);
    const count = Math.ceil(reader.payloadLength / segmentSize);
    const headerLength = reader.layer4 + reader.layer4HeaderLength - offset;
    for (let first = 0; first < count; ) {
      if (this.#output.count === this.#output.capacity) this.#send();
      first += this.#buildSegments(first, segmentSize);
    }
    this.#bytes += length + (count - 1) * headerLength;
  }

  /** Appends segments from `first` on, as many as there is room for; returns how many. */
  #buildSegments(first: number, segmentSize: number): number {
    const { fast, memory } = this.#parts;
    const { words, segmentJob, slab, kernel } = memory;
    const { layer4, layer4HeaderLength, payloadLength } = this.#reader;
    const output = this.#output;
    const job = segmentJob >>> 2;
    let slot = headerSlotOffset(slab, output.count);
    words[job + SEGMENT_FIRST] = first;
    words[job + SEGMENT_COUNT_MAX] = output.capacity - output.count;
    words[job + SEGMENT_TARGET] = slot;
    words[job + SEGMENT_DISTANCE] = HEADER_SLOT_BYTES;
    const built = kernel.segmentInto(segmentJob);
    const headerLength = words[job + SEGMENT_TEMPLATE_LENGTH]! + layer4HeaderLength;
    const address = slot + fast.contextOffset;
    const end = layer4 + layer4HeaderLength + payloadLength;
    let payload = layer4 + layer4HeaderLength + first * segmentSize;
    for (let index = 0; index < built; index++) {
      const at = output.count;
      output.addTunnel(slot, headerLength, address, fast.port);
      output.payloadOffsets[at] = payload;
      output.payloadLengths[at] = Math.min(segmentSize, end - payload);
      payload += segmentSize;
      slot += HEADER_SLOT_BYTES;
    }
    return built;
  }

  /** Sends the output batch and empties it. */
  #send(): void {
    const output = this.#output;
    if (output.count === 0) return;
    const { tunnel, counters, meter } = this.#parts;
    const failed = tunnel.sendBatch(output);
    counters.add(PACKETS, output.count - failed);
    counters.add(BYTES, this.#bytes);
    counters.add(BATCHES, 1);
    meter?.sent(output, failed !== 0);
    this.#tap?.sent(output);
    if (failed !== 0) this.#handleFailures();
    output.count = 0;
    this.#bytes = 0;
  }

  /** Packets too big for the path go to the slow path, which asks for the path MTU anew. */
  #handleFailures(): void {
    const { handOver, counters, memory } = this.#parts;
    const output = this.#output;
    const { assemblyOffset } = memory.slab;
    for (let index = 0; index < output.count; index++) {
      if (output.outcomes[index] === SEND_DONE) continue;
      if (output.outcomes[index] !== SEND_TOO_BIG) {
        counters.add(SEND_DROP, 1);
        continue;
      }
      const length = output.lengths[index]!;
      const payloadLength = output.payloadLengths[index]!;
      memory.kernel.copy(assemblyOffset, output.offsets[index]!, length);
      const payload = output.payloadOffsets[index]!;
      memory.kernel.copy(assemblyOffset + length, payload, payloadLength);
      const [address, port] = [output.addressOffsets[index]!, output.ports[index]!];
      const total = length + payloadLength;
      handOver.datagram(RING_SEND_TOO_BIG, assemblyOffset, total, address, port);
    }
  }
}

/** Octets of the packets of a batch. */
function octetsOf({ count, lengths }: PacketBatch): number {
  let octets = 0;
  for (let index = 0; index < count; index++) octets += lengths[index]!;
  return octets;
}
