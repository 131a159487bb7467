/** The dumps of spec/tunnel.md: 2.6, 3.4, 4.10, 6.2 and 7.5, and the SYN of 4.2. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fromHex, toHex } from "../../src/base/hex.js";
import { decapsulate } from "../../src/translate/decapsulate.js";
import { fragmentTunnel } from "../../src/translate/fragment.js";
import { acceptDatagram } from "../../src/translate/receive.js";
import { type GatewayConfig, GatewayDouble, ip, type Played } from "./gateway-double.js";

function bytes(text: string): Uint8Array {
  return fromHex(text.replace(/\s/g, ""))!;
}

/** Gateway A of 2.6. */
const CONFIG_A: GatewayConfig = {
  ea_net: "10.240.0.0/12",
  ea_ip: "10.240.0.1",
  gw_pub: "198.51.100.1",
  gw_ref: "1",
  local_version: 4,
  tunnel_version: 4,
  mappings: [
    { kind: "our", ip: "192.168.1.10", gw: "198.51.100.1", ref: "4660" },
    { kind: "their", ea: "10.240.17.34", gw: "203.0.113.5", ref: "10763" },
  ],
};
/** Gateway B of 3.4 with an IPv4 network. */
const CONFIG_B: GatewayConfig = {
  ...CONFIG_A,
  ea_net: "10.224.0.0/12",
  ea_ip: "10.224.0.1",
  gw_pub: "203.0.113.5",
  mappings: [
    { kind: "our", ip: "172.16.5.20", gw: "203.0.113.5", ref: "10763" },
    { kind: "their", ea: "10.224.200.7", gw: "198.51.100.1", ref: "4660" },
  ],
};
/** Gateway B of 3.4 with an IPv6 network. */
const CONFIG_B6: GatewayConfig = {
  ...CONFIG_B,
  ea_net: "fd00:eaea::/64",
  ea_ip: "fd00:eaea::1",
  local_version: 6,
  mappings: [
    { kind: "our", ip: "2001:db8:b::28", gw: "203.0.113.5", ref: "10763" },
    { kind: "their", ea: "fd00:eaea::5951", gw: "198.51.100.1", ref: "4660" },
  ],
};

const NATIVE_AT_A = `45 00 00 20 1c 46 40 00 3f 11 41 c3 c0 a8 01 0a
  0a f0 11 22 14 e9 00 07 00 0c 2e 51 70 69 6e 67`;
const FORMAT_G = `11 40 3f 11 c6 33 64 01 cb 00 71 05 00 00 12 34
  00 00 2a 0b 14 e9 00 07 00 0c 0c 16 70 69 6e 67`;
const FORMAT_D = `01 00 3f 11 00 00 12 34 00 00 2a 0b 14 e9 00 07
  00 0c 0c 16 70 69 6e 67`;
const FORMAT_D_CONTEXTS = `11 00 3f 11 04 00 04 15 c6 33 64 01 04 00 04 15
  cb 00 71 05 00 00 12 34 00 00 2a 0b 14 e9 00 07
  00 0c 0c 16 70 69 6e 67`;
const FORMAT_BOTH = `11 40 3f 11 00 00 00 00 00 00 00 00 00 00 12 34
  00 00 2a 0b 14 e9 00 07 00 0c 0c 16 70 69 6e 67`;
const NATIVE_AT_B = `45 00 00 20 00 00 40 00 3f 11 b7 c1 0a e0 c8 07
  ac 10 05 14 14 e9 00 07 00 0c 88 09 70 69 6e 67`;
const NATIVE_AT_B6 = `60 00 00 00 00 0c 11 3f fd 00 ea ea 00 00 00 00
  00 00 00 00 00 00 59 51 20 01 0d b8 00 0b 00 00
  00 00 00 00 00 00 00 28 14 e9 00 07 00 0c 9c ec
  70 69 6e 67`;

function assertOutput(played: Played, expected: string): void {
  assert.ok(played.verdict === "accept" || played.verdict === "icmp", JSON.stringify(played));
  assert.deepEqual(played.outputs.map(toHex), [toHex(bytes(expected))]);
}

test("encapsulate() writes the packet of 2.6 in both formats", () => {
  assertOutput(new GatewayDouble(CONFIG_A).fromLocal(bytes(NATIVE_AT_A)), FORMAT_G);
  assertOutput(new GatewayDouble(CONFIG_A).fromLocal(bytes(NATIVE_AT_A), "D"), FORMAT_D);
});

