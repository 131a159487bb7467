// Kernel benchmark: nanoseconds of single calls of both kernels, and nanoseconds per packet of the
// fast path with each of them, without system calls.
//
// One worker's memory with many mappings. Each round puts fresh headers into a batch of packet
// slots and translates them; the time of putting them there is measured alone and subtracted.
// "near" uses one pair of hosts all the time, "far" a random pair of many (cold caches).

import { type IpAddress, type IpVersion, parseIp } from "../src/base/ip.js";
import { randomBelow, seededRandom } from "../src/base/random.js";
import { writeReferenceInto } from "../src/base/reference.js";
import type { KernelName } from "../src/control/gateway-flags.js";
import { FastEgress } from "../src/forward/fast-egress.js";
import { FastIngress } from "../src/forward/fast-ingress.js";
import { FastPathMemory } from "../src/forward/fast-path.js";
import { PacketBatch } from "../src/forward/ports.js";
import { allocateWasmMemory, type WasmMemory } from "../src/platform/wasm.js";
import { chooseKernel, makeKernel } from "../src/programs/kernel-choice.js";
import { type AddressTableReader, KIND_LOCAL, KIND_REMOTE } from "../src/tables/address-table.js";
import { AddressTableWriter } from "../src/tables/address-table-writer.js";
import { BATCH_PACKETS_MAX, planArena, slabLayout, slotPacketOffset } from "../src/tables/arena.js";
import { ControlBlock } from "../src/tables/control-block.js";
import { PeerTableWriter } from "../src/tables/peer-table.js";
import { type CallResult, measureCalls } from "./kernel-calls.js";
import type { BenchOptions } from "./main.js";

const LAYER4_BYTES = 1380;
/** Bytes put into a slot each round: enough for any header and the start of TCP. */
const HEAD_BYTES = 128;
const PORT = 1045;

/** Nanoseconds with each kernel. */
interface Result {
  readonly name: string;
  readonly tsNanoseconds: number;
  readonly wasmNanoseconds: number;
}

/** A gateway with `pairs` hosts and as many remote hosts behind one remote gateway. */
export class BenchWorld {
  readonly bytes: Uint8Array;
  readonly #local: IpVersion;
  readonly #tunnel: IpVersion;
  readonly #pairs: number;
  readonly #plan;
  readonly #memory: WasmMemory;
  readonly #buffer: SharedArrayBuffer;
  readonly #peer: IpAddress;
  readonly #public: IpAddress;

