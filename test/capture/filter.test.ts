/** The language of capture filters: what it means, what its faults say, and that it never throws. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { DROP_REASONS, dropReasonIndex } from "../../src/base/drop-reason.js";
import { parseIp, parsePrefix } from "../../src/base/ip.js";
import {
  type CaptureFilter,
  type CaptureProtocol,
  compileFilter,
  formatFilter,
} from "../../src/capture/filter.js";
import { describeFault, parseFilter } from "../../src/capture/filter-parser.js";
import { CaptureSubject } from "../../src/capture/subject.js";
import {
  PATH_FAST,
  PATH_SLOW,
  SIDE_LOCAL,
  SIDE_TUNNEL,
  VERDICT_DROPPED,
  VERDICT_FORWARDED,
  VERDICT_MADE,
} from "../../src/tables/capture-ring.js";
import { buildIpv4 } from "../../src/wire/ipv4.js";
import { buildTunnel } from "../../src/wire/tunnel-header.js";
import { Dice } from "../forward/fast-world.js";

const SEED = Number(process.env.IPREF_TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));

const ADDRESSES = ["10.1.0.5", "192.0.2.1", "::1", "2001:db8::7"].map((text) => parseIp(text)!);
const PREFIXES = ["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/31", "192.0.2.1/32"].map(
  (text) => parsePrefix(text)!,
);

function randomFilter(dice: Dice, depth: number): CaptureFilter {
  const kind = depth > 5 ? 4 + dice.below(9) : dice.below(13);
  const inner = () => randomFilter(dice, depth + 1);
  if (kind < 3) return { kind: dice.pick(["and", "or"] as const), left: inner(), right: inner() };
  if (kind === 3) return { kind: "not", term: inner() };
  if (kind < 6) {
    return { kind: dice.pick(["host", "gateway"] as const), address: dice.pick(ADDRESSES) };
  }
  if (kind === 6) return { kind: "net", prefix: dice.pick(PREFIXES) };
  if (kind === 7) return { kind: "port", port: dice.below(65_536) };
  if (kind === 8) {
    const protocols: CaptureProtocol[] = ["tcp", "udp", "icmp", dice.below(256)];
    return { kind: "proto", protocol: dice.pick(protocols) };
  }
  if (kind === 9) return { kind: "reference", reference: dice.pick([0n, 1n, 1025n, 1n << 127n]) };
  if (kind === 10) return { kind: "side", side: dice.pick(["local", "tunnel"] as const) };
  if (kind === 11) {
    return { kind: "verdict", verdict: dice.pick(["forwarded", "dropped", "slow"] as const) };
  }
  const reason = dice.pick(["tunnel-reference-unknown", "ttl-expired", "slow-path-full"] as const);
  return { kind: "drop", reason };
}

test("A filter's text parses to the same filter", () => {
  console.log(`seed ${SEED}`);
  const dice = new Dice(SEED);
  let parsedCount = 0;
  for (let round = 0; round < 2000; round++) {
    const filter = randomFilter(dice, 0);
    const text = formatFilter(filter);
    const parsed = parseFilter(text);
    if (!parsed.ok) {
      assert.match(parsed.fault.expected, /^at most/, `${text}: ${parsed.fault.expected}`);
      continue;
    }
    parsedCount++;
    assert.deepEqual(parsed.filter, filter, text);
  }
  assert.ok(parsedCount > 1000);
});

test("No text makes the parser throw, and each fault has a place in the text", () => {
  console.log(`seed ${SEED}`);
  const dice = new Dice(SEED);
  const words = [
    ...["host", "net", "port", "proto", "gateway", "reference", "side", "verdict", "drop", "and"],
    ...["or", "not", "(", ")", "10.1.0.5", "10.0.0.0/8", "443", "tcp", "5f-1", "local", "slow"],
    ...["ttl-expired", "", "toString", "__proto__", "\u001b[31m", "\u{1f600}", "-", "99999999999"],
  ];
  let faults = 0;
  for (let round = 0; round < 5000; round++) {
    const count = dice.below(12);
    const parts = Array.from({ length: count }, () => dice.pick(words));
    const text = dice.percent(10)
      ? String.fromCharCode(...Array.from({ length: count }, () => dice.below(0x10000)))
      : parts.join(dice.percent(80) ? " " : "");
    const parsed = parseFilter(text);
    if (parsed.ok) continue;
    faults++;
    const { position, found } = parsed.fault;
    assert.ok(position >= 0 && position <= text.length);
    assert.equal(text.slice(position, position + found.length), found);
    const [head, shown, caret] = describeFault(text, parsed.fault).split("\n");
    assert.match(head!, /^Cannot read the filter at character \d+: found .+, expected .+/);
    assert.equal(shown!.length, text.length + 2);
    assert.equal(caret!.indexOf("^"), position + 2);
    assert.match(head! + shown!, /^[ -~]*$/);
  }
  assert.ok(faults > 2000);
});

test("A fault names the place and what would have been right", () => {
  const cases: readonly [text: string, position: number, expected: RegExp][] = [
    ["host 10.1.0.5 nad port 5", 14, /^"and", "or" or the end$/],
    ["hots 10.1.0.5", 0, /^"host", "net".*"drop", "not" or "\("$/],
    ["host", 4, /^an IPv4 or IPv6 address$/],
    ["host 10.1.0.555", 5, /^an IPv4 or IPv6 address$/],
    ["net 10.1.0.0", 4, /^a network such as/],
    ["port 65536", 5, /^a port, 0 to 65535$/],
    ["proto 256", 6, /^"tcp", "udp", "icmp" or a number/],
    ["(host 10.1.0.5", 14, /^"and", "or" or "\)"$/],
    ["()", 1, /^"host"/],
    ["not", 3, /^"host"/],
    ["drop too-long", 5, /^a drop reason/],
    ["side both", 5, /^"local" or "tunnel"$/],
    ["verdict lost", 8, /^"forwarded", "dropped" or "slow"$/],
    ["reference 1--2--3", 10, /^a reference such as/],
    ["gateway x", 8, /^the IPv4 or IPv6 address of a gateway$/],
    ["port 5 )", 7, /^"and", "or" or the end$/],
    [`${"(".repeat(40)}port 5${")".repeat(40)}`, 33, /^at most 32 levels$/],
    [Array.from({ length: 70 }, () => "port 5").join(" or "), 640, /^at most 64 terms$/],
    ["port 5 or ".repeat(200), 1024, /^at most 1024 characters$/],
  ];
  for (const [text, position, expected] of cases) {
    const parsed = parseFilter(text);
    assert.ok(!parsed.ok, text);
    assert.equal(parsed.fault.position, position, text);
    assert.match(parsed.fault.expected, expected, text);
  }
});

/** A UDP packet from 10.1.0.5 port 5353 to 10.240.17.34 port 7, and its tunnel packet. */
function subjectOf(): CaptureSubject {
  const udp = Uint8Array.of(0x14, 0xe9, 0, 7, 0, 8, 0, 0);
  const native = buildIpv4(
    {
      source: parseIp("10.1.0.5")!,
      destination: parseIp("10.240.17.34")!,
      ...{ trafficClass: 0, ttl: 64, protocol: 17, dontFragment: true, fragmentOffset: 0 },
      ...{ moreFragments: false, identification: 1 },
    },
    udp,
  );
  const tunnel = buildTunnel(
    {
      source: { context: parseIp("192.0.2.1")!, reference: 0x5f_12abn },
      destination: { context: parseIp("198.51.100.7")!, reference: 1025n },
      ...{ ttl: 64, protocol: 17, dontFragment: true, fragment: undefined },
    },
    udp,
  );
  const subject = new CaptureSubject();
  subject.setNative(native, 0, native.length);
  subject.setTunnel(tunnel, 0, tunnel.length);
  subject.remote.set(parseIp("203.0.113.9")!.bytes, 0, 4);
  subject.path = PATH_SLOW;
  return subject;
}