for (const [name, datagram] of Object.entries({
  "format G": FORMAT_G,
  "format D without contexts": FORMAT_D,
  "format D with contexts": FORMAT_D_CONTEXTS,
  "the form both formats understand": FORMAT_BOTH,
})) {
  test(`decapsulate() reads the packet of 2.6 in ${name}`, () => {
    const source = ip("198.51.100.1");
    const played = new GatewayDouble(CONFIG_B).fromTunnel(bytes(datagram), source);
    assertOutput(played, NATIVE_AT_B);
    const played6 = new GatewayDouble(CONFIG_B6).fromTunnel(bytes(datagram), source);
    assertOutput(played6, NATIVE_AT_B6);
  });
}

/** 4.10: an echo from an IPv6 network behind B. */
const ECHO_G = `11 40 3f 01 cb 00 71 05 c6 33 64 01 00 00 2a 0b
  00 00 12 34 08 00 49 3d 1d 2c 00 01 61 62 63 64
  65 66 67 68`;
const ECHO_AT_A = `45 00 00 24 00 00 40 00 3f 01 5e 15 0a f0 11 22
  c0 a8 01 0a 08 00 49 3d 1d 2c 00 01 61 62 63 64
  65 66 67 68`;

test("an ICMPv6 echo crosses as in 4.10", () => {
  const message = "80 00 61 c9 1d 2c 00 01 61 62 63 64 65 66 67 68";
  const native = `60 00 00 00 00 10 3a 3f 20 01 0d b8 00 0b 00 00 00 00 00 00 00 00 00 28
    fd 00 ea ea 00 00 00 00 00 00 00 00 00 00 59 51 ${message}`;
  assertOutput(new GatewayDouble(CONFIG_B6).fromLocal(bytes(native)), ECHO_G);
  const played = new GatewayDouble(CONFIG_A).fromTunnel(bytes(ECHO_G), ip("203.0.113.5"));
  assertOutput(played, ECHO_AT_A);
});

/** 4.10: host B refuses the datagram of 2.6. */
const REFUSAL_AT_B = `45 00 00 3c 00 03 00 00 3f 01 f7 b2 ac 10 05 14
  0a e0 c8 07 03 03 81 26 00 00 00 00 45 00 00 20
  00 00 40 00 3f 11 b7 c1 0a e0 c8 07 ac 10 05 14
  14 e9 00 07 00 0c 88 09 70 69 6e 67`;
const REFUSAL_G = `10 40 3f 01 cb 00 71 05 c6 33 64 01 00 00 2a 0b
  00 00 12 34 03 02 0a 4f 00 00 00 00 11 40 3f 11
  c6 33 64 01 cb 00 71 05 00 00 12 34 00 00 2a 0b
  14 e9 00 07 00 0c 0c 16 70 69 6e 67`;
const REFUSAL_D = `00 00 3f 01 00 00 2a 0b 00 00 12 34 03 03 80 c9
  00 00 00 00 01 00 3f 11 00 00 12 34 00 00 2a 0b
  14 e9 00 07 00 0c 0c 16 70 69 6e 67`;
const REFUSAL_AT_A = `45 00 00 3c 00 00 00 00 3f 01 9d fd 0a f0 11 22
  c0 a8 01 0a 03 03 da de 00 00 00 00 45 00 00 20
  00 00 40 00 3f 11 5e 09 c0 a8 01 0a 0a f0 11 22
  14 e9 00 07 00 0c 2e 51 70 69 6e 67`;

test("a port unreachable crosses as in 4.10, with its quote, in both formats", () => {
  const b = new GatewayDouble(CONFIG_B);
  assertOutput(b.fromLocal(bytes(REFUSAL_AT_B)), REFUSAL_G);
  assertOutput(b.fromLocal(bytes(REFUSAL_AT_B), "D"), REFUSAL_D);
  const a = new GatewayDouble(CONFIG_A);
  for (const datagram of [REFUSAL_G, REFUSAL_D]) {
    const outerSource = ip("203.0.113.5");
    const accepted = acceptDatagram(bytes(datagram), {
      outerSource,
      outerSourcePort: 1045,
      publicAddress: a.publicAddress,
      tunnelPort: 1045,
      tunnelVersion: 4,
    });
    assert.ok(accepted.kind === "accepted");
    const result = decapsulate(accepted.packet, {
      ...a.scope(accepted.format),
      outerSource,
      hints: accepted.hints,
      nextIdentification: () => 0,
      roles: "remote",
    });
    assert.ok(result.kind === "packet", result.kind);
    assert.equal(toHex(result.packet), toHex(bytes(REFUSAL_AT_A)));
  }
});

