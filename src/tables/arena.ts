/**
 * The shared memory of a gateway: one WebAssembly.Memory for everything that threads share, and
 * one plan that says where each part lies. All sizes are fixed at start, so the capacities are
 * generous: the operating system commits a page when it is first touched.
 *
 * Every limit is a sum: the total is added up part by part below, in memory order.
 *
 *   control block | counters, one block per thread | peer table | peer traffic, ditto |
 *   flow samples, ditto | address table | per lane: egress ring, ingress ring, a capture ring for
 *   each, egress slab, ingress slab
 *
 * A lane is a pair of forwarding workers: egress (local network to tunnel) and ingress.
 */

import { assert } from "../base/assert.js";
import { type AddressTableShape, addressTableBytes } from "./address-table-layout.js";
import { CAPTURE_AREA_BYTES } from "./capture-area.js";
import { captureRingBytes } from "./capture-ring.js";
import { CONTROL_BLOCK_BYTES } from "./control-block.js";
import { countersBytes } from "./counters.js";
import { flowSamplesBytes } from "./flow-samples.js";
import { packetRingBytes } from "./packet-ring.js";
import { peerTableBytes } from "./peer-table.js";
import { peerTrafficBytes } from "./peer-traffic.js";
import { IDENTIFICATIONS, TRANSLATION_BYTES } from "./shared-sizes.js";

/** Messages of one sendmmsg or recvmmsg, and packet slots of a slab. */
export const BATCH_PACKETS_MAX = 64;
/** Packets of one batch read from the TUN device. */
export const READ_PACKETS_MAX = 256;
/** Tunnel packets of one batch; super-packets count with their segments. */
export const SEND_PACKETS_MAX = 512;
/** Packets and super-packets of one batch written to the TUN device. */
export const WRITE_PACKETS_MAX = 256;
/** Packets that one message or one super-packet is made of: UDP_MAX_SEGMENTS before Linux 6.9. */
export const GROUP_PACKETS_MAX = 64;
/** Room for the largest packet that IP or UDP can carry, so that nothing is ever cut. */
export const SLOT_PACKET_BYTES_MAX = 65_536;
/**
 * Room in front of each packet. A tunnel header (at most 68 octets here) replaces an IPv4 header
 * of 20, or an IPv6 header of 40 a tunnel header of 20: 48 more octets at most. 128 keeps packets
 * at cache lines and leaves 80 for device headers.
 */
export const SLOT_HEADROOM_BYTES = 128;
/** Distance of two packet slots; not a power of two, so that slots use different cache sets. */
export const SLOT_BYTES = SLOT_HEADROOM_BYTES + SLOT_PACKET_BYTES_MAX;
/**
 * A header slot: the headers of a packet whose payload lies elsewhere. The layer-4 header begins
 * at HEADER_SLOT_LAYER4; in front of it there is room for a tunnel header (at most 68 octets
 * here) or an IP header (60) and a device header (10); behind it for a TCP header (60) or a small
 * packet as a whole. Three cache lines.
 */
export const HEADER_SLOT_BYTES = 192;
export const HEADER_SLOT_LAYER4 = 80;
/** Octets of layer 4 that a header slot can hold. */
export const HEADER_SLOT_LAYER4_BYTES = HEADER_SLOT_BYTES - HEADER_SLOT_LAYER4;

const CACHE_LINE_BYTES = 64;
const PAGE_BYTES = 4096;
/** WebAssembly core specification 2.5.5. */
const WASM_PAGE_BYTES = 65_536;
/** Byte offsets are handled as non-negative 32-bit integers. */
const TOTAL_BYTES_MAX = 2 ** 31;

/** Longest message header (mmsghdr), scatter entry (iovec) and socket address (sockaddr_in6). */
const MESSAGE_BYTES = 64;
const SCATTER_BYTES = 16;
const SOCKET_ADDRESS_BYTES = 32;
/** Control data of one message: one cmsghdr of 16 bytes and one number. */
const CONTROL_BYTES = 32;
const POLL_BYTES = 64;
const SCRATCH_BYTES = 512;
/** Scatter entries: two for each tunnel packet, header and payload. */
export const SCATTER_MAX = 2 * SEND_PACKETS_MAX;

