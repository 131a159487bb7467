import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatIp } from "../../src/base/ip.js";
import { escapeString, parseAaString } from "../../src/dns/plugins/ipref/aa-string.js";

function octets(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

/** "gateway reference" in short, or why there is none. */
function read(text: string): string {
  const parsed = parseAaString(octets(text));
  if (parsed.kind === "other") return "other";
  if (parsed.kind === "invalid") return `invalid ${parsed.reason}`;
  const { gateway, reference } = parsed.aa;
  const left = gateway.kind === "name" ? gateway.name.toString() : formatIp(gateway.address);
  return `${left} ${reference.toString(16)}`;
}

const GATEWAY = "203.0.113.5";
const MAX = "340282366920938463463374607431768211455";

/** The table of spec/resolver.md 1.6. */
const CASES: readonly (readonly [string, string])[] = [
  [`AA ${GATEWAY}+1`, `${GATEWAY} 1`],
  [`AA   ${GATEWAY}   +   0-4  `, `${GATEWAY} 4`],
  [`AA \t${GATEWAY}\r\n+\v\f11 `, `${GATEWAY} b`],
  [`AA ${GATEWAY} + 1-22`, `${GATEWAY} 10022`],
  [`AA ${GATEWAY} + a0--12`, `${GATEWAY} a00000000000000000000000000012`],
  [`AA ${GATEWAY} + 1-2-3-4-5-6-7-8`, `${GATEWAY} 10002000300040005000600070008`],
  [`AA ${GATEWAY} + 1-2-3-4-5-6-7-8-9`, "invalid reference"],
  [`AA ${GATEWAY} + ${MAX}`, `${GATEWAY} ${"f".repeat(32)}`],
  [`AA ${GATEWAY} + ${MAX.slice(0, -1)}6`, "invalid reference"],
  [`AA ${GATEWAY} + ${"0".repeat(38)}5`, `${GATEWAY} 5`],
  [`AA ${GATEWAY} + ${"0".repeat(39)}5`, "invalid reference"],
  [`AA ${GATEWAY} + 12ab`, "invalid reference"],
  [`AA ${GATEWAY} + 5 junk`, "invalid reference"],
  [`AA ${GATEWAY} ++ 6`, "invalid plus"],
  [`AA ${GATEWAY}`, "invalid plus"],
  [`aa ${GATEWAY} + 2`, "other"],
  [` AA ${GATEWAY} + 3`, "other"],
  ["AA", "other"],
  ["", "other"],
  ["AA\t203.0.113.5 + 3", "other"],
  ["AA 2001:db8::1 + 7", "2001:db8::1 7"],
  [`AA ${GATEWAY} + 0`, "invalid reference-zero"],
  [`AA ${GATEWAY} + 0-0`, "invalid reference-zero"],
  [`AA ${GATEWAY} + 0--`, "invalid reference-zero"],
  ["AA + 9", "invalid gateway"],
  [`AA ${GATEWAY} + 0005`, `${GATEWAY} 5`],
  [`AA ${GATEWAY} + 7--`, `${GATEWAY} 7${"0".repeat(28)}`],
  [`AA ${GATEWAY} + 1-2-3-4-5-6-7--8`, "invalid reference"],
  [`AA ${GATEWAY} + 1-2-3-4-5-6--7`, `${GATEWAY} 10002000300040005000600000007`],
  [`AA ${GATEWAY} + 00001-1`, "invalid reference"],
  [`AA ${GATEWAY} + 0x5`, "invalid reference"],
  [`AA ${GATEWAY} + 1_0`, "invalid reference"],
  [`AA ${GATEWAY} + -5`, "invalid reference"],
  [`AA ${GATEWAY} + --5`, "invalid reference"],
  [`AA ${GATEWAY} + 5-`, "invalid reference"],
  [`AA ${GATEWAY} + 1--2--3`, "invalid reference"],
  [`AA ${GATEWAY} +`, "invalid reference"],
  ["AA 203.0.113.05 + 1", "invalid gateway"],
  ["AA [2001:db8::1] + 1", "invalid gateway"],
  ["AA fe80::1%eth0 + 1", "invalid gateway"],
  ["AA ::ffff:203.0.113.5 + 1", "invalid gateway"],
  ["AA 203.0. + 1", "invalid gateway"],
  ["AA gw.example.com + 1", "gw.example.com. 1"],
  ["AA gw.example.com. + 1", "gw.example.com. 1"],
  ["AA gw_1.ex-ample.com + 1", "gw_1.ex-ample.com. 1"],
  ["AA gw..example.com + 1", "invalid gateway"],
  ["AA gw example.com + 1", "invalid gateway"],
  ["AA g\xe9.example + 1", "invalid gateway"],
  ["AA . + 1", "invalid gateway"],
  [`AA ${"a".repeat(64)}.example + 1`, "invalid gateway"],
];

for (const [text, expected] of CASES) {
  test(`parseAaString("${escapeString(octets(text))}") gives ${expected}`, () => {
    assert.equal(read(text), expected);
  });
}

test("parseAaString() reads any octets without throwing and never gives reference 0", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 255 }), (bytes) => {
      const parsed = parseAaString(Uint8Array.of(0x41, 0x41, 0x20, ...bytes));
      assert.notEqual(parsed.kind, "other");
      if (parsed.kind === "valid") assert.ok(parsed.aa.reference > 0n);
    }),
  );
});

test("parseAaString() does not take quadratic time over a long name", () => {
  const text = `AA ${"1".repeat(120)}${".1".repeat(60)} + 1`;
  const start = process.hrtime.bigint();
  for (let round = 0; round < 1000; round++) parseAaString(octets(text));
  const perCallMs = Number(process.hrtime.bigint() - start) / 1e9;
  assert.ok(perCallMs < 1, `${perCallMs} ms`);
});
