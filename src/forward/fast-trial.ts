/**
 * Would the fast path take this packet? The loops of the forwarding workers themselves decide, over
 * a memory of their own that holds copies of just the records which the packet can meet. The
 * gateway's memory is only read: no stamp, no counter. Main thread, one packet at a time; cold.
 */

import { type IpAddress, ipHeaderLength } from "../base/ip.js";
import { seededRandom } from "../base/random.js";
import { writeReferenceInto } from "../base/reference.js";
import {
  AddressTableReader,
  KIND_LOCAL,
  KIND_PAIR,
  KIND_REMOTE,
  RECORD_CONTEXT,
  RECORD_LOCAL,
} from "../tables/address-table.js";
import { AddressTableWriter } from "../tables/address-table-writer.js";
import {
  type ArenaPlan,
  counterWriter,
  planArena,
  slabLayout,
  slotPacketOffset,
} from "../tables/arena.js";
import { CONTROL_BLOCK_BYTES } from "../tables/control-block.js";
import { CounterBlock } from "../tables/counters.js";
import { PacketRingProducer } from "../tables/packet-ring.js";
import {
  PEER_SETTLED,
  PEER_VERIFIED,
  PeerTableReader,
  PeerTableWriter,
} from "../tables/peer-table.js";
import { parseTunnelPacket } from "../wire/tunnel-packet.js";
import { EgressLoop } from "./egress.js";
import { FastEgress } from "./fast-egress.js";
import { EgressFragments, IngressFragments } from "./fast-fragments.js";
import { FastIngress } from "./fast-ingress.js";
import { FastPathMemory, type FastPathSettings } from "./fast-path.js";
import { HandOver } from "./hand-over.js";
import { IngressLoop } from "./ingress.js";
import type { PacketBatch } from "./ports.js";

/** Records of one packet: source, destination, a remembered pair, and the record it names. */
const RECORDS_MAX = 8;
const RING_BYTES = 2 ** 17;
const KEY_BYTES = 48;
/** Where a second address or a reference lies in a key. */
const KEY_SECOND = 16;
const KEY_REFERENCE = 32;

/** The gateway whose fast path is asked. */
export interface FastTrialSource {
  readonly memory: SharedArrayBuffer | ArrayBuffer;
  readonly plan: ArenaPlan;
  readonly settings: FastPathSettings;
}

/** True when an egress worker would send this packet of the local network itself. */
export function isTakenFromLocal(source: FastTrialSource, packet: Uint8Array): boolean {
  const trial = new FastTrial(source);
  trial.copyForLocal(packet);
  return trial.runEgress(packet);
}

/** True when an ingress worker would write what is in this datagram itself. */
export function isTakenFromTunnel(
  source: FastTrialSource,
  datagram: Uint8Array,
  address: IpAddress,
  port: number,
): boolean {
  const trial = new FastTrial(source);
  trial.copyForTunnel(datagram, address);
  return trial.runIngress(datagram, address, port);
}

class FastTrial {
  readonly #source: FastTrialSource;
  readonly #real: AddressTableReader;
  readonly #realPeers: PeerTableReader;
  readonly #plan: ArenaPlan;
  readonly #memory: SharedArrayBuffer;
  readonly #bytes: Uint8Array;
  readonly #table: AddressTableWriter;
  readonly #peers: PeerTableWriter;
  readonly #key = new Uint8Array(KEY_BYTES);
  readonly #view = new DataView(this.#key.buffer);
  /** Number in the copy of each record that was copied. */
  readonly #copies = new Map<number, number>();

