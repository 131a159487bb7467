/**
 * A small gateway for tests of the fast path: shared memory with a few hosts, remote hosts and
 * remote gateways, and the same mappings as an AddressLookup for the slow path. Plus generators of
 * packets that are mostly good and break one rule now and then.
 */

import type { AddressLookup, Lookup } from "../../src/base/address-lookup.js";
import {
  addressKey,
  type IpAddress,
  type IpVersion,
  parseIp,
  parsePrefix,
  sameAddress,
  zeroAddress,
} from "../../src/base/ip.js";
import { type RandomSource, randomBelow, seededRandom } from "../../src/base/random.js";
import { type IprefAddress, writeReferenceInto } from "../../src/base/reference.js";
import type { KernelName } from "../../src/control/gateway-flags.js";
import { FastPathMemory, type FastPathSettings } from "../../src/forward/fast-path.js";
import { allocateWasmMemory, type WasmMemory } from "../../src/platform/wasm.js";
import { chooseKernel, makeKernel, type WasmParts } from "../../src/programs/kernel-choice.js";
import {
  FLAG_MULTIPLE,
  FLAG_SECONDARY,
  KIND_LOCAL,
  type KIND_PAIR,
  KIND_REMOTE,
} from "../../src/tables/address-table.js";
import { AddressTableWriter } from "../../src/tables/address-table-writer.js";
import { type ArenaPlan, planArena, slabLayout, slotPacketOffset } from "../../src/tables/arena.js";
import { ControlBlock } from "../../src/tables/control-block.js";
import { PeerTableWriter } from "../../src/tables/peer-table.js";
import { DEFAULT_PROTOCOLS, type TranslationSettings } from "../../src/translate/settings.js";

/** Which gateway to build. */
export interface WorldOptions {
  readonly localVersion: IpVersion;
  readonly tunnelVersion: IpVersion;
  readonly decrementTtl?: boolean;
  readonly isPublicKnown?: boolean;
  /** Room in each ring to the slow path; 128 KiB by default. */
  readonly ringBytes?: number;
}

/** All eight settings of versions and TTL option. */
export const ALL_WORLDS: readonly WorldOptions[] = ([4, 6] as const).flatMap((localVersion) =>
  ([4, 6] as const).flatMap((tunnelVersion) =>
    [false, true].map((decrementTtl) => ({ localVersion, tunnelVersion, decrementTtl })),
  ),
);

export interface Host {
  readonly ip: IpAddress;
  readonly reference: bigint;
}

export interface RemoteHost {
  readonly encoded: IpAddress;
  readonly ipref: IprefAddress;
}

export interface RemotePeer {
  readonly address: IpAddress;
  readonly port: number;
  readonly bytesMax: number;
  readonly isVerified: boolean;
}

function ip(text: string): IpAddress {
  const address = parseIp(text);
  if (address === undefined) throw new Error(`not an address: ${text}`);
  return address;
}

/** References that need 4, 8 and 16 octets, with and without the reserved top octet. */
const REFERENCES = [0x1234n, 0xfeed_0000_0101n, (5n << 120n) | (0xabcn << 64n) | 77n, 5n << 120n];

/** The gateway under test. */
export class FastWorld {
  readonly options: WorldOptions;
  readonly plan: ArenaPlan;
  readonly memory: WasmMemory;
  readonly buffer: SharedArrayBuffer;
  readonly bytes: Uint8Array;
  readonly addresses: AddressTableWriter;
  readonly peerTable: PeerTableWriter;
  readonly control: ControlBlock;
  readonly publicAddress: IpAddress;
  readonly hosts: readonly Host[];
  readonly remotes: readonly RemoteHost[];
  readonly peers: readonly RemotePeer[];
  readonly settings: TranslationSettings;
  readonly fastSettings: FastPathSettings;

