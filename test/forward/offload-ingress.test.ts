/**
 * The judge of joining: whatever is joined on the way to the TUN device stands for the very packets
 * that the slow path makes of the datagrams, each flow in its order. The tests bring messages of
 * several datagrams, several flows mixed, with damage of every kind in between.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../../src/base/hex.js";
import type { IpAddress } from "../../src/base/ip.js";
import { KERNEL_NAMES } from "../../src/control/gateway-flags.js";
import {
  MESSAGE_BAD_CONTROL,
  MESSAGE_BAD_SEGMENT_SIZE,
  MESSAGE_TRUNCATED,
} from "../../src/forward/ports.js";
import { RING_FROM_TUNNEL } from "../../src/tables/packet-ring.js";
import {
  ALL_WORLDS,
  Dice,
  FastWorld,
  makeDatagram,
  type TestDatagram,
  tunnelHeader,
} from "./fast-world.js";
import { makeGateway, type TestMessage } from "./memory-ports.js";
import { slowIngress } from "./slow-twins.js";
import { expandWritten, finishTunnel, randomOptions, VNET_BYTES } from "./super-packets.js";

const PACKETS = Number(process.env["IPREF_TEST_PACKETS"] ?? 2500);
const SEED = Number(process.env["IPREF_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 32));

/** One direction of one connection: makes its datagrams one after the other. */
class Flow {
  readonly #dice: Dice;
  readonly #isTcp: boolean;
  readonly #header: Uint8Array;
  readonly #options: Uint8Array;
  readonly source: IpAddress;
  readonly port: number;
  #sequence: number;

  constructor(world: FastWorld, dice: Dice) {
    this.#dice = dice;
    this.#isTcp = dice.percent(60);
    const remote = dice.pick(world.remotes.slice(0, 4));
    const peer = world.peers.find(({ address }) => address.bytes === remote.ipref.context.bytes);
    const to = { context: world.publicAddress, reference: dice.pick(world.hosts).reference };
    this.#header = tunnelHeader(remote.ipref, to, dice.below(2), this.#isTcp ? 6 : 17);
    this.#options = this.#isTcp ? randomOptions(dice) : new Uint8Array(0);
    this.source = remote.ipref.context;
    this.port = peer?.port ?? (this.source.bytes.at(-1) === 2 ? 40_000 : 1045);
    this.#sequence = dice.percent(20) ? 0xffff_ff00 : dice.below(2 ** 32);
  }

  /** Octets of a datagram that carries `payloadLength` octets. */
  lengthOf(payloadLength: number): number {
    return this.#header.length + (this.#isTcp ? 20 + this.#options.length : 8) + payloadLength;
  }

