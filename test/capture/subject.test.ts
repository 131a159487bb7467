/** Fields of packets as filters see them, against the parsers of the gateway; no read outside. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { formatIp, type IpAddress, parseIp } from "../../src/base/ip.js";
import { writeReferenceInto } from "../../src/base/reference.js";
import { CaptureSubject, type Field, NONE } from "../../src/capture/subject.js";
import { buildDraft } from "../../src/wire/draft-header.js";
import { buildTunnel } from "../../src/wire/tunnel-header.js";
import { parseTunnelPacket } from "../../src/wire/tunnel-packet.js";
import { Dice, FastWorld, makeDatagram, makeNative } from "../forward/fast-world.js";

const SEED = Number(process.env.IPREF_TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));

function textOf({ bytes, offset, length }: Field): string {
  if (length === 0) return "";
  return formatIp({ version: length === 4 ? 4 : 6, bytes: bytes.slice(offset, offset + length) });
}

/** 16 octets of a reference. */
function octetsOf(reference: bigint): Uint8Array {
  const octets = new Uint8Array(16);
  writeReferenceInto(octets, 0, reference);
  return octets;
}

/** The packet somewhere in memory full of other octets. */
function embedded(packet: Uint8Array): { bytes: Uint8Array; offset: number } {
  const bytes = new Uint8Array(packet.length + 80).fill(0xa5);
  bytes.set(packet, 13);
  return { bytes, offset: 13 };
}

const REFERENCES = [0n, 1n, 1025n, (1n << 24n) - 1n, 1n << 24n, 0x12_3456_0701n, (5n << 120n) + 3n];

test("Tunnel packets of both formats are read like the gateway reads them", () => {
  console.log(`seed ${SEED}`);
  const dice = new Dice(SEED);
  const subject = new CaptureSubject();
  for (let round = 0; round < 2000; round++) {
    const version = dice.pick([4, 6] as const);
    const contexts = (version === 4 ? ["192.0.2.1", "198.51.100.7"] : ["2001:db8::1", "::2"]).map(
      (text) => parseIp(text)!,
    ) as [IpAddress, IpAddress];
    const isFragment = dice.percent(30);
    const header = {
      source: { context: contexts[0], reference: dice.pick(REFERENCES) },
      destination: { context: contexts[1], reference: dice.pick(REFERENCES) },
      ttl: 64,
      protocol: dice.pick([1, 6, 17, 47]),
      dontFragment: dice.percent(50),
      fragment: isFragment
        ? { offset: dice.pick([0, 1480]), moreFragments: true, identification: 7 }
        : undefined,
    };
    const payload = dice.bytes(24);
    const isDraft = dice.percent(50);
    const ports = dice.percent(50) ? { source: 1045, destination: 4000 } : undefined;
    const packet = isDraft ? buildDraft(header, payload, ports) : buildTunnel(header, payload);
    const { bytes, offset } = embedded(packet);
    subject.setNative(bytes, 0, 0);
    subject.setTunnel(bytes, offset, packet.length);
    const parsed = parseTunnelPacket(packet, isDraft ? "D" : "G", version);
    assert.ok(typeof parsed !== "string");
    const hasContexts = !isDraft || ports !== undefined;
    assert.equal(textOf(subject.sourceContext), hasContexts ? formatIp(contexts[0]) : "");
    assert.equal(textOf(subject.destinationContext), hasContexts ? formatIp(contexts[1]) : "");
    for (const [field, wanted] of [
      [subject.sourceReference, header.source.reference],
      [subject.destinationReference, header.destination.reference],
    ] as const) {
      for (const reference of REFERENCES) {
        assert.equal(field.isReference(octetsOf(reference)), reference === wanted);
      }
    }
    assert.equal(subject.tunnelProtocol, header.protocol);
    const isLater = (header.fragment?.offset ?? 0) > 0;
    const hasPorts = (header.protocol === 6 || header.protocol === 17) && !isLater;
    assert.equal(subject.sourcePort, hasPorts ? (payload[0]! << 8) | payload[1]! : NONE);
  }
});

test("Native packets give addresses, protocol and ports", () => {
  console.log(`seed ${SEED}`);
  const dice = new Dice(SEED);
  const subject = new CaptureSubject();
  for (const localVersion of [4, 6] as const) {
    const world = new FastWorld({ localVersion, tunnelVersion: 4 });
    for (let round = 0; round < 500; round++) {
      const packet = makeNative(world, dice);
      const { bytes, offset } = embedded(packet);
      subject.setNative(bytes, offset, packet.length);
      const at = localVersion === 4 ? 12 : 8;
      const size = localVersion === 4 ? 4 : 16;
      assert.ok(subject.source.equals(packet.slice(at, at + size)));
      assert.ok(subject.destination.equals(packet.slice(at + size, at + 2 * size)));
      const protocol = packet[localVersion === 4 ? 9 : 6]!;
      if (![0, 43, 44, 60].includes(protocol)) assert.equal(subject.nativeProtocol, protocol);
    }
  }
});

test("Fragments and extension headers of IPv6 are passed over", () => {
  const head = new Uint8Array(40);
  head.set([0x60, 0, 0, 0, 0, 24, 0, 64]);
  const hopByHop = Uint8Array.of(44, 0, 1, 4, 0, 0, 0, 0);
  const fragment = Uint8Array.of(17, 0, 0, 1, 0, 0, 0, 9);
  const udp = Uint8Array.of(0x14, 0xe9, 0, 53, 0, 8, 0, 0);
  const packet = Uint8Array.from([...head, ...hopByHop, ...fragment, ...udp]);
  const subject = new CaptureSubject();
  subject.setNative(packet, 0, packet.length);
  assert.deepEqual([subject.nativeProtocol, subject.destinationPort], [17, 53]);
  packet[40 + 8 + 3] = 0x09;
  subject.setNative(packet, 0, packet.length);
  assert.deepEqual([subject.nativeProtocol, subject.destinationPort], [17, NONE]);
});

test("A packet cut anywhere gives only fields that are whole", () => {
  console.log(`seed ${SEED}`);
  const dice = new Dice(SEED);
  const subject = new CaptureSubject();
  for (const tunnelVersion of [4, 6] as const) {
    const world = new FastWorld({ localVersion: tunnelVersion, tunnelVersion });
    for (let round = 0; round < 60; round++) {
      const native = makeNative(world, dice);
      const { packet: tunnel } = makeDatagram(world, dice);
      for (let length = 0; length <= Math.max(native.length, tunnel.length); length++) {
        const [a, b] = [embedded(native.subarray(0, length)), embedded(tunnel.subarray(0, length))];
        const ends = [13 + Math.min(length, native.length), 13 + Math.min(length, tunnel.length)];
        subject.setNative(a.bytes, a.offset, ends[0]! - 13);
        subject.setTunnel(b.bytes, b.offset, ends[1]! - 13);
        const { source, destination, sourceContext, destinationContext } = subject;
        const { sourceReference, destinationReference } = subject;
        for (const [field, end] of [
          [source, ends[0]!],
          [destination, ends[0]!],
          [sourceContext, ends[1]!],
          [destinationContext, ends[1]!],
          [sourceReference, ends[1]!],
          [destinationReference, ends[1]!],
        ] as const) {
          if (field.length > 0) assert.ok(field.offset >= 13 && field.offset + field.length <= end);
        }
      }
    }
  }
});
