/** Waiting in a worker: the order to end, and nudges, which change nothing else. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  closeEventFd,
  createEventFd,
  nudgeEventFd,
  signalEventFd,
} from "../../src/platform/eventfd.js";
import { allocateWasmMemory } from "../../src/platform/wasm.js";
import { POLLIN, POLLOUT, WorkerMemory } from "../../src/platform/worker-memory.js";

const SLAB_OFFSET = 0;
const MEMORY_BYTES = 16 * 2 ** 20;

function makeWorkers() {
  const { buffer } = allocateWasmMemory(MEMORY_BYTES);
  const [stopFd, dataFd] = [createEventFd(), createEventFd()];
  const nudges = { count: 0 };
  const make = () => new WorkerMemory(buffer, SLAB_OFFSET, stopFd, () => nudges.count++);
  const close = () => {
    for (const fd of [stopFd, dataFd]) closeEventFd(fd);
  };
  return { workers: [make(), make()] as const, stopFd, dataFd, nudges, close };
}

test("a nudge is answered and does not look like an event, an end or the end of the time", () => {
  const { workers, stopFd, dataFd, nudges, close } = makeWorkers();
  const [worker] = workers;
  nudgeEventFd(stopFd);
  assert.equal(worker.isStopped(), false);
  assert.equal(nudges.count, 1);
  nudgeEventFd(stopFd);
  assert.equal(worker.wait(dataFd, POLLOUT, 100), POLLOUT);
  assert.equal(nudges.count, 2);
  nudgeEventFd(stopFd);
  const startMs = performance.now();
  assert.equal(worker.wait(dataFd, POLLIN, 30), 0);
  assert.ok(performance.now() - startMs >= 25, "the wait went on after the nudge");
  assert.equal(nudges.count, 3);
  close();
});

test("a signal ends all workers of a descriptor, and stays", () => {
  const { workers, stopFd, dataFd, nudges, close } = makeWorkers();
  nudgeEventFd(stopFd);
  signalEventFd(stopFd);
  for (const worker of workers) {
    assert.equal(worker.wait(dataFd, POLLIN, 1000), -1);
    assert.equal(worker.isStopped(), true);
    assert.equal(
      worker.waitReadable(dataFd, () => {}),
      false,
    );
  }
  assert.equal(nudges.count, 0, "the order to end outranks a nudge");
  close();
});