  constructor(options: WorldOptions) {
    this.options = options;
    const { localVersion, tunnelVersion } = options;
    const size = {
      recordsMax: 64,
      peersMax: 8,
      lanes: 1,
      ringBytes: options.ringBytes ?? 1 << 17,
      hashSeed: 4711,
    };
    this.plan = planArena({ ...size, localVersion, tunnelVersion });
    this.memory = allocateWasmMemory(this.plan.totalBytes);
    this.buffer = this.memory.buffer;
    this.bytes = new Uint8Array(this.buffer);
    const shape = this.plan.options;
    this.addresses = new AddressTableWriter(this.buffer, this.plan.addressesOffset, shape);
    this.peerTable = new PeerTableWriter(this.buffer, this.plan.peersOffset, shape.peersMax);
    this.control = new ControlBlock(this.buffer, this.plan.controlOffset);
    const own = tunnelVersion === 4 ? ip("203.0.113.5") : ip("2001:db8:9::5");
    this.publicAddress = options.isPublicKnown === false ? zeroAddress(tunnelVersion) : own;
    this.control.setPublicAddress(this.publicAddress);
    this.control.setNowSeconds(1000);
    this.hosts = REFERENCES.map((reference, index) => ({ ip: this.hostIp(index), reference }));
    this.peers = this.#makePeers();
    this.remotes = this.#makeRemotes();
    this.settings = this.#translationSettings();
    this.fastSettings = {
      localVersion,
      tunnelVersion,
      decrementTtl: options.decrementTtl ?? false,
      carriesTcp: true,
      carriesUdp: true,
      carriesIcmp: true,
    };
    this.#fillTables();
  }

  hostIp(index: number): IpAddress {
    const { localVersion } = this.options;
    return localVersion === 4 ? ip(`172.16.5.${20 + index}`) : ip(`2001:db8:b::${20 + index}`);
  }

  encodedIp(index: number): IpAddress {
    const { localVersion } = this.options;
    return localVersion === 4 ? ip(`10.240.17.${index}`) : ip(`fd00:eaea::17:${index}`);
  }

  contextIp(index: number): IpAddress {
    const { tunnelVersion } = this.options;
    return tunnelVersion === 4 ? ip(`198.51.100.${index}`) : ip(`2001:db8:8::${index}`);
  }

  /** What a worker needs to run a kernel over this memory. */
  wasmParts(kernel: KernelName): WasmParts | undefined {
    const { module, warning } = chooseKernel(kernel);
    if (warning !== undefined) throw new Error(warning);
    return module && { module, memory: this.memory };
  }

  /** A worker's view of the memory, and where its first packet lies. */
  worker(role: "egress" | "ingress", kernel: KernelName = "ts") {
    const lane = this.plan.lanes[0]!;
    const slabOffset = role === "egress" ? lane.egressSlabOffset : lane.ingressSlabOffset;
    const parts = this.wasmParts(kernel);
    const memory = new FastPathMemory(this.buffer, this.plan, slabOffset, (table) =>
      makeKernel(table, parts),
    );
    memory.refresh();
    const slab = slabLayout(slabOffset);
    const address = slab.socketAddressesOffset + 8;
    return { memory, offset: slotPacketOffset(slab, 0), address };
  }

  /** The slow path's view of the same mappings; creates nothing. */
  lookup(): AddressLookup {
    const { hosts, remotes, publicAddress } = this;
    const isSame = (a: IprefAddress, b: IprefAddress): boolean =>
      a.reference === b.reference && sameAddress(a.context, b.context);
    const answer = <Value>(value: Value | undefined): Lookup<Value> =>
      value === undefined
        ? { status: "refused", reason: "local-destination-unknown" }
        : { status: "found", value };
    return {
      oursToIpref: (host) => {
        const found = hosts.find((each) => sameAddress(each.ip, host));
        return answer(found && { context: publicAddress, reference: found.reference });
      },
      theirsToIpref: (encoded) =>
        answer(remotes.find((each) => sameAddress(each.encoded, encoded))?.ipref),
      iprefToTheirs: (remote) =>
        answer(remotes.find((each) => isSame(each.ipref, remote))?.encoded),
      iprefToOurs: ({ reference }) => answer(hosts.find((h) => h.reference === reference)?.ip),
    };
  }

