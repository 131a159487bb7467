/** Rules of spec/tunnel.md 3 to 6 that no recorded packet shows. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { AddressLookup, Lookup } from "../../src/base/address-lookup.js";
import { toHex } from "../../src/base/hex.js";
import type { IpAddress } from "../../src/base/ip.js";
import type { IprefAddress } from "../../src/base/reference.js";
import { decapsulate } from "../../src/translate/decapsulate.js";
import { buildEchoRequest, readGatewayPacket } from "../../src/translate/echo.js";
import { encapsulate } from "../../src/translate/encapsulate.js";
import {
  buildTunnelError,
  mayAnswerNative,
  mayAnswerTunnel,
} from "../../src/translate/icmp-errors.js";
import { acceptDatagram } from "../../src/translate/receive.js";
import { buildDraft } from "../../src/wire/draft-header.js";
import { PROTOCOL_UDP, type TunnelFormat } from "../../src/wire/packet-fields.js";
import { buildTunnelPacket, parseTunnelPacket } from "../../src/wire/tunnel-packet.js";
import { GatewayDouble, ip } from "./gateway-double.js";
import { nativePacket, plainChecksum, withChecksum } from "./packets.js";
import { makeSites } from "./sites.js";

const SITES = makeSites({ a: 4, b: 4, tunnel: 4 });
const SITES_6 = makeSites({ a: 6, b: 6, tunnel: 4 });

/** A lookup that writes down every call that might create something. */
function recording(inner: AddressLookup): { lookup: AddressLookup; created: string[] } {
  const created: string[] = [];
  const lookup: AddressLookup = {
    oursToIpref(host, mayCreate, peer) {
      if (mayCreate) created.push("oursToIpref");
      return inner.oursToIpref(host, mayCreate, peer);
    },
    theirsToIpref: (encoded) => inner.theirsToIpref(encoded),
    iprefToTheirs(remote, mayCreate): Lookup<IpAddress> {
      if (mayCreate) created.push("iprefToTheirs");
      return inner.iprefToTheirs(remote, mayCreate);
    },
    iprefToOurs: (address) => inner.iprefToOurs(address),
  };
  return { lookup, created };
}

function udp(ends: { source: IpAddress; destination: IpAddress }, length = 12): Uint8Array {
  const data = new Uint8Array(length);
  data.set([0x12, 0x34, 0, 9, length >> 8, length & 255]);
  return nativePacket(
    { ...ends, protocol: 17, ttl: 64 },
    withChecksum(data, ends.source, ends.destination, 17),
  );
}

/** An ICMP error of host A that quotes `quote`. */
function errorFromA(quote: Uint8Array, type = 3, code = 3): Uint8Array {
  const data = Uint8Array.from([type, code, 0, 0, 0, 0, 0, 0, ...quote]);
  const { source, destination } = SITES.atA;
  const message = withChecksum(data, source, destination, 1);
  return nativePacket({ source, destination, protocol: 1, ttl: 64 }, message);
}

function tunnelUdp(source: IprefAddress, destination: IprefAddress, data = new Uint8Array(8)) {
  const header = { source, destination, ttl: 9, protocol: PROTOCOL_UDP, dontFragment: true };
  return buildTunnelPacket({ ...header, fragment: undefined }, data, "G");
}

function decapsulateAtA(packet: Uint8Array, lookup: AddressLookup) {
  return decapsulate(packet, {
    ...SITES.a.scope("G"),
    lookup,
    outerSource: SITES.publicB,
    hints: { remote: SITES.publicB, local: SITES.publicA },
    nextIdentification: () => 7,
    roles: "remote",
  });
}

test("an unknown destination costs no reference", () => {
  const { lookup, created } = recording(SITES.a.lookup);
  const context = { ...SITES.a.scope("G"), lookup, identification: () => 1 };
  const packet = udp({ source: SITES.atA.source, destination: ip("10.255.1.1") });
  assert.equal(encapsulate(packet, context).kind, "error");
  assert.deepEqual(created, []);
  assert.equal(encapsulate(udp(SITES.atA), context).kind, "packet");
  assert.deepEqual(created, ["oursToIpref"]);
});

