/** Whatever the gateway drops, a capture shows it under the same name, as often as it is counted. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { formatIp } from "../../src/base/ip.js";
import type { CaptureLast, CaptureLine } from "../../src/control/capture/lines.js";
import { FOUR, FROM_LOCAL, FROM_TUNNEL, SIX } from "../translate/drop-packets.js";
import { settle } from "./fake-machine.js";
import { ExplainWorld, REMOTE_GATEWAY, usualWorld } from "./inspection/explain-world.js";
import { SITUATIONS } from "./inspection/situations.js";

/** The mappings of the sites of the drop packets. */
const SITE_WORLDS = {
  4: {
    hosts: "172.17.1.11 a #= pub + 1111\n10.241.2.21 b #= ext 198.51.100.2 + 2222\n",
    encodeNet: "10.240.0.0/12",
  },
  6: {
    hosts: "fd02:98::22 a #= pub + 1111\nfdeb:128:0:7::731 b #= ext 198.51.100.2 + 2222\n",
    encodeNet: "fdeb:128:0:7::/64",
  },
};

/** A capture of dropped packets; `end` gives its lines. */
async function captureDrops(world: ExplainWorld, filter = "verdict dropped") {
  const question = JSON.stringify({ format: "lines", filter });
  const reply = await world.ask("POST", "/capture", question);
  assert.equal(reply.status, 200, String(reply.body));
  const text = (async () => {
    let collected = "";
    for await (const piece of reply.body as AsyncIterable<string>) collected += piece;
    return collected;
  })();
  return async (): Promise<CaptureLine[]> => {
    await world.ask("POST", "/capture/end", "");
    const lines = (await text).trimEnd().split("\n");
    const values = lines.map((line) => JSON.parse(line) as CaptureLine & CaptureLast);
    assert.equal(values.pop()!.end.lost, 0);
    return values;
  };
}

/** How often each reason is in the lines. */
function countReasons(lines: readonly CaptureLine[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { reason, verdict } of lines) {
    assert.equal(verdict, "dropped");
    counts.set(reason!, (counts.get(reason!) ?? 0) + 1);
  }
  return counts;
}

for (const [name, sites, settings] of [
  ["IPv4", FOUR, SITE_WORLDS[4]],
  ["IPv6", SIX, SITE_WORLDS[6]],
] as const) {
  test(`captured drops are the counted ones, by name and number (${name})`, async () => {
    const world = await new ExplainWorld(settings).start();
    const end = await captureDrops(world);
    for (const [, packet, where] of FROM_LOCAL) {
      if (where === sites) world.fromLocal(packet);
    }
    for (const [, packet, where] of FROM_TUNNEL) {
      if (where === sites) world.fromTunnel(packet, formatIp(sites.publicB));
    }
    await settle();
    const counts = countReasons(await end());
    assert.ok(counts.size >= 3);
    assert.deepEqual([...counts].sort(), [...world.drops()].sort());
    await world.gateway.stop();
  });
}

for (const situation of SITUATIONS) {
  const { reason, about, side, version = 4 } = situation;
  test(`a capture shows ${reason}: ${about}`, async () => {
    const world = new ExplainWorld(usualWorld(version));
    world.machine.pathMtu = situation.pathMtu ?? 1500;
    await world.start(...(situation.flags ?? []));
    const packet = situation.packet();
    const preparation = situation.before?.(world);
    if (preparation !== undefined) await preparation;
    const end = captureDrops(world, `drop ${reason}`);
    if (side === "local") world.fromLocal(packet);
    else world.fromTunnel(packet, situation.from ?? REMOTE_GATEWAY);
    const lines = await (await end)();
    assert.ok(lines.length >= 1, `${reason} is not in the capture`);
    for (const line of lines) {
      assert.equal(line.reason, reason);
      assert.match(line.comment, new RegExp(`dropped: ${reason} \\(`));
    }
    await settle();
    await world.gateway.stop();
  });
}
