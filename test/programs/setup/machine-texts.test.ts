/** What `ipref init` reads below /proc/net, and how it shows a difference. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { formatIp, formatPrefix } from "../../../src/base/ip.js";
import { lineDifference, shortDifference } from "../../../src/programs/setup/line-difference.js";
import {
  parseFibTrie,
  parseIpv4Routes,
  parseIpv6Routes,
  parsePassingIpv6,
  parseSockets,
} from "../../../src/programs/setup/machine-texts.js";

test("IPv4 routes have prefix, interface, gateway and metric", () => {
  const text = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
*\t0000000A\t00000000\t0201\t0\t0\t0\t000000FF\t0\t0\t0
`;
  const shown = parseIpv4Routes(text).map(({ prefix, interfaceName, gateway, metric }) => [
    formatPrefix(prefix),
    interfaceName,
    gateway && formatIp(gateway),
    metric,
  ]);
  assert.deepEqual(shown, [
    ["0.0.0.0/0", "eth0", "192.0.2.1", 100],
    ["192.0.2.0/24", "eth0", undefined, 0],
  ]);
});

test("IPv6 routes leave out what is local, refused, link-local and multicast", () => {
  const line = (to: string, bits: string, via: string, flags: string, name: string): string =>
    `${to} ${bits} ${"0".repeat(32)} 00 ${via} 00000400 00000001 00000000 ${flags}     ${name}\n`;
  const none = "0".repeat(32);
  const text =
    line("fd000000000000000000000000000000", "40", none, "00000001", "eth0") +
    line(none, "00", "fe8000000000000000000000000000ff", "00000003", "eth0") +
    line("fe800000000000000000000000000000", "40", none, "00000001", "eth0") +
    line("fd000000000000000000000000000002", "80", none, "80200001", "eth0") +
    line("ff000000000000000000000000000000", "08", none, "00000001", "eth0") +
    line(none, "00", none, "00200200", "lo");
  const shown = parseIpv6Routes(text).map(({ prefix, gateway, metric }) => [
    formatPrefix(prefix),
    gateway && formatIp(gateway),
    metric,
  ]);
  assert.deepEqual(shown, [
    ["fd00::/64", undefined, 1024],
    ["::/0", "fe80::ff", 1024],
  ]);
});

test("the trie gives the networks of all tables, without broadcasts", () => {
  const text = `Id 100:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.9.0.0
        /16 universe UNICAST
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
        |-- 192.0.2.0
           /24 link UNICAST
           /32 link BROADCAST
     |-- 192.168.0.0
        /16 universe BLACKHOLE
`;
  assert.deepEqual(parseFibTrie(text).map(formatPrefix), [
    "10.9.0.0/16",
    "0.0.0.0/0",
    "192.0.2.0/24",
    "192.168.0.0/16",
  ]);
});

test("temporary and deprecated IPv6 addresses are told from lasting ones", () => {
  const text = `20010db800070000000000000000009f 02 40 00 01     eth0
20010db8000700000000000000000007 02 40 00 80     eth0
20010db8000700000000000000000008 02 40 00 20     eth0
`;
  assert.deepEqual(parsePassingIpv6(text).map(formatIp), ["2001:db8:7::9f", "2001:db8:7::8"]);
});

test("sockets: UDP without a peer, TCP that listens, mapped addresses as IPv4", () => {
  const head = "  sl  local_address rem_address   st tx_queue\n";
  const bound = "  0: 3500007F:0035 00000000:0000 07 0\n";
  const udp = `${head}${bound}  1: 0200000A:0415 0100000A:0415 01 0\n`;
  assert.deepEqual(
    parseSockets(udp, "udp").map(({ address, port }) => [formatIp(address), port]),
    [["127.0.0.53", 53]],
  );
  const any = "0".repeat(32);
  const mapped = "0000000000000000FFFF00000100007F";
  const tcp =
    `${head}  0: ${any}:0035 ${any}:0000 0A 0\n` +
    `  1: ${mapped}:0035 ${any}:0000 0A 0\n` +
    `  2: B80D0120000000000000000001000000:0016 ${any}:0000 01 0\n`;
  assert.deepEqual(
    parseSockets(tcp, "tcp").map(({ address, port }) => [formatIp(address), port]),
    [
      ["::", 53],
      ["127.0.0.1", 53],
    ],
  );
});

test("lines in another form are left out", () => {
  for (const text of ["", "\n", "garbage\n", "a b c d e f g h i j\n", "0: zz:0 0:0 07\n"]) {
    assert.deepEqual(parseIpv4Routes(text), []);
    assert.deepEqual(parseIpv6Routes(text), []);
    assert.deepEqual(parseFibTrie(text), []);
    assert.deepEqual(parsePassingIpv6(text), []);
    assert.deepEqual(parseSockets(text, "udp"), []);
  }
});

test("a difference keeps common lines and names the others", () => {
  const before = "a\nb\nc\nd\n";
  const after = "a\nx\nc\nd\ne\n";
  assert.deepEqual(lineDifference(before, after), [" a", "-b", "+x", " c", " d", "+e"]);
  assert.deepEqual(lineDifference(before, before), [" a", " b", " c", " d"]);
  assert.deepEqual(lineDifference("", "a\n"), ["+a"]);
});

test("a short difference leaves unchanged lines out", () => {
  const lines = Array.from({ length: 20 }, (_, index) => `line ${index}`);
  const changed = lines.with(10, "other");
  const text = (all: readonly string[]) => `${all.join("\n")}\n`;
  assert.deepEqual(shortDifference(lineDifference(text(lines), text(changed))), [
    "...",
    ...[" line 8", " line 9", "-line 10", "+other", " line 11", " line 12"],
    "...",
  ]);
});
