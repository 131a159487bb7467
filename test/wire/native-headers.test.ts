/** IPv4 and IPv6 headers, spec/tunnel.md 3.1 and 3.4. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fromHex, toHex } from "../../src/base/hex.js";
import { formatIp } from "../../src/base/ip.js";
import { buildIpv4, parseIpv4 } from "../../src/wire/ipv4.js";
import { buildIpv6, parseIpv6 } from "../../src/wire/ipv6.js";

/** The native packets of spec/tunnel.md 3.4. */
const IPV4 = fromHex("45000020000040003f11b7c10ae0c807ac10051414e90007000c880970696e67")!;
const IPV6 = fromHex(
  "60000000000c113ffd00eaea000000000000000000005951" +
    "20010db8000b0000000000000000002814e90007000c9cec70696e67",
)!;

test("parseIpv4() reads the packet of 3.4 and buildIpv4() writes it", () => {
  const packet = parseIpv4(IPV4, false);
  assert.ok(typeof packet !== "string");
  assert.equal(formatIp(packet.source), "10.224.200.7");
  assert.equal(formatIp(packet.destination), "172.16.5.20");
  assert.deepEqual([packet.ttl, packet.protocol, packet.dontFragment], [63, 17, true]);
  assert.equal(packet.fragment, undefined);
  const header = { ...packet, fragmentOffset: 0, moreFragments: false, identification: 0 };
  assert.equal(toHex(buildIpv4(header, packet.payload)), toHex(IPV4));
});

test("parseIpv6() reads the packet of 3.4 and buildIpv6() writes it", () => {
  const packet = parseIpv6(IPV6, false);
  assert.ok(typeof packet !== "string");
  assert.equal(formatIp(packet.source), "fd00:eaea::5951");
  assert.deepEqual([packet.ttl, packet.protocol, packet.payloadLength], [63, 17, 12]);
  assert.equal(toHex(buildIpv6({ ...packet, flowLabel: 0 }, packet.payload)), toHex(IPV6));
});

function changed(bytes: Uint8Array, ...changes: readonly (readonly [number, number])[]) {
  const copy = bytes.slice();
  for (const [offset, value] of changes) copy[offset] = value;
  return copy;
}

test("parseIpv4() names what is wrong with a header", () => {
  assert.equal(parseIpv4(IPV4.subarray(0, 19), false), "local-too-short");
  assert.equal(parseIpv4(changed(IPV4, [0, 0x65]), false), "local-bad-version");
  assert.equal(parseIpv4(changed(IPV4, [0, 0x44]), false), "local-ip-options");
  assert.equal(parseIpv4(changed(IPV4, [3, 31]), false), "local-bad-length");
  assert.equal(parseIpv4(changed(IPV4, [3, 33]), false), "local-bad-length");
  assert.equal(parseIpv4(changed(IPV4, [0, 0x4f]), false), "local-bad-length");
  assert.equal(parseIpv4(changed(IPV4, [3, 31]), true), "local-bad-length");
  const quote = parseIpv4(changed(IPV4, [3, 60]), true);
  assert.ok(typeof quote !== "string");
  assert.deepEqual([quote.payload.length, quote.payloadLength], [12, 40]);
});

test("parseIpv6() names what is wrong with a header", () => {
  assert.equal(parseIpv6(IPV6.subarray(0, 39), false), "local-too-short");
  assert.equal(parseIpv6(changed(IPV6, [0, 0x45]), false), "local-bad-version");
  assert.equal(parseIpv6(changed(IPV6, [5, 0]), false), "local-bad-length");
  assert.equal(parseIpv6(changed(IPV6, [5, 13]), false), "local-bad-length");
  assert.ok(typeof parseIpv6(changed(IPV6, [5, 13]), true) !== "string");
  const short = changed(IPV6.subarray(0, 47), [5, 7], [6, 44]);
  assert.equal(parseIpv6(short, false), "local-bad-fragment");
  assert.equal(parseIpv6(changed(IPV6, [6, 44], [40, 44]), false), "local-bad-fragment");
});

test("parseIpv6() ignores the reserved bits of a fragment header", () => {
  const packet = parseIpv6(
    changed(IPV6, [6, 44], [40, 17], [41, 0xff], [42, 0x01], [43, 0x0f]),
    false,
  );
  assert.ok(typeof packet !== "string");
  assert.deepEqual(packet.fragment, {
    offset: 0x108,
    moreFragments: true,
    identification: 0x000c_9cec,
  });
  const again = buildIpv6({ ...packet, flowLabel: 0 }, packet.payload);
  assert.equal(toHex(again.subarray(40, 44)), "11000109");
});

test("parseIpv4() tells a fragment by its offset or by MF", () => {
  const first = parseIpv4(changed(IPV4, [4, 0xbe], [5, 0xef], [6, 0x20]), false);
  assert.ok(typeof first !== "string");
  assert.deepEqual(first.fragment, { offset: 0, moreFragments: true, identification: 0xbeef });
  const last = parseIpv4(changed(IPV4, [6, 0x1f], [7, 0xff]), false);
  assert.ok(typeof last !== "string");
  assert.equal(last.fragment?.offset, 65_528);
});
