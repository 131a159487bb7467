/** Properties of a packet that goes through two gateways (spec/tunnel.md 3.2, 3.4, 4). */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { toHex } from "../../src/base/hex.js";
import type { IpVersion } from "../../src/base/ip.js";
import type { TunnelFormat } from "../../src/wire/packet-fields.js";
import { isChecksumRight, nativePacket, readNative, withChecksum } from "./packets.js";
import { MIXES, makeSites, type Sites } from "./sites.js";

const SEED = Number(process.env.SEED ?? Date.now() % 0x7fff_ffff);
const RUNS = 300;

/** A layer-4 datagram as it leaves a host, without addresses. */
const layer4 = fc.oneof(
  fc.record({
    kind: fc.constant("tcp" as const),
    data: fc.uint8Array({ minLength: 20, maxLength: 200 }),
  }),
  fc.record({
    kind: fc.constant("udp" as const),
    data: fc.uint8Array({ minLength: 8, maxLength: 200 }),
  }),
  fc.record({
    kind: fc.constant("echo" as const),
    data: fc.uint8Array({ minLength: 8, maxLength: 200 }),
  }),
);

const packetPlan = fc.record({
  mix: fc.constantFrom(...MIXES),
  format: fc.constantFrom<TunnelFormat>("G", "D"),
  layer4,
  ttl: fc.integer({ min: 0, max: 255 }),
  dontFragment: fc.boolean(),
  error: fc.constantFrom(0, 0, 1, 0x1234),
  isRequest: fc.boolean(),
  referenceA: fc.constantFrom("1111", "ab-cdef-1234", "5a00-0-0-0-0-0-b-c0d", "1-2-3-4-5"),
  referenceB: fc.constantFrom("2222", "100-0", "0-ffff", "77-0-0-0-0-0-0-9"),
});
type Plan = typeof packetPlan extends fc.Arbitrary<infer Value> ? Value : never;

function protocolOf(kind: "tcp" | "udp" | "echo", version: IpVersion): number {
  if (kind === "echo") return version === 4 ? 1 : 58;
  return kind === "tcp" ? 6 : 17;
}

/** Sets what the protocol demands: type and code of an echo, the length of UDP. */
function shape(plan: Plan, version: IpVersion): Uint8Array {
  const data = plan.layer4.data.slice();
  if (plan.layer4.kind === "udp") data.set([data.length >> 8, data.length & 255], 4);
  if (plan.layer4.kind !== "echo") return data;
  const types = version === 4 ? [8, 0] : [128, 129];
  data.set([plan.isRequest ? types[0]! : types[1]!, 0], 0);
  return data;
}

function inputPacket(plan: Plan, sites: Sites): Uint8Array {
  const protocol = protocolOf(plan.layer4.kind, plan.mix.a);
  const { source, destination } = sites.atA;
  const data = shape(plan, plan.mix.a);
  const whole = withChecksum(data, source, destination, protocol, plan.error);
  const { ttl, dontFragment } = plan;
  return nativePacket({ source, destination, protocol, ttl, dontFragment }, whole);
}

function carry(sites: Sites, packet: Uint8Array, format: TunnelFormat): Uint8Array {
  const sent = sites.a.fromLocal(packet, format);
  assert.equal(sent.verdict, "accept");
  assert.ok(sent.verdict === "accept");
  const arrived = sites.b.fromTunnel(sent.outputs[0]!, sites.publicA);
  assert.ok(arrived.verdict === "accept", `second gateway: ${JSON.stringify(arrived)}`);
  return arrived.outputs[0]!;
}

test("decapsulate() after encapsulate() keeps TTL, ends, data and the truth of checksums", (t) => {
  t.diagnostic(`seed ${SEED}`);
  const property = fc.property(packetPlan, (plan) => {
    const sites = makeSites(plan.mix, plan.referenceA, plan.referenceB);
    const { fields, data } = readNative(carry(sites, inputPacket(plan, sites), plan.format));
    const protocol = protocolOf(plan.layer4.kind, plan.mix.b);
    const { source, destination } = sites.atB;
    assert.deepEqual([fields.source, fields.destination], [source, destination]);
    assert.deepEqual([fields.ttl, fields.protocol], [plan.ttl, protocol]);
    if (plan.mix.b === 4) {
      assert.equal(fields.dontFragment, plan.mix.a === 6 || plan.dontFragment);
    }
    assert.equal(isChecksumRight(data, source, destination, protocol), plan.error === 0);
    const expected = shape(plan, plan.mix.b);
    const at = { tcp: 16, udp: 6, echo: 2 }[plan.layer4.kind];
    expected.set(data.subarray(at, at + 2), at);
    assert.equal(toHex(data), toHex(expected));
  });
  fc.assert(property, { seed: SEED, numRuns: RUNS });
});