function matches(text: string, subject: CaptureSubject): boolean {
  const parsed = parseFilter(text);
  assert.ok(parsed.ok, text);
  return compileFilter(parsed.filter)(subject);
}

test("Each term looks at what it says, and at either end", () => {
  const subject = subjectOf();
  const right = [
    ...["", "host 10.1.0.5", "host 10.240.17.34", "net 10.1.0.0/24", "net 10.240.0.0/12"],
    ...["port 7", "port 5353", "proto udp", "proto 17", "gateway 192.0.2.1"],
    ...["gateway 198.51.100.7", "gateway 203.0.113.9", "reference 1025", "reference 5f-12ab"],
    ...["side local", "verdict forwarded", "verdict slow", "not port 443"],
    ...["port 443 or port 7 and proto udp", "(port 443 or port 7) and not verdict dropped"],
  ];
  const wrong = [
    ...["host 192.0.2.1", "host ::1", "net 10.2.0.0/16", "net 2001:db8::/32", "port 1045"],
    ...["proto tcp", "proto icmp", "proto 1", "gateway 10.1.0.5", "reference 1026", "reference 0"],
    ...["side tunnel", "verdict dropped", "drop ttl-expired", "not proto udp"],
    ...["port 7 and port 443", "not (port 443 or port 7)"],
  ];
  for (const text of right) assert.ok(matches(text, subject), text);
  for (const text of wrong) assert.ok(!matches(text, subject), text);
});

test("Verdicts, paths and reasons are told apart", () => {
  const subject = subjectOf();
  for (const { name } of DROP_REASONS) {
    subject.verdict = VERDICT_DROPPED;
    subject.reason = dropReasonIndex(name as "ttl-expired") + 1;
    assert.ok(matches(`drop ${name}`, subject));
    assert.ok(matches("verdict dropped", subject));
    assert.ok(!matches("verdict forwarded", subject));
  }
  subject.verdict = VERDICT_MADE;
  subject.reason = 0;
  assert.ok(matches("verdict forwarded", subject), "what the gateway makes is not dropped");
  subject.verdict = VERDICT_FORWARDED;
  subject.path = PATH_FAST;
  assert.ok(!matches("verdict slow", subject));
  subject.side = SIDE_TUNNEL;
  assert.ok(matches("side tunnel", subject));
  subject.side = SIDE_LOCAL;
  assert.ok(!matches("side tunnel", subject));
});
