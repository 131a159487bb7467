import assert from "node:assert/strict";
import { test } from "node:test";
import { formatIp, parseIp } from "../../src/base/ip.js";
import { readU16 } from "../../src/wire/bytes.js";
import { sumBytes } from "../../src/wire/checksum.js";
import { buildIpv6 } from "../../src/wire/ipv6.js";
import type { TunnelPacket } from "../../src/wire/packet-fields.js";
import { buildTunnel, parseTunnel } from "../../src/wire/tunnel-header.js";
import { echo, icmpv6Echo, ipv4Packet, makeSite, tcp, udp, Wire } from "./slow-path-sites.js";

const HOST_A = "192.168.1.10";
const HOST_B = "172.16.5.20";
const A_AT_B = "10.224.4.7";
const B_AT_A = "10.240.7.34";

/** Two IPv4 sites joined by a wire that carries datagrams at once. */
function twoSites() {
  const wire = new Wire();
  const a = makeSite(wire, {
    pub: "198.51.100.1",
    encodeNet: "10.240.0.0/12",
    own: "10.240.0.1",
    ours: [[HOST_A, "198.51.100.1", 0x1234n]],
    theirs: [
      [B_AT_A, "203.0.113.5", 0x2a0bn],
      ["10.240.7.35", "203.0.113.5", 1n],
      ["10.240.7.36", "203.0.113.5", 0x7777n],
      ["10.240.7.37", "198.51.100.1", 0x1234n],
    ],
  });
  const b = makeSite(wire, {
    pub: "203.0.113.5",
    encodeNet: "10.224.0.0/12",
    own: "10.224.0.1",
    ours: [[HOST_B, "203.0.113.5", 0x2a0bn]],
    theirs: [
      [A_AT_B, "198.51.100.1", 0x1234n],
      ["10.224.4.1", "198.51.100.1", 1n],
    ],
  });
  return { wire, a, b };
}

test("SlowPath carries a datagram from host to host", () => {
  const { a, b } = twoSites();
  a.fromLocal(ipv4Packet(HOST_A, B_AT_A, 17, udp(5353, 7, "ping")));
  assert.deepEqual(a.drops, {});
  assert.equal(b.written.length, 1);
  const [packet] = b.written;
  assert.equal(parseIp("10.224.4.7")!.bytes.join(), packet!.slice(12, 16).join());
  assert.equal(parseIp(HOST_B)!.bytes.join(), packet!.slice(16, 20).join());
});

test("SlowPath answers an echo request to reference 1 inside the gateway", () => {
  const { a, b } = twoSites();
  a.fromLocal(ipv4Packet(HOST_A, "10.240.7.35", 1, echo(8, 77, 3, "abcdefgh")));
  assert.equal(b.written.length, 0, "nothing reaches the other network");
  assert.equal(a.written.length, 1);
  const reply = a.written[0]!;
  assert.equal(reply[20], 0, "echo reply");
  assert.equal(readU16(reply, 24), 77);
  assert.equal(sumBytes(reply, 20, reply.length), 0xffff);
});

test("SlowPath limits echo replies of reference 1 and counts the rest", () => {
  const { a, b } = twoSites();
  for (let round = 0; round < 50; round++) {
    a.fromLocal(ipv4Packet(HOST_A, "10.240.7.35", 1, echo(8, 77, round, "abcdefgh")));
  }
  assert.equal(a.written.length, 20);
  assert.equal(b.drops["tunnel-echo-limited"], 30);
});

test("SlowPath tells a remote sender about an unknown reference", () => {
  const { a, b } = twoSites();
  a.fromLocal(ipv4Packet(HOST_A, "10.240.7.36", 17, udp(5353, 7, "ping")));
  assert.equal(b.drops["tunnel-reference-unknown"], 1);
  assert.equal(a.written.length, 1);
  assert.deepEqual([...a.written[0]!.slice(20, 22)], [3, 0], "network unreachable");
  assert.equal(readU16(a.written[0]!, 28 + 20), 5353, "the quote has the sender's port");
});

test("SlowPath tells a local sender about an unknown encoded address", () => {
  const { a } = twoSites();
  a.fromLocal(ipv4Packet(HOST_A, "10.241.9.9", 17, udp(5353, 7, "ping")));
  assert.equal(a.drops["local-destination-unknown"], 1);
  assert.deepEqual([...a.written[0]!.slice(20, 22)], [3, 0]);
  assert.equal(a.written[0]!.slice(12, 16).join("."), "10.240.0.1");
});

