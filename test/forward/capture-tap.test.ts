/**
 * What a worker captures is what it forwards: every packet as it came and as it went, in order,
 * super-packets with all of their parts; and forwarding does the same with and without a capture.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { DROP_REASONS } from "../../src/base/drop-reason.js";
import { toHex } from "../../src/base/hex.js";
import { CaptureDescriber } from "../../src/capture/describe.js";
import { KERNEL_NAMES, type KernelName } from "../../src/control/gateway-flags.js";
import {
  MESSAGE_BAD_CONTROL,
  SEND_DONE,
  SEND_FAILED,
  VNET_HEADER_BYTES,
} from "../../src/forward/ports.js";
import { CaptureArea } from "../../src/tables/capture-area.js";
import {
  type CaptureRecord,
  CaptureRingConsumer,
  FROM_TUNNEL,
  PATH_FAST,
  SIDE_LOCAL,
  SIDE_TUNNEL,
  TO_TUNNEL,
  VERDICT_DROPPED,
  VERDICT_FORWARDED,
} from "../../src/tables/capture-ring.js";
import {
  ALL_WORLDS,
  buildDatagram,
  buildUdp,
  Dice,
  FastWorld,
  makeDatagram,
  makeNative,
  tunnelHeader,
} from "./fast-world.js";
import { makeGateway, type TestMessage } from "./memory-ports.js";
import { finishNative, finishTunnel, leaveChecksum, vnetFor } from "./super-packets.js";

const SEED = Number(process.env.IPREF_TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));
const GENERATION = 77;

/** A gateway with a capture of everything, or of what the filter says. */
function makeCapturing(world: FastWorld, filter = "", snaplen = 65_535, kernel: KernelName = "ts") {
  const gateway = makeGateway(world, { hasDeviceHeader: true, kernel });
  const { buffer, plan } = world;
  const { tunnelVersion } = world.options;
  const lane = plan.lanes[0]!;
  new CaptureArea(buffer, plan.captureOffset).write({ filter, snaplen });
  world.control.setCaptureGeneration(GENERATION);
  const egress = new CaptureRingConsumer(buffer, lane.egressCaptureOffset, tunnelVersion);
  const ingress = new CaptureRingConsumer(buffer, lane.ingressCaptureOffset, tunnelVersion);
  const drain = (ring: CaptureRingConsumer): CaptureRecord[] => {
    const records: CaptureRecord[] = [];
    for (let record = ring.take(GENERATION); record; record = ring.take(GENERATION)) {
      records.push(record);
    }
    return records;
  };
  return {
    ...gateway,
    egressRing: egress,
    captured: { egress: () => drain(egress), ingress: () => drain(ingress) },
  };
}

/** Comments are remembered by headers: each must be what a fresh look says. */
function assertComments(records: readonly CaptureRecord[], world: FastWorld): void {
  const mappings = { iprefOf: () => undefined, nativeOf: () => undefined };
  const describer = new CaptureDescriber({ publicAddress: world.publicAddress, mappings });
  const seen = new Set<string>();
  for (const record of [...records, ...records]) {
    const comment = describer.comment(record, SIDE_LOCAL);
    assert.equal(comment, describer.describe(record, SIDE_LOCAL).comment);
    seen.add(comment);
  }
  assert.ok(seen.size > 1 && seen.size < records.length);
}

function shown(records: readonly CaptureRecord[], side: number): CaptureRecord[] {
  return records.filter(({ sides }) => (sides & side) !== 0);
}