test("between networks of one version a packet comes out as it went in", (t) => {
  t.diagnostic(`seed ${SEED}`);
  const property = fc.property(packetPlan, (plan) => {
    fc.pre(plan.mix.a === plan.mix.b);
    const sites = makeSites(plan.mix, plan.referenceA, plan.referenceB);
    const input = inputPacket(plan, sites);
    const [before, after] = [readNative(input), readNative(carry(sites, input, plan.format))];
    const at = { tcp: 16, udp: 6, echo: 2 }[plan.layer4.kind];
    for (const { data } of [before, after]) {
      if (data[at] === 0xff && data[at + 1] === 0xff) data.fill(0, at, at + 2);
    }
    assert.equal(toHex(after.data), toHex(before.data));
    const { identification: _, ...fields } = after.fields;
    const { identification: __, ...expected } = before.fields;
    assert.deepEqual(fields, expected);
  });
  fc.assert(property, { seed: SEED, numRuns: RUNS });
});

const fragmentPlan = fc.record({
  mix: fc.constantFrom(...MIXES),
  format: fc.constantFrom<TunnelFormat>("G", "D"),
  layer4,
  cut: fc.integer({ min: 1, max: 24 }),
  identification: fc.integer({ min: 0, max: 0xffff }),
  isReversed: fc.boolean(),
});

test("the fragments of a datagram arrive as a datagram with a right checksum", (t) => {
  t.diagnostic(`seed ${SEED}`);
  const property = fc.property(fragmentPlan, ({ mix, format, cut, identification, ...plan }) => {
    const sites = makeSites(mix);
    const { kind } = plan.layer4;
    const protocol = protocolOf(kind, mix.a);
    const fields = { layer4: plan.layer4, isRequest: true } as Plan;
    const whole = withChecksum(
      shape(fields, mix.a),
      sites.atA.source,
      sites.atA.destination,
      protocol,
    );
    const end = Math.min(8 * cut, 8 * Math.floor((whole.length - 1) / 8));
    fc.pre(end >= 8);
    const header = { ...sites.atA, protocol, ttl: 64, identification };
    const parts = [
      nativePacket({ ...header, offset: 0, moreFragments: true }, whole.subarray(0, end)),
      nativePacket({ ...header, offset: end }, whole.subarray(end)),
    ];
    if (plan.isReversed) parts.reverse();
    const sent = parts.flatMap((part) => outputsOf(sites.a.fromLocal(part, format)));
    assert.equal(sent.length, 2);
    const arrived = sent.flatMap((part) => outputsOf(sites.b.fromTunnel(part, sites.publicA)));
    assert.equal(arrived.length, 2);
    const data = reassemble(arrived);
    const { source, destination } = sites.atB;
    assert.ok(isChecksumRight(data, source, destination, protocolOf(kind, mix.b)));
  });
  fc.assert(property, { seed: SEED, numRuns: RUNS });
});

function outputsOf(played: ReturnType<Sites["a"]["fromLocal"]>): readonly Uint8Array[] {
  if (played.verdict === "accept") return played.outputs;
  assert.deepEqual(played, { verdict: "drop", reason: "held" });
  return [];
}

function reassemble(fragments: readonly Uint8Array[]): Uint8Array {
  const parts = fragments.map(readNative).sort((a, b) => a.fields.offset! - b.fields.offset!);
  let end = 0;
  for (const { fields, data } of parts) {
    assert.equal(fields.offset, end);
    end += data.length;
  }
  assert.equal(parts.at(-1)!.fields.moreFragments, false);
  return Uint8Array.from(parts.flatMap(({ data }) => [...data]));
}
