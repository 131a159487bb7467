import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ALL_OFFLOADS,
  formatOffloads,
  NO_OFFLOADS,
  parseOffloads,
} from "../../src/forward/offloads.js";

test("parseOffloads() reads all, none and lists; super-packets need device headers", () => {
  assert.deepEqual(parseOffloads("all"), ALL_OFFLOADS);
  assert.deepEqual(parseOffloads("none"), NO_OFFLOADS);
  assert.deepEqual(parseOffloads("csum,tso,uso,gso,gro"), ALL_OFFLOADS);
  assert.deepEqual(parseOffloads("gro, gso"), { ...NO_OFFLOADS, gso: true, gro: true });
  assert.deepEqual(parseOffloads("uso"), { ...NO_OFFLOADS, csum: true, uso: true });
  for (const text of ["", "tcp", "gso,", "ALL", "all,gso"]) {
    assert.equal(parseOffloads(text), undefined, text);
  }
});

test("formatOffloads() names what is in use", () => {
  assert.equal(formatOffloads(ALL_OFFLOADS), "csum tso uso gso gro");
  assert.equal(formatOffloads(NO_OFFLOADS), "none");
});
