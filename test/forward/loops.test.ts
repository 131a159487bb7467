/** The loops of both workers over in-memory ports: two gateways that talk inside one test. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../../src/base/hex.js";
import { seededRandom } from "../../src/base/random.js";
import { EgressLoop } from "../../src/forward/egress.js";
import { FastEgress } from "../../src/forward/fast-egress.js";
import { FastIngress } from "../../src/forward/fast-ingress.js";
import { HandOver } from "../../src/forward/hand-over.js";
import { IngressLoop } from "../../src/forward/ingress.js";
import {
  type PacketBatch,
  SEND_DONE,
  SEND_FAILED,
  SEND_TOO_BIG,
  type TunnelPort,
  type TunPort,
  type WriteBatch,
} from "../../src/forward/ports.js";
import {
  BATCH_PACKETS_MAX,
  counterWriter,
  slabLayout,
  slotPacketOffset,
} from "../../src/tables/arena.js";
import { CounterBlock, CounterReader } from "../../src/tables/counters.js";
import {
  PacketRingConsumer,
  PacketRingProducer,
  RING_FROM_LOCAL,
  RING_FROM_TUNNEL,
  RING_SEND_TOO_BIG,
  RING_SOCKET_ERROR,
} from "../../src/tables/packet-ring.js";
import { buildDatagram, buildUdp, FastWorld, type TestDatagram } from "./fast-world.js";

const OPTIONS = { localVersion: 4, tunnelVersion: 4 } as const;

/** A TUN device: what waits, and what was written. */
class MemoryTun implements TunPort {
  readonly waiting: Uint8Array[] = [];
  readonly written: Uint8Array[] = [];
  refuses = false;
  readonly #world: FastWorld;

  constructor(world: FastWorld) {
    this.#world = world;
  }

  waitReadable(): boolean {
    return this.waiting.length > 0;
  }

