/**
 * The judge of segmentation: whatever the TUN device gives as a super-packet, or with an unfinished
 * checksum, leaves as the very tunnel packets that the slow path makes of the ordinary packets
 * that it stands for; or these ordinary packets reach the slow path.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../../src/base/hex.js";
import { KERNEL_NAMES } from "../../src/control/gateway-flags.js";
import { SEND_TOO_BIG } from "../../src/forward/ports.js";
import { RING_FROM_LOCAL, RING_SEND_TOO_BIG } from "../../src/tables/packet-ring.js";
import { ALL_WORLDS, Dice, FastWorld, makeNative } from "./fast-world.js";
import { makeGateway } from "./memory-ports.js";
import { slowEgress } from "./slow-twins.js";
import {
  finishNative,
  leaveChecksum,
  randomOptions,
  segmentNative,
  VNET_BYTES,
  vnetFor,
} from "./super-packets.js";

const PACKETS = Number(process.env["IPREF_TEST_PACKETS"] ?? 2500);
const SEED = Number(process.env["IPREF_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 32));

/** What the TUN device gives, and the ordinary packets that it stands for. */
interface Given {
  readonly read: Uint8Array;
  readonly stands: readonly Uint8Array[];
}

/** A TCP or UDP super-packet, mostly good. */
function makeSuperPacket(world: FastWorld, dice: Dice): Given {
  const isIpv4 = world.options.localVersion === 4;
  const source = dice.percent(4) ? world.hostIp(77) : dice.pick(world.hosts).ip;
  const destination = dice.percent(4) ? world.encodedIp(99) : dice.pick(world.remotes).encoded;
  const isTcp = dice.percent(60);
  const ecn = dice.percent(3) ? 3 : dice.below(3);
  const ttl = dice.percent(5) ? dice.below(3) : 64;
  const head = new Uint8Array(isIpv4 ? 20 : 40);
  if (isIpv4) {
    head.set([0x45, (dice.below(64) << 2) | ecn, 0, 0, dice.below(256), dice.below(256)]);
    head.set([dice.percent(50) ? 0x40 : 0, 0, ttl, isTcp ? 6 : 17], 6);
  } else head.set([0x60 | dice.below(16), (ecn << 4) | dice.below(16), 1, 2, 0, 0]);
  if (!isIpv4) head.set([isTcp ? 6 : 17, ttl], 6);
  head.set([...source.bytes, ...destination.bytes], isIpv4 ? 12 : 8);
  const options = isTcp ? randomOptions(dice) : new Uint8Array(0);
  const transport = dice.bytes(isTcp ? 20 : 8);
  if (isTcp) transport[12] = (5 + options.length / 4) << 4;
  const payload = dice.bytes(1 + dice.below(dice.percent(10) ? 9000 : 700));
  const packet = finishNative(Uint8Array.from([...head, ...transport, ...options, ...payload]));
  const size = 1 + dice.below(Math.min(payload.length, dice.percent(20) ? 1400 : 160));
  const stands = segmentNative(packet, size);
  return { read: Uint8Array.from([...vnetFor(packet, size), ...leaveChecksum(packet)]), stands };
}

/** An ordinary packet, half of the time with an unfinished checksum. */
function makeOrdinary(world: FastWorld, dice: Dice): Given {
  const packet = makeNative(world, dice);
  const ip = world.options.localVersion === 4 ? 20 : 40;
  const protocol = packet[ip === 20 ? 9 : 6]!;
  const least = protocol === 6 ? 20 : 8;
  const isPlain = packet.length >= ip + least && (ip === 40 || packet[0] === 0x45);
  if (dice.percent(50) || !isPlain || (protocol !== 6 && protocol !== 17)) {
    return { read: Uint8Array.from([...new Uint8Array(VNET_BYTES), ...packet]), stands: [packet] };
  }
  const whole = finishNative(packet);
  const stands = [whole.slice()];
  return { read: Uint8Array.from([...vnetFor(whole, 0), ...leaveChecksum(whole)]), stands };
}