/** A TCP super-packet of the first host to the first remote host, with its device header. */
function superPacket(
  world: FastWorld,
  payloadLength: number,
  size: number,
  sequence = 1,
): Uint8Array {
  const isIpv4 = world.options.localVersion === 4;
  const head = new Uint8Array(isIpv4 ? 20 : 40);
  if (isIpv4) head.set([0x45, 0, 0, 0, 1, 2, 0x40, 0, 64, 6]);
  else head.set([0x60, 0, 0, 0, 0, 0, 6, 64]);
  const ends = [...world.hosts[0]!.ip.bytes, ...world.remotes[0]!.encoded.bytes];
  head.set(ends, isIpv4 ? 12 : 8);
  const tcp = new Uint8Array(20);
  tcp.set([0x12, 0x34, 0x01, 0xbb, 0, 0, 0, sequence, 0, 0, 0, 0, 0x50, 0x18]);
  const payload = Uint8Array.from({ length: payloadLength }, (_, index) => index & 0xff);
  const packet = finishNative(Uint8Array.from([...head, ...tcp, ...payload]));
  return Uint8Array.from([...vnetFor(packet, size), ...leaveChecksum(packet)]);
}

function plain(packet: Uint8Array): Uint8Array {
  return Uint8Array.from([...new Uint8Array(VNET_HEADER_BYTES), ...packet]);
}

for (const kernel of KERNEL_NAMES) {
  test(`Egress captures what was read and what was sent, in order; kernel ${kernel}`, () => {
    console.log(`seed ${SEED}`);
    const dice = new Dice(SEED);
    for (const options of ALL_WORLDS) {
      const world = new FastWorld(options);
      const silent = makeGateway(new FastWorld(options), { hasDeviceHeader: true, kernel });
      const { tun, tunnel, egress, captured } = makeCapturing(world, "", 65_535, kernel);
      const given: string[] = [];
      for (let count = 0; count < 60; count++) {
        const packet = dice.percent(15)
          ? superPacket(world, 1 + dice.below(5000), 1 + dice.below(900), count)
          : plain(makeNative(world, dice));
        given.push(toHex(packet.subarray(VNET_HEADER_BYTES)));
        tun.waiting.push(packet);
        silent.tun.waiting.push(packet.slice());
      }
      egress.run();
      silent.egress.run();
      assert.deepEqual(
        tunnel.sent.map(({ packet }) => toHex(packet)),
        silent.tunnel.sent.map(({ packet }) => toHex(packet)),
        "a capture changes nothing",
      );
      const all = captured.egress();
      const records = all.filter(({ verdict }) => verdict === VERDICT_FORWARDED);
      assertComments(records, world);
      const sent = shown(records, SIDE_TUNNEL);
      assert.equal(sent.length, tunnel.sent.length);
      for (const [index, record] of sent.entries()) {
        const { packet, source, port } = tunnel.sent[index]!;
        assert.equal(toHex(record.tunnel), toHex(packet));
        assert.deepEqual([record.remote, record.remotePort], [source, port]);
        assert.equal(record.tunnelLength, packet.length);
        assert.deepEqual(
          [record.direction, record.path, record.verdict, record.timeMs],
          [TO_TUNNEL, PATH_FAST, VERDICT_FORWARDED, 1234.5],
        );
      }
      // Every native packet shown was given, in the order given, once, unchanged.
      let next = 0;
      for (const { native, nativeLength } of shown(records, SIDE_LOCAL)) {
        assert.equal(native.length, nativeLength);
        const at = given.indexOf(toHex(native), next);
        assert.ok(at >= next, "a native packet that was not given, or out of order");
        next = at + 1;
      }
      // Each tunnel packet has the headers of the native packet that it came from.
      for (const { native } of sent) assert.ok(native.length >= 28);
    }
  });
}

test("Of a super-packet the local side has one packet and the tunnel side all parts", () => {
  const world = new FastWorld({ localVersion: 4, tunnelVersion: 4 });
  const { tun, egress, captured } = makeCapturing(world);
  const packet = superPacket(world, 2500, 1000);
  tun.waiting.push(packet);
  egress.run();
  const records = captured.egress();
  assert.deepEqual(
    records.map(({ sides, tunnelLength }) => [sides, tunnelLength]),
    [
      [SIDE_LOCAL | SIDE_TUNNEL, 1000 + 20 + 28],
      [SIDE_TUNNEL, 1000 + 20 + 28],
      [SIDE_TUNNEL, 500 + 20 + 28],
    ].map(([sides, length]) => [sides, length! + records[0]!.tunnelLength - 1048]),
  );
  assert.equal(toHex(records[0]!.native), toHex(packet.subarray(VNET_HEADER_BYTES)));
  assert.deepEqual(records[1]!.native.subarray(12, 20), records[0]!.native.subarray(12, 20));
});

