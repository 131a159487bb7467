import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  closeEventFd,
  createEventFd,
  drainEventFd,
  signalEventFd,
} from "../../src/platform/eventfd.js";
import { EPOLLIN, Reactor } from "../../src/platform/reactor.js";

const REACTOR_URL = new URL("../../src/platform/reactor.js", import.meta.url).href;
const EVENTFD_URL = new URL("../../src/platform/eventfd.js", import.meta.url).href;

/** Runs a small program with the reactor and two event descriptors at hand. */
function runProgram(body: string): { status: number | null; stderr: string; stdout: string } {
  const source = `import { Reactor, EPOLLIN } from "${REACTOR_URL}";
    import { createEventFd, signalEventFd, drainEventFd } from "${EVENTFD_URL}";
    const reactor = new Reactor(); const fd = createEventFd(); ${body}`;
  const args = ["--input-type=module", "--eval", source];
  return spawnSync(process.execPath, args, { encoding: "utf8", timeout: 10_000 });
}

test("drainEventFd() takes all signals at once", () => {
  const fd = createEventFd();
  assert.equal(drainEventFd(fd), false);
  signalEventFd(fd);
  signalEventFd(fd);
  assert.equal(drainEventFd(fd), true);
  assert.equal(drainEventFd(fd), false);
  closeEventFd(fd);
});

test("a handler that leaves data is called again, and timers still run", async () => {
  const reactor = new Reactor();
  const fd = createEventFd();
  let calls = 0;
  reactor.add(fd, EPOLLIN, () => {
    calls++;
  });
  signalEventFd(fd);
  await sleep(20);
  assert.ok(calls > 2);
  drainEventFd(fd);
  await sleep(5);
  const before = calls;
  await sleep(20);
  assert.equal(calls, before);
  reactor.close();
  closeEventFd(fd);
});

test("promises settled by a handler continue before the next handler turn", async () => {
  const reactor = new Reactor();
  const fd = createEventFd();
  const order: string[] = [];
  await new Promise<void>((resolve) => {
    reactor.add(fd, EPOLLIN, () => {
      order.push("handler");
      reactor.defer(() => order.push("deferred"));
      void Promise.resolve().then(() => order.push("promise"));
      if (order.filter((entry) => entry === "handler").length === 2) {
        drainEventFd(fd);
        setImmediate(resolve);
      }
    });
    signalEventFd(fd);
  });
  const turn = ["handler", "deferred", "promise"];
  assert.deepEqual(order, [...turn, ...turn]);
  reactor.close();
  closeEventFd(fd);
});

test("a descriptor removed by an earlier handler of the turn gets no call", async () => {
  const reactor = new Reactor();
  const fds = [createEventFd(), createEventFd()];
  const called: number[] = [];
  for (const fd of fds) {
    reactor.add(fd, EPOLLIN, () => {
      called.push(fd);
      for (const other of fds) reactor.remove(other);
    });
  }
  for (const fd of fds) signalEventFd(fd);
  await sleep(20);
  assert.equal(called.length, 1);
  reactor.close();
  fds.forEach(closeEventFd);
});

test("modify() stops and resumes events", async () => {
  const reactor = new Reactor();
  const fd = createEventFd();
  let calls = 0;
  reactor.add(fd, EPOLLIN, () => {
    calls++;
    drainEventFd(fd);
  });
  reactor.modify(fd, 0);
  signalEventFd(fd);
  await sleep(20);
  assert.equal(calls, 0);
  reactor.modify(fd, EPOLLIN);
  await sleep(20);
  assert.equal(calls, 1);
  reactor.close();
  closeEventFd(fd);
});

test("an idle reactor uses no processor time", async () => {
  const reactor = new Reactor();
  const fd = createEventFd();
  reactor.add(fd, EPOLLIN, () => assert.fail("nothing happened"));
  const before = process.cpuUsage();
  await sleep(300);
  const used = process.cpuUsage(before);
  assert.ok(used.user + used.system < 100_000, `${used.user + used.system} us`);
  reactor.close();
  closeEventFd(fd);
});

test("close() lets the process end at once", () => {
  const start = Date.now();
  const result = runProgram("reactor.add(fd, EPOLLIN, () => {}); reactor.close();");
  assert.equal(result.status, 0, result.stderr);
  assert.ok(Date.now() - start < 5000);
});

test("the process lives while the reactor watches, and ends after unref()", () => {
  const wait = "setTimeout(() => { console.log('alive'); reactor.unref(); }, 100).unref();";
  const result = runProgram(`reactor.add(fd, EPOLLIN, () => {}); ${wait}`);
  assert.equal(result.stdout.trim(), "alive");
  assert.equal(result.status, 0);
});

test("process.exit() with a waiting reactor does not hang", () => {
  const result = runProgram(
    "reactor.add(fd, EPOLLIN, () => {}); setTimeout(() => process.exit(7), 50);",
  );
  assert.equal(result.status, 7);
});

test("a handler that throws ends the process with its message", () => {
  const result = runProgram(
    "reactor.add(fd, EPOLLIN, () => { throw new Error('broken rule'); }); signalEventFd(fd);",
  );
  assert.equal(result.status, 1);
  assert.match(result.stderr, /broken rule/);
});

test("deferred work that throws outside a handler ends the process with its message", () => {
  const result = runProgram("reactor.defer(() => { throw new Error('late bug'); });");
  assert.equal(result.status, 1);
  assert.match(result.stderr, /late bug/);
});
