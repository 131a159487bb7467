/** The clamp alone, and in both workers' loops and the slow path. */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { KERNEL_NAMES } from "../../src/control/gateway-flags.js";
import {
  clampMss,
  clampNativePacket,
  clampTunnelPacket,
  localMssMax,
  tunnelMssMax,
} from "../../src/forward/mss-clamp.js";
import { ALL_WORLDS, FastWorld, tunnelHeader } from "./fast-world.js";
import { makeGateway } from "./memory-ports.js";
import { finishNative } from "./super-packets.js";

/** Naive twin: sum of all 16-bit words of a segment, folded; a right one is ffff or, all zero, 0. */
function segmentSum(segment: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < segment.length; at += 2) {
    sum += (segment[at]! << 8) + (segment[at + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** A SYN with these options, padded with zeros, and a checksum that makes the sum ffff. */
function makeSyn(options: readonly number[], flags = 0x02): Uint8Array {
  const optionBytes = Math.ceil(options.length / 4) * 4;
  const segment = new Uint8Array(20 + optionBytes);
  segment.set([0x9c, 0x40, 0x01, 0xbb, 1, 2, 3, 4, 0, 0, 0, 0, (5 + optionBytes / 4) << 4, flags]);
  segment.set([0xfa, 0xf0], 14);
  segment.set(options, 20);
  const checksum = segmentSum(segment) ^ 0xffff;
  segment.set([checksum >>> 8, checksum & 0xff], 16);
  return segment;
}

function mss(value: number): number[] {
  return [2, 4, value >>> 8, value & 0xff];
}

test("clampMss() lowers an MSS that is too large and keeps the checksum right", () => {
  const segment = makeSyn([...mss(1460), 4, 2, 1, 3, 3, 7]);
  assert.ok(clampMss(segment, 0, segment.length, 1380));
  assert.deepEqual([...segment.subarray(20, 24)], mss(1380));
  assert.equal(segmentSum(segment), 0xffff);
});

test("clampMss() finds the option at odd and even positions, wherever its octets lie", () => {
  const property = fc.property(
    fc.integer({ min: 0, max: 6 }),
    fc.integer({ min: 0, max: 0xffff }),
    fc.integer({ min: 88, max: 0xffff }),
    fc.integer({ min: 0, max: 5 }),
    (fill, value, limit, shift) => {
      const segment = makeSyn([...Array<number>(fill).fill(1), ...mss(value), 4, 2]);
      const bytes = new Uint8Array(shift + segment.length).fill(0xa5);
      bytes.set(segment, shift);
      const isChanged = clampMss(bytes, shift, segment.length, limit);
      const result = bytes.subarray(shift);
      assert.equal(isChanged, value > limit);
      assert.deepEqual([...result.subarray(20 + fill, 24 + fill)], mss(Math.min(value, limit)));
      assert.equal(segmentSum(result), 0xffff);
      assert.ok(bytes.subarray(0, shift).every((octet) => octet === 0xa5));
      assert.notEqual((result[16]! << 8) | result[17]!, isChanged ? 0 : -1);
    },
  );
  fc.assert(property, { numRuns: 2000, verbose: 1 });
});

test("clampMss() never raises, never adds, and leaves all but SYNs alone", () => {
  const cases: [string, Uint8Array][] = [
    ["small enough", makeSyn(mss(1380))],
    ["no option at all", makeSyn([])],
    ["other options only", makeSyn([4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0])],
    ["behind the end of options", makeSyn([0, 1, 1, 1, ...mss(1460)])],
    ["an acknowledgement", makeSyn(mss(1460), 0x10)],
    ["a wrong option length", makeSyn([2, 3, 5, 180])],
    ["an option that leaves the header", makeSyn([1, 2, 4, 5])],
    ["an option of length 0", makeSyn([8, 0, 0, 0, ...mss(1460)])],
    ["an option of length 1", makeSyn([8, 1, 0, 0, ...mss(1460)])],
  ];
  for (const [name, segment] of cases) {
    const before = [...segment];
    assert.equal(clampMss(segment, 0, segment.length, 1380), false, name);
    assert.deepEqual([...segment], before, name);
  }
});

test("clampMss() clamps a SYN-ACK as well", () => {
  const segment = makeSyn(mss(1460), 0x12);
  assert.ok(clampMss(segment, 0, segment.length, 1200));
  assert.equal(segmentSum(segment), 0xffff);
});

test("clampMss() never reads or writes behind the octets that are there", () => {
  const whole = makeSyn([1, ...mss(1460), 4, 2]);
  for (let length = 0; length < whole.length; length++) {
    const cut = whole.slice(0, length);
    assert.equal(clampMss(cut, 0, length, 1000), false, `${length} octets`);
    assert.deepEqual([...cut], [...whole.subarray(0, length)]);
  }
});

test("clampMss() takes any octets", () => {
  const property = fc.property(
    fc.uint8Array({ minLength: 0, maxLength: 80 }),
    fc.integer({ min: 88, max: 2000 }),
    (bytes, limit) => {
      if (bytes.length > 13) bytes[13]! |= 2;
      const before = bytes.slice();
      if (!clampMss(bytes, 0, bytes.length, limit)) assert.deepEqual(bytes, before);
      else if (bytes.length % 2 === 0) {
        assert.equal(segmentSum(bytes) % 0xffff, segmentSum(before) % 0xffff);
      }
    },
  );
  fc.assert(property, { numRuns: 5000 });
});

test("clampTunnelPacket() counts the header that the packet has", () => {
  const limits = { tunnelVersion: 4, localMax: 1400 } as const;
  for (const [code, reference] of [
    [0, 4],
    [1, 8],
    [2, 16],
  ] as const) {
    const header = 12 + 2 * reference;
    const packet = Uint8Array.from([...new Uint8Array(header), ...makeSyn(mss(1460))]);
    packet.set([0x11 | (code << 2), 0x40, 64, 6]);
    assert.ok(clampTunnelPacket(packet, 0, packet.length, limits, 1372));
    const expected = 1372 - header - 20;
    assert.deepEqual([...packet.subarray(header + 20, header + 24)], mss(expected));
    assert.equal(segmentSum(packet.subarray(header)), 0xffff);
  }
});

test("clampTunnelPacket() leaves other protocols and fragments alone", () => {
  const limits = { tunnelVersion: 4, localMax: 500 } as const;
  for (const [first, protocol] of [
    [0x11, 17],
    [0x13, 6],
  ] as const) {
    const packet = Uint8Array.from([...new Uint8Array(20), ...makeSyn(mss(1460))]);
    packet.set([first, 0x40, 64, protocol]);
    const before = packet.slice();
    assert.equal(clampTunnelPacket(packet, 0, packet.length, limits, 1372), false);
    assert.deepEqual(packet, before);
  }
});

test("clampNativePacket() takes whole packets without options of both versions", () => {
  const syn = makeSyn(mss(1460));
  const ipv4 = Uint8Array.from([
    0x45,
    0,
    0,
    44,
    0,
    0,
    0x40,
    0,
    64,
    6,
    ...Array(10).fill(1),
    ...syn,
  ]);
  assert.ok(clampNativePacket(ipv4.slice(), 1000));
  const fragment = ipv4.slice();
  fragment[6] = 0x20;
  assert.equal(clampNativePacket(fragment, 1000), false);
  const later = ipv4.slice();
  later[7] = 3;
  assert.equal(clampNativePacket(later, 1000), false);
  const ipv6 = Uint8Array.from([0x60, 0, 0, 0, 0, 24, 6, 64, ...Array(32).fill(1), ...syn]);
  assert.ok(clampNativePacket(ipv6, 1000));
  assert.equal(segmentSum(ipv6.subarray(40)), 0xffff);
  for (let length = 0; length < 40; length++) {
    assert.equal(clampNativePacket(ipv4.slice(0, length), 1000), false);
  }
});

test("the limits are the narrower of path and TUN device, and never absurd", () => {
  // 1440 octets of TUN device: spec/tunnel.md 7.6, IPv4 over IPv4, 1500.
  assert.equal(localMssMax(1440, 4), 1400);
  assert.equal(localMssMax(1396, 6), 1336);
  assert.equal(tunnelMssMax(0, 44, 1400), 1400);
  assert.equal(tunnelMssMax(1472, 20, 1400), 1400);
  assert.equal(tunnelMssMax(1252, 44, 1400), 1188);
  assert.equal(tunnelMssMax(50, 44, 1400), 88);
});

/** The MSS option that `makeSyn` has put first. */
function mssOf(segment: Uint8Array): number {
  assert.deepEqual([...segment.subarray(20, 22)], [2, 4]);
  return (segment[22]! << 8) | segment[23]!;
}

for (const kernel of KERNEL_NAMES) {
  for (const options of ALL_WORLDS.filter(({ decrementTtl }) => !decrementTtl)) {
    const { localVersion, tunnelVersion } = options;
    const name = `kernel ${kernel}, local IPv${localVersion}, tunnel IPv${tunnelVersion}`;
    test(`workers clamp SYNs of both directions to M and the TUN device: ${name}`, () => {
      const world = new FastWorld(options);
      for (const localMssMax of [9000, 300]) {
        const gateway = makeGateway(world, { kernel, localMssMax });
        const syn = makeSyn(mss(60_000));
        const head = new Uint8Array(localVersion === 4 ? 20 : 40);
        head.set(localVersion === 4 ? [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6] : [0x60]);
        if (localVersion === 6) head.set([6, 64], 6);
        const remote = world.remotes.find(({ ipref }) => {
          const peer = world.peers.find(
            ({ address }) => `${address.bytes}` === `${ipref.context.bytes}`,
          );
          return peer?.isVerified;
        })!;
        const [host] = world.hosts;
        const own = { context: world.publicAddress, reference: host!.reference };
        const ends = [...host!.ip.bytes, ...remote.encoded.bytes];
        head.set(ends, localVersion === 4 ? 12 : 8);
        gateway.tun.waiting.push(finishNative(Uint8Array.from([...head, ...syn])));
        gateway.egress.runBatch();
        assert.equal(gateway.tunnel.sent.length, 1, "the fast path takes the SYN");
        const { packet, source, port } = gateway.tunnel.sent[0]!;
        const peer = world.peers.find((each) => each.port === port)!;
        const header = packet.length - syn.length;
        const expected = Math.max(88, Math.min(localMssMax, peer.bytesMax - header - 20));
        assert.equal(mssOf(packet.subarray(header)), expected);

        const answer = Uint8Array.from([
          ...tunnelHeader(remote.ipref, own, 1, 6),
          ...makeSyn(mss(60_000), 0x12),
        ]);
        gateway.tunnel.waiting.push({ packet: answer, source, port });
        gateway.ingress.runBatch();
        assert.equal(gateway.tun.written.length, 1, "the fast path takes the SYN-ACK");
        const native = gateway.tun.written[0]!;
        const back = answer.length - syn.length;
        const backMax = Math.max(88, Math.min(localMssMax, peer.bytesMax - back - 20));
        assert.equal(mssOf(native.subarray(native.length - syn.length)), backMax);
      }
    });
  }
}