  constructor(local: IpVersion, tunnel: IpVersion, pairs: number) {
    this.#local = local;
    this.#tunnel = tunnel;
    this.#pairs = pairs;
    const size = { recordsMax: 2 * pairs + 16, peersMax: 1024, lanes: 1, ringBytes: 65_536 };
    const versions = { localVersion: local, tunnelVersion: tunnel };
    this.#plan = planArena({ ...size, ...versions, hashSeed: 4711 });
    this.#memory = allocateWasmMemory(this.#plan.totalBytes);
    this.#buffer = this.#memory.buffer;
    this.bytes = new Uint8Array(this.#buffer);
    this.#peer = parseIp(tunnel === 4 ? "198.51.100.1" : "2001:db8::1")!;
    this.#public = parseIp(tunnel === 4 ? "203.0.113.5" : "2001:db8::2")!;
    this.#fill();
  }

  #fill(): void {
    const { controlOffset, peersOffset, addressesOffset, options } = this.#plan;
    const control = new ControlBlock(this.#buffer, controlOffset);
    control.setPublicAddress(this.#public);
    control.setNowSeconds(1);
    const peers = new PeerTableWriter(this.#buffer, peersOffset, options.peersMax);
    const entry = peers.insert(this.#peer);
    peers.setPort(entry, PORT);
    peers.setPacketBytesMax(entry, 9000);
    peers.setVerified(entry, true);
    peers.setSettled(entry, true);
    const table = new AddressTableWriter(this.#buffer, addressesOffset, options);
    const key = new Uint8Array(48);
    const view = new DataView(key.buffer);
    const fields = { flags: 0, lastUsedSeconds: 0 };
    for (let pair = 0; pair < this.#pairs; pair++) {
      key.fill(0);
      key.set(this.#host(pair));
      writeReferenceInto(key, 32, this.#reference(pair, 1n));
      table.insert({ ...fields, kind: KIND_LOCAL, hint: 0 }, view, 0);
      key.set(this.#encoded(pair));
      key.set(this.#peer.bytes, 16);
      writeReferenceInto(key, 32, this.#reference(pair, 2n));
      table.insert({ ...fields, kind: KIND_REMOTE, hint: entry }, view, 0);
    }
  }

  #host(pair: number): Uint8Array {
    return this.#numbered("172.16.0.0", "2001:db8:b::", pair);
  }

  #encoded(pair: number): Uint8Array {
    return this.#numbered("10.240.0.0", "fd00:eaea::", pair);
  }

  #numbered(ipv4: string, ipv6: string, number: number): Uint8Array {
    const bytes = parseIp(this.#local === 4 ? ipv4 : ipv6)!.bytes.slice();
    const end = bytes.length;
    bytes.set([number >> 16, (number >> 8) & 255, number & 255], end - 3);
    if (this.#local === 4) bytes[1]! += number >> 16;
    return bytes;
  }

  #reference(pair: number, side: bigint): bigint {
    return (side << 60n) + 0xabcdef01n * BigInt(pair + 1);
  }

  /** Native headers of the packets of `pairs`, with the start of TCP. */
  native(pair: number): Uint8Array {
    const head = new Uint8Array(HEAD_BYTES);
    const view = new DataView(head.buffer);
    const addresses = [...this.#host(pair), ...this.#encoded(pair)];
    if (this.#local === 4) {
      head.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6]);
      view.setUint16(2, 20 + LAYER4_BYTES);
      head.set(addresses, 12);
    } else {
      head.set([0x60, 0, 0, 0, 0, 0, 6, 64]);
      view.setUint16(4, LAYER4_BYTES);
      head.set(addresses, 8);
    }
    return this.#withTcp(head, this.#local === 4 ? 20 : 40);
  }

  /** The same packet on its way back in the tunnel. */
  tunnel(pair: number): Uint8Array {
    const head = new Uint8Array(HEAD_BYTES);
    head.set([0x19, this.#tunnel << 4, 64, 6, ...this.#peer.bytes, ...this.#public.bytes]);
    const context = this.#peer.bytes.length;
    writeReferenceInto(head, 4 + 2 * context, this.#reference(pair, 2n));
    writeReferenceInto(head, 20 + 2 * context, this.#reference(pair, 1n));
    return this.#withTcp(head, this.tunnelHeaderBytes);
  }

  #withTcp(head: Uint8Array, at: number): Uint8Array {
    head[at + 12] = 0x50;
    head[at + 16] = 0x12;
    return head;
  }

  get tunnelHeaderBytes(): number {
    return this.#tunnel === 4 ? 44 : 68;
  }

  get nativeHeaderBytes(): number {
    return this.#local === 4 ? 20 : 40;
  }

  /** A worker's view of the memory, and the settings of its fast path. */
  worker(role: "egress" | "ingress", kernel: KernelName) {
    const plan = this.#plan;
    const lane = plan.lanes[0]!;
    const base = role === "egress" ? lane.egressSlabOffset : lane.ingressSlabOffset;
    const { localVersion, tunnelVersion } = plan.options;
    const { module } = chooseKernel(kernel);
    const parts = module && { module, memory: this.#memory };
    const make = (table: AddressTableReader) => makeKernel(table, parts);
    const memory = new FastPathMemory(this.#buffer, plan, base, make);
    memory.refresh();
    const carries = { carriesTcp: true, carriesUdp: true, carriesIcmp: true };
    const settings = { localVersion, tunnelVersion, decrementTtl: false, ...carries };
    return { memory, settings, plan, slab: slabLayout(base) };
  }

  /** Puts a packet into each of the batch's slots. */
  fillBatch(batch: PacketBatch, role: "egress" | "ingress"): void {
    const lane = this.#plan.lanes[0]!;
    const slab = slabLayout(role === "egress" ? lane.egressSlabOffset : lane.ingressSlabOffset);
    const headerBytes = role === "egress" ? this.nativeHeaderBytes : this.tunnelHeaderBytes;
    batch.count = 0;
    for (let slot = 0; slot < BATCH_PACKETS_MAX; slot++) {
      batch.addLocal(slotPacketOffset(slab, slot), headerBytes + LAYER4_BYTES);
    }
  }

  /** A batch of packet slots, and a function that translates it as the worker's loop does. */
  translator(role: "egress" | "ingress", kernel: KernelName): { batch: PacketBatch; run: Run } {
    const { memory, settings, slab } = this.worker(role, kernel);
    const batch = new PacketBatch();
    this.fillBatch(batch, role);
    if (role === "egress") {
      const fast = new FastEgress(memory, settings);
      return { batch, run: () => egressCount(fast, batch) };
    }
    const fast = new FastIngress(memory, settings, seededRandom(1));
    const source = slab.socketAddressesOffset + 8;
    this.bytes.set(this.#peer.bytes, source);
    return { batch, run: () => ingressCount(fast, batch, source) };
  }
}

/** Translates a batch; returns how many packets the fast path took. */
type Run = () => number;

function egressCount(fast: FastEgress, batch: PacketBatch): number {
  const isTranslated = fast.translateBatch(batch, false);
  let count = 0;
  for (let index = 0; index < batch.count; index++) {
    const { offsets, lengths } = batch;
    const start = isTranslated
      ? fast.resultOf(index)
      : fast.translate(offsets[index]!, lengths[index]!);
    if (start > 0) count++;
  }
  return count;
}

function ingressCount(fast: FastIngress, batch: PacketBatch, source: number): number {
  let count = 0;
  for (let index = 0; index < batch.count; index++) {
    const { offsets, lengths } = batch;
    if (fast.translate(offsets[index]!, lengths[index]!, source, PORT) > 0) count++;
  }
  return count;
}

function measure(
  world: BenchWorld,
  role: "egress" | "ingress",
  kernel: KernelName,
  heads: readonly Uint8Array[],
  rounds: number,
): number {
  const { batch, run } = world.translator(role, kernel);
  const pass = (translates: boolean): number => {
    let next = 0;
    const start = process.hrtime.bigint();
    for (let round = 0; round < rounds; round++) {
      for (const offset of batch.offsets) {
        world.bytes.set(heads[next]!, offset);
        next = next + 1 === heads.length ? 0 : next + 1;
      }
      if (translates && run() !== batch.count) {
        throw new Error(`the fast path did not take a packet (${role})`);
      }
    }
    return Number(process.hrtime.bigint() - start) / (rounds * BATCH_PACKETS_MAX);
  };
  pass(true); // warms up
  pass(false);
  return pass(true) - pass(false);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

/** Fast path of one role: near and far pairs of hosts, the kernels in turns. */
function measurePackets(
  world: BenchWorld,
  versions: string,
  order: readonly number[],
  options: BenchOptions,
): Result[] {
  const rounds = options.quick ? 100 : 5000;
  return (["egress", "ingress"] as const).flatMap((role) =>
    [
      { spread: "near", chosen: [0] },
      { spread: "far", chosen: order },
    ].map(({ spread, chosen }) => {
      const heads = chosen.map((pair) =>
        role === "egress" ? world.native(pair) : world.tunnel(pair),
      );
      const times = Array.from({ length: options.runs }, () => ({
        ts: measure(world, role, "ts", heads, rounds),
        wasm: measure(world, role, "wasm", heads, rounds),
      }));
      return {
        name: `${role}, ${versions}, ${spread}`,
        tsNanoseconds: median(times.map(({ ts }) => ts)),
        wasmNanoseconds: median(times.map(({ wasm }) => wasm)),
      };
    }),
  );
}

function printTable(title: string, results: readonly Result[]): void {
  console.log(`${title.padEnd(46)}${"ts".padStart(8)}${"wasm".padStart(8)}   ts / wasm`);
  for (const { name, tsNanoseconds, wasmNanoseconds } of results) {
    const columns = [tsNanoseconds, wasmNanoseconds].map((value) => value.toFixed(0).padStart(8));
    const ratio = (tsNanoseconds / wasmNanoseconds).toFixed(1).padStart(9);
    console.log(`  ${name.padEnd(44)}${columns.join("")}${ratio}`);
  }
}

/** Runs all combinations; prints a table unless `json`. */
export async function run(options: BenchOptions): Promise<object> {
  const { warning } = chooseKernel("wasm");
  if (warning !== undefined) throw new Error(warning);
  const pairs = options.quick ? 1000 : 100_000;
  const random = seededRandom(1);
  const calls: readonly CallResult[] = measureCalls(options.runs, options.quick, pairs);
  const packets: Result[] = [];
  for (const local of [4, 6] as const) {
    for (const tunnel of [4, 6] as const) {
      const world = new BenchWorld(local, tunnel, pairs);
      const order = Array.from({ length: 4096 }, () => randomBelow(random, pairs));
      const versions = `local IPv${local}, tunnel IPv${tunnel}`;
      packets.push(...measurePackets(world, versions, order, options));
    }
  }
  if (!options.json) {
    printTable("Kernel calls, nanoseconds", calls);
    printTable(`Fast path, nanoseconds per packet, ${pairs} pairs`, packets);
  }
  return { pairs, calls, packets };
}
