/** The hash of a set (spec/dns-agent.md 6). */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Fnv1a, type HostRecord, hostSetHash, hostSetOf } from "../../src/agent/host-set.js";
import { toHex } from "../../src/base/hex.js";
import { parseIp } from "../../src/base/ip.js";

function record(gateway: string, reference: number, ip: string): HostRecord {
  const [gw, host] = [parseIp(gateway)!, parseIp(ip)!];
  return { gateway: gw, reference: BigInt(reference), ip: host, label: "h" };
}

function hashOf(records: readonly HostRecord[]): string {
  return toHex(hostSetOf(records).hash);
}

function bare(text: string): string {
  const hash = new Fnv1a();
  hash.add(new TextEncoder().encode(text));
  return toHex(hash.bytes());
}

test("check values of the bare function", () => {
  assert.equal(bare("a"), "af63dc4c8601ec8c");
  assert.equal(bare("foobar"), "85944171f73967e8");
  assert.equal(bare(""), "cbf29ce484222325");
});

test("the worked examples", () => {
  const first = record("192.0.2.1", 1025, "10.0.0.10");
  const second = record("192.0.2.1", 1026, "10.0.0.22");
  assert.equal(hashOf([]), "cbf29ce484222325");
  assert.equal(hashOf([first]), "2921a3d330fd4f5b");
  assert.equal(hashOf([second, first]), "e7d9513f8e18e080");
  assert.equal(toHex(hostSetHash([second, first])), "2821ca48174e7ca0");
  assert.equal(hashOf([record("2001:db8::1", 1025, "fd00:1::10")]), "9af017776098aca1");
});

test("the vector of fifteen entries", () => {
  const rows: [string, number, number][] = [
    ["192.0.2.1", 1025, 11],
    ["192.0.2.1", 1100, 2],
    ["192.0.2.1", 1111, 51],
    ["192.0.2.1", 1114, 14],
    ["0.0.0.0", 1117, 18],
    ["192.0.2.1", 0, 17],
    ["192.0.2.1", 1026, 22],
    ["192.0.2.1", 1101, 2],
    ["192.0.2.1", 1112, 13],
    ["192.0.2.1", 1116, 15],
    ["192.0.2.1", 1, 1],
    ["192.0.2.1", 1027, 33],
    ["192.0.2.1", 1106, 7],
    ["192.0.2.1", 1113, 22],
    ["192.0.2.9", 1119, 19],
  ];
  const records = rows.map(([gw, ref, host]) => record(gw, ref, `10.0.0.${host}`));
  assert.equal(hashOf(records), "d2789dba0051366a");
});

test("the two halves compute what plain 64-bit arithmetic does", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      let naive = 0xcbf29ce484222325n;
      for (const byte of bytes) {
        naive = ((naive ^ BigInt(byte)) * 0x100000001b3n) & 0xffff_ffff_ffff_ffffn;
      }
      const hash = new Fnv1a();
      hash.add(bytes);
      assert.equal(toHex(hash.bytes()), naive.toString(16).padStart(16, "0"));
    }),
  );
});