  /** The next datagram, of this length in all; now and then something is odd about it. */
  next(length: number): Uint8Array {
    const dice = this.#dice;
    const payload = dice.bytes(Math.max(0, length - this.lengthOf(0)));
    const transport = new Uint8Array(this.#isTcp ? 20 : 8);
    const view = new DataView(transport.buffer);
    view.setUint32(0, 0x12345678);
    if (this.#isTcp) {
      if (dice.percent(2)) this.#sequence = (this.#sequence + 7) >>> 0;
      view.setUint32(4, this.#sequence);
      view.setUint32(8, dice.percent(2) ? 99 : 1000);
      const flags = dice.percent(5) ? dice.below(256) : dice.percent(10) ? 0x18 : 0x10;
      const offset = dice.percent(1) ? dice.below(16) : 5 + this.#options.length / 4;
      view.setUint16(12, (offset << 12) | (dice.percent(1) ? 0x100 : 0) | flags);
      view.setUint16(14, dice.percent(2) ? 77 : 5000);
      if (dice.percent(1)) view.setUint16(18, 5);
      this.#sequence = (this.#sequence + payload.length) >>> 0;
    }
    const options = this.#options.slice();
    if (dice.percent(2) && options.length > 0) options[dice.below(options.length)]! ^= 1;
    const header = this.#header.slice();
    if (dice.percent(2)) header[2]! -= 1;
    const parts = [...header, ...transport, ...options, ...payload];
    const datagram = finishTunnel(Uint8Array.from(parts), header.length);
    if (dice.percent(2))
      datagram[header.length + dice.below(datagram.length - header.length)]! ^= 4;
    const isBare = !this.#isTcp && dice.percent(2);
    if (isBare) datagram.set([0, 0], header.length + 6);
    return datagram;
  }
}

/** Messages as UDP_GRO makes them: datagrams of one source and one length, the last shorter. */
function makeMessages(world: FastWorld, dice: Dice): TestMessage[] {
  const flows = Array.from({ length: 1 + dice.below(4) }, () => new Flow(world, dice));
  return Array.from({ length: 1 + dice.below(6) }, () => {
    if (dice.percent(10)) return makeDatagram(world, dice);
    const first = dice.pick(flows);
    const here = flows.filter(({ source }) => toHex(source.bytes) === toHex(first.source.bytes));
    const size = first.lengthOf(1 + dice.below(dice.percent(20) ? 1000 : 60));
    const count = 1 + dice.below(20);
    const datagrams = Array.from({ length: count }, (_, index) => {
      const flow = dice.percent(85) ? first : dice.pick(here);
      const isShort = index === count - 1 && dice.percent(30);
      const length = isShort ? flow.lengthOf(0) + dice.below(5) : Math.max(size, flow.lengthOf(0));
      return flow.next(length);
    });
    const isGroup = datagrams.every(({ length }, index) =>
      index === count - 1 ? length <= size : length === size,
    );
    const group = isGroup ? datagrams : datagrams.slice(0, 1);
    const packet = Uint8Array.from(group.flatMap((datagram) => [...datagram]));
    const segmentSize = group.length === 1 ? packet.length : size;
    return { packet, source: first.source, port: first.port, segmentSize };
  });
}

/** The datagrams of a message. */
function datagramsOf({ packet, source, port, segmentSize }: TestMessage): TestDatagram[] {
  const size = segmentSize ?? packet.length;
  const datagrams: TestDatagram[] = [];
  for (let at = 0; at < packet.length; at += size) {
    datagrams.push({ packet: packet.slice(at, at + size), source, port });
  }
  return datagrams;
}

/** Key of a flow in the local network: protocol and ports. */
function flowOf(native: Uint8Array): string {
  const ip = native[0]! >>> 4 === 4 ? 20 : 40;
  const ends = native.subarray(ip === 20 ? 12 : 8, ip);
  return `${native[ip === 20 ? 9 : 6]} ${toHex(ends)} ${toHex(native.subarray(ip, ip + 4))}`;
}

/**
 * Hex of a native packet without what may differ: the kernel numbers the segments of a super-packet
 * (IPv4 identification, and with it the header checksum), also with DF, where the number has no
 * meaning (RFC 6864 4.1); and the two forms of a TCP checksum of zero are one.
 */
function comparable(native: Uint8Array): string {
  const copy = native.slice();
  if (copy[0] === 0x45) {
    copy.fill(0, 4, 6);
    copy.fill(0, 10, 12);
  }
  const isIpv4 = copy[0]! >>> 4 === 4;
  const place = isIpv4 ? 36 : 56;
  const isTcp = copy[isIpv4 ? 9 : 6] === 6;
  if (isTcp && copy[place] === 0 && copy[place + 1] === 0) copy.fill(0xff, place, place + 2);
  return toHex(copy);
}

function append(map: Map<string, string[]>, key: string, value: string): void {
  map.set(key, [...(map.get(key) ?? []), value]);
}

for (const kernel of KERNEL_NAMES) {
  for (const options of ALL_WORLDS) {
    const { localVersion, tunnelVersion, decrementTtl } = options;
    const name = `${kernel}, local IPv${localVersion}, tunnel IPv${tunnelVersion}, ${decrementTtl}`;
    test(`Joined packets stand for what the slow path makes: kernel ${name}`, (context) => {
      context.diagnostic(`seed ${SEED}`);
      const world = new FastWorld({ ...options, ringBytes: 1 << 21 });
      const gateway = makeGateway(world, { hasDeviceHeader: true, kernel });
      const dice = new Dice(SEED);
      let count = 0;
      let taken = 0;
      while (count < PACKETS) {
        const messages = makeMessages(world, dice);
        const datagrams = messages.flatMap(datagramsOf);
        gateway.tunnel.waiting.push(...messages);
        gateway.ingress.run();
        count += datagrams.length;
        taken += check(gateway, world, datagrams);
      }
      assert.ok(taken > count / 4, `only ${taken} of ${count} datagrams were taken`);
      const joined = gateway.counters.total("ingress-joined");
      assert.ok(joined > count / 10, `only ${joined} of ${count} datagrams were joined`);
      assert.equal(gateway.counters.total("ingress-packets"), taken);
    });
  }
}

/** Compares what became of the datagrams with the slow path; how many the fast path took. */
function check(
  { tun, ingressRing }: ReturnType<typeof makeGateway>,
  world: FastWorld,
  datagrams: readonly TestDatagram[],
): number {
  const handedOver = new Map<string, number>();
  for (let item = ingressRing.take(); item; item = ingressRing.take()) {
    assert.equal(item.kind, RING_FROM_TUNNEL);
    const key = `${toHex(item.packet)} ${toHex(item.address.bytes)} ${item.port}`;
    handedOver.set(key, (handedOver.get(key) ?? 0) + 1);
  }
  const written = tun.written.splice(0).flatMap(expandWritten);
  const actual = new Map<string, string[]>();
  for (const native of written) append(actual, flowOf(native), comparable(native));
  const expected = new Map<string, string[]>();
  for (const datagram of datagrams) {
    const { packet, source, port } = datagram;
    const key = `${toHex(packet)} ${toHex(source.bytes)} ${port}`;
    const times = handedOver.get(key) ?? 0;
    if (times > 0) {
      handedOver.set(key, times - 1);
      continue;
    }
    const slow = slowIngress(world, datagram);
    assert.match(slow, /^([0-9a-f]{2})+$/, `taken, but the slow path says ${slow}; seed ${SEED}`);
    const native = Uint8Array.from(Buffer.from(slow, "hex"));
    append(expected, flowOf(native), comparable(native));
  }
  assert.deepEqual(actual, expected, `seed ${SEED}`);
  assert.ok([...handedOver.values()].every((times) => times === 0));
  return written.length;
}

/** A gateway, and a stream of TCP segments to it, one message. */
function streamOf(count: number, payloadLength: number, isTcp = true) {
  const world = new FastWorld({ localVersion: 4, tunnelVersion: 4 });
  const gateway = makeGateway(world, { hasDeviceHeader: true });
  const from = world.remotes[0]!.ipref;
  const to = { context: world.publicAddress, reference: world.hosts[0]!.reference };
  const header = tunnelHeader(from, to, 0, isTcp ? 6 : 17);
  const parts = Array.from({ length: count }, (_, index) => {
    const transport = new Uint8Array(isTcp ? 20 : 8);
    const view = new DataView(transport.buffer);
    view.setUint32(0, 0x00500051);
    if (isTcp) {
      view.setUint32(4, index * payloadLength);
      view.setUint16(12, 0x5010);
    }
    const payload = new Uint8Array(payloadLength).fill(index);
    return finishTunnel(Uint8Array.from([...header, ...transport, ...payload]), header.length);
  });
  const segmentSize = parts[0]!.length;
  const packet = Uint8Array.from(parts.flatMap((part) => [...part]));
  const message: TestMessage = { packet, source: from.context, port: 1045, segmentSize };
  return { gateway, message, parts };
}

test("A full message of TCP segments becomes one super-packet", () => {
  const { gateway, message } = streamOf(40, 1400);
  gateway.tunnel.waiting.push(message);
  gateway.ingress.run();
  assert.equal(gateway.tun.written.length, 1);
  assert.equal(gateway.tun.written[0]!.length, VNET_BYTES + 40 + 40 * 1400);
  assert.equal(gateway.counters.total("ingress-super-packets"), 1);
  assert.equal(gateway.counters.total("ingress-joined"), 39);
  assert.equal(gateway.counters.total("ingress-packets"), 40);
  assert.equal(gateway.counters.total("ingress-bytes"), 40 * 1440);
});

test("Segments of consecutive messages are joined up to 65,535 octets and 64 segments", () => {
  for (const [payloadLength, lengths] of [
    [1400, [46, 14]],
    [200, [64, 26]],
  ] as const) {
    const count = lengths[0] + lengths[1];
    const { gateway, message, parts } = streamOf(count, payloadLength);
    const { source, port } = message;
    gateway.tunnel.waiting.push(...parts.map((packet) => ({ packet, source, port })));
    gateway.ingress.run();
    if (payloadLength === 1400) assert.equal(gateway.tun.written.length, lengths.length);
    const handedOver = gateway.ingressRing.take();
    assert.equal(handedOver, undefined);
    const shown = gateway.tun.written.flatMap(expandWritten);
    assert.equal(shown.length, count);
    const identifications = shown.map((packet) => (packet[4]! << 8) | packet[5]!);
    assert.equal(new Set(identifications).size, count, "no identification twice");
  }
});

test("UDP datagrams of one flow become one super-packet", () => {
  const { gateway, message } = streamOf(50, 64, false);
  gateway.tunnel.waiting.push(message);
  gateway.ingress.run();
  assert.equal(gateway.tun.written.length, 1);
  assert.equal(expandWritten(gateway.tun.written[0]!).length, 50);
});

test("Packets that the kernel refuses count as what they were joined of", () => {
  const { gateway, message } = streamOf(40, 100);
  gateway.tun.refuses = true;
  gateway.tunnel.waiting.push(message);
  gateway.ingress.run();
  assert.equal(gateway.counters.drops("write-failed"), 40);
  assert.equal(gateway.counters.total("ingress-packets"), 0);
});

test("A message that cannot be cut is a named drop", () => {
  for (const [segmentSize, reason] of [
    [0, "tunnel-bad-segment-size"],
    [MESSAGE_BAD_SEGMENT_SIZE, "tunnel-bad-segment-size"],
    [100_000, "tunnel-bad-segment-size"],
    [MESSAGE_BAD_CONTROL, "tunnel-bad-control"],
    [MESSAGE_TRUNCATED, "tunnel-too-long"],
    [-77, "tunnel-bad-segment-size"],
  ] as const) {
    const { gateway, message } = streamOf(3, 100);
    gateway.tunnel.waiting.push({ ...message, segmentSize });
    gateway.ingress.run();
    assert.equal(gateway.counters.drops(reason), 1);
    assert.equal(gateway.tun.written.length, 0);
    assert.equal(gateway.ingressRing.take(), undefined);
  }
});

test("Messages of random octets and sizes never depend on what lies outside of them", () => {
  const dice = new Dice(SEED);
  for (let round = 0; round < 500; round++) {
    const messages = makeMessages(sharedWorld, dice).map((message) => {
      const packet = message.packet.slice(0, 1 + dice.below(message.packet.length));
      for (let hit = dice.below(6); hit > 0; hit--) {
        packet[dice.below(packet.length)] = dice.below(256);
      }
      const size = dice.percent(50) ? dice.below(200) : message.segmentSize;
      return { ...message, packet, segmentSize: size ?? packet.length };
    });
    const outcomes = [0x00, 0xff].map((fill) => runOnce(messages, fill));
    assert.equal(outcomes[0], outcomes[1], `seed ${SEED}, round ${round}`);
  }
});

const sharedWorld = new FastWorld({ localVersion: 4, tunnelVersion: 4, ringBytes: 1 << 21 });

/** What becomes of messages, with `fill` in the memory around them. */
function runOnce(messages: readonly TestMessage[], fill: number): string {
  const gateway = makeGateway(sharedWorld, { hasDeviceHeader: true });
  const { memory, offset } = sharedWorld.worker("ingress");
  sharedWorld.bytes.fill(fill, memory.slab.headersOffset, memory.slab.assemblyOffset);
  for (let slot = 0; slot < messages.length; slot++) {
    const start = offset + slot * (65_536 + 128);
    sharedWorld.bytes.fill(fill, start - 128, start + messages[slot]!.packet.length + 4096);
  }
  gateway.tunnel.waiting.push(...messages);
  gateway.ingress.run();
  const written = gateway.tun.written.map(toHex);
  const handedOver: string[] = [];
  for (let item = gateway.ingressRing.take(); item; item = gateway.ingressRing.take()) {
    handedOver.push(toHex(item.packet));
  }
  return JSON.stringify([written, handedOver]);
}
