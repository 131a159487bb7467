/**
 * The judge of the fast path: for every packet that it takes it gives the very bytes of the slow
 * path; a packet that it does not take stays as it was.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../../src/base/hex.js";
import { seededRandom } from "../../src/base/random.js";
import { KERNEL_NAMES } from "../../src/control/gateway-flags.js";
import { FastEgress } from "../../src/forward/fast-egress.js";
import { FastIngress } from "../../src/forward/fast-ingress.js";
import {
  ALL_WORLDS,
  Dice,
  FastWorld,
  makeDatagram,
  makeNative,
  type WorldOptions,
} from "./fast-world.js";
import { maskedHex, slowEgress, slowIngress } from "./slow-twins.js";
import { takeEgress } from "./take-egress.js";

/** Packets of one run: 16 runs make more than 20,000. The environment asks for longer ones. */
const PACKETS = Number(process.env["IPREF_TEST_PACKETS"] ?? 2500);

function worldName({ localVersion, tunnelVersion, decrementTtl, isPublicKnown }: WorldOptions) {
  const client = isPublicKnown === false ? ", public address unknown" : "";
  const ttl = decrementTtl ? ", -dec-ttl" : "";
  return `local IPv${localVersion}, tunnel IPv${tunnelVersion}${ttl}${client}`;
}

function newSeed(): number {
  return Number(process.env["IPREF_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
}

function headerSum(packet: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += (packet[at]! << 8) | packet[at + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

const EGRESS_RUNS = KERNEL_NAMES.flatMap((kernel) =>
  ALL_WORLDS.map((options) => ({ kernel, options })),
);

for (const { kernel, options } of EGRESS_RUNS) {
  const name = `kernel ${kernel}, ${worldName(options)}`;
  test(`FastEgress gives the bytes of the slow path: ${name}`, (context) => {
    const seed = newSeed();
    context.diagnostic(`seed ${seed}`);
    const world = new FastWorld(options);
    const { memory, offset } = world.worker("egress", kernel);
    const fast = new FastEgress(memory, world.fastSettings);
    const dice = new Dice(seed);
    let taken = 0;
    for (let count = 0; count < PACKETS; count++) {
      const packet = makeNative(world, dice);
      world.bytes.fill(0xa5, offset - 128, offset);
      world.bytes.set(packet, offset);
      const { start, address, port } = takeEgress(fast, offset, packet.length);
      const end = offset + packet.length;
      const about = `seed ${seed}, packet ${count}: ${toHex(packet)}`;
      if (start === 0) {
        assert.equal(toHex(world.bytes.slice(offset, end)), toHex(packet), about);
        continue;
      }
      taken++;
      assert.equal(toHex(world.bytes.slice(start, end)), slowEgress(world, packet), about);
      const sentTo = world.bytes.slice(address, address + 4);
      const peer = world.peers.find((each) => each.port === port)!;
      assert.deepEqual(sentTo, peer.address.bytes.slice(0, 4), about);
    }
    assert.ok(taken > PACKETS / 4, `only ${taken} of ${PACKETS} packets were taken`);
  });
}

const CLIENT_WORLDS = ([4, 6] as const).map((localVersion) => ({
  localVersion,
  tunnelVersion: 4 as const,
  isPublicKnown: false,
}));

const INGRESS_RUNS = KERNEL_NAMES.flatMap((kernel) =>
  [...ALL_WORLDS, ...CLIENT_WORLDS].map((options) => ({ kernel, options })),
);

for (const { kernel, options } of INGRESS_RUNS) {
  const name = `kernel ${kernel}, ${worldName(options)}`;
  test(`FastIngress gives the bytes of the slow path: ${name}`, (context) => {
    const seed = newSeed();
    context.diagnostic(`seed ${seed}`);
    const world = new FastWorld(options);
    const { memory, offset, address } = world.worker("ingress", kernel);
    const fast = new FastIngress(memory, world.fastSettings, seededRandom(seed));
    const dice = new Dice(seed);
    let taken = 0;
    for (let count = 0; count < PACKETS; count++) {
      const datagram = makeDatagram(world, dice);
      const { packet, source, port } = datagram;
      world.bytes.fill(0xa5, offset - 128, offset);
      world.bytes.set(packet, offset);
      world.bytes.set(source.bytes, address);
      const start = fast.translate(offset, packet.length, address, port);
      const end = offset + packet.length;
      const about = `seed ${seed}, packet ${count}: ${toHex(packet)}`;
      if (start === 0) {
        assert.equal(toHex(world.bytes.slice(offset, end)), toHex(packet), about);
        continue;
      }
      taken++;
      const native = world.bytes.slice(start, end);
      assert.equal(maskedHex(native), slowIngress(world, datagram), about);
      if (options.localVersion === 4) assert.equal(headerSum(native), 0xffff, about);
    }
    assert.ok(taken > PACKETS / 4, `only ${taken} of ${PACKETS} packets were taken`);
  });
}
