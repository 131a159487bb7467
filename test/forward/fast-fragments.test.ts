/**
 * The judge of the fast path for fragments: what the loops take has the very bytes of the slow
 * path; what they do not take reaches the slow path as it was.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../../src/base/hex.js";
import { KERNEL_NAMES } from "../../src/control/gateway-flags.js";
import { ALL_WORLDS, Dice, FastWorld, type TestDatagram, tunnelHeader } from "./fast-world.js";
import { makeGateway } from "./memory-ports.js";
import { maskedHex, slowEgress, slowIngress } from "./slow-twins.js";

/** Packets of one run. The environment asks for longer ones. */
const PACKETS = Number(process.env["IPREF_TEST_PACKETS"] ?? 1_500);

function newSeed(): number {
  return Number(process.env["IPREF_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
}

const RUNS = KERNEL_NAMES.flatMap((kernel) => ALL_WORLDS.map((options) => ({ kernel, options })));

/** What a fragment has beside its addresses. */
interface Piece {
  readonly protocol: number;
  readonly offset: number;
  readonly more: boolean;
  readonly identification: number;
  readonly layer4: Uint8Array;
}

function makePiece(dice: Dice, icmp: number, identificationMax: number): Piece {
  const units = dice.percent(15) ? dice.below(160) : dice.below(12);
  const odd = dice.percent(30) ? dice.below(8) : 0;
  const layer4 = dice.bytes(8 * units + odd);
  const protocol = dice.pick([6, 6, 17, 17, 17, dice.pick([icmp, 47, 58, 1])]);
  const view = new DataView(layer4.buffer);
  const place = protocol === 6 ? 16 : 6;
  if (layer4.length >= place + 2) view.setUint16(place, dice.checksum());
  const offset = dice.pick([0, 0, 8, 16, 24, 1480, 8 * dice.below(8192), 65_528]);
  const identification = dice.below(identificationMax);
  return { protocol, offset, more: dice.percent(60), identification, layer4 };
}

/** A fragment from the local network. */
function makeNativeFragment(world: FastWorld, dice: Dice): Uint8Array {
  const { localVersion } = world.options;
  const source = dice.percent(4) ? world.hostIp(77) : dice.pick(world.hosts).ip;
  const destination = dice.percent(4) ? world.encodedIp(99) : dice.pick(world.remotes).encoded;
  const ends = [...source.bytes, ...destination.bytes];
  const ttl = dice.percent(10) ? dice.below(3) : dice.below(256);
  const lie = dice.percent(3) ? dice.pick([-4, 4]) : 0;
  if (localVersion === 4) {
    const { protocol, offset, more, identification, layer4 } = makePiece(dice, 1, 2 ** 16);
    const header = new Uint8Array(20);
    const view = new DataView(header.buffer);
    header.set([dice.percent(3) ? 0x46 : 0x45, dice.percent(5) ? 3 : dice.below(64) << 2]);
    view.setUint16(2, 20 + layer4.length + lie);
    view.setUint16(4, identification);
    view.setUint16(6, (offset >> 3) | (more ? 0x2000 : 0) | (dice.percent(30) ? 0x4000 : 0));
    header.set([ttl, protocol], 8);
    header.set(ends, 12);
    return Uint8Array.from([...header, ...layer4]);
  }
  const { protocol, offset, more, identification, layer4 } = makePiece(dice, 58, 2 ** 32);
  const header = new Uint8Array(48);
  const view = new DataView(header.buffer);
  view.setUint32(0, 0x60000000 | (dice.below(0x10000) << 4) | (dice.percent(5) ? 3 << 20 : 0));
  view.setUint16(4, 8 + layer4.length + lie);
  header.set([44, ttl], 6);
  header.set(ends, 8);
  header.set([dice.percent(3) ? 44 : protocol, dice.below(256)], 40);
  view.setUint16(42, offset | (dice.percent(10) ? 6 : 0) | (more ? 1 : 0));
  view.setUint32(44, identification);
  return Uint8Array.from([...header, ...layer4]);
}

/** A fragment from the tunnel. */
function makeTunnelFragment(world: FastWorld, dice: Dice): TestDatagram {
  const remote = dice.pick(world.remotes);
  const host = dice.pick(world.hosts);
  const { protocol, offset, more, identification, layer4 } = makePiece(dice, 1, 2 ** 32);
  const to = { context: world.publicAddress, reference: dice.percent(4) ? 77n : host.reference };
  const from = dice.percent(4) ? { ...remote.ipref, reference: 78n } : remote.ipref;
  const head = tunnelHeader(from, to, dice.below(2), protocol);
  const information = new Uint8Array(8);
  const view = new DataView(information.buffer);
  if (dice.percent(3)) view.setUint16(0, dice.below(3));
  view.setUint16(2, offset | (more ? 1 : 0) | (dice.percent(3) ? dice.pick([2, 4]) : 0));
  view.setUint32(4, identification);
  head[0]! |= 2;
  head[2] = dice.percent(10) ? dice.below(3) : dice.below(256);
  const bytes = [...head.subarray(0, 4), ...information, ...head.subarray(4), ...layer4];
  const end = dice.percent(3) ? dice.below(bytes.length) + 1 : bytes.length;
  const peer = world.peers.find(({ address }) => {
    return toHex(address.bytes) === toHex(remote.ipref.context.bytes);
  });
  const port = dice.percent(4) ? 5_555 : (peer?.port ?? 1_045);
  return { packet: Uint8Array.from(bytes.slice(0, end)), source: remote.ipref.context, port };
}

for (const { kernel, options } of RUNS) {
  const { localVersion, tunnelVersion, decrementTtl } = options;
  const ttl = decrementTtl ? ", -dec-ttl" : "";
  const name = `kernel ${kernel}, local IPv${localVersion}, tunnel IPv${tunnelVersion}${ttl}`;

  test(`Fragments into the tunnel have the bytes of the slow path: ${name}`, (context) => {
    const seed = newSeed();
    context.diagnostic(`seed ${seed}`);
    const world = new FastWorld(options);
    const { tun, tunnel, egress, egressRing } = makeGateway(world, { kernel });
    const dice = new Dice(seed);
    let taken = 0;
    for (let count = 0; count < PACKETS; count++) {
      const packet = makeNativeFragment(world, dice);
      const about = `seed ${seed}, packet ${count}: ${toHex(packet)}`;
      tun.waiting.push(packet);
      egress.runBatch();
      const handedOver = egressRing.take();
      const sent = tunnel.sent.pop();
      assert.equal(handedOver === undefined, sent !== undefined, about);
      if (handedOver !== undefined) assert.equal(toHex(handedOver.packet), toHex(packet), about);
      if (sent === undefined) continue;
      taken++;
      assert.equal(toHex(sent.packet), slowEgress(world, packet), about);
      const peer = world.peers.find(({ port }) => port === sent.port)!;
      assert.deepEqual(sent.source.bytes, peer.address.bytes, about);
    }
    assert.ok(taken > PACKETS / 6, `only ${taken} of ${PACKETS} fragments were taken`);
  });

  test(`Fragments out of the tunnel have the bytes of the slow path: ${name}`, (context) => {
    const seed = newSeed();
    context.diagnostic(`seed ${seed}`);
    const world = new FastWorld(options);
    const { tun, tunnel, ingress, ingressRing } = makeGateway(world, { kernel });
    const dice = new Dice(seed);
    let taken = 0;
    for (let count = 0; count < PACKETS; count++) {
      const datagram = makeTunnelFragment(world, dice);
      const about = `seed ${seed}, packet ${count}: ${toHex(datagram.packet)}`;
      tunnel.waiting.push(datagram);
      ingress.runBatch();
      const handedOver = ingressRing.take();
      const written = tun.written.pop();
      assert.equal(handedOver === undefined, written !== undefined, about);
      if (handedOver !== undefined) {
        assert.equal(toHex(handedOver.packet), toHex(datagram.packet), about);
      }
      if (written === undefined) continue;
      taken++;
      assert.equal(maskedHex(written), slowIngress(world, datagram), about);
    }
    assert.ok(taken > PACKETS / 8, `only ${taken} of ${PACKETS} fragments were taken`);
  });
}

test("A fragment that exceeds the path with its fragment information takes the slow path", () => {
  const world = new FastWorld({ localVersion: 4, tunnelVersion: 4 });
  const { tun, tunnel, egress, egressRing } = makeGateway(world);
  const peer = world.peers[1]!;
  const remote = world.remotes.find(({ ipref }) => {
    return toHex(ipref.context.bytes) === toHex(peer.address.bytes);
  })!;
  for (let length = 8; length <= peer.bytesMax; length += 8) {
    const header = new Uint8Array(20);
    const view = new DataView(header.buffer);
    header.set([0x45, 0, 0, 0, 0, 1, 0x20, 0x10, 64, 17]);
    view.setUint16(2, 20 + length);
    header.set([...world.hosts[0]!.ip.bytes, ...remote.encoded.bytes], 12);
    const packet = Uint8Array.from([...header, ...new Uint8Array(length)]);
    tun.waiting.push(packet);
    egress.runBatch();
    const wanted = slowEgress(world, packet);
    const sent = tunnel.sent.pop();
    if (wanted === "no fitting peer") {
      assert.equal(sent, undefined);
      assert.equal(toHex(egressRing.take()!.packet), toHex(packet));
    } else assert.equal(toHex(sent!.packet), wanted);
  }
});

test("Fragments and whole datagrams of one message leave in their order", () => {
  const world = new FastWorld({ localVersion: 4, tunnelVersion: 4 });
  const { tun, tunnel, ingress } = makeGateway(world, { hasDeviceHeader: true });
  const remote = world.remotes[0]!;
  const to = { context: world.publicAddress, reference: world.hosts[0]!.reference };
  const whole = tunnelHeader(remote.ipref, to, 0, 17);
  const first = whole.slice();
  first[0]! |= 2;
  const information = [0, 0, 0, 1, 0, 0, 1, 2];
  const fragmentHead = [...first.subarray(0, 4), ...information, ...first.subarray(4)];
  const fragment = Uint8Array.from([...fragmentHead, ...new Uint8Array(24).fill(7)]);
  const udp = [0, 9, 0, 9, 0, 32, 0, 0, ...new Uint8Array(24)];
  const datagram = Uint8Array.from([...whole, ...udp]);
  const { address, port } = world.peers[0]!;
  assert.equal(fragment.length, datagram.length);
  const packet = Uint8Array.from([...datagram, ...fragment, ...datagram]);
  tunnel.waiting.push({ packet, segmentSize: datagram.length, source: address, port });
  ingress.runBatch();
  const flags = tun.written.map((each) => each[10 + 6]! & 0x20);
  assert.deepEqual(flags, [0, 0x20, 0]);
});
