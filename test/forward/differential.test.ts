/**
 * The judge of the fast path: for every packet that it takes it gives the very bytes of the slow
 * path; a packet that it does not take stays as it was.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../../src/base/hex.js";
import { sameAddress } from "../../src/base/ip.js";
import { seededRandom } from "../../src/base/random.js";
import { KERNEL_NAMES } from "../../src/control/gateway-flags.js";
import { FastEgress } from "../../src/forward/fast-egress.js";
import { FastIngress } from "../../src/forward/fast-ingress.js";
import { decapsulate } from "../../src/translate/decapsulate.js";
import { encapsulate } from "../../src/translate/encapsulate.js";
import { acceptDatagram } from "../../src/translate/receive.js";
import {
  ALL_WORLDS,
  Dice,
  FastWorld,
  makeDatagram,
  makeNative,
  type TestDatagram,
  type WorldOptions,
} from "./fast-world.js";

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

/** Slow path: the tunnel packet, or why there is none. */
function slowEgress(world: FastWorld, packet: Uint8Array): string {
  const result = encapsulate(packet, {
    settings: world.settings,
    publicAddress: world.publicAddress,
    lookup: world.lookup(),
    format: "G",
    identification: () => 0,
  });
  if (result.kind !== "packet") return result.kind;
  const peer = world.peers.find((each) => sameAddress(each.address, result.destination.context));
  const fits = peer?.isVerified === true && result.packet.length <= peer.bytesMax;
  return fits ? toHex(result.packet) : "no fitting peer";
}

/** Slow path: the native packet, or why there is none. */
function slowIngress(world: FastWorld, { packet, source, port }: TestDatagram): string {
  const accepted = acceptDatagram(packet, {
    outerSource: source,
    outerSourcePort: port,
    publicAddress: world.publicAddress,
    tunnelPort: 1045,
    tunnelVersion: world.options.tunnelVersion,
  });
  if (accepted.kind === "drop") return accepted.reason;
  const result = decapsulate(accepted.packet, {
    settings: world.settings,
    publicAddress: world.publicAddress,
    lookup: world.lookup(),
    format: accepted.format,
    outerSource: source,
    hints: accepted.hints,
    nextIdentification: () => 0,
    roles: "remote",
  });
  return result.kind === "packet" ? maskedHex(result.packet) : result.kind;
}

/** Hex without what may differ: identification and header checksum of IPv4 with DF clear. */
function maskedHex(packet: Uint8Array): string {
  const copy = packet.slice();
  if (copy[0] === 0x45 && (copy[6]! & 0x40) === 0) {
    copy.fill(0, 4, 6);
    copy.fill(0, 10, 12);
  }
  return toHex(copy);
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
      const start = fast.translate(offset, packet.length);
      const end = offset + packet.length;
      const about = `seed ${seed}, packet ${count}: ${toHex(packet)}`;
      if (start === 0) {
        assert.equal(toHex(world.bytes.slice(offset, end)), toHex(packet), about);
        continue;
      }
      taken++;
      assert.equal(toHex(world.bytes.slice(start, end)), slowEgress(world, packet), about);
      const sentTo = world.bytes.slice(fast.addressOffset, fast.addressOffset + 4);
      const peer = world.peers.find((each) => each.port === fast.port)!;
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
