import assert from "node:assert/strict";
import { isIPv6 } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import {
  compareAddresses,
  formatIp,
  formatPrefix,
  isGlobalUnicast,
  isLinkLocalMulticast,
  isPacketUnicast,
  parseIp,
  parsePrefix,
  prefixContains,
} from "../../src/base/ip.js";

test("parseIp() and formatIp() agree on the canonical text", () => {
  const texts = [
    ["0.0.0.0", "0.0.0.0"],
    ["255.255.255.255", "255.255.255.255"],
    ["::", "::"],
    ["::1", "::1"],
    ["2001:DB8::0:1", "2001:db8::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
  ];
  for (const [text, canonical] of texts) assert.equal(formatIp(parseIp(text!)!), canonical);
});

test("parseIp() refuses leading zeros, zones, mapped and malformed literals", () => {
  const bad = ["", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", "1.2.3.-4", "1.2.3.4 "];
  bad.push(
    "fe80::1%eth0",
    "::ffff:1.2.3.4",
    "1::2::3",
    "12345::",
    ":1",
    "1:2:3:4:5:6:7:8::",
    ":::",
  );
  for (const text of bad) assert.equal(parseIp(text), undefined, text);
});

test("IPv6 addresses survive their text form", () => {
  const bytes = fc.uint8Array({ minLength: 16, maxLength: 16 });
  fc.assert(
    fc.property(bytes, fc.nat(15), (bytes, zeroFrom) => {
      bytes.fill(0, zeroFrom, Math.min(16, zeroFrom + 7));
      bytes[0] = 0x20;
      const text = formatIp({ version: 6, bytes });
      assert.ok(isIPv6(text), text);
      assert.deepEqual(parseIp(text)!.bytes, bytes);
    }),
  );
});

test("prefixes mask their host bits and contain exactly their addresses", () => {
  const net = parsePrefix("10.245.1.2/12")!;
  assert.equal(formatPrefix(net), "10.240.0.0/12");
  assert.ok(prefixContains(net, parseIp("10.255.255.255")!));
  assert.ok(!prefixContains(net, parseIp("10.239.255.255")!));
  assert.ok(!prefixContains(net, parseIp("fd00::1")!));
  assert.equal(formatPrefix(parsePrefix("fd00:eaea::1/64")!), "fd00:eaea::/64");
  for (const text of ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/08", "::/129", "/8"]) {
    assert.equal(parsePrefix(text), undefined, text);
  }
});

test("address classes follow the specification", () => {
  const classOf = (text: string) => {
    const address = parseIp(text)!;
    return [isGlobalUnicast(address), isPacketUnicast(address)];
  };
  assert.deepEqual(classOf("10.0.0.1"), [true, true]);
  assert.deepEqual(classOf("240.0.0.1"), [true, false]);
  assert.deepEqual(classOf("0.1.2.3"), [true, false]);
  assert.deepEqual(classOf("fd00::1"), [true, true]);
  for (const text of ["0.0.0.0", "255.255.255.255", "127.3.2.1", "169.254.1.1", "224.0.0.1"]) {
    assert.deepEqual(classOf(text), [false, false], text);
  }
  for (const text of ["::", "::1", "fe80::1", "febf::1", "ff02::1"]) {
    assert.deepEqual(classOf(text), [false, false], text);
  }
  assert.ok(isLinkLocalMulticast(parseIp("ff02::16")!));
  assert.ok(!isLinkLocalMulticast(parseIp("ff05::2")!));
});

test("compareAddresses() puts IPv4 first and then counts", () => {
  const sorted = ["1.2.3.4", "1.2.4.0", "200.0.0.0", "::1", "2001::"];
  const shuffled = [...sorted].reverse().map((text) => parseIp(text)!);
  assert.deepEqual(shuffled.sort(compareAddresses).map(formatIp), sorted);
});
