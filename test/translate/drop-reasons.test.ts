/** One packet for each reason with which translation drops (base/drop-reason.ts). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { zeroAddress } from "../../src/base/ip.js";
import { FOUR, FROM_LOCAL, FROM_TUNNEL, nested, tunnel } from "./drop-packets.js";
import { ip, type Played } from "./gateway-double.js";

for (const [reason, packet, sites] of FROM_LOCAL) {
  test(`a local packet is dropped with ${reason}`, () => {
    const played: Played = sites.a.fromLocal(packet);
    assert.deepEqual(played, { verdict: "drop", reason });
  });
}

test("three ICMP errors inside each other pass", () => {
  assert.equal(FOUR.a.fromLocal(nested(3)).verdict, "accept");
});

for (const [reason, packet, sites] of FROM_TUNNEL) {
  test(`a tunnel packet is dropped with ${reason}`, () => {
    const played: Played = sites.a.fromTunnel(packet, sites.publicB);
    assert.deepEqual(played, { verdict: "drop", reason });
  });
}

test("a tunnel packet is dropped with tunnel-source-own and tunnel-source-not-unicast", () => {
  const own = tunnel({ source: FOUR.publicA });
  const played = FOUR.a.fromTunnel(own, FOUR.publicA);
  assert.deepEqual(played, { verdict: "drop", reason: "tunnel-source-own" });
  const loopback = ip("127.0.0.1");
  const forged = FOUR.a.fromTunnel(tunnel({ source: zeroAddress(4) }), loopback);
  assert.deepEqual(forged, { verdict: "drop", reason: "tunnel-source-not-unicast" });
});