/** Where the parts of one worker's slab lie, as byte offsets into the memory. */
export interface SlabLayout {
  /** Poll descriptors. */
  readonly pollOffset: number;
  /** Headers built before they replace another one, and other small things. */
  readonly scratchOffset: number;
  /** BATCH_PACKETS_MAX message headers of 64 bytes. */
  readonly messagesOffset: number;
  /**
   * SCATTER_MAX scatter entries of 16 bytes. Receiving, the first BATCH_PACKETS_MAX belong to the
   * messages and those behind them to what is written.
   */
  readonly scatterOffset: number;
  /** BATCH_PACKETS_MAX socket addresses of 32 bytes. */
  readonly socketAddressesOffset: number;
  /** BATCH_PACKETS_MAX blocks of control data of 32 bytes. */
  readonly controlOffset: number;
  /** READ_PACKETS_MAX entries of TRANSLATION_BYTES. */
  readonly translationsOffset: number;
  /** IDENTIFICATIONS counters of 16 bits. */
  readonly identificationsOffset: number;
  /** SEND_PACKETS_MAX header slots of HEADER_SLOT_BYTES. */
  readonly headersOffset: number;
  /** Room to put together one packet: SLOT_PACKET_BYTES_MAX bytes. */
  readonly assemblyOffset: number;
  /**
   * Packets: BATCH_PACKETS_MAX slots of SLOT_BYTES, headroom first; or, read from the TUN device,
   * one behind the other.
   */
  readonly slotsOffset: number;
  readonly endOffset: number;
}

/** The layout of a slab that begins at `baseOffset`, a multiple of 64. */
export function slabLayout(baseOffset: number): SlabLayout {
  const pollOffset = baseOffset;
  const scratchOffset = pollOffset + POLL_BYTES;
  const messagesOffset = scratchOffset + SCRATCH_BYTES;
  const scatterOffset = messagesOffset + BATCH_PACKETS_MAX * MESSAGE_BYTES;
  const socketAddressesOffset = scatterOffset + SCATTER_MAX * SCATTER_BYTES;
  const controlOffset = socketAddressesOffset + BATCH_PACKETS_MAX * SOCKET_ADDRESS_BYTES;
  const controlEnd = controlOffset + BATCH_PACKETS_MAX * CONTROL_BYTES;
  const translationsOffset = alignUp(controlEnd, CACHE_LINE_BYTES);
  const identificationsOffset = translationsOffset + READ_PACKETS_MAX * TRANSLATION_BYTES;
  const headersOffset = identificationsOffset + 2 * IDENTIFICATIONS;
  const assemblyOffset = headersOffset + SEND_PACKETS_MAX * HEADER_SLOT_BYTES;
  const slotsOffset = assemblyOffset + SLOT_PACKET_BYTES_MAX;
  return {
    pollOffset,
    scratchOffset,
    messagesOffset,
    scatterOffset,
    socketAddressesOffset,
    controlOffset,
    translationsOffset,
    identificationsOffset,
    headersOffset,
    assemblyOffset,
    slotsOffset,
    endOffset: slotsOffset + BATCH_PACKETS_MAX * SLOT_BYTES,
  };
}

/** Offset of the packet of a slot, behind its headroom. */
export function slotPacketOffset(slab: SlabLayout, slot: number): number {
  return slab.slotsOffset + slot * SLOT_BYTES + SLOT_HEADROOM_BYTES;
}

/** Offset of a header slot. */
export function headerSlotOffset(slab: SlabLayout, slot: number): number {
  return slab.headersOffset + slot * HEADER_SLOT_BYTES;
}

