/** Producer thread of packet-ring.test.ts: numbered packets of different lengths. */

import { workerData } from "node:worker_threads";
import { PacketRingProducer, RING_FROM_LOCAL } from "../../src/tables/packet-ring.js";

const { memory, capacity, packets } = workerData as {
  memory: SharedArrayBuffer;
  capacity: number;
  packets: number;
};
const AT = 16_384;
const bytes = new Uint8Array(memory);
const view = new DataView(memory);
const producer = new PacketRingProducer(memory, 64, capacity);
const pause = new Int32Array(new SharedArrayBuffer(4));

for (let number = 0; number < packets; ) {
  const length = 4 + (number % 200);
  bytes.fill(number & 0xff, AT, AT + length);
  view.setUint32(AT, number);
  if (producer.push(RING_FROM_LOCAL, AT, length, 0, 0, 0)) number++;
  else Atomics.wait(pause, 0, 0, 1);
}
