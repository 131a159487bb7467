/** The mapper in simulated time: allocation, durability, expiry, quotas, restart. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { formatIp, sameAddress } from "../../src/base/ip.js";
import { referenceSecondByte } from "../../src/base/reference.js";
import { FLAG_INACTIVE } from "../../src/tables/address-table.js";
import { ip, ref, World } from "./world.js";

const GW = "192.0.2.7";
const HOUR = 3600;

function remote(reference: string, gateway = GW) {
  return { context: ip(gateway), reference: ref(reference) };
}

test("a new mapping is pending and invisible until it is stored", () => {
  const world = new World();
  assert.equal(world.mapper.oursToIpref(ip("10.1.1.1"), true).status, "pending");
  assert.equal(world.mapper.oursToIpref(ip("10.1.1.1"), true).status, "pending");
  assert.equal(world.table.findByLocal(new DataView(ip("10.1.1.1").bytes.buffer), 0), 0);
  world.flush();
  const found = world.mapper.oursToIpref(ip("10.1.1.1"), true);
  assert.equal(found.status, "found");
  assert.notEqual(world.table.findByLocal(new DataView(ip("10.1.1.1").bytes.buffer), 0), 0);
});

test("references have 56 bits, at least 1024, and a second byte of 16 or more", () => {
  const world = new World();
  for (let host = 1; host < 200; host++) {
    const reference = world.reference(`10.1.2.${host}`);
    assert.ok(reference < 1n << 56n && reference >= 1024n);
    assert.ok(referenceSecondByte(reference) >= 16);
    const back = world.mapper.iprefToOurs({ context: ip("198.51.100.1"), reference });
    assert.equal(back.status === "found" && formatIp(back.value), `10.1.2.${host}`);
  }
});

test("a mapping whose batch fails is taken back and can be made again", () => {
  const world = new World();
  assert.equal(world.mapper.getEncodedAddress(ip(GW), 5n).status, "pending");
  const before = world.mapper.statistics().records;
  world.flush(true);
  assert.equal(world.settled.at(-1)!.isStored, false);
  assert.equal(world.mapper.statistics().records, before - 1);
  assert.equal(world.mapper.statistics().storeFailures, 1);
  assert.ok(formatIp(world.resolve(GW, "5")).startsWith("10."));
});

test("established mappings go on while the store refuses", () => {
  const world = new World();
  const encoded = world.resolve(GW, "5");
  world.mapper.getEncodedAddress(ip(GW), 6n);
  world.flush(true);
  assert.equal(world.mapper.theirsToIpref(encoded).status, "found");
});

test("a mapping made by a packet lives 60 s unless a local host answers", () => {
  const world = new World();
  assert.equal(world.mapper.iprefToTheirs(remote("9"), true).status, "pending");
  world.flush();
  const found = world.mapper.iprefToTheirs(remote("9"), true);
  assert.equal(found.status, "found");
  world.pass(61, 1);
  assert.equal(world.mapper.iprefToTheirs(remote("9"), false).status, "refused");
  assert.equal(world.mapper.iprefToTheirs(remote("10"), true).status, "pending");
  world.flush();
  const second = world.mapper.iprefToTheirs(remote("10"), true);
  assert.ok(second.status === "found");
  assert.equal(world.mapper.theirsToIpref(second.value).status, "found");
  world.pass(3 * HOUR);
  assert.equal(world.mapper.iprefToTheirs(remote("10"), false).status, "found");
});

test("workers miss a provisional mapping by encoded address until it is confirmed", () => {
  const world = new World();
  world.mapper.iprefToTheirs(remote("9"), true);
  world.flush();
  const found = world.mapper.iprefToTheirs(remote("9"), true);
  assert.ok(found.status === "found");
  const view = new DataView(found.value.bytes.buffer);
  assert.equal(world.table.findByLocal(view, 0), 0);
  world.mapper.theirsToIpref(found.value);
  assert.notEqual(world.table.findByLocal(view, 0), 0);
});

test("a resolver confirms a provisional mapping and waits until that is stored", () => {
  const world = new World();
  world.mapper.iprefToTheirs(remote("9"), true);
  world.flush();
  assert.equal(world.mapper.getEncodedAddress(ip(GW), 9n).status, "pending");
  world.flush();
  const found = world.mapper.getEncodedAddress(ip(GW), 9n);
  assert.ok(found.status === "found");
  world.pass(2 * HOUR);
  assert.equal(world.mapper.theirsToIpref(found.value).status, "found");
});

test("an unused mapping expires after 4 h, rests 6 h with its value, then is recovered", () => {
  const world = new World();
  const encoded = world.resolve(GW, "5");
  world.pass(4 * HOUR - 120);
  assert.equal(world.mapper.statistics().expired, 0);
  world.pass(240);
  assert.equal(world.mapper.statistics().expired, 1);
  assert.equal(world.mapper.theirsToIpref(encoded).status, "refused");
  world.pass(6 * HOUR - 300);
  assert.equal(world.mapper.statistics().recovered, 0);
  assert.ok(sameAddress(world.resolve(GW, "5"), encoded), "revived with the same value");
  world.pass(10 * HOUR + 300);
  assert.equal(world.mapper.statistics().recovered, 1);
  assert.equal(world.mapper.statistics().records, 0);
});

test("an expired host gets its reference back", () => {
  const world = new World();
  const reference = world.reference("10.1.1.1");
  world.pass(5 * HOUR);
  assert.equal(world.mapper.iprefToOurs({ context: ip(GW), reference }).status, "refused");
  assert.equal(world.reference("10.1.1.1"), reference);
  assert.equal(world.mapper.statistics().revived, 1);
});

test("the stamp of a worker keeps a mapping alive, with a write at most once an hour", () => {
  const world = new World();
  const encoded = world.resolve(GW, "5");
  const record = world.table.findByLocal(new DataView(encoded.bytes.buffer), 0);
  for (let minute = 0; minute < 14 * 24 * 60; minute += 5) {
    world.table.stamp(record, world.now);
    world.pass(300, 300);
  }
  assert.equal(world.mapper.theirsToIpref(encoded).status, "found");
  const { refreshed } = world.mapper.statistics();
  assert.ok(refreshed >= 300 && refreshed <= 14 * 24, `${refreshed} refreshes in two weeks`);
});

test("restart keeps live mappings, resting ones and their values", () => {
  const first = new World();
  const live = first.resolve(GW, "5");
  const reference = first.reference("10.1.1.1");
  const second = new World({ store: first.store, wallSeconds: 1_000_000 + 2 * HOUR });
  assert.ok(sameAddress(second.resolve(GW, "5"), live));
  assert.equal(second.reference("10.1.1.1"), reference);
  const third = new World({ store: first.store, wallSeconds: 1_000_000 + 7 * HOUR });
  assert.equal(third.mapper.theirsToIpref(live).status, "refused");
  assert.ok(sameAddress(third.resolve(GW, "5"), live));
});

test("restart drops what has rested long enough, and clocks never run backwards", () => {
  const first = new World();
  first.resolve(GW, "5");
  first.pass(HOUR);
  const late = new World({ store: first.store, wallSeconds: 1_000_000 + 20 * HOUR });
  assert.equal(late.mapper.statistics().records, 0);
  late.flush();
  const back = new World({ store: first.store, wallSeconds: 5 });
  assert.ok(back.now >= HOUR);
});

test("a changed public address changes no mapping", () => {
  const first = new World();
  const reference = first.reference("10.1.1.1");
  const second = new World({ store: first.store, publicAddress: "203.0.113.9" });
  const found = second.mapper.oursToIpref(ip("10.1.1.1"), true);
  assert.ok(found.status === "found");
  assert.equal(found.value.reference, reference);
  assert.equal(formatIp(found.value.context), "203.0.113.9");
  assert.equal(
    second.mapper.iprefToOurs({ context: ip("203.0.113.9"), reference }).status,
    "found",
  );
});

test("getEncodedAddress() knows the own gateway and own hosts and refuses nonsense", () => {
  const world = new World();
  const reference = world.reference("10.1.1.1");
  const own = world.mapper.getEncodedAddress(ip("198.51.100.1"), 1n);
  assert.equal(own.status === "found" && formatIp(own.value), "10.240.0.1");
  const host = world.mapper.getEncodedAddress(ip("198.51.100.1"), reference);
  assert.equal(host.status === "found" && formatIp(host.value), "10.1.1.1");
  for (const [gateway, value] of [
    ["198.51.100.1", 77n],
    ["0.0.0.0", 5n],
    ["224.0.0.1", 5n],
    ["127.0.0.1", 5n],
    [GW, 0n],
  ] as const) {
    assert.equal(world.mapper.getEncodedAddress(ip(gateway), value).status, "refused", gateway);
  }
});

test("one context makes at most 50 mappings a second by packets, all contexts 500", () => {
  const world = new World();
  let made = 0;
  for (let reference = 1; reference <= 100; reference++) {
    const { status } = world.mapper.iprefToTheirs(remote(`${reference}`), true);
    if (status === "pending") made++;
  }
  assert.equal(made, 50);
  for (let other = 0; other < 600; other++) {
    const gateway = `192.0.${10 + (other >> 8)}.${other & 255}`;
    if (world.mapper.iprefToTheirs(remote("5", gateway), true).status === "pending") made++;
  }
  assert.equal(made, 500);
  assert.equal(world.mapper.statistics().refused.get("mapping-rate"), 50 + 150);
});

test("a context gets at most a quarter of the space, uncontacted ones half of it together", () => {
  const world = new World({ recordsMax: 400, limits: { perContextRate: 1000, totalRate: 5000 } });
  let made = 0;
  for (let reference = 1; reference <= 200; reference++) {
    const { status } = world.mapper.iprefToTheirs(remote(`${reference}`), true);
    if (status === "pending") made++;
  }
  assert.equal(made, 100);
  for (let other = 1; other <= 200; other++) {
    const { status } = world.mapper.iprefToTheirs(remote("5", `192.0.3.${other}`), true);
    if (status === "pending") made++;
  }
  assert.equal(made, 200);
  assert.ok(world.mapper.statistics().refused.get("mapping-quota")! >= 200);
  world.flush();
  world.resolve("192.0.4.1", "7");
});

test("the longest expired mapping gives way when the space is full", () => {
  const world = new World({ recordsMax: 100 });
  const first = world.resolve("192.0.4.1", "1");
  world.pass(10);
  for (let other = 2; other <= 100; other++) world.resolve(`192.0.4.${other}`, "1");
  assert.equal(world.mapper.getEncodedAddress(ip("192.0.5.1"), 1n).status, "refused");
  world.pass(4 * HOUR + 20, 600);
  world.resolve("192.0.5.1", "1");
  const { reclaimed } = world.mapper.statistics();
  assert.equal(reclaimed, 1);
  const again = world.mapper.getEncodedAddress(ip("192.0.4.2"), 1n);
  assert.equal(again.status, "pending");
  assert.equal(world.mapper.theirsToIpref(first).status, "refused");
});

for (const net of ["10.96.0.0/19", "10.240.0.0/19", "10.240.128.0/17", "10.240.192.0/18"]) {
  test(`all usable addresses of ${net} are given out, none twice, none reserved`, () => {
    const world = new World({ encodeNet: net, recordsMax: 40_000 });
    const seen = new Set<string>();
    for (let context = 0; ; context++) {
      const gateway = ip(`192.${context >> 8}.${context & 255}.1`);
      let status = "pending";
      for (let value = 1n; value <= 500n && status === "pending"; value++) {
        ({ status } = world.mapper.getEncodedAddress(gateway, value));
      }
      if (status === "refused") break;
    }
    world.flush();
    world.mapper.forEachMapping(({ address }) => {
      assert.ok(address.bytes[2]! >= 16, formatIp(address));
      seen.add(formatIp(address));
    });
    assert.equal(seen.size, world.mapper.statistics().encodedAddresses);
    assert.equal(world.table.used, seen.size);
    assert.ok(!seen.has(net.replace(/0\/.*/, "1")), "the gateway's own address");
  });
}

test("records are hidden in the shared table exactly when they are not active", () => {
  const world = new World();
  world.resolve(GW, "5");
  world.mapper.getEncodedAddress(ip(GW), 6n);
  const flags = [1, 2].map((number) => world.table.flags(world.table.offsetOf(number)));
  assert.deepEqual(flags, [0, FLAG_INACTIVE]);
});
