/** Captures of an ICMPv6 echo in fragments: its first fragment waits for the last one. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../../src/base/hex.js";
import { DropWorld } from "../support/drop-world.js";
import { usualWorld } from "./inspection/explain-world.js";
import { firstOfEcho, lastOfEcho } from "./inspection/situations.js";

/** Side, verdict and packet of each record; the outer headers of datagrams left out. */
async function capturing(world: DropWorld, act: () => void): Promise<string[]> {
  const endCapture = world.capture();
  act();
  await world.settled();
  return (await endCapture()).map(({ on, packet, comment }) => {
    const verdict = /slow path; ([a-z]+)/.exec(comment)?.[1] ?? comment;
    return `${on === 0 ? "local" : "tunnel"} ${verdict} ${toHex(packet.subarray(on * 28))}`;
  });
}

test("A first fragment that waited is shown as forwarded once the last one has come", async () => {
  const world = await new DropWorld(usualWorld(6)).start();
  const [first, last] = [firstOfEcho(7), lastOfEcho(7)];
  const records = await capturing(world, () => {
    world.fromLocal(first);
    world.fromLocal(last);
  });
  const sent = world.machine.sent.map(({ payload }) => toHex(payload));
  assert.equal(sent.length, 2);
  assert.deepEqual(records, [
    `local held ${toHex(first)}`,
    `local forwarded ${toHex(last)}`,
    `tunnel forwarded ${sent[0]}`,
    `tunnel forwarded ${sent[1]}`,
  ]);
  assert.deepEqual(world.drops(), new Map());
  await world.gateway.stop();
});

test("A first fragment that another one replaces is the one that is dropped", async () => {
  const world = await new DropWorld(usualWorld(6)).start();
  const [earlier, later] = [firstOfEcho(7), firstOfEcho(7).with(-1, 0x77)];
  const records = await capturing(world, () => {
    world.fromLocal(earlier);
    world.fromLocal(later);
  });
  assert.deepEqual(records, [
    `local held ${toHex(earlier)}`,
    `local held ${toHex(later)}`,
    `local dropped ${toHex(earlier)}`,
  ]);
  const { verdict } = await world.explain({ packet: toHex(later), side: "local" });
  assert.equal(verdict.kind, "held");
  assert.match(verdict.text, /place of an earlier one, which is dropped: icmp-fragment-expired$/);
  await world.gateway.stop();
});
