/**
 * Drops that depend on what came before: limits, held fragments, full tables. The explanation of a
 * packet gives the reason, and then the gateway counts it.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../../../src/base/hex.js";
import { settle } from "../fake-machine.js";
import { ExplainWorld, REMOTE_GATEWAY, usualWorld } from "./explain-world.js";
import { SITUATIONS } from "./situations.js";

for (const situation of SITUATIONS) {
  const { reason, about, side, version = 4 } = situation;
  test(`${reason}: ${about}`, async () => {
    const world = new ExplainWorld(usualWorld(version));
    world.machine.pathMtu = situation.pathMtu ?? 1500;
    await world.start(...(situation.flags ?? []));
    const packet = situation.packet();
    const from = situation.from ?? REMOTE_GATEWAY;
    // The commit would come after the first wait: what depends on it must not wait.
    const preparation = situation.before?.(world);
    if (preparation !== undefined) await preparation;
    const counted = world.drops().get(reason) ?? 0;
    const question = { packet: toHex(packet), side, ...(side === "tunnel" && { from }) };
    const explaining = world.explain(question);
    if (side === "local") world.fromLocal(packet);
    else world.fromTunnel(packet, from);
    const { verdict } = await explaining;
    if (situation.isAboutAnswer) assert.match(verdict.told!, new RegExp(`not told \\(${reason}:`));
    else assert.equal(verdict.drop?.reason, reason, JSON.stringify(verdict));
    assert.equal(world.drops().get(reason), counted + 1);
    await settle();
    await world.gateway.stop();
  });
}