for (const kernel of KERNEL_NAMES) {
  for (const options of ALL_WORLDS) {
    const { localVersion, tunnelVersion, decrementTtl } = options;
    const name = `${kernel}, local IPv${localVersion}, tunnel IPv${tunnelVersion}, ${decrementTtl}`;
    test(`Super-packets leave as what they stand for: kernel ${name}`, (context) => {
      context.diagnostic(`seed ${SEED}`);
      const world = new FastWorld({ ...options, ringBytes: 1 << 21 });
      const gateway = makeGateway(world, { hasDeviceHeader: true, kernel });
      const dice = new Dice(SEED);
      // Segments bound the work; the share that was taken counts what was read, so that a few
      // refused super-packets of thousands of tiny segments do not outweigh all others.
      let taken = 0;
      let given = 0;
      let count = 0;
      while (count < PACKETS) {
        const batch = Array.from({ length: 1 + dice.below(5) }, () =>
          dice.percent(50) ? makeSuperPacket(world, dice) : makeOrdinary(world, dice),
        );
        gateway.tun.waiting.push(...batch.map(({ read }) => read));
        gateway.egress.run();
        for (const item of batch) taken += check(gateway, world, item) > 0 ? 1 : 0;
        given += batch.length;
        count += batch.reduce((total, { stands }) => total + stands.length, 0);
        assert.equal(gateway.tunnel.sent.length, 0, "nothing else was sent");
        assert.equal(gateway.egressRing.take(), undefined, "nothing else was handed over");
      }
      assert.ok(taken > given / 4, `only ${taken} of ${given} packets were taken`);
    });
  }
}

/** Takes what became of `given` off the ports; returns how many packets the fast path took. */
function check(
  { tunnel, egressRing }: ReturnType<typeof makeGateway>,
  world: FastWorld,
  { read, stands }: Given,
): number {
  const about = `seed ${SEED}, read ${toHex(read)}`;
  const expected = stands.map((packet) => slowEgress(world, packet));
  const sent = tunnel.sent.slice(0, stands.length).map(({ packet }) => toHex(packet));
  if (sent.length === stands.length && sent.every((hex, index) => hex === expected[index])) {
    tunnel.sent.splice(0, stands.length);
    return stands.length;
  }
  for (const packet of stands) {
    const handedOver = egressRing.take();
    assert.ok(handedOver, about);
    assert.equal(handedOver.kind, RING_FROM_LOCAL);
    assert.equal(toHex(handedOver.packet), toHex(packet), about);
  }
  return 0;
}

test("A super-packet of more segments than a batch leaves whole and in order", () => {
  const world = new FastWorld({ localVersion: 4, tunnelVersion: 4 });
  const gateway = makeGateway(world, { hasDeviceHeader: true });
  const given = bigPacket(world, 60_000, 20);
  gateway.tun.waiting.push(given.read, given.read);
  gateway.egress.run();
  assert.equal(gateway.tunnel.sent.length, 6000);
  const expected = [...given.stands, ...given.stands].map((packet) => slowEgress(world, packet));
  assert.deepEqual(
    gateway.tunnel.sent.map(({ packet }) => toHex(packet)),
    expected,
  );
  assert.equal(gateway.counters.total("egress-packets"), 6000);
  assert.equal(gateway.counters.total("egress-super-packets"), 2);
  const octets = given.stands.reduce((total, packet) => total + packet.length, 0);
  assert.equal(gateway.counters.total("egress-bytes"), 2 * octets);
});

function bigPacket(world: FastWorld, length: number, size: number): Given {
  const addresses = [...world.hosts[0]!.ip.bytes, ...world.remotes[0]!.encoded.bytes];
  const head = [0x45, 0, 0, 0, 0, 9, 0x40, 0, 64, 6, 0, 0, ...addresses];
  const tcp = [1, 2, 3, 4, 0xff, 0xff, 0xff, 0xf0, 5, 6, 7, 8, 0x50, 0x19, 1, 2, 0, 0, 0, 0];
  const packet = finishNative(Uint8Array.from([...head, ...tcp, ...new Dice(1).bytes(length)]));
  const stands = segmentNative(packet, size);
  return { read: Uint8Array.from([...vnetFor(packet, size), ...leaveChecksum(packet)]), stands };
}

test("Segments too big for the kernel reach the slow path as whole tunnel packets", () => {
  const world = new FastWorld({ localVersion: 4, tunnelVersion: 4 });
  const gateway = makeGateway(world, { hasDeviceHeader: true });
  const given = bigPacket(world, 1000, 300);
  gateway.tunnel.outcome = SEND_TOO_BIG;
  gateway.tun.waiting.push(given.read);
  gateway.egress.run();
  for (const packet of given.stands) {
    const taken = gateway.egressRing.take()!;
    assert.equal(taken.kind, RING_SEND_TOO_BIG);
    assert.equal(toHex(taken.packet), slowEgress(world, packet));
    assert.deepEqual(taken.address, world.contextIp(1));
  }
  assert.equal(gateway.egressRing.take(), undefined);
});

