/** A dropped packet is found under the same name in metrics, status and log. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { formatIp } from "../../src/base/ip.js";
import { FOUR, FROM_LOCAL, FROM_TUNNEL, SIX } from "../translate/drop-packets.js";
import { settle } from "./fake-machine.js";
import { ExplainWorld } from "./inspection/explain-world.js";

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

/** Drops of the page of metrics that are not 0. */
async function metricDrops(world: ExplainWorld): Promise<Map<string, number>> {
  const { body } = await world.ask("GET", "/metrics", "");
  const found = String(body).matchAll(
    /^ipref_drops_total\{reason="([a-z0-9-]+)"\} ([1-9][0-9]*)$/gm,
  );
  return new Map([...found].map(([, reason, count]) => [reason!, Number(count)]));
}

async function statusDrops(world: ExplainWorld): Promise<Map<string, number>> {
  const { body } = await world.ask("GET", "/status", "");
  const { drops } = JSON.parse(String(body)) as { drops: { reason: string; count: number }[] };
  return new Map(drops.map(({ reason, count }) => [reason, count]));
}

for (const [name, sites, settings] of [
  ["IPv4", FOUR, SITE_WORLDS[4]],
  ["IPv6", SIX, SITE_WORLDS[6]],
] as const) {
  test(`drops have one name in metrics, status and log (${name})`, async () => {
    const world = await new ExplainWorld(settings).start();
    const reasons = new Set<string>();
    for (const [reason, packet, where] of FROM_LOCAL) {
      if (where !== sites) continue;
      world.fromLocal(packet);
      reasons.add(reason);
    }
    for (const [reason, packet, where] of FROM_TUNNEL) {
      if (where !== sites) continue;
      world.fromTunnel(packet, formatIp(sites.publicB));
      reasons.add(reason);
    }
    await settle();
    const log = [...world.drops()].sort();
    assert.ok(log.length >= 3, `${log.length} reasons were provoked`);
    assert.deepEqual([...(await metricDrops(world))].sort(), log);
    assert.deepEqual([...(await statusDrops(world))].sort(), log);
    const missing = [...reasons].filter((reason) => !world.drops().has(reason));
    assert.ok(missing.length <= reasons.size / 10, missing.join(" "));
    await world.gateway.stop();
  });
}
