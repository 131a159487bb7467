/** The WebAssembly kernel reads tables while the main thread writes them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { randomBelow, seededRandom } from "../../src/base/random.js";
import { KIND_REMOTE } from "../../src/tables/address-table.js";
import { buildUdp, FastWorld } from "../forward/fast-world.js";

const REMOTES = 24;
const DURATION_MS = 700;

interface Counts {
  readonly hits: number;
  readonly misses: number;
  readonly wrong: number;
}

test("no packet gets another host's reference while records come and go", async () => {
  const world = new FastWorld({ localVersion: 4, tunnelVersion: 4 });
  const encoded = Array.from({ length: REMOTES }, (_, index) => world.encodedIp(30 + index));
  const packets = encoded.map((address) => buildUdp(world.hosts[0]!.ip, address, 12));
  const stop = new SharedArrayBuffer(4);
  const wasm = world.wasmParts("wasm");
  const worker = new Worker(new URL("./translator-worker.js", import.meta.url), {
    workerData: { plan: world.plan, wasm, settings: world.fastSettings, packets, stop },
  });
  const result = new Promise<Counts>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  await new Promise((resolve) => worker.once("online", resolve));
  const random = seededRandom(4711);
  const numbers = new Map<number, number>();
  const context = world.contextIp(1);
  const endMs = Date.now() + DURATION_MS;
  while (Date.now() < endMs) {
    for (let step = 0; step < 200; step++) {
      const id = randomBelow(random, REMOTES);
      const known = numbers.get(id);
      if (known !== undefined) world.addresses.remove(known);
      numbers.delete(id);
      if (known !== undefined) continue;
      const key = { local: encoded[id]!, context, reference: BigInt(1000 * (id + 1)) };
      numbers.set(id, world.insert(KIND_REMOTE, key, 1));
    }
  }
  Atomics.store(new Int32Array(stop), 0, 1);
  const { hits, misses, wrong } = await result;
  assert.equal(wrong, 0);
  assert.ok(hits > 1000, `${hits} hits`);
  assert.ok(misses > 1000, `${misses} misses`);
});
