/** Judges of routes, source validation and the way to other gateways; the report. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseIp, parsePrefix } from "../../../src/base/ip.js";
import { type Finding, judgeOf, shellWord, worst } from "../../../src/control/doctor/finding.js";
import {
  interfacesOf,
  judgeForwarding,
  judgeOverlap,
  judgeReversePath,
  judgeTunInterface,
  type OverlapFacts,
  ownAddressOf,
  parameterName,
  routesOf,
} from "../../../src/control/doctor/network.js";
import { judgePathMtu, judgePeer, judgePublicAddress } from "../../../src/control/doctor/peers.js";
import { complaintLines, jsonOf, tableOf } from "../../../src/control/doctor/report.js";

const NET = parsePrefix("10.240.0.0/12")!;

function line({ verdict, evidence, fixes }: Finding): string {
  return [`${verdict} ${evidence}`, ...fixes.map(({ command }) => command)].join(" | ");
}

function route(dst: string, dev: string, more: Record<string, unknown> = {}) {
  return { dst, dev, ...more };
}

function overlap(routes: unknown[], more: Partial<OverlapFacts> = {}): string[] {
  const facts = { encodeNet: NET, tunName: "ipref0", interfaces: [], otherNet: "change it" };
  return judgeOverlap({ ...facts, routes: routesOf(routes, 4), ...more }).map(line);
}

test("judgeOverlap() passes the gateway's own route, the default and what is elsewhere", () => {
  const routes = [
    route("default", "wan"),
    route("10.240.0.0/12", "ipref0"),
    route("10.1.0.0/16", "lan"),
  ];
  assert.deepEqual(overlap(routes), ["PASS no other route overlaps the encode net"]);
});

test("judgeOverlap() deletes static routes inside and moves away from networks around", () => {
  const inside = overlap([route("10.250.0.0/16", "vpn0", { gateway: "10.8.0.1", metric: 50 })]);
  assert.match(
    inside[0]!,
    /^FAIL .* \| ip route del 10\.250\.0\.0\/16 via 10\.8\.0\.1 dev vpn0 metric 50 \| change it$/,
  );
  const single = overlap([route("10.250.0.1", "vpn0")]);
  assert.match(single[0]!, /ip route del 10\.250\.0\.1\/32 dev vpn0/);
  const neighbours = overlap([route("10.0.0.0/8", "lan", { protocol: "kernel" })]);
  assert.match(neighbours[0]!, /^WARN is around .* their own link \| change it$/);
  assert.match(overlap([route("10.0.0.0/8", "vpn0")])[0]!, /^PASS is around/);
});

test("judgeOverlap() takes an address away while the gateway runs, else changes the net", () => {
  const interfaces = interfacesOf([
    {
      ifname: "docker0",
      flags: ["UP"],
      mtu: 1500,
      addr_info: [{ local: "10.250.0.1", prefixlen: 16 }],
    },
    { ifname: "tun7", flags: ["UP"], mtu: 1500, linkinfo: { info_kind: "tun" }, addr_info: [] },
  ]);
  const connected = [route("10.250.0.0/16", "docker0", { protocol: "kernel" })];
  const remove = "ip address del 10.250.0.1/16 dev docker0";
  const whileRunning = overlap(connected, { interfaces });
  assert.ok(whileRunning[0]!.endsWith(` | ${remove} | change it`), whileRunning[0]);
  const before = overlap(connected, { interfaces, tunName: undefined });
  assert.ok(before[0]!.endsWith(` | change it | ${remove}`), before[0]);
  assert.match(
    overlap([route("10.241.0.0/24", "tun7")], { interfaces })[0]!,
    /another program's TUN device/,
  );
});

test("routesOf() and interfacesOf() leave out what they do not understand", () => {
  const odd = [null, 7, {}, { dst: "x", dev: "y" }, { type: "local", dst: "10.0.0.1", dev: "lo" }];
  assert.deepEqual(routesOf(odd, 4), []);
  assert.deepEqual(routesOf("text", 6), []);
  assert.deepEqual(interfacesOf([{ mtu: 1 }, { ifname: 3 }]), []);
  const [six] = routesOf([{ dst: "default", dev: "wan", gateway: "fe80::1" }], 6);
  assert.equal(six!.prefix.bits, 0);
});

test("judgeForwarding() names parameters as sysctl takes them", () => {
  const facts = { version: 6, value: "0", switchedOff: [], isSetAtStart: false } as const;
  assert.match(line(judgeForwarding(facts)), /\| sysctl -w net\.ipv6\.conf\.all\.forwarding=1$/);
  assert.equal(judgeForwarding({ ...facts, isSetAtStart: true }).verdict, "PASS");
  assert.equal(judgeForwarding({ ...facts, value: undefined }).verdict, "SKIP");
  const some = judgeForwarding({
    version: 4,
    value: "1",
    switchedOff: ["eth0.7"],
    isSetAtStart: false,
  });
  assert.match(line(some), /\| sysctl -w net\.ipv4\.conf\.eth0\/7\.forwarding=1$/);
  assert.equal(parameterName(4, "lan", "rp_filter"), "net.ipv4.conf.lan.rp_filter");
});

test("judgeReversePath() fails where packets are dropped, warns where some were", () => {
  const there = { address: "203.0.113.1", leavesBy: "wan" };
  const strict = { name: "wan", effective: 1, sources: [there] };
  assert.equal(judgeReversePath([strict], 0).verdict, "PASS");
  assert.match(
    line(judgeReversePath([strict], 9)),
    /^WARN strict on wan, and .* dropped 9 packets.*rp_filter=2$/,
  );
  const odd = { ...strict, sources: [{ ...there, leavesBy: "dsl" }] };
  assert.match(
    line(judgeReversePath([odd], 0)),
    /^FAIL strict on wan: .* leave by dsl \| sysctl -w/,
  );
  assert.equal(judgeReversePath([{ ...odd, effective: 2 }], 5).verdict, "PASS");
  const lost = { ...strict, sources: [{ ...there, leavesBy: undefined }] };
  assert.match(line(judgeReversePath([lost], undefined)), /there is no way back/);
});

test("judgeTunInterface() starts a gateway anew that has lost its interface", () => {
  const facts = {
    encodeNet: NET,
    ownAddress: ownAddressOf(NET),
    hasRoute: false,
    restart: "again",
  };
  const gone = judgeTunInterface({ ...facts, device: undefined });
  assert.match(line(gone), /^FAIL no interface has 10\.240\.0\.1 .* \| again$/);
});

test("judgePublicAddress() tells a router what to forward", () => {
  const facts = {
    publicAddress: parseIp("2001:db8:1::1")!,
    port: 1045,
    device: undefined,
    ownAddress: "fd00:20::2",
    reference: "1",
    callers: [],
    isCallersKnown: true,
    command: "ipref",
  };
  const [forward, outside] = judgePublicAddress(facts).fixes;
  assert.match(
    forward!.command,
    /ip6 daddr 2001:db8:1::1 udp dport 1045 dnat to \[fd00:20::2\]:1045$/,
  );
  assert.equal(outside!.command, "ipref ping -c 3 '2001:db8:1::1 + 1'");
  assert.equal(judgePublicAddress({ ...facts, device: "wan" }).verdict, "PASS");
  assert.equal(judgePublicAddress({ ...facts, callers: ["2001:db8::9"] }).verdict, "PASS");
  const client = judgePublicAddress({ ...facts, publicAddress: parseIp("::")! });
  assert.match(line(client), /^PASS not set: client mode/);
});

test("judgePeer() and judgePathMtu() say what was tried", () => {
  const peer = {
    address: "203.0.113.1",
    lastSeenSeconds: undefined,
    command: "ipref",
    runOption: "",
  };
  const silent = judgePeer({ ...peer, result: { kind: "silent" } });
  assert.match(
    line(silent),
    /^FAIL .* nothing has come from it \| ipref doctor --only .* \| ipref traceroute '203/,
  );
  assert.equal(judgePeer({ ...peer, result: { kind: "failed", reason: "x" } }).verdict, "SKIP");
  assert.match(
    line(judgePeer({ ...peer, result: { kind: "answered", ms: 1.5 } })),
    /after 1\.5 ms$/,
  );
  const path = {
    address: "203.0.113.1",
    tunName: "ipref0",
    tunMtuBytes: 1440,
    reportedBytes: undefined,
  };
  assert.match(line(judgePathMtu({ ...path, answeredBytes: 1440 })), /^PASS .*\(MSS 1400\)$/);
  assert.match(
    line(judgePathMtu({ ...path, answeredBytes: 64 })),
    /\| ip link set dev ipref0 mtu 576$/,
  );
  const reported = judgePathMtu({ ...path, answeredBytes: 1300, reportedBytes: 1300 });
  assert.equal(reported.verdict, "PASS");
  assert.equal(judgePathMtu({ ...path, answeredBytes: undefined }).verdict, "SKIP");
});

test("the report keeps text of others from the terminal and never wraps a fix", () => {
  const judge = judgeOf("aa-records", 'x\u001b[2J TXT "\u202eAA"');
  const command = `echo ${"long ".repeat(60)}`;
  const finding = judge.fail("a\nb", command, { command: "second\u0007", note: "else\r" });
  const table = tableOf([finding], { hasColours: false, width: 80 });
  assert.doesNotMatch(table.replaceAll("\n", ""), /[\p{Cc}\p{Cf}]/u);
  assert.ok(table.includes(`fix: ${command}\n`), "the command stays on its line");
  assert.ok(table.includes("fix (else\\u000d): second\\u0007"));
  assert.match(table, /0 passed, 0 warnings, 1 failed, 0 left out; fixes are for a root shell\n$/);
  assert.ok(
    tableOf([finding], { hasColours: true, width: 80 }).includes("\u001b[31mFAIL\u001b[0m"),
  );
  assert.equal(complaintLines([finding, judge.pass("fine")]).length, 3);
});

test("what passes a check for the same reason takes one line of the table", () => {
  const pass = (subject: string, evidence: string) => judgeOf("one", subject).pass(evidence);
  const findings = [pass("a", "fine"), pass("b", "fine"), pass("c", "well"), pass("d", "fine")];
  const other = { ...pass("e", "fine"), check: "two" };
  const paths = [pass("/run/x/a", "there"), pass("/run/x/b", "there")];
  const deep = [pass("/run/x", "deep"), pass("/run/x/b", "deep"), pass("c", "deep")];
  const all = [...findings, other, ...paths, ...deep];
  const table = tableOf(all, { hasColours: false, width: 80 });
  assert.deepEqual(table.split("\n"), [
    "one    PASS  a, b: fine",
    "one    PASS  c: well",
    "one    PASS  d: fine",
    "two    PASS  e: fine",
    "one    PASS  a, b in /run/x: there",
    "one    PASS  /run/x, /run/x/b, c: deep",
    "",
    "10 passed, 0 warnings, 0 failed, 0 left out",
    "",
  ]);
});

test("JSON has the verdict, the counts and all findings", () => {
  const judge = judgeOf("clock", "time");
  const findings = [judge.pass("a"), judge.warn("b", "fix it"), judge.skip("c")];
  const json = JSON.parse(jsonOf(findings)) as Record<string, unknown>;
  assert.equal(json.verdict, "WARN");
  assert.deepEqual(json.counts, { pass: 1, warn: 1, fail: 0, skip: 1 });
  assert.deepEqual(json.findings, findings);
  assert.equal(worst([judge.skip("x")]), "PASS");
});

test("shellWord() quotes what a shell would read otherwise", () => {
  assert.equal(shellWord("/etc/a-b_c.d"), "/etc/a-b_c.d");
  assert.equal(shellWord("a b"), "'a b'");
  assert.equal(shellWord("it's $(x)"), "'it'\\''s $(x)'");
  assert.equal(shellWord(""), "''");
});
