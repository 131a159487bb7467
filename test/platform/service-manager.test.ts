/** Notices to the service manager, sd_notify(3), and capabilities of this process. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { effectiveCapabilities } from "../../src/platform/capabilities.js";
import { takeServiceManager } from "../../src/platform/service-manager.js";
import { openNotifySocket } from "../support/notify-socket.js";

const folder = mkdtempSync(join(tmpdir(), "ipref-notify-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const NAMES = { "a path": join(folder, "notify"), "an abstract name": `@ipref-${process.pid}` };

for (const [what, name] of Object.entries(NAMES)) {
  test(`a service manager at ${what} hears the life of the service`, () => {
    const socket = openNotifySocket(name);
    try {
      const manager = takeServiceManager({ NOTIFY_SOCKET: name, WATCHDOG_USEC: "30000000" }, 77);
      assert.equal(manager.isPresent, true);
      assert.equal(manager.watchdogMs, 30_000);
      const beforeMicroseconds = process.hrtime.bigint() / 1000n;
      manager.ready("2 peers");
      manager.feedWatchdog();
      manager.reloading("reading");
      manager.status("a\nREADY=1\u001b[2J");
      manager.stopping("bye");
      const [ready, fed, reloading, status, stopping] = socket.notices();
      assert.deepEqual(ready, ["READY=1", "STATUS=2 peers"]);
      assert.deepEqual(fed, ["WATCHDOG=1"]);
      assert.deepEqual([reloading?.[0], reloading?.[2]], ["RELOADING=1", "STATUS=reading"]);
      const microseconds = BigInt(reloading?.[1]?.replace("MONOTONIC_USEC=", "") ?? "0");
      assert.ok(microseconds >= beforeMicroseconds, `${reloading?.[1]} is in the past`);
      assert.deepEqual(status, ["STATUS=a READY=1 [2J"]);
      assert.deepEqual(stopping, ["STOPPING=1", "STATUS=bye"]);
    } finally {
      socket.close();
    }
  });
}

test("programs started later do not inherit the service manager", () => {
  const environment = { NOTIFY_SOCKET: "/run/x", WATCHDOG_USEC: "5", WATCHDOG_PID: "1", HOME: "/" };
  takeServiceManager(environment, 1);
  assert.deepEqual(environment, { HOME: "/" });
});

test("without a service manager nothing is sent and nothing is wrong", () => {
  const refused = ["", "notify", "@", `/${"x".repeat(107)}`, `@${"x".repeat(108)}`, "vsock:2:1234"];
  for (const NOTIFY_SOCKET of [undefined, ...refused]) {
    const manager = takeServiceManager({ NOTIFY_SOCKET, WATCHDOG_USEC: "1000" }, 1);
    assert.equal(manager.isPresent, false, NOTIFY_SOCKET);
    assert.equal(manager.watchdogMs, undefined);
    manager.ready("nobody hears");
  }
  const gone = takeServiceManager({ NOTIFY_SOCKET: join(folder, "gone") }, 1);
  assert.equal(gone.isPresent, true);
  gone.ready("nobody listens any more");
});

test("the watchdog of another process, or one that is no number, is not ours", () => {
  const environment = { NOTIFY_SOCKET: "/run/x", WATCHDOG_USEC: "1000" };
  const watchdogOf = (more: Record<string, string>) =>
    takeServiceManager({ ...environment, ...more }, 5).watchdogMs;
  assert.equal(watchdogOf({ WATCHDOG_PID: "5" }), 1);
  assert.equal(watchdogOf({ WATCHDOG_PID: "6" }), undefined);
  for (const WATCHDOG_USEC of ["0", "-1", "", "1e9", "99999999999999999999"]) {
    assert.equal(watchdogOf({ WATCHDOG_USEC }), undefined, WATCHDOG_USEC);
  }
});

test("the effective capabilities are read from the status file", () => {
  assert.equal(effectiveCapabilities("CapPrm:\t0\nCapEff:\t0000000000003000\n"), 0x3000n);
  assert.equal(effectiveCapabilities("Name:\tx\n"), 0n);
});