  readBatch(batch: PacketBatch): void {
    const slab = slabLayout(this.#world.plan.lanes[0]!.egressSlabOffset);
    for (batch.count = 0; batch.count < BATCH_PACKETS_MAX && this.waiting.length > 0; ) {
      const packet = this.waiting.shift()!;
      const offset = slotPacketOffset(slab, batch.count);
      this.#world.bytes.set(packet, offset);
      batch.addLocal(offset, packet.length);
    }
  }

  writeBatch(batch: WriteBatch): number {
    batch.refusedPackets = batch.count;
    if (this.refuses) return batch.count;
    for (let index = 0; index < batch.count; index++) {
      const start = batch.offsets[index]!;
      const parts = [...this.#world.bytes.slice(start, start + batch.lengths[index]!)];
      for (let piece = index * 64; piece < index * 64 + batch.pieceCounts[index]!; piece++) {
        const at = batch.pieceOffsets[piece]!;
        parts.push(...this.#world.bytes.slice(at, at + batch.pieceLengths[piece]!));
      }
      this.written.push(Uint8Array.from(parts));
    }
    return 0;
  }
}

/** A tunnel socket: what waits, what was sent, and how sending ends. */
class MemoryTunnel implements TunnelPort {
  readonly waiting: TestDatagram[] = [];
  readonly sent: TestDatagram[] = [];
  outcome = SEND_DONE;
  hasErrors = false;
  readonly #world: FastWorld;

  constructor(world: FastWorld) {
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
      const { packet, source, port } = this.waiting.shift()!;
      const offset = slotPacketOffset(slab, batch.count);
      const address = slab.socketAddressesOffset + 32 * batch.count + 8;
      this.#world.bytes.set(packet, offset);
      this.#world.bytes.set(source.bytes, address);
      batch.addTunnel(offset, packet.length, address, port);
    }
  }

  sendBatch(batch: PacketBatch): number {
    batch.outcomes.fill(this.outcome);
    if (this.outcome !== SEND_DONE) return batch.count;
    const { bytes } = this.#world;
    for (let index = 0; index < batch.count; index++) {
      const start = batch.offsets[index]!;
      const at = batch.addressOffsets[index]!;
      const source = { version: 4, bytes: bytes.slice(at, at + 4) } as const;
      const packet = bytes.slice(start, start + batch.lengths[index]!);
      this.sent.push({ packet, source, port: batch.ports[index]! });
    }
    return 0;
  }
}

/** Both workers of a gateway, run by hand. */
function makeGateway(world = new FastWorld(OPTIONS)) {
  const { buffer, plan } = world;
  const [tun, tunnel] = [new MemoryTun(world), new MemoryTunnel(world)];
  const wakes = { count: 0 };
  const lane = plan.lanes[0]!;
  const { ringBytes } = plan.options;
  const parts = (role: "egress" | "ingress", ring: number) => {
    const { memory } = world.worker(role);
    const counters = new CounterBlock(buffer, plan.countersOffset, counterWriter(0, role));
    const producer = new PacketRingProducer(buffer, ring, ringBytes);
    const wake = () => void wakes.count++;
    const name = `${role}-slow-path` as const;
    const handOver = new HandOver(producer, counters, name, memory.contextWords, wake);
    return { tun, tunnel, memory, counters, handOver };
  };
  const out = parts("egress", lane.egressRingOffset);
  const back = parts("ingress", lane.ingressRingOffset);
  const settings = world.fastSettings;
  const { localVersion } = world.options;
  const joining = { hasDeviceHeader: false, joinsTcp: false, joinsUdp: false, localVersion };
  const fastIngress = new FastIngress(back.memory, settings, seededRandom(1));
  return {
    world,
    tun,
    tunnel,
    wakes,
    egress: new EgressLoop({
      ...out,
      fast: new FastEgress(out.memory, settings),
      hasDeviceHeader: false,
    }),
    ingress: new IngressLoop({ ...back, fast: fastIngress, joining }),
    egressRing: new PacketRingConsumer(buffer, lane.egressRingOffset, ringBytes, 4),
    ingressRing: new PacketRingConsumer(buffer, lane.ingressRingOffset, ringBytes, 4),
    counters: new CounterReader(buffer, plan.countersOffset, plan.counterWriters),
  };
}

test("The egress loop sends what it takes and hands over the rest, batch by batch", () => {
  const gateway = makeGateway();
  const { world, tun, tunnel, egress, egressRing, counters } = gateway;
  assert.ok(egressRing.sleep());
  const host = world.hosts[0]!.ip;
  const good = buildUdp(host, world.remotes[0]!.encoded, 100);
  const unknown = buildUdp(host, world.encodedIp(99), 100);
  for (let count = 0; count < 150; count++) tun.waiting.push(count % 3 === 0 ? unknown : good);
  egress.run();
  assert.equal(tunnel.sent.length, 100);
  assert.deepEqual(tunnel.sent[0]!.source, world.contextIp(1));
  assert.equal(counters.total("egress-packets"), 100);
  assert.equal(counters.total("egress-bytes"), 100 * good.length);
  assert.equal(counters.total("egress-slow-path"), 50);
  assert.equal(counters.total("egress-batches"), 3);
  assert.equal(gateway.wakes.count, 1, "the main thread is woken once until it sleeps again");
  for (let count = 0; count < 50; count++) {
    const taken = egressRing.take()!;
    assert.equal(taken.kind, RING_FROM_LOCAL);
    assert.equal(toHex(taken.packet), toHex(unknown));
  }
  assert.equal(egressRing.take(), undefined);
});

test("A packet too big for the kernel reaches the slow path as a tunnel packet", () => {
  const { world, tun, tunnel, egress, egressRing, counters } = makeGateway();
  tunnel.outcome = SEND_TOO_BIG;
  tun.waiting.push(buildUdp(world.hosts[0]!.ip, world.remotes[0]!.encoded, 100));
  egress.run();
  const taken = egressRing.take()!;
  assert.equal(taken.kind, RING_SEND_TOO_BIG);
  assert.deepEqual(taken.address, world.contextIp(1));
  assert.equal(taken.port, 1045);
  assert.equal(taken.packet[0]! >> 4, 1);
  assert.equal(counters.total("egress-packets"), 0);
});

test("Packets that the kernel refuses are counted", () => {
  const { world, tun, tunnel, egress, ingress, counters } = makeGateway();
  tunnel.outcome = SEND_FAILED;
  tun.waiting.push(buildUdp(world.hosts[0]!.ip, world.remotes[0]!.encoded, 100));
  egress.run();
  assert.equal(counters.drops("send-failed"), 1);
  tun.refuses = true;
  tunnel.waiting.push(goodDatagram(world));
  ingress.run();
  assert.equal(counters.drops("write-failed"), 1);
  assert.equal(counters.total("ingress-packets"), 0);
});

function goodDatagram(world: FastWorld): TestDatagram {
  const from = world.remotes[0]!.ipref;
  const to = { context: world.publicAddress, reference: world.hosts[0]!.reference };
  return { packet: buildDatagram(from, to, 1), source: from.context, port: 1045 };
}

test("The ingress loop writes what it takes and hands over the rest with its source", () => {
  const { world, tun, tunnel, ingress, ingressRing, counters } = makeGateway();
  const good = goodDatagram(world);
  const foreign = { ...good, port: 5555 };
  const empty = { ...good, packet: new Uint8Array(0) };
  tunnel.waiting.push(good, foreign, good, empty);
  ingress.run();
  assert.equal(tun.written.length, 2);
  assert.equal(counters.total("ingress-packets"), 2);
  assert.equal(counters.total("ingress-slow-path"), 2);
  const taken = ingressRing.take()!;
  assert.equal(taken.kind, RING_FROM_TUNNEL);
  assert.deepEqual([taken.address, taken.port], [world.contextIp(1), 5555]);
  assert.equal(toHex(taken.packet), toHex(good.packet));
  assert.equal(ingressRing.take()?.packet.length, 0);
});

test("News in the socket's error queue reaches the main thread", () => {
  const { tunnel, ingress, ingressRing, wakes } = makeGateway();
  assert.ok(ingressRing.sleep());
  tunnel.hasErrors = true;
  ingress.run();
  assert.equal(ingressRing.take()?.kind, RING_SOCKET_ERROR);
  assert.equal(wakes.count, 1);
});

test("A full ring drops, counts, and does not stop the packets that are taken", () => {
  const { world, tun, tunnel, egress, counters } = makeGateway();
  const host = world.hosts[0]!.ip;
  for (let count = 0; count < 300; count++) {
    tun.waiting.push(buildUdp(host, world.encodedIp(99), 1000));
  }
  tun.waiting.push(buildUdp(host, world.remotes[0]!.encoded, 100));
  egress.run();
  const handedOver = counters.total("egress-slow-path");
  assert.ok(handedOver > 50 && handedOver < 300);
  assert.equal(counters.drops("slow-path-full"), 300 - handedOver);
  assert.equal(tunnel.sent.length, 1);
});

test("A packet crosses two gateways unharmed, IPv4 to IPv6 and back", () => {
  const [near, far] = [makeGateway(), makeGateway(new FastWorld({ ...OPTIONS, localVersion: 6 }))];
  // The near host is the far gateway's remote host 0, and the other way round.
  near.world.control.setPublicAddress(far.world.remotes[0]!.ipref.context);
  far.world.control.setPublicAddress(near.world.remotes[3]!.ipref.context);
  assert.equal(near.world.hosts[0]!.reference, far.world.remotes[0]!.ipref.reference);
  const payload = buildUdp(near.world.hosts[0]!.ip, near.world.remotes[3]!.encoded, 60);
  near.tun.waiting.push(payload);
  near.egress.run();
  const [crossing] = near.tunnel.sent;
  assert.ok(crossing);
  far.world.insert(2, { local: far.world.hostIp(50), reference: (5n << 120n) + 3n });
  const source = far.world.remotes[0]!.ipref.context;
  far.tunnel.waiting.push({ packet: crossing.packet, source, port: 1045 });
  far.ingress.run();
  const [arrived] = far.tun.written;
  assert.ok(arrived);
  assert.deepEqual(arrived.subarray(8, 24), far.world.remotes[0]!.encoded.bytes);
  assert.deepEqual(arrived.subarray(24, 40), far.world.hostIp(50).bytes);
  assert.deepEqual(arrived.subarray(48), payload.subarray(28));
});