  /** Adds a record; all fields by value. Returns its number. */
  insert(
    kind: typeof KIND_LOCAL | typeof KIND_REMOTE | typeof KIND_PAIR,
    fields: { local: IpAddress; context?: IpAddress; reference?: bigint; flags?: number },
    hint = 0,
  ): number {
    const key = new Uint8Array(48);
    key.set(fields.local.bytes, 0);
    if (fields.context !== undefined) key.set(fields.context.bytes, 16);
    writeReferenceInto(key, 32, fields.reference ?? 0n);
    const record = { kind, flags: fields.flags ?? 0, lastUsedSeconds: 0, hint };
    return this.addresses.insert(record, new DataView(key.buffer), 0);
  }

  /** Gives host 0 a second reference, as the mapper does; returns both record numbers. */
  addSecondReference(reference: bigint): { primary: number; secondary: number } {
    const local = this.hosts[0]!.ip;
    const at = this.addresses.findAnyByLocal(new DataView(local.bytes.slice().buffer), 0);
    const primary = this.addresses.numberOf(at);
    this.addresses.setFlags(primary, FLAG_MULTIPLE);
    const flags = FLAG_MULTIPLE | FLAG_SECONDARY;
    return { primary, secondary: this.insert(KIND_LOCAL, { local, reference, flags }) };
  }

  #makePeers(): RemotePeer[] {
    return [
      { address: this.contextIp(1), port: 1045, bytesMax: 1400, isVerified: true },
      { address: this.contextIp(2), port: 40_000, bytesMax: 300, isVerified: true },
      { address: this.contextIp(3), port: 1045, bytesMax: 1400, isVerified: false },
    ];
  }

  /** Remote hosts behind each peer, and behind one gateway without an entry. */
  #makeRemotes(): RemoteHost[] {
    return [1, 1, 2, 2, 3, 4].map((context, index) => ({
      encoded: this.encodedIp(index + 1),
      ipref: {
        context: this.contextIp(context),
        reference: REFERENCES[index % REFERENCES.length]! + BigInt(index),
      },
    }));
  }

  #translationSettings(): TranslationSettings {
    const { localVersion, tunnelVersion, decrementTtl } = this.options;
    const net = localVersion === 4 ? "10.240.0.0/12" : "fd00:eaea::/32";
    return {
      localVersion,
      tunnelVersion,
      encodeNet: parsePrefix(net)!,
      ownEncoded: localVersion === 4 ? ip("10.240.0.1") : ip("fd00:eaea::1"),
      gatewayReference: 1n,
      decrementTtl: decrementTtl ?? false,
      protocols: DEFAULT_PROTOCOLS,
      dropCongestionMarks: true,
    };
  }

  #fillTables(): void {
    const entries = new Map<string, number>();
    for (const { address, port, bytesMax, isVerified } of this.peers) {
      const entry = this.peerTable.insert(address);
      this.peerTable.setPort(entry, port);
      this.peerTable.setPacketBytesMax(entry, bytesMax);
      this.peerTable.setVerified(entry, isVerified);
      this.peerTable.setSettled(entry, isVerified);
      entries.set(addressKey(address), entry);
    }
    for (const { ip: local, reference } of this.hosts)
      this.insert(KIND_LOCAL, { local, reference });
    for (const [index, { encoded, ipref }] of this.remotes.entries()) {
      const hint = index % 2 === 0 ? 0 : (entries.get(addressKey(ipref.context)) ?? 0);
      this.insert(KIND_REMOTE, { local: encoded, ...ipref }, hint);
    }
  }
}

/** Random choices of one test run. */
export class Dice {
  readonly #random: RandomSource;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  below(bound: number): number {
    return randomBelow(this.#random, bound);
  }

  percent(share: number): boolean {
    return this.below(100) < share;
  }

  pick<Value>(values: readonly Value[]): Value {
    return values[this.below(values.length)]!;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }

  /** A checksum field: anything, and often one of the two zeros. */
  checksum(): number {
    return this.percent(15) ? this.pick([0, 0xffff]) : this.below(0x10000);
  }
}

