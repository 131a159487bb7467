/** DNS sources and several references of one host, in simulated time (spec/mapper.md 3.8, 4). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { formatIp } from "../../src/base/ip.js";
import { writeReferenceInto } from "../../src/base/reference.js";
import { parseHosts } from "../../src/mapper/hosts-file.js";
import { ip, World } from "./world.js";

const OWN = "198.51.100.1";
const NAME = "internal:example.com";
const A = "hashAAAA";
const B = "hashBBBB";

function seen(host: string, reference: bigint, gateway = OWN): string {
  const bytes = new Uint8Array(64);
  bytes.set(ip(host).bytes, 16);
  bytes.set(ip(gateway).bytes, 32);
  writeReferenceInto(bytes, 48, reference);
  return String.fromCharCode(...bytes);
}

function hostOf(world: World, reference: bigint): string | undefined {
  const found = world.mapper.iprefToOurs({ context: ip(OWN), reference });
  return found.status === "found" ? formatIp(found.value) : undefined;
}

test("a HASH is refused before the first DATA and creates no source", () => {
  const world = new World();
  assert.equal(world.mapper.confirm(NAME, A, 0, 1), false);
  assert.deepEqual(world.mapper.sourceStatus(), []);
});

test("DATA is in force at once; HASH needs the right hash and count", () => {
  const world = new World();
  world.mapper.deliver(NAME, A, [seen("10.0.0.10", 1025n), seen("10.0.0.22", 1026n)], 1);
  assert.equal(hostOf(world, 1025n), "10.0.0.10");
  assert.equal(world.reference("10.0.0.22"), 1026n);
  assert.equal(world.mapper.confirm(NAME, A, 1, 1), false);
  assert.equal(world.mapper.confirm(NAME, B, 2, 1), false);
  assert.equal(world.mapper.confirm(NAME, A, 2, 1), true);
  world.mapper.deliver(NAME, A, [seen("10.0.0.10", 1025n)], 1);
  assert.equal(world.mapper.confirm(NAME, A, 2, 1), true);
});

test("the old generation stays until the HASH of the new one, common records without a gap", () => {
  const world = new World();
  world.mapper.deliver(NAME, A, [seen("10.0.0.1", 1n + 1024n), seen("10.0.0.2", 1026n)], 1);
  world.mapper.confirm(NAME, A, 2, 1);
  world.now += 5;
  world.mapper.deliver(NAME, B, [seen("10.0.0.3", 1027n)], 1);
  assert.equal(hostOf(world, 1025n), "10.0.0.1");
  assert.equal(hostOf(world, 1027n), "10.0.0.3");
  world.mapper.deliver(NAME, B, [seen("10.0.0.2", 1026n)], 1);
  assert.equal(world.mapper.confirm(NAME, B, 2, 1), true);
  assert.equal(hostOf(world, 1025n), undefined);
  assert.equal(hostOf(world, 1026n), "10.0.0.2");
  assert.equal(hostOf(world, 1027n), "10.0.0.3");
});

test("without a HASH the old generation goes 30 s after the last DATA", () => {
  const world = new World();
  world.mapper.deliver(NAME, A, [seen("10.0.0.1", 1025n)], 1);
  world.now += 100;
  world.mapper.deliver(NAME, B, [], 1);
  world.pass(29, 1);
  assert.equal(hostOf(world, 1025n), "10.0.0.1");
  world.pass(2, 1);
  assert.equal(hostOf(world, 1025n), undefined);
  assert.equal(world.mapper.confirm(NAME, B, 0, 1), true);
});

test("three generations in a row keep the records that are in all of them", () => {
  const world = new World();
  world.mapper.deliver(NAME, A, [seen("10.0.0.1", 1025n), seen("10.0.0.2", 1026n)], 1);
  world.mapper.deliver(NAME, B, [seen("10.0.0.2", 1026n), seen("10.0.0.3", 1027n)], 1);
  world.mapper.deliver(NAME, "hashCCCC", [seen("10.0.0.2", 1026n)], 1);
  for (const reference of [1025n, 1026n, 1027n]) assert.ok(hostOf(world, reference));
  world.flush();
  const again = new World({ store: world.store });
  for (const reference of [1025n, 1026n, 1027n]) assert.ok(hostOf(again, reference));
  assert.equal(again.mapper.confirm(NAME, "hashCCCC", 1, 1), true);
  assert.equal(hostOf(again, 1025n), undefined);
  assert.equal(hostOf(again, 1027n), undefined);
  assert.equal(hostOf(again, 1026n), "10.0.0.2");
});

test("after a restart the first HASH is acknowledged and the records are in force", () => {
  const first = new World();
  const refused = seen("10.0.0.9", 0x1005n);
  const foreign = seen("10.0.0.8", 1030n, "203.0.113.1");
  first.mapper.deliver(NAME, A, [seen("10.0.0.1", 1025n), refused, foreign], 1);
  assert.equal(hostOf(first, 0x1005n), undefined);
  assert.equal(hostOf(first, 1030n), undefined);
  first.flush();
  const second = new World({ store: first.store });
  assert.equal(second.mapper.confirm(NAME, A, 3, 1), true);
  assert.equal(hostOf(second, 1025n), "10.0.0.1");
  assert.equal(hostOf(second, 1030n), undefined);
  const moved = new World({ store: first.store, publicAddress: "203.0.113.1" });
  assert.equal(hostOf(moved, 1025n), "10.0.0.1");
  assert.equal(hostOf(moved, 1030n), undefined);
});

test("more than 255 records survive a restart with their count", () => {
  const first = new World();
  const all = Array.from({ length: 700 }, (_, index) =>
    seen(`10.0.${index >> 8}.${index & 255}`, BigInt(65_536 * index + 7)),
  );
  for (let at = 0; at < all.length; at += 300) {
    first.mapper.deliver(NAME, A, all.slice(at, at + 300), 1);
  }
  first.flush();
  const second = new World({ store: first.store });
  assert.equal(second.mapper.confirm(NAME, A, 700, 1), true);
  assert.equal(hostOf(second, BigInt(65_536 * 699 + 7)), "10.0.2.187");
});

test("a silent source becomes stale after 4 h and loses its records a day later", () => {
  const world = new World();
  world.mapper.deliver(NAME, A, [seen("10.0.0.1", 1025n)], 1);
  world.pass(4 * 3600 - 60);
  assert.equal(world.mapper.sourceStatus()[0]!.isStale, false);
  world.pass(120);
  assert.equal(world.mapper.sourceStatus()[0]!.isStale, true);
  assert.equal(hostOf(world, 1025n), "10.0.0.1");
  world.pass(24 * 3600 + 60);
  assert.equal(hostOf(world, 1025n), undefined);
  assert.equal(world.mapper.confirm(NAME, A, 1, 1), false);
  const after = new World({ store: world.store, wallSeconds: 1_000_000 + 30 * 3600 });
  assert.equal(hostOf(after, 1025n), undefined);
});

test("sources and their records are limited; another writer is a warning", () => {
  const world = new World({ limits: { sourcesMax: 2, sourceRecordsMax: 2 } });
  assert.equal(world.mapper.deliver("a:b", A, [], 1), "accepted");
  assert.equal(world.mapper.deliver("a:c", A, [], 1), "accepted");
  assert.equal(world.mapper.deliver("a:d", A, [], 1), "ignored");
  const three = [1025n, 1026n, 1027n].map((reference) => seen("10.0.0.1", reference));
  world.mapper.deliver("a:b", A, three, 2);
  assert.equal(world.mapper.confirm("a:b", A, 3, 2), false);
  assert.equal(hostOf(world, 1027n), undefined);
  const kinds = world.events.map(({ kind }) => kind);
  assert.ok(kinds.includes("source-writer") && kinds.includes("source-limit"));
});

test("a source must not install remote hosts", () => {
  const world = new World();
  const bytes = Array.from(seen("10.0.0.1", 1025n), (character) => character.charCodeAt(0));
  bytes.splice(0, 4, 10, 240, 1, 9);
  bytes.splice(16, 4, 0, 0, 0, 0);
  world.mapper.deliver(NAME, A, [String.fromCharCode(...bytes)], 1);
  assert.equal(world.mapper.theirsToIpref(ip("10.240.1.9")).status, "refused");
  assert.equal(world.mapper.confirm(NAME, A, 1, 1), true);
});

test("hosts file beats DNS, and the DNS record comes back when the line goes", () => {
  const world = new World();
  world.mapper.deliver(NAME, A, [seen("10.0.0.1", 1025n)], 1);
  const { records } = parseHosts("10.0.0.2 #= pub + 1025");
  assert.deepEqual(world.mapper.installHosts("/etc/hosts", records), []);
  assert.equal(hostOf(world, 1025n), "10.0.0.2");
  assert.ok(world.events.some(({ kind }) => kind === "conflict"));
  world.mapper.installHosts("/etc/hosts", []);
  assert.equal(hostOf(world, 1025n), "10.0.0.1");
});

test("a host that is published later keeps its dynamic reference inbound until it expires", () => {
  const world = new World();
  const dynamic = world.reference("10.0.0.1");
  world.mapper.deliver(NAME, A, [seen("10.0.0.1", 1025n)], 1);
  assert.equal(world.reference("10.0.0.1"), 1025n);
  assert.equal(hostOf(world, dynamic), "10.0.0.1");
  world.pass(4 * 3600 + 60);
  assert.equal(hostOf(world, dynamic), undefined);
  assert.equal(world.reference("10.0.0.1"), 1025n);
});

test("the lowest of several references is primary; a peer is answered with the one it used", () => {
  const world = new World();
  const references = [1030n, 1026n, 1028n];
  for (const order of [references, [...references].reverse()]) {
    const one = new World();
    one.mapper.deliver(
      NAME,
      A,
      order.map((reference) => seen("10.0.0.1", reference)),
      1,
    );
    assert.equal(one.reference("10.0.0.1"), 1026n);
  }
  world.mapper.deliver(
    NAME,
    A,
    references.map((reference) => seen("10.0.0.1", reference)),
    1,
  );
  const peer = world.resolve("192.0.2.7", "5");
  const other = world.resolve("192.0.2.7", "6");
  world.mapper.noteContact(ip("10.0.0.1"), peer, 1030n);
  assert.equal(world.reference("10.0.0.1", peer), 1030n);
  assert.equal(world.reference("10.0.0.1", other), 1026n);
  world.mapper.noteContact(ip("10.0.0.1"), peer, 1028n);
  assert.equal(world.reference("10.0.0.1", peer), 1028n);
  world.mapper.deliver(NAME, B, [seen("10.0.0.1", 1026n), seen("10.0.0.1", 1030n)], 1);
  world.mapper.confirm(NAME, B, 2, 1);
  assert.equal(world.reference("10.0.0.1", peer), 1026n);
});

test("an ext line takes over a dynamic mapping; the old address keeps working outbound", () => {
  const world = new World();
  const dynamic = world.resolve("192.0.2.7", "5");
  const { records } = parseHosts("10.240.1.9 #= ext 192.0.2.7 + 5");
  assert.deepEqual(world.mapper.installHosts("/etc/hosts", records), []);
  assert.equal(formatIp(world.resolve("192.0.2.7", "5")), "10.240.1.9");
  assert.equal(world.mapper.theirsToIpref(dynamic).status, "found");
  assert.equal(world.mapper.theirsToIpref(ip("10.240.1.9")).status, "found");
  world.mapper.installHosts("/etc/hosts", []);
  assert.equal(formatIp(world.resolve("192.0.2.7", "5")), formatIp(dynamic));
});

test("a hosts file that is read again keeps its records without a gap", () => {
  const world = new World();
  const first = parseHosts("10.0.0.1 #= pub + 5\n10.0.0.2 #= pub + 6").records;
  world.mapper.installHosts("/etc/hosts", first);
  const second = parseHosts("10.0.0.2 #= pub + 6\n10.0.0.1 #= pub + 7").records;
  world.mapper.installHosts("/etc/hosts", second);
  assert.equal(hostOf(world, 5n), undefined);
  assert.equal(hostOf(world, 6n), "10.0.0.2");
  assert.equal(hostOf(world, 7n), "10.0.0.1");
});
