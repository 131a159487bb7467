/** The MTU arithmetic of spec/tunnel.md 4.7. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  mtuToNative,
  mtuToTunnel,
  ownTunnelMtu,
  plateauBelow,
} from "../../src/translate/path-mtu.js";

const R4 = { tunnelHeaderLength: 20, hasFragment: false };
const R16 = { tunnelHeaderLength: 44, hasFragment: false };

test("mtuToTunnel() gives the exact values of the table in 4.7", () => {
  assert.equal(mtuToTunnel(1400, 4, "G", R4), 1400);
  assert.equal(mtuToTunnel(1400, 4, "G", R16), 1424);
  assert.equal(mtuToTunnel(1400, 6, "G", R4), 1380);
  assert.equal(mtuToTunnel(1400, 6, "G", R16), 1404);
  assert.equal(mtuToTunnel(1400, 6, "G", { tunnelHeaderLength: 28, hasFragment: true }), 1380);
});

test("mtuToNative() gives the exact values of the table in 4.7", () => {
  assert.equal(mtuToNative(1372, 4, "G", R4)?.announced, 1372);
  assert.equal(mtuToNative(1372, 4, "G", R16)?.announced, 1348);
  assert.equal(mtuToNative(1372, 6, "G", R4)?.announced, 1392);
  assert.equal(mtuToNative(1372, 6, "G", R16)?.announced, 1368);
});

test("mtuToNative() never announces less than 68 to IPv4 or 1280 to IPv6", () => {
  assert.deepEqual(mtuToNative(30, 4, "G", R4), { exact: 30, announced: 68 });
  assert.deepEqual(mtuToNative(1236, 6, "G", R4), { exact: 1256, announced: 1280 });
});

test("values without room for data are refused, values above 65,535 are cut", () => {
  assert.equal(mtuToNative(20, 4, "G", R4), undefined);
  assert.equal(mtuToNative(0, 6, "G", R4), undefined);
  assert.equal(mtuToTunnel(20, 4, "G", R4), undefined);
  assert.equal(mtuToTunnel(40, 6, "G", R4), undefined);
  assert.equal(mtuToTunnel(65_535, 4, "G", R16), 65_535);
  assert.equal(mtuToNative(65_535, 6, "G", R4)?.announced, 65_535);
});

test("format D counts in octets of an IPv4 packet", () => {
  assert.equal(mtuToTunnel(1400, 4, "D", R4), 1400);
  assert.equal(mtuToTunnel(1400, 6, "D", R4), 1380);
  assert.equal(mtuToTunnel(1279, 6, "D", R4), undefined);
  assert.equal(mtuToNative(1380, 6, "D", R4)?.announced, 1400);
  assert.equal(mtuToNative(1400, 4, "D", R4)?.announced, 1400);
  assert.equal(ownTunnelMtu(1472, "D", 12), 1480);
  assert.equal(ownTunnelMtu(1472, "G", 20), 1472);
});

test("plateauBelow() is the next lower common value", () => {
  assert.equal(plateauBelow(1500), 1492);
  assert.equal(plateauBelow(1492), 1280);
  assert.equal(plateauBelow(577), 576);
  assert.equal(plateauBelow(100), 68);
});
