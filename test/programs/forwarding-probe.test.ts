/**
 * Signs of life of real worker threads. A worker hangs here in a read from a blocking event
 * descriptor that stands for the TUN device: after the first octets it waits for more, in the call.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseIp } from "../../src/base/ip.js";
import type { TunInterface, TunnelSocket } from "../../src/control/ports.js";
import { NO_OFFLOADS } from "../../src/forward/offloads.js";
import { closeEventFd, createEventFd, signalEventFd } from "../../src/platform/eventfd.js";
import * as libc from "../../src/platform/libc.js";
import { Reactor } from "../../src/platform/reactor.js";
import { openUdpSocket } from "../../src/platform/udp-socket.js";
import { startForwarding } from "../../src/programs/forwarding.js";
import { FastWorld } from "../forward/fast-world.js";

const TIMEOUT_MS = 1000;
const OURS = parseIp("127.0.0.1")!;

/** Workers of one lane over a descriptor that stands for the TUN device. */
async function start(tunFd: number) {
  const world = new FastWorld({ localVersion: 4, tunnelVersion: 4 });
  const tunnel = openUdpSocket({ address: OURS, port: 0 });
  const reactor = new Reactor();
  const failures: Error[] = [];
  const forwarding = await startForwarding(
    {
      ...{ memory: world.buffer, plan: world.plan, settings: world.fastSettings },
      ...{ offloads: NO_OFFLOADS, localMssMax: 1400, coalesceUs: 0 },
      tun: {} as TunInterface,
      tunnel: {} as TunnelSocket,
      onPacket: () => undefined,
      onFailure: (error) => failures.push(error),
    },
    { tunFds: [tunFd], tunnelFds: [tunnel.fd], wasm: undefined, sideFd: undefined },
    reactor,
  );
  const stop = async (): Promise<void> => {
    // A worker that hangs comes back when its batch is full.
    const release = setInterval(() => signalEventFd(tunFd), 1);
    await forwarding.stop();
    clearInterval(release);
    reactor.close();
    tunnel.close();
    assert.deepEqual(failures, []);
  };
  return { forwarding, stop };
}

test("workers that wait answer within a moment, again and again", { timeout: 20_000 }, async () => {
  const tunFd = createEventFd();
  const { forwarding, stop } = await start(tunFd);
  for (let round = 0; round < 3; round++) {
    const workers = await forwarding.probe(TIMEOUT_MS);
    assert.deepEqual(
      workers.map(({ name }) => name),
      ["egress-0", "ingress-0"],
    );
    for (const { name, answerMs } of workers) assert.ok(answerMs! < TIMEOUT_MS, name);
  }
  await stop();
  closeEventFd(tunFd);
});

test("a worker that hangs in a system call does not answer; it is named", {
  timeout: 20_000,
}, async () => {
  const tunFd = libc.eventfd(0, 0);
  const { forwarding, stop } = await start(tunFd);
  await forwarding.probe(TIMEOUT_MS);
  signalEventFd(tunFd);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const startMs = performance.now();
  const [egress, ingress] = await forwarding.probe(300);
  assert.ok(performance.now() - startMs < 600, "the time is kept");
  assert.deepEqual(egress, { name: "egress-0", answerMs: undefined });
  assert.ok(ingress!.answerMs !== undefined);
  await stop();
  closeEventFd(tunFd);
});