/** Reads one packet with a damaged device header; the counters that moved. */
function damage(edit: (vnet: DataView, packet: Uint8Array) => Uint8Array | undefined): string[] {
  const world = new FastWorld({ localVersion: 4, tunnelVersion: 4 });
  const gateway = makeGateway(world, { hasDeviceHeader: true });
  const { read } = bigPacket(world, 1000, 300);
  const damaged = edit(new DataView(read.buffer), read) ?? read;
  gateway.tun.waiting.push(damaged);
  gateway.egress.run();
  assert.equal(gateway.tunnel.sent.length, 0);
  assert.equal(gateway.egressRing.take(), undefined);
  const names = [
    "local-bad-offload",
    "local-bad-segment-size",
    "local-bad-checksum-place",
    "local-bad-length",
  ] as const;
  return names.filter((name) => gateway.counters.drops(name) === 1);
}

test("A malformed device header is a named drop", () => {
  const cases: [string, Parameters<typeof damage>[0]][] = [
    ["local-bad-offload", (vnet) => void vnet.setUint8(1, 3)],
    ["local-bad-offload", (vnet) => void vnet.setUint8(1, 4)],
    ["local-bad-offload", (vnet) => void vnet.setUint8(1, 5)],
    ["local-bad-offload", (vnet) => void vnet.setUint8(1, 0x7f)],
    ["local-bad-offload", (_vnet, read) => read.slice(0, 5)],
    ["local-bad-offload", (_vnet, read) => read.slice(0, 10)],
    ["local-bad-offload", (_vnet, read) => read.slice(0, 10 + 25)],
    ["local-bad-offload", (_vnet, read) => read.with(10, 0x43)],
    ["local-bad-offload", (_vnet, read) => read.with(10 + 6, 0x20)],
    ["local-bad-offload", (_vnet, read) => read.with(10 + 32, 0x40)],
    ["local-bad-offload", (_vnet, read) => read.with(10 + 9, 17)],
    ["local-bad-segment-size", (vnet) => void vnet.setUint16(4, 0, true)],
    ["local-bad-segment-size", (vnet) => void vnet.setUint16(4, 1001, true)],
    ["local-bad-segment-size", (vnet) => void vnet.setUint16(4, 0xffff, true)],
    ["local-bad-length", (_vnet, read) => read.slice(0, 900)],
    ["local-bad-length", (_vnet, read) => Uint8Array.from([...read, 1])],
    [
      "local-bad-checksum-place",
      (vnet) => {
        vnet.setUint8(1, 0);
        vnet.setUint16(6, 0xffff, true);
      },
    ],
    [
      "local-bad-checksum-place",
      (vnet) => {
        vnet.setUint8(1, 0);
        vnet.setUint16(8, 1019, true);
      },
    ],
    [
      "local-bad-checksum-place",
      (vnet) => {
        vnet.setUint8(1, 0);
        vnet.setUint16(6, 21, true);
      },
    ],
  ];
  for (const [index, [reason, edit]] of cases.entries()) {
    assert.deepEqual(damage(edit), [reason], `case ${index}`);
  }
});

test("A device header of random octets never changes what lies outside of its packet", () => {
  const dice = new Dice(SEED);
  const world = new FastWorld({ localVersion: 4, tunnelVersion: 4 });
  for (let round = 0; round < 2000; round++) {
    const { read } = makeSuperPacket(world, dice);
    const cut = dice.percent(30) ? read.slice(0, dice.below(read.length)) : read;
    for (let octet = 0; octet < Math.min(VNET_BYTES, cut.length); octet++) {
      if (dice.percent(30)) cut[octet] = dice.percent(50) ? dice.below(8) : dice.below(256);
    }
    const outcomes = [0x00, 0xff].map((fill) => runOnce(cut, fill));
    assert.equal(outcomes[0], outcomes[1], `seed ${SEED}, read ${toHex(cut)}`);
  }
});

/** What becomes of one read, with `fill` in the memory around it. */
function runOnce(read: Uint8Array, fill: number): string {
  const world = sharedWorld;
  const gateway = makeGateway(world, { hasDeviceHeader: true });
  const { offset } = world.worker("egress");
  world.bytes.fill(fill, offset - 128, offset + read.length + 4096);
  gateway.tun.waiting.push(read);
  gateway.egress.run();
  const sent = gateway.tunnel.sent.map(({ packet }) => toHex(packet));
  const handedOver: string[] = [];
  for (let item = gateway.egressRing.take(); item; item = gateway.egressRing.take()) {
    handedOver.push(toHex(item.packet));
  }
  return JSON.stringify([sent, handedOver]);
}

const sharedWorld = new FastWorld({ localVersion: 4, tunnelVersion: 4, ringBytes: 1 << 21 });
