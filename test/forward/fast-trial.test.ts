/**
 * A trial on copies says what a forwarding worker then does with the same packet, and leaves the
 * gateway's memory as it was. IPREF_TEST_SEED repeats a run.
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { toHex } from "../../src/base/hex.js";
import { isTakenFromLocal, isTakenFromTunnel } from "../../src/forward/fast-trial.js";
import { Dice, FastWorld, makeDatagram, makeNative } from "./fast-world.js";
import { makeGateway } from "./memory-ports.js";

const PACKETS = 400;
const MIXES = ([4, 6] as const).flatMap((localVersion) =>
  ([4, 6] as const).map((tunnelVersion) => ({ localVersion, tunnelVersion })),
);

function digest(world: FastWorld): string {
  const { addressesOffset, lanes } = world.plan;
  const end = lanes[0]!.egressRingOffset;
  assert.ok(addressesOffset < end);
  return createHash("sha256").update(world.bytes.slice(0, end)).digest("hex");
}

for (const versions of MIXES) {
  const { localVersion, tunnelVersion } = versions;
  test(`a trial foretells the workers: IPv${localVersion} in a tunnel IPv${tunnelVersion}`, () => {
    const seed = Number(process.env.IPREF_TEST_SEED ?? Date.now() % 1_000_000);
    const dice = new Dice(seed);
    const world = new FastWorld(versions);
    world.addSecondReference(0x5555n);
    const gateway = makeGateway(world);
    const source = { memory: world.buffer, plan: world.plan, settings: world.fastSettings };
    const counts = { fast: 0, slow: 0 };
    for (let count = 0; count < PACKETS; count++) {
      const native = makeNative(world, dice);
      const datagram = makeDatagram(world, dice);
      const before = digest(world);
      const isOut = isTakenFromLocal(source, native);
      const isIn = isTakenFromTunnel(source, datagram.packet, datagram.source, datagram.port);
      assert.equal(digest(world), before, "a trial changes nothing");
      gateway.tun.waiting.push(native);
      gateway.egress.runBatch();
      assert.equal(gateway.tunnel.sent.length === 1, isOut, `seed ${seed}: ${toHex(native)}`);
      gateway.tunnel.waiting.push(datagram);
      gateway.ingress.runBatch();
      const note = `seed ${seed}: ${toHex(datagram.packet)} ${datagram.port}`;
      assert.equal(gateway.tun.written.length === 1, isIn, note);
      gateway.tunnel.sent.length = 0;
      gateway.tun.written.length = 0;
      while (gateway.egressRing.take() !== undefined);
      while (gateway.ingressRing.take() !== undefined);
      counts[isOut ? "fast" : "slow"]++;
      counts[isIn ? "fast" : "slow"]++;
    }
    assert.ok(counts.fast > PACKETS / 4 && counts.slow > PACKETS / 8, JSON.stringify(counts));
  });
}
