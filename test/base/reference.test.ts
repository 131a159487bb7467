import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  formatIprefAddress,
  formatReference,
  formatReferencePrefix,
  parseIprefAddress,
  parseReference,
  parseReferencePrefix,
  readReference,
  referencePrefixContains,
  referenceSecondByte,
  writeReferenceInto,
} from "../../src/base/reference.js";

/** spec/tunnel.md 1.4: text, value in groups of 16 bits, formatted. */
const ACCEPTED: readonly (readonly [string, string, string])[] = [
  ["0-0", "0", "0"],
  ["1", "1", "1"],
  ["12", "c", "12"],
  ["0-12", "12", "18"],
  ["12-0", "120000", "12-0"],
  ["a0--12", `a0${"0".repeat(26)}12`, "a0-0-0-0-0-0-0-12"],
  ["0--", "0", "0"],
  ["22-33--", "220033000000000000000000000000", "22-33-0-0-0-0-0-0"],
  [
    "123456789012345678901234567890123456789",
    "5ce0e9a56015fec5aadfa328ae398115",
    "5ce0-e9a5-6015-fec5-aadf-a328-ae39-8115",
  ],
  ["33-0012--1", "330012000000000000000000000001", "33-12-0-0-0-0-0-1"],
  ["33-0012--a-12", "3300120000000000000000000a0012", "33-12-0-0-0-0-a-12"],
  ["65535", "ffff", "65535"],
  ["65536", "10000", "1-0"],
  ["A-Bc", "a00bc", "a-bc"],
  ["007", "7", "7"],
  ["0-ff-0", "ff0000", "ff-0"],
  ["1--", "10000000000000000000000000000", "1-0-0-0-0-0-0-0"],
  ["1-2-3-4-5-6--8", "10002000300040005000600000008", "1-2-3-4-5-6-0-8"],
  ["1-2-3-4-5-6-7-8--", "10002000300040005000600070008", "1-2-3-4-5-6-7-8"],
  [
    "340282366920938463463374607431768211455",
    "f".repeat(32),
    "ffff-ffff-ffff-ffff-ffff-ffff-ffff-ffff",
  ],
];

const REFUSED: readonly (readonly [string, string])[] = [
  ["--0", "leading compression"],
  ["--", "leading compression"],
  ["12ab", "syntax"],
  ["340282366920938463463374607431768211456", "syntax"],
  ["1-2-3-4-5-6-7--8", "too long"],
  ["1-2-3-4-5-6-7-8-9", "too long"],
  ["1--2--3", "repeated compression"],
  ["1---2", "syntax"],
  ["1----2", "syntax"],
  ["-", "syntax"],
  ["1-", "syntax"],
  ["-5", "syntax"],
  ["+5", "syntax"],
  ["0-+12", "syntax"],
  ["0-10000", "syntax"],
  ["0-00012", "syntax"],
  ["0x10", "syntax"],
  ["1_000", "syntax"],
  ["", "syntax"],
];

test("parseReference() reads every accepted form of the specification's table", () => {
  for (const [text, hex, formatted] of ACCEPTED) {
    const parsed = parseReference(text);
    assert.ok(parsed.ok, text);
    assert.equal(parsed.value, BigInt(`0x${hex}`), text);
    assert.equal(formatReference(parsed.value), formatted, text);
  }
});

test("parseReference() names the error of every refused form", () => {
  for (const [text, error] of REFUSED) {
    assert.deepEqual(parseReference(text), { ok: false, error }, text);
  }
});

test("references survive text and bytes", () => {
  const references = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n });
  fc.assert(
    fc.property(references, (reference) => {
      const parsed = parseReference(formatReference(reference));
      assert.deepEqual(parsed, { ok: true, value: reference });
      const bytes = new Uint8Array(20).fill(0xa5);
      writeReferenceInto(bytes, 2, reference);
      assert.equal(readReference(bytes, 2), reference);
      assert.deepEqual([bytes[1], bytes[18]], [0xa5, 0xa5]);
    }),
  );
});

test("referenceSecondByte() is bits 8 to 15", () => {
  assert.equal(referenceSecondByte(0x1025n), 0x10);
  assert.equal(referenceSecondByte(0xabcd0012n), 0);
});

test("parseReferencePrefix() masks the bits behind the prefix", () => {
  const prefix = parseReferencePrefix("22-33--/32")!;
  assert.equal(formatReferencePrefix(prefix), "22-33--/32");
  assert.equal(formatReferencePrefix(parseReferencePrefix("22-ff33--/24")!), "22-ff00--/24");
  assert.equal(formatReferencePrefix(parseReferencePrefix("0--/8")!), "0--/8");
  const whole = parseReferencePrefix("0-0-0-0-0-0-0-5/128")!;
  assert.equal(formatReferencePrefix(whole), "0-0-0-0-0-0-0-5/128");
  assert.ok(referencePrefixContains(prefix, BigInt("0x00220033000000000000000000000007")));
  assert.ok(!referencePrefixContains(prefix, BigInt("0x00220034000000000000000000000007")));
});

test("parseReferencePrefix() refuses decimal and short forms", () => {
  for (const text of ["5/128", "1-2/32", "1--/129", "1--", "1--/8/8", "/8"]) {
    assert.equal(parseReferencePrefix(text), undefined, text);
  }
});

test("parseIprefAddress() splits at the first plus sign and trims blanks", () => {
  const address = parseIprefAddress(" 192.0.2.1+0-401 ")!;
  assert.equal(formatIprefAddress(address), "192.0.2.1 + 1025");
  for (const text of ["192.0.2.1", "192.0.2.01 + 1", "::ffff:1.2.3.4 + 1", "fe80::1%eth0 + 1"]) {
    assert.equal(parseIprefAddress(text), undefined, text);
  }
});
