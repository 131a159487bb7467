/** Both tunnel headers and the rule that tells them apart, spec/tunnel.md 1.7, 2.1 to 2.3. */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fromHex, toHex } from "../../src/base/hex.js";
import { parseIp } from "../../src/base/ip.js";
import { parseReference } from "../../src/base/reference.js";
import { buildDraft, parseDraft } from "../../src/wire/draft-header.js";
import { buildTunnel, classifyTunnel, parseTunnel } from "../../src/wire/tunnel-header.js";
import {
  readWireReference,
  smallestReferenceLength,
  writeWireReferenceInto,
} from "../../src/wire/wire-reference.js";

const SEED = Number(process.env.SEED ?? Date.now() % 0x7fff_ffff);

function reference(text: string): bigint {
  const parsed = parseReference(text);
  assert.ok(parsed.ok);
  return parsed.value;
}

test("references have the sizes and octets of 1.7", () => {
  const rows = [
    ["1", 4, "00000001"],
    ["16777215", 4, "00ffffff"],
    ["16777216", 8, "0000000001000000"],
    ["ff-ffff-ffff-ffff", 8, "00ffffffffffffff"],
    ["100-0-0-0", 16, "00000000000000000100000000000000"],
    ["0500--1", 4, "05000001"],
    ["0500--100-0-0", 8, "0500010000000000"],
  ] as const;
  for (const [text, length, hex] of rows) {
    const value = reference(text);
    assert.equal(smallestReferenceLength(value), length, text);
    const bytes = new Uint8Array(length).fill(0xa5);
    writeWireReferenceInto(bytes, 0, value, length);
    assert.equal(toHex(bytes), hex, text);
    assert.equal(readWireReference(bytes, 0, length), value, text);
  }
});

test("classifyTunnel() decides by the table of 2.3", () => {
  const rows = [
    ["1140", "G"],
    ["1b60", "G"],
    ["0100", "D"],
    ["0a00", "D"],
    ["017f", "D"],
    ["1000", "D"],
    ["1b00", "D"],
    ["2140", "tunnel-bad-version"],
    ["8100", "tunnel-bad-version"],
    ["1c40", "tunnel-bad-reference-length"],
    ["0d00", "tunnel-bad-reference-length"],
    ["1141", "tunnel-reserved-bits"],
    ["1020", "tunnel-bad-version"],
    ["1050", "tunnel-bad-version"],
  ] as const;
  for (const [start, verdict] of rows) {
    assert.equal(classifyTunnel(fromHex(start.padEnd(24, "0"))!), verdict, start);
  }
  assert.equal(classifyTunnel(new Uint8Array(0)), "tunnel-empty");
  assert.equal(classifyTunnel(new Uint8Array(11)), "tunnel-too-short");
});

test("parseTunnel() reads the header with every option of 2.6 and buildTunnel() writes it", () => {
  const hex = `1b60400600000 5c90badcafe20010db8 00000000000000000000000920010db8
    00000000000000000000000800000000000000051122334455667788
    00000000000000000000000000002a0b`.replace(/\s/g, "");
  const bytes = fromHex(hex)!;
  assert.equal(bytes.length, 76);
  const packet = parseTunnel(bytes);
  assert.ok(typeof packet !== "string");
  assert.deepEqual(packet.fragment, {
    offset: 1480,
    moreFragments: true,
    identification: 0x0bad_cafe,
  });
  assert.equal(packet.headerLength, 76);
  assert.equal(packet.dontFragment, true);
  assert.equal(packet.source.reference, 0x5_1122_3344_5566_7788n);
  assert.equal(packet.destination.reference, 0x2a0bn);
  assert.equal(toHex(buildTunnel(packet, packet.payload)), hex);
});

test("parseTunnel() names what is wrong with a header", () => {
  const good = fromHex("12400000000000000000000000000000000000000000000000000000")!;
  assert.ok(typeof parseTunnel(good) !== "string");
  const broken = (offset: number, value: number) => {
    const bytes = good.slice();
    bytes[offset] = value;
    return parseTunnel(bytes);
  };
  assert.equal(broken(0, 0x22), "tunnel-bad-version");
  assert.equal(broken(0, 0x1e), "tunnel-bad-reference-length");
  assert.equal(broken(0, 0x16), "tunnel-too-short");
  assert.equal(broken(1, 0x41), "tunnel-reserved-bits");
  assert.equal(broken(1, 0x50), "tunnel-context-version");
  assert.equal(broken(1, 0x60), "tunnel-too-short");
  assert.equal(broken(4, 1), "tunnel-reserved-bits");
  assert.equal(broken(5, 1), "tunnel-reserved-bits");
  assert.equal(broken(7, 2), "tunnel-reserved-bits");
  assert.equal(broken(7, 4), "tunnel-reserved-bits");
  for (let length = 0; length < good.length; length++) {
    assert.equal(parseTunnel(good.subarray(0, length)), "tunnel-too-short");
  }
});