/** Folded sum of 16-bit big-endian words. */
function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (const [index, byte] of bytes.entries()) sum += index % 2 === 0 ? byte << 8 : byte;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** One layer-4 packet; `echoTypes` are those of the side it is for. */
function makeLayer4(
  dice: Dice,
  protocol: number,
  echoTypes: readonly number[],
  zeroSum: number,
): Uint8Array {
  const least = protocol === 6 ? 20 : 8;
  const short = dice.percent(4) ? dice.below(least) : least;
  const room = dice.percent(10) ? 1350 : 120;
  const bytes = dice.bytes(short + (short === least ? dice.below(room) : 0));
  const view = new DataView(bytes.buffer);
  const at = protocol === 6 ? 16 : protocol === 17 ? 6 : 2;
  if (bytes.length < at + 2 || bytes.length < 8) return bytes;
  // Now and then a checksum whose adjusted form is zero.
  view.setUint16(at, dice.percent(10) ? zeroSum : dice.checksum());
  if (protocol === 17 && !dice.percent(4)) view.setUint16(4, bytes.length);
  if (protocol !== 6 && protocol !== 17 && dice.percent(90)) {
    view.setUint16(0, dice.pick(echoTypes) << 8);
  }
  return bytes;
}

/** A native packet from the local network. */
export function makeNative(world: FastWorld, dice: Dice): Uint8Array {
  const { localVersion } = world.options;
  const source = dice.percent(4) ? world.hostIp(77) : dice.pick(world.hosts).ip;
  const destination = dice.percent(4) ? world.encodedIp(99) : dice.pick(world.remotes).encoded;
  const icmp = localVersion === 4 ? 1 : 58;
  const protocol = dice.percent(3) ? dice.pick([1, 58, 47, 0]) : dice.pick([6, 6, 6, 17, 17, icmp]);
  const echo = localVersion === 4 ? [0, 8] : [128, 129];
  const sum = sumOf(Uint8Array.from([...source.bytes, ...destination.bytes]));
  const layer4 = makeLayer4(dice, protocol, echo, ~sum & 0xffff);
  const header = new Uint8Array(localVersion === 4 ? 20 : 40);
  const view = new DataView(header.buffer);
  const ttl = dice.percent(10) ? dice.below(3) : dice.below(256);
  const lie = dice.percent(3) ? dice.pick([-4, 4]) : 0;
  if (localVersion === 4) {
    header.set([dice.percent(3) ? 0x46 : 0x45, dice.percent(5) ? 3 : dice.below(64) << 2]);
    view.setUint16(2, 20 + layer4.length + lie);
    view.setUint16(4, dice.below(0x10000));
    const fragment = dice.percent(3) ? 0x2000 : dice.percent(3) ? dice.below(200) : 0;
    view.setUint16(6, fragment | (dice.percent(50) ? 0x4000 : 0));
    header.set([ttl, protocol], 8);
    header.set([...source.bytes, ...destination.bytes], 12);
  } else {
    view.setUint32(0, 0x60000000 | (dice.below(0x10000) << 4) | (dice.percent(5) ? 3 << 20 : 0));
    view.setUint16(4, layer4.length + lie);
    header.set([protocol, ttl], 6);
    header.set([...source.bytes, ...destination.bytes], 8);
  }
  return Uint8Array.from([...header, ...layer4]);
}

function wireReference(reference: bigint, octets: number): Uint8Array {
  const full = new Uint8Array(16);
  writeReferenceInto(full, 0, reference);
  const wire = full.slice(16 - octets);
  wire[0] = full[0]!;
  return wire;
}

function referenceCode(reference: bigint): number {
  const value = reference & ((1n << 120n) - 1n);
  return value < 1n << 24n ? 0 : value < 1n << 56n ? 1 : 2;
}

/** A datagram from the tunnel with its outer source. */
export interface TestDatagram {
  readonly packet: Uint8Array;
  readonly source: IpAddress;
  readonly port: number;
}