test("SlowPath never answers multicast or ICMP errors with ICMP errors", () => {
  const { a } = twoSites();
  a.fromLocal(ipv4Packet(HOST_A, "224.0.0.251", 17, udp(5353, 5353, "mdns")));
  const quote = ipv4Packet("10.241.9.9", HOST_A, 17, udp(1, 2, "x"));
  const unreachable = Uint8Array.of(3, 3, 0, 0, 0, 0, 0, 0, ...quote);
  a.fromLocal(ipv4Packet(HOST_A, "10.241.9.9", 1, unreachable));
  assert.equal(a.written.length, 0);
});

test("SlowPath refuses TCP to reference 1 with port unreachable", () => {
  const { a, b } = twoSites();
  a.fromLocal(ipv4Packet(HOST_A, "10.240.7.35", 6, tcp(40_000, 22)));
  assert.equal(b.written.length, 0);
  assert.equal(b.drops["tunnel-to-gateway"], 1);
  assert.deepEqual([...a.written[0]!.slice(20, 22)], [3, 3]);
});

test("SlowPath lets the gateway host use encoded addresses, and only answers come back", () => {
  const { a, b } = twoSites();
  a.fromLocal(ipv4Packet("10.240.0.1", B_AT_A, 17, udp(40_000, 53, "query")));
  assert.equal(b.written.length, 1);
  b.fromLocal(ipv4Packet(HOST_B, "10.224.4.1", 17, udp(53, 40_000, "answer")));
  assert.equal(a.written.length, 1, "the answer reaches the gateway host");
  assert.equal(a.written[0]!.slice(16, 20).join("."), "10.240.0.1");
  b.fromLocal(ipv4Packet(HOST_B, "10.224.4.1", 17, udp(53, 40_001, "stranger")));
  assert.equal(a.written.length, 1);
  assert.equal(a.drops["tunnel-to-gateway"], 1);
});

test("SlowPath hands the gateway host the ICMP errors about its own packets", () => {
  const { a, b } = twoSites();
  a.fromLocal(ipv4Packet("10.240.0.1", B_AT_A, 17, udp(40_000, 9, "query")));
  const offending = b.written[0]!;
  const unreachable = Uint8Array.of(3, 3, 0, 0, 0, 0, 0, 0, ...offending);
  const message = ipv4Packet(HOST_B, "10.224.4.1", 1, unreachable);
  b.fromLocal(message);
  assert.equal(a.written.length, 1);
  assert.deepEqual([...a.written[0]!.slice(20, 22)], [3, 3]);
});

test("SlowPath turns a packet to one of its own references around inside", () => {
  const { wire, a } = twoSites();
  a.fromLocal(ipv4Packet(HOST_A, "10.240.7.37", 17, udp(5353, 7, "loop")));
  assert.equal(wire.datagrams, 0, "nothing was sent");
  assert.equal(a.written.length, 1);
  assert.equal(a.written[0]!.slice(12, 20).join("."), "10.240.7.37.192.168.1.10");
});

test("SlowPath drops datagrams that claim to come from itself", () => {
  const { a } = twoSites();
  a.slowPath.fromTunnel(new Uint8Array(40), parseIp("198.51.100.1")!, 1045);
  assert.equal(a.drops["tunnel-source-own"], 1);
});

test("SlowPath survives empty and malformed datagrams from a thousand sources", () => {
  const { a } = twoSites();
  for (let index = 0; index < 1000; index++) {
    const source = { version: 4 as const, bytes: Uint8Array.of(100, 64, index >> 8, index) };
    a.slowPath.fromTunnel(new Uint8Array(index % 60).fill(index), source, 1045);
  }
  const suppressed = (a.drops["icmp-limited"] ?? 0) + (a.drops["icmp-not-answered"] ?? 0);
  const counted = Object.values(a.drops).reduce((sum, count) => sum + count, 0);
  assert.equal(counted - suppressed, 1000);
  assert.equal(a.remotes.size, 0);
});

test("SlowPath keeps packets while a mapping is stored and sends them afterwards", () => {
  const { a, b } = twoSites();
  a.lookup.isPending = true;
  a.fromLocal(ipv4Packet(HOST_A, B_AT_A, 17, udp(5353, 7, "one")));
  a.fromLocal(ipv4Packet(HOST_A, B_AT_A, 17, udp(5353, 7, "two")));
  assert.equal(b.written.length, 0);
  a.slowPath.retryWaiting();
  assert.equal(b.written.length, 0);
  a.lookup.isPending = false;
  a.slowPath.retryWaiting();
  assert.deepEqual(
    b.written.map((packet) => String.fromCharCode(...packet.slice(28))),
    ["one", "two"],
  );
});