test("parseDraft() names what is wrong with a header", () => {
  const good = fromHex("10000011040004150a000001000000000000000100000002")!;
  const packet = parseDraft(good, 4);
  assert.ok(typeof packet !== "string");
  assert.deepEqual([packet.sourcePort, packet.destinationPort], [1045, 0]);
  const broken = (offset: number, value: number) => {
    const bytes = good.slice();
    bytes[offset] = value;
    return parseDraft(bytes, 4);
  };
  assert.equal(broken(0, 0x30), "tunnel-reserved-bits");
  assert.equal(broken(0, 0x1c), "tunnel-bad-reference-length");
  assert.equal(broken(4, 5), "tunnel-context-version");
  assert.equal(broken(5, 1), "tunnel-reserved-bits");
  assert.equal(broken(14, 1), "tunnel-reserved-bits");
  assert.ok(typeof broken(1, 0x7f) !== "string");
  for (let length = 0; length < good.length; length++) {
    assert.equal(parseDraft(good.subarray(0, length), 4), "tunnel-too-short");
  }
});

test("parseDraft() takes the misprinted number of UDP as UDP", () => {
  const packet = parseDraft(fromHex("010040170000000100000002")!, 4);
  assert.ok(typeof packet !== "string");
  assert.equal(packet.protocol, 17);
});

const header = fc.record({
  version: fc.constantFrom("4", "6"),
  source: fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }),
  destination: fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }),
  shift: fc.constantFrom(0n, 72n, 104n),
  ttl: fc.integer({ min: 0, max: 255 }),
  protocol: fc.constantFrom(1, 6, 17, 132),
  dontFragment: fc.boolean(),
  fragment: fc.option(
    fc
      .record({
        offset: fc.integer({ min: 0, max: 8191 }).map((units) => units * 8),
        moreFragments: fc.boolean(),
        identification: fc.integer({ min: 0, max: 0xffff_ffff }),
      })
      .map((fragment) => ({ ...fragment })),
    { nil: undefined },
  ),
  payload: fc.uint8Array({ maxLength: 40 }),
});

test("what is built in either format reads back as it was", (t) => {
  t.diagnostic(`seed ${SEED}`);
  const property = fc.property(header, ({ version, shift, payload, ...fields }) => {
    const [a, b] = version === "4" ? ["192.0.2.1", "192.0.2.2"] : ["2001:db8::1", "2001:db8::2"];
    const packet = {
      ...fields,
      source: { context: parseIp(a!)!, reference: fields.source >> shift },
      destination: { context: parseIp(b!)!, reference: fields.destination >> shift },
    };
    const readG = parseTunnel(buildTunnel(packet, payload));
    assert.ok(typeof readG !== "string");
    const { headerLength: _, ...gotG } = readG;
    assert.deepEqual(
      { ...gotG, payload: toHex(gotG.payload) },
      { ...packet, payload: toHex(payload) },
    );
    const ports = { source: 1045, destination: 4000 };
    const readD = parseDraft(buildDraft(packet, payload, ports), version === "4" ? 4 : 6);
    assert.ok(typeof readD !== "string");
    const { headerLength: __, sourcePort, destinationPort, ...gotD } = readD;
    assert.deepEqual(
      { ...gotD, payload: toHex(gotD.payload) },
      { ...packet, payload: toHex(payload) },
    );
    assert.deepEqual([sourcePort, destinationPort], [1045, 4000]);
  });
  fc.assert(property, { seed: SEED, numRuns: 500 });
});

test("format-D headers have the lengths of 2.2", () => {
  const packet = {
    source: { context: parseIp("192.0.2.1")!, reference: 1n },
    destination: { context: parseIp("192.0.2.2")!, reference: 2n },
    ttl: 1,
    protocol: 17,
    dontFragment: false,
    fragment: undefined,
  };
  const lengths = [1n, 1n << 30n, 1n << 60n].map((value) => {
    const wide = { ...packet, source: { ...packet.source, reference: value } };
    return buildDraft(wide, new Uint8Array(0)).length;
  });
  assert.deepEqual(lengths, [12, 20, 36]);
  assert.equal(buildDraft(packet, new Uint8Array(0), { source: 1, destination: 2 }).length, 28);
});