test("an encoded address is created last: bad packets and unknown references cost none", () => {
  const { lookup, created } = recording(SITES.a.lookup);
  const stranger = { context: SITES.publicB, reference: 0x9999n };
  const known = { context: SITES.publicA, reference: 1111n };
  const unknown = { context: SITES.publicA, reference: 5555n };
  assert.equal(decapsulateAtA(tunnelUdp(stranger, unknown), lookup).kind, "error");
  assert.equal(decapsulateAtA(tunnelUdp(stranger, known, new Uint8Array(7)), lookup).kind, "drop");
  assert.deepEqual(created, []);
  assert.equal(decapsulateAtA(tunnelUdp(stranger, known), lookup).kind, "drop");
  assert.deepEqual(created, ["iprefToTheirs"]);
});

test("a mapping that is being stored makes the packet wait", () => {
  const pending = { status: "pending" } as const;
  const lookup: AddressLookup = {
    oursToIpref: () => pending,
    theirsToIpref: (encoded) => SITES.a.lookup.theirsToIpref(encoded),
    iprefToTheirs: () => pending,
    iprefToOurs: (address) => SITES.a.lookup.iprefToOurs(address),
  };
  const context = { ...SITES.a.scope("G"), lookup, identification: () => 1 };
  assert.deepEqual(encapsulate(udp(SITES.atA), context), { kind: "pending" });
  const source = { context: SITES.publicB, reference: 0x9999n };
  const packet = tunnelUdp(source, { context: SITES.publicA, reference: 1111n });
  assert.deepEqual(decapsulateAtA(packet, lookup), { kind: "pending" });
});

test("quotes create nothing and must belong to the packet that carries them", () => {
  const { lookup, created } = recording(SITES.a.lookup);
  const context = { ...SITES.a.scope("G"), lookup, identification: () => 1 };
  const reversed = { source: SITES.atA.destination, destination: SITES.atA.source };
  assert.equal(encapsulate(errorFromA(udp(reversed)), context).kind, "packet");
  assert.deepEqual(created, ["oursToIpref"]);
  const foreign = udp({ source: ip("10.240.7.7"), destination: SITES.atA.source });
  assert.deepEqual(encapsulate(errorFromA(foreign), context), {
    kind: "drop",
    reason: "icmp-quote-mismatch",
  });
});

test("a quote from the tunnel must go to the gateway that sent the error", () => {
  const host = { context: SITES.publicA, reference: 1111n };
  const remote = { context: SITES.publicB, reference: 2222n };
  const third = { context: ip("192.0.2.77"), reference: 2222n };
  const carrier = (quote: Uint8Array) => {
    const message = Uint8Array.from([3, 2, 0, 0, 0, 0, 0, 0, ...quote]);
    const header = { source: remote, destination: host, ttl: 9, protocol: 1 };
    const rest = { dontFragment: false, fragment: undefined };
    return buildTunnelPacket({ ...header, ...rest }, message, "G");
  };
  const good = decapsulateAtA(carrier(tunnelUdp(host, remote)), SITES.a.lookup);
  assert.equal(good.kind, "packet");
  for (const quote of [tunnelUdp(host, third), tunnelUdp(remote, remote)]) {
    assert.deepEqual(decapsulateAtA(carrier(quote), SITES.a.lookup), {
      kind: "drop",
      reason: "icmp-quote-mismatch",
    });
  }
});