for (const kernel of KERNEL_NAMES) {
  test(`Ingress captures what came and what was written, joined or not; kernel ${kernel}`, () => {
    console.log(`seed ${SEED}`);
    const dice = new Dice(SEED);
    for (const options of ALL_WORLDS) {
      const world = new FastWorld(options);
      const { tun, tunnel, ingress, ingressRing, captured } = makeCapturing(
        ...[world, "", 65_535, kernel],
      );
      const datagrams: string[] = [];
      for (let count = 0; count < 40; count++) {
        const message = dice.percent(40) ? stream(world, dice) : makeDatagram(world, dice);
        const { packet, segmentSize = packet.length } = message as TestMessage;
        for (let at = 0; at < packet.length; at += segmentSize) {
          datagrams.push(toHex(packet.subarray(at, at + segmentSize)));
        }
        tunnel.waiting.push(message);
      }
      ingress.run();
      const handed: string[] = [];
      for (let item = ingressRing.take(); item; item = ingressRing.take()) {
        handed.push(toHex(item.packet));
      }
      const records = captured.ingress();
      assertComments(records, world);
      const came = shown(records, SIDE_TUNNEL).map(({ tunnel: bytes }) => toHex(bytes));
      assert.deepEqual([...came, ...handed].toSorted(), datagrams.toSorted());
      const written = shown(records, SIDE_LOCAL);
      assert.deepEqual(
        written.map(({ native }) => toHex(native)),
        tun.written.map((packet) => toHex(packet.subarray(VNET_HEADER_BYTES))),
      );
      assert.ok(came.length > written.length, "some were joined");
      for (const record of records) {
        assert.equal(record.direction, FROM_TUNNEL);
        assert.equal(record.verdict, VERDICT_FORWARDED);
        assert.ok(record.native.length >= 28 && record.tunnel.length >= 20);
      }
    }
  });
}

/** A message of TCP segments in sequence: they are joined. */
function stream(world: FastWorld, dice: Dice): TestMessage {
  const remote = world.remotes[0]!;
  const to = { context: world.publicAddress, reference: world.hosts[0]!.reference };
  const header = tunnelHeader(remote.ipref, to, 1, 6);
  const payload = 10 + dice.below(200);
  const count = 2 + dice.below(6);
  const [source, sequence] = [1024 + dice.below(60_000), dice.below(2 ** 31)];
  const parts = Array.from({ length: count }, (_, index) => {
    const tcp = new Uint8Array(20);
    const view = new DataView(tcp.buffer);
    view.setUint16(0, source);
    view.setUint16(2, 443);
    view.setUint32(4, sequence + index * payload);
    tcp.set([0x50, 0x10], 12);
    const packet = Uint8Array.from([...header, ...tcp, ...dice.bytes(payload)]);
    return finishTunnel(packet, header.length);
  });
  const packet = Uint8Array.from(parts.flatMap((part) => [...part]));
  return { packet, source: remote.ipref.context, port: 1045, segmentSize: parts[0]!.length };
}

function namesOf(records: readonly CaptureRecord[]): string[] {
  return records.map(({ verdict, reason }) => {
    assert.equal(verdict, VERDICT_DROPPED);
    return DROP_REASONS[reason - 1]!.name;
  });
}