test("SlowPath fragments in the tunnel without DF, and reports the MTU with it", () => {
  const { a, b } = twoSites();
  a.pathMtu = 576;
  a.fromLocal(ipv4Packet(HOST_A, B_AT_A, 17, udp(1, 2, "x".repeat(1000)), { dontFragment: false }));
  assert.ok(b.written.length >= 2);
  const offsets = b.written.map((packet) => (readU16(packet, 6) & 0x1fff) * 8);
  assert.equal(offsets[0], 0);
  const total = b.written.reduce((sum, packet) => sum + packet.length - 20, 0);
  assert.equal(total, 1008);
  a.fromLocal(ipv4Packet(HOST_A, B_AT_A, 17, udp(1, 2, "x".repeat(1000))));
  assert.equal(a.drops["packet-too-big"], 1);
  const error = a.written.at(-1)!;
  assert.deepEqual([...error.slice(20, 22)], [3, 4]);
  assert.equal(readU16(error, 26), 576 - 28, "M with a tunnel header as long as an IPv4 header");
});

test("SlowPath asks for the path MTU again when the kernel refuses, at most three times", () => {
  const { a } = twoSites();
  let asked = 0;
  a.onSend = () => {
    asked++;
    return "too-big";
  };
  a.fromLocal(ipv4Packet(HOST_A, B_AT_A, 17, udp(1, 2, "x".repeat(1200)), { dontFragment: false }));
  assert.ok(asked <= 4, `${asked} attempts`);
  assert.equal(a.drops["send-failed"], 1);
});

test("SlowPath probes a new port of a verified remote and moves when it answers", () => {
  const { wire, a, b } = twoSites();
  a.fromLocal(ipv4Packet(HOST_A, B_AT_A, 17, udp(1, 2, "x")));
  b.fromLocal(ipv4Packet(HOST_B, A_AT_B, 17, udp(2, 1, "y")));
  a.fromLocal(ipv4Packet(HOST_A, B_AT_A, 17, udp(1, 2, "z")));
  b.port = 40_001;
  b.fromLocal(ipv4Packet(HOST_B, A_AT_B, 17, udp(2, 1, "rebound")));
  a.fromLocal(ipv4Packet(HOST_A, B_AT_A, 17, udp(1, 2, "to the proven port")));
  assert.equal(wire.lastPort, 40_001);
});

test("SlowPath holds the first fragment of an ICMPv6 echo until the last one has passed", () => {
  const [hostA, hostB] = ["fd00:a::10", "fd00:b::20"];
  const [aAtB, bAtA] = ["fd00:eb::4:7", "fd00:ea::7:34"];
  const { a, b } = ipv6Sites();
  const message = icmpv6Echo(hostA, bAtA, 100);
  const fragment = (offset: number, end: number, moreFragments: boolean) =>
    buildIpv6(
      {
        source: parseIp(hostA)!,
        destination: parseIp(bAtA)!,
        trafficClass: 0,
        flowLabel: 0,
        ttl: 64,
        protocol: 58,
        fragment: { offset, moreFragments, identification: 99 },
      },
      message.slice(offset, end),
    );
  a.fromLocal(fragment(0, 64, true));
  assert.equal(b.written.length, 0);
  a.fromLocal(fragment(64, message.length, false));
  assert.equal(b.written.length, 2, "both fragments arrived");
  const whole = new Uint8Array(message.length);
  for (const packet of b.written) {
    whole.set(packet.slice(48), readU16(packet, 42) & 0xfff8);
  }
  assert.equal(icmpv6Echo(aAtB, hostB, 100).join(), whole.join());
});

test("SlowPath gives up a held fragment after a minute and counts it", () => {
  const { a } = ipv6Sites();
  const header = {
    source: parseIp("fd00:a::10")!,
    destination: parseIp("fd00:ea::7:34")!,
    trafficClass: 0,
    flowLabel: 0,
    ttl: 64,
    protocol: 58,
    fragment: { offset: 0, moreFragments: true, identification: 5 },
  };
  a.fromLocal(buildIpv6(header, icmpv6Echo("fd00:a::10", "fd00:ea::7:34", 56)));
  a.clockMs += 60_000;
  a.slowPath.housekeeping();
  assert.equal(a.drops["icmp-fragment-expired"], 1);
});