  constructor(source: FastTrialSource) {
    const { memory, plan } = source;
    this.#source = source;
    this.#real = new AddressTableReader(memory, plan.addressesOffset, plan.options);
    this.#realPeers = new PeerTableReader(memory, plan.peersOffset, plan.options.peersMax);
    const small = { recordsMax: RECORDS_MAX, peersMax: 1, lanes: 1, ringBytes: RING_BYTES };
    this.#plan = planArena({ ...plan.options, ...small });
    this.#memory = emptyMemory(this.#plan);
    this.#bytes = new Uint8Array(this.#memory);
    this.#table = new AddressTableWriter(
      this.#memory,
      this.#plan.addressesOffset,
      this.#plan.options,
    );
    this.#peers = new PeerTableWriter(this.#memory, this.#plan.peersOffset, small.peersMax);
    const control = new Uint8Array(memory, plan.controlOffset, CONTROL_BLOCK_BYTES);
    this.#bytes.set(control, this.#plan.controlOffset);
  }

  /** Copies what a packet of the local network meets. */
  copyForLocal(packet: Uint8Array): void {
    const { localVersion } = this.#source.settings;
    const header = ipHeaderLength(localVersion);
    if (packet.length < header) return;
    const length = localVersion === 4 ? 4 : 16;
    const destination = packet.subarray(header - length, header);
    const sender = packet.subarray(header - 2 * length, header - length);
    this.#copyRemote(this.#findByLocal(destination));
    this.#copyHost(sender, destination);
  }

  /** Copies what a datagram from `address` meets. */
  copyForTunnel(datagram: Uint8Array, address: IpAddress): void {
    const { localVersion, tunnelVersion } = this.#source.settings;
    const tunnel = parseTunnelPacket(datagram, "G", tunnelVersion);
    if (typeof tunnel === "string") return;
    const length = localVersion === 4 ? 4 : 16;
    this.#setKey(new Uint8Array(0), address.bytes, tunnel.source.reference);
    const remote = this.#real.findRemote(this.#view, KEY_SECOND, KEY_REFERENCE);
    this.#copyRemote(remote);
    this.#setKey(new Uint8Array(0), new Uint8Array(0), tunnel.destination.reference);
    const local = this.#real.findLocalByReference(this.#view, KEY_REFERENCE);
    if (remote === 0 || local === 0) return;
    this.#copyHost(this.#localOf(local, length), this.#localOf(remote, length));
    this.#copy(local);
  }

  /** Runs one batch of an egress worker; true when the packet was sent. */
  runEgress(packet: Uint8Array): boolean {
    let sent = 0;
    const { egressSlabOffset, egressRingOffset } = this.#plan.lanes[0]!;
    const memory = new FastPathMemory(this.#memory, this.#plan, egressSlabOffset);
    const offset = slotPacketOffset(slabLayout(egressSlabOffset), 0);
    this.#bytes.set(packet, offset);
    const { settings } = this.#source;
    const fast = new FastEgress(memory, settings);
    const loop = new EgressLoop({
      ...this.#workerParts("egress", egressRingOffset, memory),
      memory,
      fast,
      fragments: new EgressFragments(memory, fast, settings),
      hasDeviceHeader: false,
      tun: {
        waitReadable: () => true,
        readBatch: (batch) => fillLocal(batch, offset, packet),
        hasSidePackets: () => false,
        readSideBatch: () => {},
      },
      tunnel: {
        sendBatch: (batch) => {
          sent += batch.count;
          return 0;
        },
      },
    });
    loop.runBatch();
    return sent > 0;
  }

  /** Runs one batch of an ingress worker; true when a packet was written. */
  runIngress(datagram: Uint8Array, address: IpAddress, port: number): boolean {
    let written = 0;
    const { ingressSlabOffset, ingressRingOffset } = this.#plan.lanes[0]!;
    const { settings } = this.#source;
    const memory = new FastPathMemory(this.#memory, this.#plan, ingressSlabOffset);
    const slab = slabLayout(ingressSlabOffset);
    const [offset, addressOffset] = [slotPacketOffset(slab, 0), slab.socketAddressesOffset + 8];
    const { length } = datagram;
    this.#bytes.set(datagram, offset);
    this.#bytes.set(address.bytes, addressOffset);
    const { localVersion } = settings;
    const fast = new FastIngress(memory, settings, seededRandom(1));
    const loop = new IngressLoop({
      ...this.#workerParts("ingress", ingressRingOffset, memory),
      memory,
      fast,
      fragments: new IngressFragments(memory, fast, settings),
      joining: { hasDeviceHeader: false, joinsTcp: false, joinsUdp: false, localVersion },
      tun: {
        writeBatch: (batch) => {
          written += batch.count;
          return 0;
        },
      },
      tunnel: {
        waitReadable: () => true,
        takeErrorNotice: () => false,
        receiveBatch: (batch) => {
          batch.count = 0;
          batch.addMessage(offset, length, length, addressOffset, port);
        },
      },
    });
    loop.runBatch();
    return written > 0;
  }

  #workerParts(role: "egress" | "ingress", ringOffset: number, memory: FastPathMemory) {
    const counters = new CounterBlock(
      this.#memory,
      this.#plan.countersOffset,
      counterWriter(0, role),
    );
    const ring = new PacketRingProducer(this.#memory, ringOffset, RING_BYTES);
    const name = `${role}-slow-path` as const;
    return {
      counters,
      handOver: new HandOver(ring, counters, name, memory.contextWords, () => {}),
    };
  }

  /** The records of one of our hosts that a packet to or from an encoded address can meet. */
  #copyHost(host: Uint8Array, encoded: Uint8Array): void {
    const primary = this.#findByLocal(host);
    if (primary !== 0 && this.#real.kind(primary) === KIND_LOCAL) this.#copy(primary);
    this.#setKey(host, encoded, 0n);
    const pair = this.#real.findPair(this.#view, 0, KEY_SECOND);
    if (pair === 0) return;
    const chosen = this.#copy(this.#real.offsetOf(this.#real.hint(pair)));
    this.#copy(pair, chosen);
  }

  /** A remote host and its gateway. */
  #copyRemote(record: number): void {
    if (record === 0 || this.#real.kind(record) !== KIND_REMOTE) return;
    const { tunnelVersion } = this.#source.settings;
    const contextWord = (record + RECORD_CONTEXT) >>> 2;
    const entry = this.#realPeers.findAt(contextWord, tunnelVersion === 4 ? 1 : 4);
    this.#copy(record, entry === 0 ? 0 : this.#copyPeer(entry));
  }

  #copyPeer(entry: number): number {
    const { tunnelVersion } = this.#source.settings;
    const real = this.#realPeers;
    const copy = this.#peers.insert(real.address(entry, tunnelVersion));
    this.#peers.setPort(copy, real.port(entry));
    this.#peers.setPacketBytesMax(copy, real.packetBytesMax(entry));
    this.#peers.setVerified(copy, (real.flags(entry) & PEER_VERIFIED) !== 0);
    this.#peers.setSettled(copy, (real.flags(entry) & PEER_SETTLED) !== 0);
    return copy;
  }

  /** Copies the record at a byte offset once; its number in the copy. */
  #copy(record: number, hint = 0): number {
    const known = this.#copies.get(record);
    if (known !== undefined) return known;
    const kind = this.#real.kind(record);
    if (kind !== KIND_LOCAL && kind !== KIND_REMOTE && kind !== KIND_PAIR) return 0;
    const fields = { kind, flags: this.#real.flags(record), lastUsedSeconds: 0, hint } as const;
    const number = this.#table.insert(fields, this.#real.view, record + RECORD_LOCAL);
    this.#copies.set(record, number);
    return number;
  }

  #findByLocal(address: Uint8Array): number {
    this.#setKey(address, new Uint8Array(0), 0n);
    return this.#real.findByLocal(this.#view, 0);
  }

  #setKey(first: Uint8Array, second: Uint8Array, reference: bigint): void {
    this.#key.fill(0);
    this.#key.set(first, 0);
    this.#key.set(second, KEY_SECOND);
    writeReferenceInto(this.#key, KEY_REFERENCE, reference);
  }

  #localOf(record: number, length: number): Uint8Array {
    const start = record + RECORD_LOCAL;
    return new Uint8Array(this.#source.memory).slice(start, start + length);
  }
}

/** Memory of the last trial, to be used again: it is ten megabytes. */
let spare: SharedArrayBuffer | undefined;

/** Memory for a plan, empty as far as anything is read before it is written: up to the slabs. */
function emptyMemory(plan: ArenaPlan): SharedArrayBuffer {
  if (spare?.byteLength !== plan.totalBytes) spare = new SharedArrayBuffer(plan.totalBytes);
  else new Uint8Array(spare, 0, plan.lanes[0]!.egressSlabOffset).fill(0);
  return spare;
}

function fillLocal(batch: PacketBatch, offset: number, packet: Uint8Array): void {
  batch.count = 0;
  batch.addLocal(offset, packet.length);
}