test("Drops of the workers are captured with their reasons", () => {
  const world = new FastWorld({ localVersion: 4, tunnelVersion: 4 });
  const { tun, tunnel, egress, ingress, captured } = makeCapturing(world, "verdict dropped");
  const good = buildUdp(world.hosts[0]!.ip, world.remotes[0]!.encoded, 100);
  const bad = superPacket(world, 2500, 1000);
  bad[4] = 0;
  bad[5] = 0;
  tun.waiting.push(plain(good), bad);
  egress.run();
  assert.deepEqual(namesOf(captured.egress()), ["local-bad-segment-size"]);
  tunnel.outcome = SEND_FAILED;
  tun.waiting.push(plain(good));
  egress.run();
  tunnel.outcome = SEND_DONE;
  const failed = captured.egress();
  assert.deepEqual(namesOf(failed), ["send-failed"]);
  assert.equal(failed[0]!.sides, SIDE_LOCAL | SIDE_TUNNEL);
  const from = world.remotes[0]!.ipref;
  const to = { context: world.publicAddress, reference: world.hosts[0]!.reference };
  const datagram = { packet: buildDatagram(from, to, 1), source: from.context, port: 1045 };
  tun.refuses = true;
  tunnel.waiting.push({ ...datagram, segmentSize: MESSAGE_BAD_CONTROL }, datagram);
  ingress.run();
  assert.deepEqual(namesOf(captured.ingress()), ["tunnel-bad-control", "write-failed"]);
});

test("A packet that finds the ring to the slow path full is captured as dropped", () => {
  const world = new FastWorld({ localVersion: 4, tunnelVersion: 4 });
  const { tun, egress, captured, counters } = makeCapturing(world, "drop slow-path-full");
  const unknown = buildUdp(world.hosts[0]!.ip, world.encodedIp(99), 1000);
  for (let count = 0; count < 250; count++) tun.waiting.push(plain(unknown));
  egress.run();
  const records = captured.egress();
  assert.equal(records.length, counters.drops("slow-path-full"));
  assert.ok(records.length > 50);
  assert.equal(toHex(records[0]!.native), toHex(unknown));
});

test("The filter decides per side; nothing is captured when the capture is over", () => {
  const world = new FastWorld({ localVersion: 4, tunnelVersion: 4 });
  const { tun, egress, captured } = makeCapturing(world, "side tunnel and gateway 198.51.100.1");
  const one = plain(buildUdp(world.hosts[0]!.ip, world.remotes[0]!.encoded, 100));
  const other = plain(buildUdp(world.hosts[0]!.ip, world.remotes[3]!.encoded, 100));
  tun.waiting.push(one, other, one);
  egress.run();
  assert.deepEqual(
    captured.egress().map(({ sides, remote }) => [sides, remote.bytes.at(-1)]),
    [
      [SIDE_TUNNEL, 1],
      [SIDE_TUNNEL, 1],
    ],
  );
  world.control.setCaptureGeneration(0);
  tun.waiting.push(one);
  egress.run();
  assert.deepEqual(captured.egress(), []);
});

test("Packets are cut to the snapshot length, but for the headers", () => {
  const world = new FastWorld({ localVersion: 6, tunnelVersion: 6 });
  const { tun, egress, captured } = makeCapturing(world, "", 64);
  tun.waiting.push(plain(buildUdp(world.hosts[0]!.ip, world.remotes[0]!.encoded, 700)));
  egress.run();
  const [record] = captured.egress();
  assert.equal(record!.nativeLength, 740);
  assert.equal(record!.native.length, 128);
  assert.equal(record!.tunnel.length, 128);
});

test("A capture ring that is full loses packets, counts them, and delays nothing", () => {
  const world = new FastWorld({ localVersion: 4, tunnelVersion: 4 });
  const { tun, tunnel, egress, egressRing, captured } = makeCapturing(world);
  const packet = plain(buildUdp(world.hosts[0]!.ip, world.remotes[0]!.encoded, 1200));
  const count = 1200;
  for (let index = 0; index < count; index++) tun.waiting.push(packet);
  egress.run();
  assert.equal(tunnel.sent.length, count);
  const records = captured.egress();
  assert.ok(records.length > 500 && records.length < count, `${records.length}`);
  assert.equal(egressRing.takeLost(), count - records.length);
  assert.equal(egressRing.takeLost(), 0);
  tun.waiting.push(packet);
  egress.run();
  assert.equal(captured.egress().length, 1, "there is room again");
});