test("SlowPath fragments for a narrow IPv6 host what came without DF", () => {
  const wire = new Wire();
  const hostB = "fd00:b::20";
  const a = makeSite(wire, {
    pub: "198.51.100.1",
    encodeNet: "10.240.0.0/12",
    own: "10.240.0.1",
    ours: [[HOST_A, "198.51.100.1", 0x1234n]],
    theirs: [[B_AT_A, "203.0.113.5", 0x2a0bn]],
  });
  const b = makeSite(wire, {
    pub: "203.0.113.5",
    encodeNet: "fd00:eb::/64",
    own: "fd00:eb::1",
    ours: [[hostB, "203.0.113.5", 0x2a0bn]],
    theirs: [["fd00:eb::4:7", "198.51.100.1", 0x1234n]],
  });
  const large = () =>
    a.fromLocal(
      ipv4Packet(HOST_A, B_AT_A, 17, udp(1, 2, "x".repeat(1380)), { dontFragment: false }),
    );
  large();
  assert.equal(b.written.length, 1);
  const quote = b.written[0]!.slice(0, 1200);
  const message = new Uint8Array(8 + quote.length);
  message[0] = 2;
  message.set([0, 0, 5, 0], 4);
  message.set(quote, 8);
  const router = { source: parseIp("fd00:b::1")!, destination: parseIp("fd00:eb::4:7")! };
  b.fromLocal(
    buildIpv6(
      { ...router, trafficClass: 0, flowLabel: 0, ttl: 64, protocol: 58, fragment: undefined },
      message,
    ),
  );
  b.written.length = 0;
  large();
  assert.equal(b.written.length, 2);
  assert.ok(b.written.every((packet) => packet.length <= 1280));
});

test("SlowPath answers a datagram of the draft format in that format", () => {
  const { a } = twoSites();
  const payload = udp(5353, 7, "ping");
  const draft = Uint8Array.of(0x01, 0, 63, 17, 0, 0, 0x2a, 0x0b, 0, 0, 0x77, 0x77, ...payload);
  a.slowPath.fromTunnel(draft, parseIp("203.0.113.5")!, 1045);
  assert.equal(a.drops["tunnel-reference-unknown"], 1);
  assert.equal(a.sent.length, 1);
  assert.equal(a.sent[0]!.packet[0]! & 0xf0, 0, "format D has no version nibble");
});

test("SlowPath tells the workers about paths too narrow for IPv6, for ten minutes", () => {
  const { a, b } = ipv6Sites();
  a.fromLocal(ipv6Udp("fd00:a::10", "fd00:ea::7:34", 1200));
  const tunnel = a.sent[0]!.packet;
  const message = Uint8Array.of(3, 4, 0, 0, 0, 0, 2, 0, ...tunnel.slice(0, 500));
  const carrier = { ...parseTunnelHeader(tunnel), protocol: 1, dontFragment: false };
  const turned = { ...carrier, source: carrier.destination, destination: carrier.source };
  a.slowPath.fromTunnel(buildTunnel(turned, message), b.pub, 1045);
  assert.deepEqual(a.narrowPaths.map(formatIp), ["fd00:ea::7:34"]);
  a.fromLocal(ipv6Udp("fd00:a::10", "fd00:ea::7:34", 1200));
  const flags = a.sent.at(-1)!.packet[0]! & 3;
  assert.equal(flags, 2, "fragment information is present and DF is clear");
  a.clockMs += 600_000;
  a.slowPath.housekeeping();
  assert.deepEqual(a.narrowPaths, []);
});

/** Two IPv6 sites over an IPv4 tunnel. */
function ipv6Sites() {
  const wire = new Wire();
  const a = makeSite(wire, {
    pub: "198.51.100.1",
    encodeNet: "fd00:ea::/64",
    own: "fd00:ea::1",
    ours: [["fd00:a::10", "198.51.100.1", 0x1234n]],
    theirs: [["fd00:ea::7:34", "203.0.113.5", 0x2a0bn]],
  });
  const b = makeSite(wire, {
    pub: "203.0.113.5",
    encodeNet: "fd00:eb::/64",
    own: "fd00:eb::1",
    ours: [["fd00:b::20", "203.0.113.5", 0x2a0bn]],
    theirs: [["fd00:eb::4:7", "198.51.100.1", 0x1234n]],
  });
  return { a, b };
}

function parseTunnelHeader(packet: Uint8Array): TunnelPacket {
  const parsed = parseTunnel(packet);
  assert.ok(typeof parsed !== "string");
  return parsed;
}

/** An IPv6 UDP packet whose checksum nobody looks at. */
function ipv6Udp(source: string, destination: string, dataBytes: number): Uint8Array {
  const data = udp(1000, 2000, "x".repeat(dataBytes));
  data.set([1, 1], 6);
  const ends = { source: parseIp(source)!, destination: parseIp(destination)! };
  return buildIpv6(
    { ...ends, trafficClass: 0, flowLabel: 0, ttl: 64, protocol: 17, fragment: undefined },
    data,
  );
}
