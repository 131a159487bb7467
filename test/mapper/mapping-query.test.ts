/** Looking through mappings in steps gives what looking at all of them at once gives. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { formatIp } from "../../src/base/ip.js";
import { randomBelow, seededRandom } from "../../src/base/random.js";
import { formatReference } from "../../src/base/reference.js";
import {
  type FoundMapping,
  type MappingQuery,
  noMappings,
} from "../../src/mapper/mapping-query.js";
import type { MappingView } from "../../src/mapper/status.js";
import { ip, ref, World } from "./world.js";

const HALF_LIFE_SECONDS = 12 * 3600;

/** Mappings of every kind and state: published, made by packets and resolvers, old, not stored. */
function makeWorld(seed: number): World {
  const world = new World({ seed, recordsMax: 4000 });
  const random = seededRandom(seed);
  world.mapper.installHosts("/etc/hosts", [
    {
      kind: "remote",
      address: ip("10.240.0.22"),
      gateway: ip("203.0.113.1"),
      reference: ref("1025"),
      line: 1,
      column: 1,
    },
  ]);
  for (let count = 0; count < 300; count++) {
    const last = randomBelow(random, 40);
    const choice = randomBelow(random, 5);
    const remote = { context: ip(`203.0.113.${last + 1}`), reference: ref(String(2000 + last)) };
    if (choice === 0) world.mapper.getEncodedAddress(remote.context, remote.reference);
    else if (choice === 1) world.mapper.oursToIpref(ip(`10.1.0.${last + 1}`), true);
    else if (choice === 2) world.mapper.iprefToTheirs(remote, true);
    else if (choice === 3) world.flush();
    else world.pass(randomBelow(random, HALF_LIFE_SECONDS), 3600);
  }
  return world;
}

function textOf(mapping: Pick<MappingView, "kind" | "address" | "context" | "reference">): string {
  const { kind, address, context, reference } = mapping;
  return `${kind} ${formatIp(address)} ${formatIp(context)} ${formatReference(reference)}`;
}

/** All mappings that fit, in steps of random sizes. */
function found(world: World, query: MappingQuery, seed: number): FoundMapping[] {
  const random = seededRandom(seed);
  const all: FoundMapping[] = [];
  let first = 1;
  while (first !== 0) {
    const range = {
      first,
      recordsMax: 1 + randomBelow(random, 20),
      foundMax: 1 + randomBelow(random, 4),
    };
    const before = all.length;
    const next = world.mapper.findMappings(range, query, (mapping) => void all.push(mapping));
    assert.ok(all.length - before <= range.foundMax);
    assert.ok(next === 0 || next > first);
    first = next;
  }
  return all;
}

function allViews(world: World): MappingView[] {
  const views: MappingView[] = [];
  world.mapper.forEachMapping((view) => void views.push(view));
  return views;
}

const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];

test("steps of any size find each mapping once, in order", () => {
  for (const seed of SEEDS) {
    const world = makeWorld(seed);
    const expected = allViews(world).map(textOf);
    assert.deepEqual(found(world, {}, seed).map(textOf), expected, `seed ${seed}`);
  }
});

test("every state occurs, and the counts are those of the mappings that are found", () => {
  const seen = new Set<string>();
  for (const seed of SEEDS) {
    const world = makeWorld(seed);
    const counts = noMappings();
    let first = 1;
    while (first !== 0) first = world.mapper.countMappings({ first, recordsMax: 13 }, counts);
    const expected = noMappings();
    for (const { kind, state } of found(world, {}, seed)) {
      expected[kind][state]++;
      seen.add(state);
    }
    assert.deepEqual(counts, expected, `seed ${seed}`);
  }
  const states = ["dynamic", "pending", "provisional", "published", "resting"];
  assert.deepEqual([...seen].sort(), states);
});

test("each filter finds what a look at all mappings finds", () => {
  for (const seed of SEEDS) {
    const world = makeWorld(seed);
    const all = found(world, {}, seed);
    const sample = all.filter((_, index) => index % 7 === 0);
    for (const { kind, state, address, context, reference, owner } of sample) {
      const queries: MappingQuery[] = [
        { kind },
        { state },
        { address },
        { context },
        { reference },
        { owner },
        { kind, state, address, context, reference, owner },
      ];
      for (const query of queries) {
        const expected = all.filter(
          (mapping) =>
            (query.kind ?? mapping.kind) === mapping.kind &&
            (query.state ?? mapping.state) === mapping.state &&
            formatIp(query.address ?? mapping.address) === formatIp(mapping.address) &&
            formatIp(query.context ?? mapping.context) === formatIp(mapping.context) &&
            (query.reference ?? mapping.reference) === mapping.reference &&
            (query.owner ?? mapping.owner) === mapping.owner,
        );
        assert.deepEqual(found(world, query, seed).map(textOf), expected.map(textOf));
      }
    }
  }
});

test("an address of another version fits nothing", () => {
  const world = makeWorld(1);
  assert.deepEqual(found(world, { address: ip("2001:db8::1") }, 1), []);
  assert.deepEqual(found(world, { context: ip("2001:db8::1") }, 1), []);
});