/** What to plan for. */
export interface ArenaOptions extends AddressTableShape {
  readonly peersMax: number;
  readonly lanes: number;
  /** Room in each ring to the slow path; a power of two. */
  readonly ringBytes: number;
}

/** Places of one lane. */
export interface LanePlan {
  readonly egressRingOffset: number;
  readonly ingressRingOffset: number;
  readonly egressCaptureOffset: number;
  readonly ingressCaptureOffset: number;
  readonly egressSlabOffset: number;
  readonly ingressSlabOffset: number;
}

/** Where everything lies. A plain value: it is handed to workers with the memory. */
export interface ArenaPlan {
  readonly options: ArenaOptions;
  readonly controlOffset: number;
  readonly captureOffset: number;
  readonly countersOffset: number;
  /** Counter blocks: 0 main thread, then egress and ingress worker of each lane. */
  readonly counterWriters: number;
  readonly peersOffset: number;
  /** Blocks of peer-traffic.ts, one for each of the counter writers. */
  readonly peerTrafficOffset: number;
  /** Blocks of flow-samples.ts, likewise. */
  readonly flowSamplesOffset: number;
  readonly addressesOffset: number;
  readonly lanes: readonly LanePlan[];
  readonly totalBytes: number;
  /** Size of the WebAssembly.Memory, initial and maximum. */
  readonly wasmPages: number;
}

/** Counter block of the main thread. */
export const COUNTER_WRITER_MAIN = 0;

/** Counter block of a worker. */
export function counterWriter(lane: number, role: "egress" | "ingress"): number {
  return 1 + 2 * lane + (role === "egress" ? 0 : 1);
}

/** Plans the shared memory. */
export function planArena(options: ArenaOptions): ArenaPlan {
  const counterWriters = 1 + 2 * options.lanes;
  let end = 0;
  const take = (bytes: number, align: number): number => {
    const offset = alignUp(end, align);
    end = offset + bytes;
    return offset;
  };
  const controlOffset = take(CONTROL_BLOCK_BYTES, CACHE_LINE_BYTES);
  const captureOffset = take(CAPTURE_AREA_BYTES, CACHE_LINE_BYTES);
  const countersOffset = take(countersBytes(counterWriters), CACHE_LINE_BYTES);
  const peersOffset = take(peerTableBytes(options.peersMax), PAGE_BYTES);
  const trafficBytes = peerTrafficBytes(options.peersMax, counterWriters);
  const peerTrafficOffset = take(trafficBytes, CACHE_LINE_BYTES);
  const flowSamplesOffset = take(flowSamplesBytes(counterWriters), CACHE_LINE_BYTES);
  const addressesOffset = take(addressTableBytes(options), PAGE_BYTES);
  const lanes = Array.from({ length: options.lanes }, () => planLane(options.ringBytes, take));
  assert(end < TOTAL_BYTES_MAX, "the shared memory is smaller than 2 GiB");
  return {
    options,
    controlOffset,
    captureOffset,
    countersOffset,
    counterWriters,
    peersOffset,
    peerTrafficOffset,
    flowSamplesOffset,
    addressesOffset,
    lanes,
    totalBytes: end,
    wasmPages: Math.ceil(end / WASM_PAGE_BYTES),
  };
}

function planLane(ringBytes: number, take: (bytes: number, align: number) => number): LanePlan {
  const ring = packetRingBytes(ringBytes);
  const capture = captureRingBytes(READ_PACKETS_MAX);
  const slab = slabLayout(0).endOffset;
  return {
    egressRingOffset: take(ring, PAGE_BYTES),
    ingressRingOffset: take(ring, PAGE_BYTES),
    egressCaptureOffset: take(capture, PAGE_BYTES),
    ingressCaptureOffset: take(capture, PAGE_BYTES),
    egressSlabOffset: take(slab, PAGE_BYTES),
    ingressSlabOffset: take(slab, PAGE_BYTES),
  };
}

function alignUp(offset: number, align: number): number {
  return Math.ceil(offset / align) * align;
}
