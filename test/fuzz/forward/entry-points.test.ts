/**
 * Where octets from outside enter the forwarding workers: device headers and packets of the TUN
 * device, messages of the tunnel socket with their segment sizes, and control messages. Whatever
 * comes, nothing throws, nothing but the worker's own memory changes, what leaves was in the batch,
 * and each packet is forwarded, handed over or dropped for a reason that is counted.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { DROP_REASONS, type DropReason } from "../../../src/base/drop-reason.js";
import { KERNEL_NAMES } from "../../../src/control/gateway-flags.js";
import { MESSAGE_BAD_CONTROL, MESSAGE_BAD_SEGMENT_SIZE } from "../../../src/forward/ports.js";
import { VNET_BAD_LENGTH, VnetReader } from "../../../src/forward/vnet-header.js";
import { readSegmentSize } from "../../../src/platform/tunnel-port.js";
import { slabLayout } from "../../../src/tables/arena.js";
import { ALL_WORLDS, Dice, FastWorld, makeDatagram, makeNative } from "../../forward/fast-world.js";
import { makeGateway, type TestMessage } from "../../forward/memory-ports.js";
import { leaveChecksum, VNET_BYTES, vnetFor } from "../../forward/super-packets.js";

const BATCHES = Number(process.env["IPREF_TEST_PACKETS"] ?? 2500) / 25;
const PER_BATCH = 12;
const SEED = Number(process.env["IPREF_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
/** Fills memory that nothing may read; a run of it in what leaves shows that something did. */
const CANARY = 0xa5;
const CANARY_RUN = 24;

function fillSlots(world: FastWorld, slabOffset: number): void {
  const { slotsOffset, endOffset } = slabLayout(slabOffset);
  world.bytes.fill(CANARY, slotsOffset, endOffset);
}

function assertNoCanary(packet: Uint8Array, about: string): void {
  let run = 0;
  for (const octet of packet) {
    run = octet === CANARY ? run + 1 : 0;
    assert.ok(run < CANARY_RUN, `octets from outside the batch: ${about}`);
  }
}

/** Changes octets, cuts or lengthens. */
function mutate(dice: Dice, bytes: Uint8Array): Uint8Array {
  let result = bytes.slice();
  if (dice.percent(25)) result = result.slice(0, dice.below(result.length + 1));
  if (dice.percent(10)) result = Uint8Array.from([...result, ...dice.bytes(dice.below(40))]);
  const changes = result.length === 0 ? 0 : dice.below(4);
  for (let count = 0; count < changes; count++) {
    result[dice.below(Math.min(result.length, 80))] = dice.below(256);
  }
  return result;
}

/** True for a whole TCP header or UDP header behind a plain IP header. */
function hasTransport(packet: Uint8Array): boolean {
  const isIpv4 = packet[0] === 0x45;
  if (!isIpv4 && packet[0]! >>> 4 !== 6) return false;
  const protocol = packet[isIpv4 ? 9 : 6]!;
  return (protocol === 6 || protocol === 17) && packet.length >= (isIpv4 ? 40 : 60);
}

/** A device header: right, with wrong numbers, or any octets. */
function makeHeader(dice: Dice, packet: Uint8Array): Uint8Array {
  if (dice.percent(15)) return dice.bytes(VNET_BYTES);
  if (dice.percent(15)) return new Uint8Array(VNET_BYTES);
  if (!hasTransport(packet)) return new Uint8Array(VNET_BYTES);
  const header = vnetFor(packet, dice.percent(60) ? 1 + dice.below(packet.length) : 0);
  const view = new DataView(header.buffer);
  if (dice.percent(30)) header[1] = dice.pick([0, 1, 3, 4, 5, 0x81, 0x84, 0xff]);
  if (dice.percent(20)) view.setUint16(2, dice.below(0x10000), true);
  if (dice.percent(30)) view.setUint16(4, dice.pick([0, 1, packet.length, 0xffff]), true);
  if (dice.percent(20)) view.setUint16(6, dice.pick([0, 20, 40, packet.length, 0xffff]), true);
  if (dice.percent(20)) view.setUint16(8, dice.pick([0, 6, 16, packet.length, 0xffff]), true);
  return header;
}

function totalDrops(gateway: ReturnType<typeof makeGateway>): number {
  return DROP_REASONS.reduce(
    (sum, { name }) => sum + gateway.counters.drops(name as DropReason),
    0,
  );
}

function drain(gateway: ReturnType<typeof makeGateway>): number {
  let count = 0;
  for (const ring of [gateway.egressRing, gateway.ingressRing]) {
    for (let item = ring.take(); item !== undefined; item = ring.take()) {
      assertNoCanary(item.packet, "handed over");
      count++;
    }
  }
  return count;
}

