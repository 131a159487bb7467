import assert from "node:assert/strict";
import { test } from "node:test";
import { parseIp } from "../../src/base/ip.js";
import { seededRandom } from "../../src/base/random.js";
import { HeldFragments } from "../../src/forward/held-fragments.js";
import { IcmpLimits } from "../../src/forward/icmp-limits.js";
import { Probes } from "../../src/forward/probes.js";
import { WaitingPackets } from "../../src/forward/waiting-packets.js";

const HELD = { kind: "held", replaced: undefined };

test("HeldFragments releases a first fragment when the last one tells the length", () => {
  const held = new HeldFragments<string>();
  assert.deepEqual(held.hold("k", "s", "first", 100, 0), HELD);
  assert.equal(held.takeLength("k", 1), undefined);
  assert.equal(held.tellLength("k", "s", 3000, 2), "first");
  assert.equal(held.takeLength("k", 3), 3000);
  assert.equal(held.takeLength("k", 4), undefined);
});

test("HeldFragments keeps the length when the last fragment comes first", () => {
  const held = new HeldFragments<string>();
  assert.equal(held.tellLength("k", "s", 3000, 0), undefined);
  assert.equal(held.takeLength("k", 1), 3000);
});

test("HeldFragments forgets after 60 s and tells what it gave up", () => {
  const held = new HeldFragments<string>();
  held.hold("k", "s", "first", 100, 0);
  assert.deepEqual(held.takeExpired(59_999), []);
  assert.equal(held.tellLength("k", "s", 1, 60_000), undefined);
  assert.deepEqual(held.takeExpired(60_000), ["first"]);
  assert.deepEqual(held.takeExpired(60_000), []);
});

test("HeldFragments gives one sender a share only", () => {
  const held = new HeldFragments<string>();
  const results = Array.from({ length: 40 }, (_, index) =>
    held.hold(`k${index}`, "flooder", "first", 100, 0),
  );
  assert.equal(results.filter(({ kind }) => kind === "held").length, 16);
  assert.deepEqual(held.hold("other", "honest", "first", 100, 0), HELD);
});

test("HeldFragments is bounded in octets", () => {
  const held = new HeldFragments<string>();
  const results = Array.from({ length: 20 }, (_, index) =>
    held.hold(`k${index}`, `s${index}`, "first", 60_000, 0),
  );
  assert.equal(results.filter(({ kind }) => kind === "held").length, 4);
});

test("HeldFragments lets a first fragment take the place of an equal one, if there is room", () => {
  const held = new HeldFragments<string>();
  for (let index = 0; index < 16; index++) held.hold(`k${index}`, "s", `first ${index}`, 100, 0);
  const again = held.hold("k3", "s", "again", 100, 1);
  assert.deepEqual(again, { kind: "held", replaced: "first 3" });
  assert.deepEqual(held.hold("k3", "s", "too long", 300_000, 2), { kind: "full" });
  assert.equal(held.tellLength("k3", "s", 3000, 3), "again");
});

test("HeldFragments remembers refused messages for 60 s", () => {
  const held = new HeldFragments<string>();
  held.refuse("k", 0);
  assert.ok(held.isRefused("k", 59_999));
  assert.ok(!held.isRefused("k", 60_000));
});

test("IcmpLimits gives each peer its burst and all of them the common one", () => {
  const limits = new IcmpLimits(0);
  const peer = (index: number) => parseIp(`192.0.2.${index}`)!;
  const one = Array.from({ length: 30 }, () => limits.allow("errorToRemote", peer(1), 0));
  assert.equal(one.filter(Boolean).length, 20);
  const many = Array.from({ length: 200 }, (_, index) =>
    limits.allow("errorToRemote", peer(index + 2), 0),
  );
  assert.equal(many.filter(Boolean).length, 30);
  assert.ok(limits.allow("errorToRemote", peer(1), 1000));
});

test("IcmpLimits counts IPv6 peers by /64", () => {
  const limits = new IcmpLimits(0);
  const given = Array.from({ length: 40 }, (_, index) =>
    limits.allow("echoReply", parseIp(`2001:db8::${index.toString(16)}`)!, 0),
  );
  assert.equal(given.filter(Boolean).length, 20);
});

test("Probes accept only the nonce from the probed port, once and in time", () => {
  const gateway = parseIp("192.0.2.1")!;
  const probes = new Probes(seededRandom(1));
  const nonce = probes.start(gateway, 5000, 0)!;
  assert.equal(probes.start(gateway, 5000, 999), undefined);
  assert.ok(!probes.answer(gateway, 5001, nonce, 1));
  assert.ok(!probes.answer(gateway, 5000, new Uint8Array(16), 1));
  assert.ok(probes.answer(gateway, 5000, nonce, 1));
  assert.ok(!probes.answer(gateway, 5000, nonce, 1));
  const late = probes.start(gateway, 5000, 2000)!;
  assert.ok(!probes.answer(gateway, 5000, late, 7001));
});

test("WaitingPackets is bounded in packets and octets", () => {
  const few = new WaitingPackets<number>();
  const added = Array.from({ length: 1100 }, (_, index) => few.add(index, 1));
  assert.equal(added.filter(Boolean).length, 1024);
  assert.equal(few.takeAll().length, 1024);
  assert.equal(few.size, 0);
  const large = new WaitingPackets<number>();
  assert.equal(Array.from({ length: 50 }, () => large.add(0, 65_535)).filter(Boolean).length, 32);
});
