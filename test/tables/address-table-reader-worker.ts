/** Thread of address-table.test.ts: looks up keys until told to stop and checks what it reads. */

import { parentPort, workerData } from "node:worker_threads";
import { AddressTableReader, RECORD_REFERENCE } from "../../src/tables/address-table.js";

const { memory, stop, shape } = workerData;
const table = new AddressTableReader(memory, 0, shape);
const stopWord = new Int32Array(stop as SharedArrayBuffer);
const view = new DataView(new ArrayBuffer(16));
let hits = 0;
let misses = 0;
let wrong = 0;
while (Atomics.load(stopWord, 0) === 0) {
  for (let id = 0; id < 24; id++) {
    view.setUint32(0, id);
    const record = table.findByLocal(view, 0);
    if (record === 0) {
      misses++;
      continue;
    }
    const sequence = table.sequence(record);
    const reference = table.view.getUint32(record + RECORD_REFERENCE + 12);
    if (!table.isUnchanged(record, sequence)) misses++;
    else if (reference === id * 1000) hits++;
    else wrong++;
  }
}
parentPort!.postMessage({ hits, misses, wrong });
