import assert from "node:assert/strict";
import { test } from "node:test";
import { parseIp } from "../../src/base/ip.js";
import { planArena, slabLayout, slotPacketOffset } from "../../src/tables/arena.js";
import { CONTROL_BLOCK_BYTES, ControlBlock } from "../../src/tables/control-block.js";

test("The public address and the time reach another view of the control block", () => {
  const memory = new SharedArrayBuffer(64 + CONTROL_BLOCK_BYTES);
  const [writer, reader] = [new ControlBlock(memory, 64), new ControlBlock(memory, 64)];
  writer.setNowSeconds(77);
  writer.setPublicAddress(parseIp("2001:db8::9")!);
  writer.setPublicAddress(parseIp("203.0.113.5")!);
  const words = new Int32Array(8);
  assert.ok(reader.publicAddressInto(words, 4));
  const bytes = new Uint8Array(words.buffer, 16);
  assert.deepEqual([...bytes], [203, 0, 113, 5, ...Array<number>(12).fill(0)]);
  assert.equal(reader.nowSeconds(), 77);
});

test("Narrow destinations are never missed, and others seldom suspected", () => {
  const memory = new SharedArrayBuffer(4096);
  const control = new ControlBlock(memory, 0);
  const addresses = Array.from({ length: 600 }, (_, index) => parseIp(`fd00:eaea::${index}:7`)!);
  control.setNarrowDestinations(addresses.slice(0, 20));
  const words = new Int32Array(memory);
  const suspected = addresses.filter((address) => {
    new Uint8Array(memory).set(address.bytes, 2048);
    return control.mayBeNarrow(words, 512);
  });
  for (const narrow of addresses.slice(0, 20)) assert.ok(suspected.includes(narrow));
  assert.ok(suspected.length < 60, `${suspected.length} of 600 suspected`);
  control.setNarrowDestinations([]);
  assert.equal(control.mayBeNarrow(words, 512), false);
});

test("planArena() places everything side by side and aligned", () => {
  const size = { recordsMax: 1000, peersMax: 1024, lanes: 3, ringBytes: 1 << 20, hashSeed: 1 };
  const plan = planArena({ ...size, localVersion: 4, tunnelVersion: 6 });
  const offsets = [plan.controlOffset, plan.countersOffset, plan.peersOffset, plan.addressesOffset];
  for (const lane of plan.lanes) {
    offsets.push(lane.egressRingOffset, lane.ingressRingOffset);
    offsets.push(lane.egressSlabOffset, lane.ingressSlabOffset);
  }
  assert.equal(plan.lanes.length, 3);
  assert.ok(offsets.every((offset) => offset % 64 === 0));
  assert.deepEqual(
    offsets.toSorted((a, b) => a - b),
    offsets,
  );
  assert.equal(slabLayout(offsets.at(-1)!).endOffset, plan.totalBytes);
  assert.ok(plan.wasmPages * 65_536 >= plan.totalBytes);
  const slab = slabLayout(0);
  assert.equal(slotPacketOffset(slab, 5) % 64, 0);
  assert.ok(slotPacketOffset(slab, 63) + 65_536 <= slab.endOffset);
});
