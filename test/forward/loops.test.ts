/** The loops of both workers over in-memory ports: two gateways that talk inside one test. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../../src/base/hex.js";
import { SEND_FAILED, SEND_TOO_BIG } from "../../src/forward/ports.js";
import {
  RING_FROM_LOCAL,
  RING_FROM_TUNNEL,
  RING_SEND_TOO_BIG,
  RING_SOCKET_ERROR,
} from "../../src/tables/packet-ring.js";
import { buildDatagram, buildUdp, FastWorld, type TestDatagram } from "./fast-world.js";
import { makeGateway as makeWorkers } from "./memory-ports.js";

const OPTIONS = { localVersion: 4, tunnelVersion: 4 } as const;

function makeGateway(world = new FastWorld(OPTIONS)) {
  return makeWorkers(world);
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
