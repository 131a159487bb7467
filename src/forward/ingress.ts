/**
 * The loop of an ingress worker: tunnel to local network. Blocks until datagrams wait, receives a
 * batch, translates, joins, writes a batch; hands over what the fast path does not take.
 *
 * A received message may hold many datagrams of one size. Each datagram stays where it is: its
 * headers are copied to a header slot and translated there, its payload is gathered from where it
 * was received. So datagrams may lie at any alignment, and the slow path gets them untouched.
 */

import type { DropReason } from "../base/drop-reason.js";
import {
  HEADER_SLOT_LAYER4,
  HEADER_SLOT_LAYER4_BYTES,
  headerSlotOffset,
  WRITE_PACKETS_MAX,
} from "../tables/arena.js";
import { type CounterBlock, counterIndex, dropCounterIndex } from "../tables/counters.js";
import { RING_FROM_TUNNEL } from "../tables/packet-ring.js";
import { PROTOCOL_TCP } from "../wire/packet-fields.js";
import type { IngressTap } from "./capture-tap.js";
import { FRAGMENT_BYTES, type IngressFragments } from "./fast-fragments.js";
import type { FastIngress } from "./fast-ingress.js";
import { type FastPathMemory, TCP_LENGTH_MIN, UDP_LENGTH_MIN } from "./fast-path.js";
import type { HandOver } from "./hand-over.js";
import { type JoinCandidate, Joiner, type JoinerSettings } from "./joiner.js";
import type { MssClamp } from "./mss-clamp.js";
import type { PeerMeter } from "./peer-meter.js";
import {
  MESSAGE_BAD_CONTROL,
  MESSAGE_BAD_SEGMENT_SIZE,
  MESSAGE_TRUNCATED,
  PacketBatch,
  type TunnelPort,
  type TunPort,
  WriteBatch,
} from "./ports.js";

/** Parts of an ingress worker. */
export interface IngressParts {
  readonly tunnel: Pick<TunnelPort, "waitReadable" | "takeErrorNotice" | "receiveBatch">;
  readonly tun: Pick<TunPort, "writeBatch">;
  readonly memory: FastPathMemory;
  readonly fast: FastIngress;
  /** Translates fragments; without it they are handed over. */
  readonly fragments?: IngressFragments | undefined;
  readonly handOver: HandOver;
  readonly counters: CounterBlock;
  readonly joining: JoinerSettings;
  /** Lowers the segment sizes that SYNs ask for; without it they stay. */
  readonly mssClamp?: MssClamp | undefined;
  /** Counts traffic by remote gateway. */
  readonly meter?: PeerMeter | undefined;
  /** Captures packets while a capture is on. */
  readonly capture?: IngressTap | undefined;
}

const PACKETS = counterIndex("ingress-packets");
const BYTES = counterIndex("ingress-bytes");
const BATCHES = counterIndex("ingress-batches");
const SUPER_PACKETS = counterIndex("ingress-super-packets");
const JOINED = counterIndex("ingress-joined");
const WRITE_DROP = dropCounterIndex("write-failed");
const TCP_LENGTH_MAX = 60;
/** Octets of a tunnel header in front of fragment information (spec/tunnel.md 2.1). */
const TUNNEL_FIRST_BYTES = 4;

/** Drop reasons of MESSAGE_…. */
const MESSAGE_DROPS: Readonly<Record<number, DropReason>> = {
  [MESSAGE_BAD_CONTROL]: "tunnel-bad-control",
  [MESSAGE_BAD_SEGMENT_SIZE]: "tunnel-bad-segment-size",
  [MESSAGE_TRUNCATED]: "tunnel-too-long",
};