/** A tunnel packet in format G. */
export function makeDatagram(world: FastWorld, dice: Dice): TestDatagram {
  const { tunnelVersion } = world.options;
  const remote = dice.pick(world.remotes);
  const host = dice.pick(world.hosts);
  const to = dice.percent(4) ? 0xbadn : host.reference;
  const from = dice.percent(4) ? 0xbad1n : remote.ipref.reference;
  const source = dice.percent(3) ? world.contextIp(1) : remote.ipref.context;
  const zero = zeroAddress(tunnelVersion);
  const claimed = dice.percent(8) ? zero : remote.ipref.context;
  const other = world.contextIp(200);
  const destination = dice.percent(10) ? dice.pick([zero, other]) : world.publicAddress;
  const least = Math.max(referenceCode(from), referenceCode(to));
  const code = dice.percent(20) ? dice.pick([least, 2, 3]) : least;
  const octets = 4 << Math.min(code, 2);
  const protocol = dice.percent(3) ? dice.pick([58, 47]) : dice.pick([6, 6, 6, 17, 17, 1]);
  const ends = Uint8Array.from([...remote.encoded.bytes, ...host.ip.bytes]);
  const layer4 = makeLayer4(dice, protocol, [0, 8], sumOf(ends));
  const fragment = dice.percent(3) ? [0, 0, 0, 1, 0, 0, 1, 2] : [];
  const first = 0x10 | (code << 2) | (fragment.length > 0 ? 2 : 0) | dice.below(2);
  const second = dice.percent(3) ? dice.pick([0, 0x40, 0x60]) : tunnelVersion << 4;
  const ttl = dice.percent(10) ? dice.below(3) : dice.below(256);
  const references = [...wireReference(from, octets), ...wireReference(to, octets)];
  const contexts = [...claimed.bytes, ...destination.bytes];
  const head = [first, second, ttl, protocol, ...fragment, ...contexts, ...references];
  const peer = world.peers.find((each) => sameAddress(each.address, source));
  const port = dice.percent(4) ? 5555 : (peer?.port ?? 1045);
  return { packet: Uint8Array.from([...head, ...layer4]), source, port };
}

/** A whole UDP packet without checksum, with `length` octets of UDP. */
export function buildUdp(source: IpAddress, destination: IpAddress, length: number): Uint8Array {
  const header = new Uint8Array(source.version === 4 ? 20 : 40);
  const view = new DataView(header.buffer);
  const addresses = [...source.bytes, ...destination.bytes];
  if (source.version === 4) {
    header.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17]);
    view.setUint16(2, 20 + length);
    header.set(addresses, 12);
  } else {
    header.set([0x60, 0, 0, 0, 0, 0, 17, 64]);
    view.setUint16(4, length);
    header.set(addresses, 8);
  }
  const payload = new Uint8Array(length);
  payload.set([1, 2, 3, 4, length >> 8, length & 255, 0x12, 0x34]);
  return Uint8Array.from([...header, ...payload]);
}

/** A tunnel header in format G, with TTL 64 and the smallest form of references. */
export function tunnelHeader(
  from: IprefAddress,
  to: IprefAddress,
  df: number,
  protocol: number,
): Uint8Array {
  const code = Math.max(referenceCode(from.reference), referenceCode(to.reference));
  const version = from.context.version << 4;
  const references = [from, to].map(({ reference }) => [...wireReference(reference, 4 << code)]);
  const head = [0x10 | (code << 2) | df, version, 64, protocol];
  const contexts = [...from.context.bytes, ...to.context.bytes];
  return Uint8Array.from([...head, ...contexts, ...references.flat()]);
}

/** A tunnel packet in format G that carries 12 octets of UDP. */
export function buildDatagram(from: IprefAddress, to: IprefAddress, df: number): Uint8Array {
  const udp = [1, 2, 3, 4, 0, 12, 0x12, 0x34, 9, 9, 9, 9];
  return Uint8Array.from([...tunnelHeader(from, to, df, 17), ...udp]);
}
