/** What the slow path does with one packet, joined to records. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { DROP_REASONS } from "../../../src/base/drop-reason.js";
import { formatIp, parseIp } from "../../../src/base/ip.js";
import { DeskTap } from "../../../src/control/capture/desk-tap.js";
import {
  type CaptureRecord,
  PATH_SLOW,
  SIDE_LOCAL,
  SIDE_TUNNEL,
  TO_TUNNEL,
} from "../../../src/tables/capture-ring.js";

const FAR = parseIp("198.51.100.7")!;
const VERDICTS = ["", "forwarded", "dropped", "held", "answered", "made"];
const SIDES = { [SIDE_LOCAL]: "local", [SIDE_TUNNEL]: "tunnel", 3: "both" } as const;

/** A packet of three octets that begins with this one. */
function packet(first: number): Uint8Array {
  return Uint8Array.of(first, 0, 0);
}

function makeTap(snaplen = 65_535) {
  const records: CaptureRecord[] = [];
  const tap = new DeskTap({
    ...{ snaplen, tunnelVersion: 4, nowMs: () => 5 },
    take: (record) => void records.push(record),
  });
  /** Sides, way, verdict, reason, first octets of native and tunnel packet. */
  const told = () =>
    records.splice(0).map(({ sides, direction, verdict, reason, native, tunnel, path }) => {
      assert.equal(path, PATH_SLOW);
      const way = direction === TO_TUNNEL ? "out" : "in";
      const why = reason === 0 ? [] : [DROP_REASONS[reason - 1]!.name];
      const octets = `${native[0] ?? "-"}/${tunnel[0] ?? "-"}`;
      return [SIDES[sides as 1 | 2 | 3], way, VERDICTS[verdict], ...why, octets].join(" ");
    });
  return { tap, told, records };
}

test("a packet that crosses is one record for both sides", () => {
  const { tap, records, told } = makeTap();
  tap.fromLocal(packet(1), false);
  tap.sent(FAR, 1045, packet(2), "sent");
  tap.end();
  assert.equal(formatIp(records[0]!.remote), "198.51.100.7");
  assert.equal(records[0]!.remotePort, 1045);
  assert.deepEqual(told(), ["both out forwarded 1/2"]);
  tap.fromTunnel(packet(3), FAR, 40_000, false);
  tap.written(packet(4), true);
  tap.end();
  assert.equal(records[0]!.remotePort, 40_000);
  assert.deepEqual(told(), ["both in forwarded 4/3"]);
});

test("fragments are shown one by one, with the packet that they came from", () => {
  const { tap, told } = makeTap();
  tap.fromLocal(packet(1), false);
  tap.sent(FAR, 1045, packet(9), "too-big");
  for (const first of [2, 3, 4]) tap.sent(FAR, 1045, packet(first), "sent");
  tap.end();
  assert.deepEqual(told(), [
    "both out forwarded 1/2",
    "tunnel out forwarded 1/3",
    "tunnel out forwarded 1/4",
  ]);
});

test("a local packet that comes back is forwarded, an error about it is not", () => {
  const { tap, told } = makeTap();
  tap.fromLocal(packet(1), false);
  tap.written(packet(2), true);
  tap.end();
  assert.deepEqual(told(), ["local out forwarded 1/-", "local in forwarded 2/-"]);
  tap.fromLocal(packet(1), false);
  tap.dropped("packet-too-big");
  tap.written(packet(2), true);
  tap.end();
  assert.deepEqual(told(), ["local out dropped packet-too-big 1/-", "local in made 2/-"]);
});

test("what the kernel refuses is shown with the drop, what it took of it as forwarded", () => {
  const { tap, told } = makeTap();
  tap.fromLocal(packet(1), false);
  tap.sent(FAR, 1045, packet(2), "sent");
  tap.sent(FAR, 1045, packet(3), "failed");
  tap.dropped("send-failed");
  tap.end();
  assert.deepEqual(told(), ["both out dropped send-failed 1/3", "tunnel out forwarded -/2"]);
  tap.fromTunnel(packet(1), FAR, 1045, false);
  tap.written(packet(2), false);
  tap.dropped("write-failed");
  tap.end();
  assert.deepEqual(told(), ["both in dropped write-failed 2/1"]);
});

test("every reason is told, once each", () => {
  const { tap, told } = makeTap();
  tap.fromTunnel(packet(1), FAR, 1045, false);
  for (const reason of ["ttl-expired", "icmp-limited", "icmp-limited"] as const) {
    tap.dropped(reason);
  }
  tap.end();
  assert.deepEqual(told(), [
    "tunnel in dropped ttl-expired -/1",
    "tunnel in dropped icmp-limited -/1",
  ]);
  tap.dropped("icmp-fragment-expired");
  tap.end();
  assert.deepEqual(told(), ["local out dropped icmp-fragment-expired -/-"]);
});

test("what is held is shown once, and again with what becomes of it", () => {
  const { tap, told } = makeTap();
  tap.fromLocal(packet(1), false);
  tap.end();
  assert.deepEqual(told(), ["local out held 1/-"]);
  tap.fromLocal(packet(1), true);
  tap.end();
  assert.deepEqual(told(), []);
  tap.fromLocal(packet(1), true);
  tap.fromLocal(packet(5), true);
  tap.sent(FAR, 1045, packet(6), "sent");
  tap.fromTunnel(packet(7), FAR, 1045, true);
  tap.dropped("mapping-storage");
  tap.end();
  assert.deepEqual(told(), ["tunnel out forwarded 5/6", "tunnel in dropped mapping-storage -/7"]);
});

test("an answer of the gateway is told apart from what it answers", () => {
  const { tap, told } = makeTap();
  tap.fromTunnel(packet(1), FAR, 1045, false);
  tap.sent(FAR, 1045, packet(2), "sent");
  tap.end();
  assert.deepEqual(told(), ["tunnel in answered -/1", "tunnel out made -/2"]);
  tap.fromTunnel(packet(1), FAR, 1045, false);
  tap.sent(FAR, 1045, packet(2), "sent");
  tap.written(packet(3), true);
  tap.end();
  assert.deepEqual(told(), ["both in forwarded 3/1", "tunnel out made -/2"]);
});

test("packets are cut, but for their headers, and outputs are copied", () => {
  const { tap, records } = makeTap(64);
  const borrowed = new Uint8Array(1500).fill(7);
  tap.fromLocal(new Uint8Array(1400).fill(6), false);
  tap.sent(FAR, 1045, borrowed, "sent");
  borrowed.fill(0);
  tap.end();
  const [record] = records;
  assert.deepEqual([record!.native.length, record!.nativeLength], [128, 1400]);
  assert.deepEqual([record!.tunnel.length, record!.tunnelLength], [128, 1500]);
  assert.ok(record!.tunnel.every((octet) => octet === 7));
});

test("the time of all records is that at which the packet was taken", () => {
  const times: number[] = [];
  let nowMs = 10;
  const tap = new DeskTap({
    ...{ snaplen: 65_535, tunnelVersion: 4, nowMs: () => nowMs++ },
    take: ({ timeMs }) => void times.push(timeMs),
  });
  tap.fromLocal(packet(1), false);
  tap.sent(FAR, 1045, packet(2), "sent");
  tap.sent(FAR, 1045, packet(3), "sent");
  tap.fromTunnel(packet(4), FAR, 1045, false);
  tap.end();
  tap.dropped("icmp-fragment-expired");
  tap.end();
  assert.deepEqual(times, [10, 10, 11, 12]);
});