test("acceptDatagram() refuses contexts that are not the ones of the datagram", () => {
  const origin = {
    outerSource: SITES.publicB,
    outerSourcePort: 4000,
    publicAddress: SITES.publicA,
    tunnelPort: 1045,
    tunnelVersion: 4,
  } as const;
  const host = { context: SITES.publicA, reference: 1111n };
  const remote = { context: SITES.publicB, reference: 2222n };
  const reasonOf = (packet: Uint8Array, changes = {}) => {
    const result = acceptDatagram(packet, { ...origin, ...changes });
    return result.kind === "drop" ? result.reason : result.format;
  };
  assert.equal(reasonOf(tunnelUdp(remote, host)), "G");
  assert.equal(reasonOf(tunnelUdp(host, host)), "tunnel-source-mismatch");
  assert.equal(reasonOf(tunnelUdp(remote, remote)), "tunnel-destination-mismatch");
  assert.equal(reasonOf(tunnelUdp(remote, host), { publicAddress: ip("0.0.0.0") }), "G");
  const own = { outerSource: SITES.publicA };
  assert.equal(reasonOf(tunnelUdp(host, host), own), "tunnel-source-own");
  assert.equal(reasonOf(tunnelUdp(host, host), { ...own, isHairpin: true }), "G");
  assert.equal(reasonOf(new Uint8Array(0)), "tunnel-empty");
  const header = { source: remote, destination: host, ttl: 9, protocol: 17, dontFragment: true };
  const draft = (source: number, destination: number) => {
    const ports = { source, destination };
    return buildDraft({ ...header, fragment: undefined }, new Uint8Array(8), ports);
  };
  assert.equal(reasonOf(draft(4000, 1045)), "D");
  assert.equal(reasonOf(draft(4001, 1045)), "tunnel-source-mismatch");
  assert.equal(reasonOf(draft(4000, 1046)), "tunnel-destination-mismatch");
});

test("a remote packet that claims to be the gateway is dropped", () => {
  const own = { context: SITES.publicA, reference: 1n };
  const result = decapsulateAtA(tunnelUdp(own, { ...own, reference: 1111n }), SITES.a.lookup);
  assert.deepEqual(result, { kind: "drop", reason: "tunnel-source-own" });
});

for (const format of ["G", "D"] as const satisfies TunnelFormat[]) {
  test(`readGatewayPacket() answers an echo request in format ${format}`, () => {
    const ends = {
      source: { context: SITES.publicB, reference: 2222n },
      destination: { context: SITES.publicA, reference: 1n },
    };
    const echo = { identifier: 0x1d2c, sequence: 5, data: Uint8Array.from([1, 2, 3]) };
    const request = buildEchoRequest(ends, echo, format, true);
    const tunnel = parseTunnelPacket(request, format, 4);
    assert.ok(typeof tunnel !== "string");
    const answer = readGatewayPacket({ ...tunnel, ...ends }, format);
    assert.ok(answer.kind === "echo-request");
    const reply = parseTunnelPacket(answer.reply, format, 4);
    assert.ok(typeof reply !== "string");
    assert.deepEqual([reply.ttl, reply.dontFragment, reply.fragment], [64, false, undefined]);
    assert.equal(reply.source.reference, 1n);
    assert.equal(reply.destination.reference, 2222n);
    assert.equal(plainChecksum(reply.payload), 0);
    const turned = { source: ends.destination, destination: ends.source };
    const read = readGatewayPacket({ ...reply, ...turned }, format);
    assert.ok(read.kind === "echo-reply");
    assert.deepEqual(read.echo, echo);
    const damaged = tunnel.payload.slice();
    damaged[8]! ^= 1;
    const refused = readGatewayPacket({ ...tunnel, payload: damaged }, format);
    assert.deepEqual(refused, { kind: "drop", reason: "tunnel-bad-echo" });
    const other = readGatewayPacket({ ...tunnel, protocol: 6 }, format);
    assert.equal(other.kind, "port-unreachable");
  });
}

test("packets to the gateway's own reference never reach the local network", () => {
  const source = { context: SITES.publicB, reference: 2222n };
  const packet = tunnelUdp(source, { context: SITES.publicA, reference: 1n });
  assert.equal(decapsulateAtA(packet, SITES.a.lookup).kind, "to-gateway");
});