for (const kernel of KERNEL_NAMES) {
  for (const options of ALL_WORLDS.filter(({ decrementTtl }) => !decrementTtl)) {
    const versions = `local IPv${options.localVersion}, tunnel IPv${options.tunnelVersion}`;
    test(`The TUN device may give anything: kernel ${kernel}, ${versions}`, (context) => {
      context.diagnostic(`seed ${SEED}`);
      const world = new FastWorld({ ...options, ringBytes: 2 ** 22 });
      const gateway = makeGateway(world, { hasDeviceHeader: true, kernel });
      const lane = world.plan.lanes[0]!;
      const other = slabLayout(lane.ingressSlabOffset);
      const dice = new Dice(SEED);
      for (let batch = 0; batch < BATCHES; batch++) {
        fillSlots(world, lane.egressSlabOffset);
        const before = world.bytes.slice(other.pollOffset, other.slotsOffset);
        for (let count = 0; count < PER_BATCH; count++) {
          const native = makeNative(world, dice);
          const isOdd = dice.percent(60);
          const header = makeHeader(dice, native);
          const whole =
            header[0] === 1 && hasTransport(native) && !isOdd ? leaveChecksum(native) : native;
          const packet = isOdd ? mutate(dice, whole) : whole;
          gateway.tun.waiting.push(Uint8Array.from([...header, ...packet]));
        }
        const dropped = totalDrops(gateway);
        gateway.egress.runBatch();
        const about = `seed ${SEED}, batch ${batch}`;
        const done = gateway.tunnel.sent.length + drain(gateway) + totalDrops(gateway) - dropped;
        assert.ok(done >= PER_BATCH, `${done} of ${PER_BATCH} packets accounted for: ${about}`);
        for (const { packet } of gateway.tunnel.sent) assertNoCanary(packet, about);
        gateway.tunnel.sent.length = 0;
        const after = world.bytes.subarray(other.pollOffset, other.slotsOffset);
        assert.equal(Buffer.compare(before, after), 0, `memory of another worker: ${about}`);
      }
    });

    test(`The tunnel socket may give anything: kernel ${kernel}, ${versions}`, (context) => {
      context.diagnostic(`seed ${SEED}`);
      const world = new FastWorld({ ...options, ringBytes: 2 ** 22 });
      const gateway = makeGateway(world, { hasDeviceHeader: true, kernel });
      const lane = world.plan.lanes[0]!;
      const dice = new Dice(SEED);
      for (let batch = 0; batch < BATCHES; batch++) {
        fillSlots(world, lane.ingressSlabOffset);
        for (let count = 0; count < PER_BATCH; count++) {
          gateway.tunnel.waiting.push(makeMessage(world, dice));
        }
        const dropped = totalDrops(gateway);
        gateway.ingress.runBatch();
        const about = `seed ${SEED}, batch ${batch}`;
        const packets = gateway.counters.total("ingress-packets");
        const done = packets + drain(gateway) + totalDrops(gateway) - dropped;
        assert.ok(done >= PER_BATCH, `${done} of ${PER_BATCH} messages accounted for: ${about}`);
        for (const packet of gateway.tun.written) assertNoCanary(packet, about);
        gateway.tun.written.length = 0;
      }
    });
  }
}

/** A message of several datagrams, with a segment size that may be anything. */
function makeMessage(world: FastWorld, dice: Dice): TestMessage {
  const first = makeDatagram(world, dice);
  const parts = [first.packet];
  while (dice.percent(50)) parts.push(dice.percent(70) ? first.packet : dice.bytes(dice.below(90)));
  const whole = Uint8Array.from(parts.flatMap((part) => [...part]));
  const packet = dice.percent(40) ? mutate(dice, whole) : whole;
  const { length } = packet;
  const sizes = [first.packet.length, length, 0, 1, 7, length + 1, 0xffff, -1, -2, -3, -99];
  const chosen = dice.percent(50) ? first.packet.length : dice.pick(sizes);
  return { ...first, packet, segmentSize: chosen };
}

test("Device headers alone: any octets in front of any packet of any length", () => {
  const world = new FastWorld(ALL_WORLDS[0]!);
  const { memory, offset } = world.worker("egress", "ts");
  const reader = new VnetReader(memory);
  const dice = new Dice(SEED);
  for (let count = 0; count < 20_000; count++) {
    const length = dice.percent(50) ? dice.below(100) : dice.below(2_000);
    world.bytes.set(dice.bytes(VNET_BYTES), offset - VNET_BYTES);
    world.bytes.set(dice.bytes(length), offset);
    if (dice.percent(70)) world.bytes[offset - VNET_BYTES] = dice.below(2);
    if (dice.percent(70)) world.bytes[offset - 9] = dice.pick([0, 1, 4, 5]);
    if (dice.percent(70)) world.bytes[offset] = dice.pick([0x45, 0x60]);
    world.bytes.fill(CANARY, offset + length, offset + length + 64);
    const verdict = reader.read(offset, length);
    assert.ok(verdict >= VNET_BAD_LENGTH && verdict <= 0xffff, `seed ${SEED}: ${verdict}`);
    const behind = world.bytes.subarray(offset + length, offset + length + 64);
    assert.ok(
      behind.every((octet) => octet === CANARY),
      `seed ${SEED}, ${count}`,
    );
    if (verdict > 0) {
      const end = reader.layer4 + reader.layer4HeaderLength + reader.payloadLength;
      assert.ok(end <= offset + length, `seed ${SEED}: the payload ends outside the packet`);
    }
  }
});

test("Control messages: any words and any lengths give a size that fits, or a reason", () => {
  const dice = new Dice(SEED);
  const words = new Int32Array(8);
  for (let count = 0; count < 20_000; count++) {
    // struct cmsghdr of UDP_GRO (level 17, type 104), partly overwritten.
    words.set([20, 0, 17, 104, dice.pick([0, 1, 1400, -1, 0x7fffffff]), 0, 0, 0]);
    if (dice.percent(40)) words[dice.below(5)] = dice.below(2 ** 31) - 2 ** 30;
    const length = dice.below(65_536);
    const size = readSegmentSize(words, 0, length);
    const isReason = size === MESSAGE_BAD_CONTROL || size === MESSAGE_BAD_SEGMENT_SIZE;
    assert.ok(isReason || (size > 0 && size <= length), `seed ${SEED}: ${size} of ${length}`);
  }
});