/** 4.10: two fragments, 24 + 32 octets, identification beef. */
const FRAGMENT_1 = `12 40 3f 11 00 00 00 01 00 00 be ef c6 33 64 01
  cb 00 71 05 00 00 12 34 00 00 2a 0b 14 e9 00 07
  00 38 c0 4c 00 01 02 03 04 05 06 07 08 09 0a 0b
  0c 0d 0e 0f`;
const FRAGMENT_2 = `12 40 3f 11 00 00 00 18 00 00 be ef c6 33 64 01
  cb 00 71 05 00 00 12 34 00 00 2a 0b 10 11 12 13
  14 15 16 17 18 19 1a 1b 1c 1d 1e 1f 20 21 22 23
  24 25 26 27 28 29 2a 2b 2c 2d 2e 2f`;

test("IPv4 fragments cross as in 4.10 and keep their identification", () => {
  for (const fragment of [FRAGMENT_1, FRAGMENT_2]) {
    const source = ip("198.51.100.1");
    const at = new GatewayDouble(CONFIG_B).fromTunnel(bytes(fragment), source);
    assert.ok(at.verdict === "accept");
    const native = at.outputs[0]!;
    assert.equal(toHex(native.subarray(4, 6)), "beef");
    const at6 = new GatewayDouble(CONFIG_B6).fromTunnel(bytes(fragment), source);
    assert.ok(at6.verdict === "accept");
    assert.equal(toHex(at6.outputs[0]!.subarray(44, 48)), "0000beef");
    const reply = native.slice();
    reply.set(ip("172.16.5.20").bytes, 12);
    reply.set(ip("10.224.200.7").bytes, 16);
    const back = new GatewayDouble(CONFIG_B).fromLocal(reply);
    assert.ok(back.verdict === "accept");
    assert.equal(toHex(back.outputs[0]!.subarray(0, 12)), toHex(bytes(fragment).subarray(0, 12)));
    assert.equal(toHex(back.outputs[0]!.subarray(28)), toHex(bytes(fragment).subarray(28)));
  }
});

test("the SYN of 4.2 gets the wire checksum 12f1", () => {
  const segment = "9c 40 01 bb 01 02 03 04 00 00 00 00 50 02 fa f0 35 2c 00 00";
  const header = "45 00 00 28 00 00 40 00 40 06 00 00 c0 a8 01 0a 0a f0 11 22";
  const played = new GatewayDouble(CONFIG_A).fromLocal(bytes(header + segment));
  assert.ok(played.verdict === "accept");
  assert.equal(toHex(played.outputs[0]!.subarray(36, 38)), "12f1");
});

test("an unknown reference is answered as in 6.2", () => {
  const asked = `11 40 3f 11 cb 00 71 05 c6 33 64 01 00 00 2a 0b 00 00 77 77
    14 e9 00 07 00 0c 0c 16 70 69 6e 67`;
  const answer = `10 40 40 01 c6 33 64 01 cb 00 71 05 00 00 00 01
    00 00 2a 0b 03 00 a5 0d 00 00 00 00 11 40 3f 11
    cb 00 71 05 c6 33 64 01 00 00 2a 0b 00 00 77 77
    14 e9 00 07 00 0c 0c 16 70 69 6e 67`;
  const played = new GatewayDouble(CONFIG_A).fromTunnel(bytes(asked), ip("203.0.113.5"));
  assertOutput(played, answer);
});

test("fragmentTunnel() divides the packet of 7.5 into 48 and 52 octets", () => {
  const data = Uint8Array.from({ length: 100 }, (_, index) => index);
  const header = bytes("10 40 3f 11 c6 33 64 01 cb 00 71 05 00 00 12 34 00 00 2a 0b");
  const packet = Uint8Array.from([...header, ...data]);
  const pieces = fragmentTunnel(packet, 80, "G", 4, 0xa1b2c3d4);
  assert.ok(typeof pieces !== "string");
  const addresses = toHex(header.subarray(4));
  assert.deepEqual(pieces.map(toHex), [
    `12403f1100000001a1b2c3d4${addresses}${toHex(data.subarray(0, 48))}`,
    `12403f1100000030a1b2c3d4${addresses}${toHex(data.subarray(48))}`,
  ]);
});
