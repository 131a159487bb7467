import assert from "node:assert/strict";
import { test } from "node:test";
import { DROP_REASONS } from "../../src/base/drop-reason.js";
import {
  COUNTER_NAMES,
  CounterBlock,
  CounterReader,
  counterIndex,
  countersBytes,
  dropCounterIndex,
} from "../../src/tables/counters.js";

test("CounterReader sums over the blocks of all writers", () => {
  const memory = new SharedArrayBuffer(64 + countersBytes(3));
  const blocks = [0, 1, 2].map((writer) => new CounterBlock(memory, 64, writer));
  blocks[0]!.add(counterIndex("egress-packets"), 5);
  blocks[2]!.add(counterIndex("egress-packets"), 2 ** 40);
  blocks[1]!.drop("slow-path-full");
  blocks[2]!.drop("slow-path-full");
  const reader = new CounterReader(memory, 64, 3);
  assert.equal(reader.total("egress-packets"), 2 ** 40 + 5);
  assert.equal(reader.drops("slow-path-full"), 2);
  assert.equal(reader.total("ingress-bytes"), 0);
});

test("Every counter and every drop reason has its own place", () => {
  const places = [
    ...COUNTER_NAMES.map(counterIndex),
    ...DROP_REASONS.map(({ name }) => dropCounterIndex(name as "ttl-expired")),
  ];
  assert.equal(new Set(places).size, places.length);
  assert.equal(Math.max(...places), places.length - 1);
});
