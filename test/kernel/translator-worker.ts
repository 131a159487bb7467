/** Thread of translator-threads.test.ts: translates batches until told to stop, and checks them. */

import { parentPort, workerData } from "node:worker_threads";
import { FastEgress } from "../../src/forward/fast-egress.js";
import { FastPathMemory } from "../../src/forward/fast-path.js";
import { PacketBatch } from "../../src/forward/ports.js";
import { makeKernel } from "../../src/programs/kernel-choice.js";
import { slabLayout, slotPacketOffset } from "../../src/tables/arena.js";

const { plan, wasm, settings, packets, stop } = workerData;
const { buffer } = wasm.memory;
const slabOffset = plan.lanes[0].egressSlabOffset;
const memory = new FastPathMemory(buffer, plan, slabOffset, (table) => makeKernel(table, wasm));
const fast = new FastEgress(memory, settings);
const batch = new PacketBatch();
const view = new DataView(buffer);
const stopWord = new Int32Array(stop as SharedArrayBuffer);
/** In the tunnel header of local IPv4 hosts, contexts IPv4, references of 4 octets. */
const DESTINATION_REFERENCE = 16;

const counts = { hits: 0, misses: 0, wrong: 0 };
while (Atomics.load(stopWord, 0) === 0) {
  batch.count = 0;
  for (const [slot, packet] of (packets as Uint8Array[]).entries()) {
    const offset = slotPacketOffset(slabLayout(slabOffset), slot);
    memory.bytes.set(packet, offset);
    batch.addLocal(offset, packet.length);
  }
  memory.refresh();
  fast.translateBatch(batch, false);
  for (let index = 0; index < batch.count; index++) {
    const start = fast.resultOf(index);
    if (start <= 0) counts.misses++;
    else if (view.getUint32(start + DESTINATION_REFERENCE) === (index + 1) * 1000) counts.hits++;
    else counts.wrong++;
  }
}
parentPort!.postMessage(counts);