/** One ingress worker. */
export class IngressLoop {
  readonly #parts: IngressParts;
  readonly #input = new PacketBatch();
  readonly #output = new WriteBatch(WRITE_PACKETS_MAX);
  readonly #joiner: Joiner;
  /** The datagram that is looked at; one object for the worker's life. */
  readonly #candidate: JoinCandidate = {
    offset: 0,
    length: 0,
    tunnelLength: 0,
    rest: 0,
    size: 0,
    addressOffset: 0,
    port: 0,
  };
  /** Octets of the datagrams in the output batch, as native packets. */
  #bytes = 0;
  /** While a capture is on. */
  #tap: IngressTap | undefined;

  constructor(parts: IngressParts) {
    this.#parts = parts;
    this.#joiner = new Joiner(parts.memory, parts.fast, parts.joining, this.#output);
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
    const { tunnel, memory, handOver, meter, capture } = this.#parts;
    const input = this.#input;
    tunnel.receiveBatch(input);
    if (input.count === 0) return;
    memory.refresh();
    this.#tap = capture?.beginBatch();
    for (let index = 0; index < input.count; index++) this.#takeMessage(index);
    this.#write();
    meter?.received(input);
    handOver.endBatch();
  }

  /** Cuts one message into its datagrams. */
  #takeMessage(index: number): void {
    const input = this.#input;
    const candidate = this.#candidate;
    const length = input.lengths[index]!;
    const size = input.segmentSizes[index]!;
    candidate.addressOffset = input.addressOffsets[index]!;
    candidate.port = input.ports[index]!;
    if (length === 0) return this.#handOver(input.offsets[index]!, 0);
    if (size <= 0 || size > length) {
      return this.#refuse(index, MESSAGE_DROPS[size] ?? "tunnel-bad-segment-size");
    }
    candidate.size = size;
    candidate.offset = input.offsets[index]!;
    for (candidate.rest = length; candidate.rest > 0; ) {
      candidate.length = Math.min(size, candidate.rest);
      const taken = this.#takeDatagrams() * size;
      candidate.offset += taken;
      candidate.rest -= taken;
    }
  }

  /** A message that cannot be cut into datagrams. */
  #refuse(index: number, reason: DropReason): void {
    const { lengths, offsets, addressOffsets, ports } = this.#input;
    const [address, port] = [addressOffsets[index]!, ports[index]!];
    this.#parts.counters.drop(reason);
    this.#tap?.dropped(reason, offsets[index]!, lengths[index]!, address, port);
  }

  /** The datagram that is looked at, and those joined with it; returns how many were done. */
  #takeDatagrams(): number {
    const { fast, memory } = this.#parts;
    const candidate = this.#candidate;
    candidate.tunnelLength = fast.tunnelLength(memory.bytes[candidate.offset]!);
    if (candidate.tunnelLength === 0 || candidate.tunnelLength >= candidate.length) {
      if (!this.#takeFragment()) this.#handOver(candidate.offset, candidate.length);
      return 1;
    }
    const joined = this.#joiner.join(candidate);
    if (joined > 0) {
      const octets = Math.min(joined * candidate.size, candidate.rest);
      this.#bytes += octets - joined * (candidate.tunnelLength - fast.nativeLength);
      return joined;
    }
    if (this.#output.count === this.#output.capacity) this.#write();
    this.#translate();
    return 1;
  }

  /** Translates the datagram that is looked at if it is a fragment that the fast path takes. */
  #takeFragment(): boolean {
    const { fragments, memory } = this.#parts;
    if (fragments === undefined) return false;
    const candidate = this.#candidate;
    const { offset, length, addressOffset, port } = candidate;
    const shortLength = fragments.tunnelLength(offset);
    candidate.tunnelLength = shortLength + FRAGMENT_BYTES;
    const layer4Length = length - candidate.tunnelLength;
    const isTcp = memory.bytes[offset + 3] === PROTOCOL_TCP;
    const headerLength = Math.min(layer4Length, isTcp ? TCP_LENGTH_MIN : UDP_LENGTH_MIN);
    if (shortLength === 0 || headerLength < UDP_LENGTH_MIN) return false;
    const output = this.#output;
    if (output.count === output.capacity) this.#write();
    const layer4 = headerSlotOffset(memory.slab, output.count) + HEADER_SLOT_LAYER4;
    const information = offset + TUNNEL_FIRST_BYTES;
    const rest = shortLength - TUNNEL_FIRST_BYTES + headerLength;
    memory.kernel.copy(layer4 - shortLength, offset, TUNNEL_FIRST_BYTES);
    const place = layer4 - shortLength + TUNNEL_FIRST_BYTES;
    memory.kernel.copy(place, information + FRAGMENT_BYTES, rest);
    const start = fragments.translate(
      layer4,
      shortLength,
      layer4Length,
      information,
      addressOffset,
      port,
    );
    if (start === 0) return false;
    const index = output.add(start, layer4 - start + headerLength);
    const inFront = candidate.tunnelLength + headerLength;
    output.addPiece(index, offset + inFront, length - inFront);
    this.#joiner.alone(index, candidate, headerLength);
    this.#bytes += layer4 - start + layer4Length;
    return true;
  }

  /** Translates the datagram that is looked at, in the header slot of the next packet. */
  #translate(): void {
    const { fast, memory } = this.#parts;
    const candidate = this.#candidate;
    const { offset, length, tunnelLength } = candidate;
    const output = this.#output;
    const layer4 = headerSlotOffset(memory.slab, output.count) + HEADER_SLOT_LAYER4;
    const copied = Math.min(length, tunnelLength + HEADER_SLOT_LAYER4_BYTES);
    memory.kernel.copy(layer4 - tunnelLength, offset, copied);
    const head = layer4 - tunnelLength;
    const start = fast.translate(head, length, candidate.addressOffset, candidate.port);
    if (start === 0) return this.#handOver(offset, length);
    const layer4Length = length - tunnelLength;
    if (memory.bytes[offset + 3] === PROTOCOL_TCP) {
      const there = Math.min(layer4Length, HEADER_SLOT_LAYER4_BYTES);
      const { addressOffset } = candidate;
      this.#parts.mssClamp?.fromTunnel(layer4, there, tunnelLength, addressOffset);
    }
    const headerLength = this.#headerLength(layer4, layer4Length, memory.bytes[offset + 3]!);
    const isWhole = copied === length;
    const index = output.add(start, layer4 - start + (isWhole ? layer4Length : headerLength));
    const inFront = tunnelLength + headerLength;
    if (!isWhole) output.addPiece(index, offset + inFront, length - inFront);
    this.#joiner.open(index, candidate, layer4, headerLength);
    this.#bytes += layer4 - start + layer4Length;
  }

  /** Length of a transport header, as far as it can be believed. */
  #headerLength(layer4: number, layer4Length: number, protocol: number): number {
    if (protocol !== PROTOCOL_TCP) return UDP_LENGTH_MIN;
    const length = (this.#parts.memory.bytes[layer4 + 12]! >>> 4) * 4;
    const isSane = length >= TCP_LENGTH_MIN && length <= Math.min(layer4Length, TCP_LENGTH_MAX);
    return isSane ? length : TCP_LENGTH_MIN;
  }

  #handOver(offset: number, length: number): void {
    const { addressOffset, port } = this.#candidate;
    this.#parts.handOver.datagram(RING_FROM_TUNNEL, offset, length, addressOffset, port);
  }

  /** Writes the output batch and empties it. */
  #write(): void {
    const output = this.#output;
    if (output.count === 0) return;
    const { tun, counters } = this.#parts;
    this.#joiner.finish();
    const refused = tun.writeBatch(output);
    const refusedPackets = refused === 0 ? 0 : output.refusedPackets;
    this.#tap?.written(output, this.#joiner);
    this.#count(refusedPackets);
    counters.add(BYTES, this.#bytes);
    counters.add(BATCHES, 1);
    if (refusedPackets !== 0) counters.add(WRITE_DROP, refusedPackets);
    output.count = 0;
    this.#bytes = 0;
  }

  #count(refusedPackets: number): void {
    const { counters } = this.#parts;
    const { count, packetCounts } = this.#output;
    let packets = 0;
    let superPackets = 0;
    for (let index = 0; index < count; index++) {
      packets += packetCounts[index]!;
      if (packetCounts[index]! > 1) superPackets++;
    }
    counters.add(PACKETS, packets - refusedPackets);
    counters.add(SUPER_PACKETS, superPackets);
    counters.add(JOINED, packets - count);
  }
}
