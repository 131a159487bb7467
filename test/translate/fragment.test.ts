/** fragmentTunnel() and fragmentIpv6(), spec/tunnel.md 7.5 and 7.7. */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { toHex } from "../../src/base/hex.js";
import { fragmentIpv6, fragmentTunnel } from "../../src/translate/fragment.js";
import type { TunnelFormat } from "../../src/wire/packet-fields.js";
import { buildTunnelPacket, parseTunnelPacket } from "../../src/wire/tunnel-packet.js";
import { ip } from "./gateway-double.js";
import { nativePacket, readNative } from "./packets.js";

const SEED = Number(process.env.SEED ?? Date.now() % 0x7fff_ffff);

const HEADER = {
  source: { context: ip("198.51.100.1"), reference: 0x1234n },
  destination: { context: ip("203.0.113.5"), reference: 0x1_0000_0000n },
  ttl: 63,
  protocol: 17,
  dontFragment: true,
  fragment: undefined,
};

interface Part {
  readonly offset: number;
  readonly moreFragments: boolean;
  readonly data: Uint8Array;
}

/** Checks the chain of parts and returns their data as one. */
function join(parts: readonly Part[], start: number, isLastMore: boolean): string {
  let end = start;
  for (const [index, part] of parts.entries()) {
    assert.equal(part.offset, end);
    const isLast = index === parts.length - 1;
    assert.equal(part.moreFragments, isLast ? isLastMore : true);
    if (!isLast) assert.equal(part.data.length % 8, 0);
    assert.ok(part.data.length > 0);
    end += part.data.length;
  }
  return parts.map(({ data }) => toHex(data)).join("");
}

test("fragmentTunnel() makes fragments that fit and join to the packet", (t) => {
  t.diagnostic(`seed ${SEED}`);
  const property = fc.property(
    fc.constantFrom<TunnelFormat>("G", "D"),
    fc.uint8Array({ minLength: 1, maxLength: 900 }),
    fc.integer({ min: 60, max: 500 }),
    fc.option(
      fc.record({ offset: fc.integer({ min: 0, max: 1000 }), moreFragments: fc.boolean() }),
    ),
    (format, data, largestBytes, earlier) => {
      const fragment = earlier
        ? { offset: earlier.offset * 8, moreFragments: earlier.moreFragments, identification: 7 }
        : undefined;
      const packet = buildTunnelPacket({ ...HEADER, fragment }, data, format);
      const pieces = fragmentTunnel(packet, largestBytes, format, 4, 0xdead_beef);
      assert.ok(typeof pieces !== "string");
      if (packet.length <= largestBytes) return assert.deepEqual(pieces, [packet]);
      const parts = pieces.map((piece) => {
        assert.ok(piece.length <= largestBytes);
        const tunnel = parseTunnelPacket(piece, format, 4);
        assert.ok(typeof tunnel !== "string" && tunnel.fragment !== undefined);
        assert.equal(tunnel.dontFragment, false);
        assert.equal(tunnel.fragment.identification, fragment ? 7 : 0xdead_beef);
        return { ...tunnel.fragment, data: tunnel.payload };
      });
      const start = fragment?.offset ?? 0;
      assert.equal(join(parts, start, fragment?.moreFragments ?? false), toHex(data));
    },
  );
  fc.assert(property, { seed: SEED, numRuns: 500 });
});

test("fragmentTunnel() names the reason when a path leaves no room", () => {
  const packet = buildTunnelPacket(HEADER, new Uint8Array(100), "G");
  const headerLength = packet.length - 100 + 8;
  assert.equal(fragmentTunnel(packet, headerLength + 7, "G", 4, 0), "fragment-no-room");
  assert.equal(fragmentTunnel(packet, headerLength + 8, "G", 4, 0).length, 13);
});

test("fragmentIpv6() inserts a fragment header and joins to the packet", (t) => {
  t.diagnostic(`seed ${SEED}`);
  const ends = { source: ip("fd00:eaea::5951"), destination: ip("2001:db8:b::28") };
  const property = fc.property(
    fc.uint8Array({ minLength: 1, maxLength: 4000 }),
    fc.constantFrom(1280, 1281, 1500),
    fc.boolean(),
    (data, mtuBytes, isFragment) => {
      const offset = isFragment ? { offset: 160, moreFragments: true } : {};
      const fields = { ...ends, protocol: 17, ttl: 9, identification: 77, ...offset };
      const packet = nativePacket(fields, data);
      const pieces = fragmentIpv6(packet, mtuBytes, 0x0102_0304);
      assert.ok(typeof pieces !== "string");
      if (packet.length <= mtuBytes) return assert.deepEqual(pieces, [packet]);
      const parts = pieces.map((piece) => {
        assert.ok(piece.length <= mtuBytes);
        const { fields: got, data: part } = readNative(piece);
        assert.deepEqual([got.source, got.destination], [ends.source, ends.destination]);
        assert.deepEqual([got.protocol, got.ttl], [17, 9]);
        assert.equal(got.identification, isFragment ? 77 : 0x0102_0304);
        return { offset: got.offset!, moreFragments: got.moreFragments!, data: part };
      });
      assert.equal(join(parts, isFragment ? 160 : 0, isFragment), toHex(data));
    },
  );
  fc.assert(property, { seed: SEED, numRuns: 300 });
});