test("the gateway does not answer errors, later fragments or multicast (6.3)", () => {
  const scope = SITES.a.scope("G");
  assert.ok(mayAnswerNative(udp(SITES.atA), scope));
  assert.ok(!mayAnswerNative(errorFromA(udp(SITES.atA)), scope));
  const later = { ...SITES.atA, protocol: 17, ttl: 9, offset: 8 };
  assert.ok(!mayAnswerNative(nativePacket(later, new Uint8Array(8)), scope));
  assert.ok(!mayAnswerNative(udp({ ...SITES.atA, destination: ip("224.0.0.5") }), scope));
  const host = { context: SITES.publicA, reference: 1111n };
  const remote = { context: SITES.publicB, reference: 2222n };
  assert.ok(mayAnswerTunnel(tunnelUdp(remote, host), scope));
  assert.ok(!mayAnswerTunnel(tunnelUdp({ ...host, reference: 1n }, host), scope));
});

test("errors towards unverified peers can be kept no longer than the packet (9 S10)", () => {
  const host = { context: SITES.publicA, reference: 1111n };
  const remote = { context: SITES.publicB, reference: 2222n };
  const packet = tunnelUdp(remote, host, new Uint8Array(100));
  const options = { kind: "network-unreachable", quoteOctetsMax: 20 } as const;
  const error = buildTunnelError(packet, options, SITES.a.scope("G"));
  assert.equal(error?.length, 20 + 8 + 20);
});

test("IPv4 options are left out, source routes are refused", () => {
  const plain = udp(SITES.atA);
  const withOptions = (...options: number[]) => {
    const packet = Uint8Array.from([...plain.subarray(0, 20), ...options, ...plain.subarray(20)]);
    packet[0] = 0x45 + options.length / 4;
    packet[3] = packet.length;
    return SITES.a.fromLocal(packet);
  };
  const expected = SITES.a.fromLocal(plain);
  assert.ok(expected.verdict === "accept");
  const got = withOptions(148, 4, 0, 0);
  assert.ok(got.verdict === "accept");
  assert.equal(toHex(got.outputs[0]!), toHex(expected.outputs[0]!));
  const refused = { verdict: "drop", reason: "local-ip-options" };
  assert.deepEqual(withOptions(131, 3, 4, 0), refused);
  assert.deepEqual(withOptions(137, 3, 4, 0), refused);
  assert.deepEqual(withOptions(7, 9, 4, 0), refused);
  assert.deepEqual(withOptions(7, 1, 4, 0), refused);
});

test("packets marked CE are dropped, as the setting says", () => {
  const packet = udp(SITES.atA);
  packet[1] = 0x03;
  assert.deepEqual(SITES.a.fromLocal(packet), { verdict: "drop", reason: "local-congestion-mark" });
  packet[1] = 0x02;
  assert.equal(SITES.a.fromLocal(packet).verdict, "accept");
});

test("small IPv6 packets to a narrow destination go with IF and without DF (4.7)", () => {
  const send = (length: number) =>
    encapsulate(udp(SITES_6.atA, length), {
      ...SITES_6.a.scope("G"),
      forceFragmentable: () => true,
      identification: () => 0xabcd,
    });
  const small = send(1240);
  assert.ok(small.kind === "packet");
  assert.equal(toHex(small.packet.subarray(0, 12)), "1240401100000000" + "0000abcd");
  assert.ok(small.mayFragment);
  const large = send(1241);
  assert.ok(large.kind === "packet");
  assert.equal(toHex(large.packet.subarray(0, 1)), "11");
  assert.ok(!large.mayFragment);
});

