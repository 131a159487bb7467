import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import {
  monotonicMs,
  monotonicSeconds,
  threadCpuMs,
  wallClockMs,
} from "../../src/platform/clock.js";
import { listAddresses } from "../../src/platform/network-interfaces.js";
import { systemRandom } from "../../src/platform/random.js";

test("monotonicSeconds() never goes back and has the same origin in all threads", async () => {
  const url = new URL("../../src/platform/clock.js", import.meta.url).href;
  const source = `import("${url}").then((clock) =>
    require("node:worker_threads").parentPort.postMessage(clock.monotonicSeconds()))`;
  const before = monotonicSeconds();
  const worker = new Worker(source, { eval: true });
  const inside = await new Promise<number>((resolve) => worker.once("message", resolve));
  const after = monotonicSeconds();
  assert.ok(before <= inside && inside <= after, `${before} ${inside} ${after}`);
  assert.ok(Math.abs(monotonicMs() / 1000 - monotonicSeconds()) < 0.5);
  assert.ok(wallClockMs() > 1.7e12);
});

test("threadCpuMs() goes on with work and stands still with sleep", () => {
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  const startMs = threadCpuMs();
  Atomics.wait(sleeper, 0, 0, 200);
  const afterSleepMs = threadCpuMs();
  assert.ok(afterSleepMs - startMs < 100, `${afterSleepMs - startMs} ms of sleep counted`);
  let rounds = 0;
  while (threadCpuMs() < afterSleepMs + 20) rounds++;
  assert.ok(rounds > 10, `${rounds}`);
});

test("the libc bindings load in a worker thread", async () => {
  const url = new URL("../../src/platform/libc.js", import.meta.url).href;
  const source = `import("${url}").then((libc) => {
    const fd = libc.eventfd(0, 0);
    require("node:worker_threads").parentPort.postMessage([fd, libc.close(fd), libc.close(-1),
      libc.lastErrorName()]); })`;
  const worker = new Worker(source, { eval: true });
  const [fd, closed, refused, name] = await new Promise<unknown[]>((resolve) =>
    worker.once("message", resolve),
  );
  assert.ok(Number(fd) > 2);
  assert.deepEqual([closed, refused, name], [0, -1, "EBADF"]);
});

test("systemRandom() fills 32 bits and refills its pool", () => {
  const random = systemRandom();
  const seen = new Set<number>();
  let ones = 0;
  for (let index = 0; index < 5000; index++) {
    const word = random.word();
    assert.ok(Number.isInteger(word) && word >= 0 && word < 2 ** 32);
    seen.add(word);
    ones += word >>> 31;
  }
  assert.ok(seen.size > 4990);
  assert.ok(ones > 2200 && ones < 2800, `${ones} of 5000 top bits`);
  assert.equal(random.bytes(16).length, 16);
  assert.notDeepEqual(random.bytes(16), random.bytes(16));
});

test("listAddresses() contains the loopback address", () => {
  assert.ok(listAddresses().some(({ address }) => address.bytes.join(".") === "127.0.0.1"));
});
