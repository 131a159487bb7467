/** MTU of the TUN interface: the table of spec/tunnel.md 7.6. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { tunMtuBytes } from "../../src/control/tun-mtu.js";

test("tunMtuBytes() gives the values of the table, with their minimum", () => {
  const table = [
    [4, 4, 1440, 1220],
    [4, 6, 1396, 1176],
    [6, 4, 1460, 1280],
    [6, 6, 1416, 1280],
  ] as const;
  for (const [local, tunnel, at1500, at1280] of table) {
    assert.equal(tunMtuBytes(1500, local, tunnel), at1500);
    assert.equal(tunMtuBytes(1280, local, tunnel), at1280);
  }
});

test("tunMtuBytes() is a multiple of 4 and never below what the version demands", () => {
  for (let mtu = 1; mtu <= 65_534; mtu += 7) {
    assert.equal(tunMtuBytes(mtu, 4, 4) % 4, 0);
    assert.ok(tunMtuBytes(mtu, 4, 6) >= 68);
    assert.ok(tunMtuBytes(mtu, 6, 4) >= 1280);
  }
});