test("a too big below 1280 names the narrow destination and announces 1280", () => {
  const host = { context: SITES_6.publicA, reference: 1111n };
  const remote = { context: SITES_6.publicB, reference: 2222n };
  const quote = tunnelUdp(host, remote, new Uint8Array(64));
  const message = Uint8Array.from([3, 4, 0, 0, 0, 0, 0x04, 0x4c, ...quote]);
  const header = { source: remote, destination: host, ttl: 9, protocol: 1, dontFragment: false };
  const packet = buildTunnelPacket({ ...header, fragment: undefined }, message, "G");
  const result = decapsulate(packet, {
    ...SITES_6.a.scope("G"),
    outerSource: SITES_6.publicB,
    hints: { remote: SITES_6.publicB, local: SITES_6.publicA },
    nextIdentification: () => 7,
    roles: "remote",
  });
  assert.ok(result.kind === "packet");
  assert.deepEqual(result.narrowDestination, SITES_6.atA.destination);
  assert.equal(toHex(result.packet.subarray(40, 42)), "0200");
  assert.equal(toHex(result.packet.subarray(44, 48)), "00000500");
});

test("later fragments and refused first ones of ICMP name their message", () => {
  const fields = { ...SITES.atA, protocol: 1, ttl: 9, identification: 99 };
  const context = { ...SITES.a.scope("G"), identification: () => 1 };
  const first = nativePacket(
    { ...fields, offset: 0, moreFragments: true },
    new Uint8Array(8).fill(5),
  );
  const refused = encapsulate(first, context);
  const last = encapsulate(nativePacket({ ...fields, offset: 8 }, new Uint8Array(5)), context);
  assert.ok(refused.kind === "drop" && last.kind === "packet");
  assert.equal(refused.icmpFragment?.key, last.icmpFragment?.key);
  assert.equal(last.icmpFragment?.totalLength, 13);
});

test("RFC 4884 padding and extension are cut off before the quote is translated (4.5)", () => {
  const reversed = { source: SITES.atA.destination, destination: SITES.atA.source };
  const quote = udp(reversed);
  const padded = Uint8Array.from([...quote, ...new Uint8Array(128 - quote.length), 0x20, 0, 0, 0]);
  const data = Uint8Array.from([11, 0, 0, 0, 0, 32, 0, 0, ...padded]);
  const { source, destination } = SITES.atA;
  const message = withChecksum(data, source, destination, 1);
  const packet = nativePacket({ source, destination, protocol: 1, ttl: 64 }, message);
  const [got, expected] = [SITES.a.fromLocal(packet), SITES.a.fromLocal(errorFromA(quote, 11, 0))];
  assert.ok(got.verdict === "accept" && expected.verdict === "accept");
  assert.equal(toHex(got.outputs[0]!), toHex(expected.outputs[0]!));
});

test("the gateway's own too big reaches the local sender in both formats", () => {
  for (const format of ["G", "D"] as const) {
    for (const sites of [SITES, SITES_6]) {
      const version = sites.a.settings.localVersion;
      const { publicA, publicB } = sites;
      const gateway = new GatewayDouble(
        {
          ea_net: version === 4 ? "10.240.0.0/12" : "fdeb:128:0:7::/64",
          ea_ip: version === 4 ? "10.240.0.1" : "fdeb:128:0:7::1",
          gw_pub: publicA.bytes.join("."),
          gw_ref: "1",
          local_version: version,
          tunnel_version: 4,
          mappings: [],
          tunnel_mtu: 1400,
        },
        sites.a.lookup,
      );
      assert.equal(publicB.version, 4);
      const packet = udp(sites.atA, 1480);
      if (version === 4) packet[6] = 0x40;
      const played = gateway.fromLocal(packet, format);
      assert.ok(played.verdict === "icmp", played.verdict);
      const error = played.outputs[0]!;
      const header = version === 4 ? 20 : 40;
      const mtu = error[header + 6]! * 256 + error[header + 7]!;
      const headerLength = format === "G" ? 20 : 12;
      assert.equal(mtu, 1400 - 28 - headerLength + header);
      assert.ok(error.length <= (version === 4 ? 576 : 1280));
    }
  }
});
