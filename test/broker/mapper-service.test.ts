/** The mapper socket's protocol: recorded exchanges of the original, and what goes beyond them. */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fromHex, toHex } from "../../src/base/hex.js";
import { formatIp, parsePrefix, prefixContains } from "../../src/base/ip.js";
import {
  type Complaint,
  MapperService,
  type MapperServiceOptions,
  REPLY_DEADLINE_MS,
} from "../../src/broker/mapper-service.js";
import { ip, ref, World, type WorldOptions } from "../mapper/world.js";
import { VECTORS_FOLDER } from "../support/vectors.js";

interface Reply {
  readonly connection: number;
  readonly hex: string;
}

/** A service on a simulated mapper. */
class Desk {
  readonly world: World;
  readonly service: MapperService;
  readonly replies: Reply[] = [];
  readonly complaints: Complaint[] = [];
  nowMs = 0;

  constructor(options: WorldOptions = {}, more: Partial<MapperServiceOptions> = {}) {
    this.world = new World(options);
    const { localVersion, tunnelVersion } = this.world.table.shape;
    this.service = new MapperService({
      mapper: this.world.mapper,
      versions: { local: localVersion, tunnel: tunnelVersion },
      nowMs: () => this.nowMs,
      reply: (connection, bytes) => this.replies.push({ connection, hex: toHex(bytes) }),
      onComplaint: (kind) => this.complaints.push(kind),
      ...more,
    });
    this.world.onSettled = (token, isStored) => this.service.settled(token, isStored);
  }

  /** Sends a message, stores what waits, and returns the one reply, or null. */
  ask(hex: string, connection = 1): string | null {
    const before = this.replies.length;
    this.service.handle(connection, fromHex(hex.replaceAll(" ", ""))!);
    this.world.flush();
    assert.ok(this.replies.length <= before + 1);
    const reply = this.replies[before];
    if (reply !== undefined) assert.equal(reply.connection, connection);
    return reply?.hex ?? null;
  }
}

interface Exchange {
  readonly name: string;
  readonly connection: number;
  readonly request_hex: string;
  readonly response_hex: string | null;
  readonly suspect?: boolean;
  readonly variable?: readonly { offset: number; length: number; rule: string }[];
}

/** What a correct gateway answers to exchanges whose recorded answer is suspect. */
function suspectAnswer(exchange: Exchange, host: string): string | null {
  const request = exchange.request_hex;
  const id = request.slice(4, 8);
  const ipver = request.slice(8, 10);
  if (exchange.name === "get-ea-own-host") {
    return (
      exchange.response_hex!.slice(0, 16) + host + exchange.response_hex!.slice(16 + host.length)
    );
  }
  if (exchange.name.startsWith("get-ea-zero")) return `11c7${id}${ipver}000002`;
  if (exchange.name === "hash-very-short-names") return request.replace(/^114f/, "118f");
  return exchange.response_hex;
}

for (const [local, tunnel] of [
  [4, 4],
  [4, 6],
  [6, 4],
  [6, 6],
] as const) {
  const file = `${VECTORS_FOLDER}/mapper-ea${local}-gw${tunnel}.json`;
  const skip = existsSync(file) ? false : `${file} does not exist`;
  test(`recorded exchanges of ea${local}, gw${tunnel}`, { skip }, () => {
    const { config, exchanges } = JSON.parse(readFileSync(file, "utf8"));
    const desk = new Desk({
      encodeNet: config.ea_net,
      publicAddress: config.gw_pub,
      gatewayReference: config.gw_ref,
    });
    const ours = config.mappings.filter((entry: { kind: string }) => entry.kind === "our");
    const theirs = config.mappings.filter((entry: { kind: string }) => entry.kind === "their");
    const records = config.mappings.map((entry: Record<string, string>, index: number) => ({
      kind: entry.kind === "our" ? "local" : "remote",
      address: ip(entry.ip ?? entry.ea!),
      gateway: ip(entry.gw!),
      reference: ref(entry.ref!),
      line: index + 1,
      column: 1,
    }));
    assert.deepEqual(desk.world.mapper.installHosts("/etc/hosts", records), []);
    assert.ok(ours.length > 0 && theirs.length > 0);
    const host = toHex(ip(ours[0].ip).bytes);
    let allocated = "";
    for (const exchange of exchanges as Exchange[]) {
      desk.world.now += 2;
      const got = desk.ask(exchange.request_hex, exchange.connection);
      const wanted = exchange.suspect ? suspectAnswer(exchange, host) : exchange.response_hex;
      if (exchange.suspect || exchange.variable === undefined || got === null) {
        assert.equal(got, wanted, exchange.name);
        continue;
      }
      const { offset, length, rule } = exchange.variable[0]!;
      const [start, end] = [2 * offset, 2 * (offset + length)];
      const mask = (hex: string) => hex.slice(0, start) + hex.slice(end);
      assert.equal(mask(got), mask(wanted!), exchange.name);
      const address = got.slice(start, end);
      if (rule.startsWith("the address")) assert.equal(address, allocated, exchange.name);
      else if (exchange.name === "get-ea-new") allocated = address;
      const bytes = fromHex(address)!;
      assert.ok(prefixContains(parsePrefix(config.ea_net)!, { version: local, bytes }));
      assert.ok(bytes[bytes.length - 2]! >= 16, exchange.name);
    }
  });
}

const REQUEST =
  "11471234 4400000e 00000000 00000000 c0000207 00000000000000000000000000000401 0410 7765622e6578616d706c652e636f6d2e 0000";

/** MC_GET_EA for 192.0.2.7 + `reference` under packet id `id`. */
function request(id: number, reference: number): string {
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");
  return `1147${hex(id, 4)}44000009${"00".repeat(8)}c0000207${hex(reference, 32)}`;
}

test("a reply is held until its mapping is stored", () => {
  const desk = new Desk();
  desk.service.handle(1, fromHex(REQUEST.replaceAll(" ", ""))!);
  assert.equal(desk.replies.length, 0);
  assert.equal(desk.service.heldCount, 1);
  desk.world.flush();
  assert.equal(desk.service.heldCount, 0);
  assert.match(desk.replies[0]!.hex, /^1187123444000009 ?0a/);
  assert.equal(desk.replies[0]!.hex.length, 72);
});

test("a thousand requests of ten clients are stored in one batch and matched by id", () => {
  const desk = new Desk();
  for (let id = 0; id < 1000; id++) {
    desk.service.handle(id % 10, fromHex(request(id, 5000 + (id % 700)))!);
  }
  assert.equal(desk.replies.length, 0);
  desk.world.flush();
  assert.equal(desk.world.settled.length, 1);
  assert.equal(desk.replies.length, 1000);
  const byReference = new Map<string, string>();
  for (const { connection, hex } of desk.replies) {
    const id = Number.parseInt(hex.slice(4, 8), 16);
    assert.equal(id % 10, connection);
    const reference = hex.slice(-32);
    assert.equal(Number.parseInt(reference, 16), 5000 + (id % 700));
    const known = byReference.get(reference);
    assert.ok(known === undefined || known === hex.slice(16, 24));
    byReference.set(reference, hex.slice(16, 24));
  }
  assert.equal(new Set(byReference.values()).size, 700);
});

test("a store that refuses means NACK, and the next try may succeed", () => {
  const desk = new Desk();
  desk.service.handle(1, fromHex(REQUEST.replaceAll(" ", ""))!);
  desk.world.flush(true);
  assert.deepEqual(desk.replies, [{ connection: 1, hex: "11c7123444000002" }]);
  assert.match(desk.ask(REQUEST)!, /^1187/);
});

test("a reply that waits longer than 359 ms is a NACK, and only one reply is sent", () => {
  const desk = new Desk();
  desk.service.handle(1, fromHex(REQUEST.replaceAll(" ", ""))!);
  desk.nowMs = REPLY_DEADLINE_MS - 1;
  desk.service.expire();
  assert.equal(desk.replies.length, 0);
  desk.nowMs = REPLY_DEADLINE_MS;
  desk.service.expire();
  assert.deepEqual(desk.replies, [{ connection: 1, hex: "11c7123444000002" }]);
  desk.world.flush();
  assert.equal(desk.replies.length, 1);
  assert.match(desk.ask(REQUEST)!, /^1187/);
});

test("newv1 requests are answered in newv1", () => {
  const desk = new Desk();
  const reply = desk.ask(
    "114712340000000f 04040404 00000000 00000000 c0000207 00000000000000000000000000000401 0410 7765622e6578616d706c652e636f6d2e 0000",
  );
  assert.match(reply!, /^118712340000000a040404040a.{6}00000000c00002070{28}0401$/);
  assert.equal(desk.ask(REQUEST)!.slice(16, 24), reply!.slice(24, 32));
});

test("newv1 host data may mix record sizes; a bad prefix voids the message", () => {
  const desk = new Desk();
  const names = "0401610004016200";
  const good = `04040404 00000000 0a00000a c6336401 ${"00".repeat(14)}0401`;
  const other = `06100404 ${"00".repeat(16)} ${"20".repeat(16)} c6336401 ${"00".repeat(14)}0402`;
  const body = `deadbeef e7d9513f8e18e080 ${names} ${good} ${other}`.replaceAll(" ", "");
  const words = (8 + body.length / 2) / 4;
  const head = `114e2002000000${words.toString(16).padStart(2, "0")}`;
  assert.equal(desk.ask(head + body), `118e200200000007${body.slice(0, 40)}`);
  assert.equal(formatIp(found(desk, 0x401n)), "10.0.0.10");
  const hash = `114f200300000007 00000002 e7d9513f8e18e080 ${names}`.replaceAll(" ", "");
  assert.match(desk.ask(hash)!, /^118f/);
  assert.equal(desk.ask((head + body).replace("06100404", "06040404")), null);
  assert.ok(desk.complaints.includes("malformed address record"));
});

function found(desk: Desk, reference: bigint) {
  const lookup = desk.world.mapper.iprefToOurs({ context: ip("198.51.100.1"), reference });
  assert.ok(lookup.status === "found");
  return lookup.value;
}

test("rights: a client may resolve or publish only if it was told so", () => {
  const desk = new Desk();
  desk.service.connected(3, { uid: 1000, mayResolve: false, mayPublish: true });
  desk.service.connected(4, { uid: 1001, mayResolve: true, mayPublish: false });
  assert.equal(desk.ask(REQUEST, 3), null);
  assert.match(desk.ask(REQUEST, 4)!, /^1187/);
  const hash = `114f200300000007 00000002 e7d9513f8e18e080 0401610004016200`;
  assert.equal(desk.ask(hash, 4), null);
  assert.match(desk.ask(hash, 3)!, /^11cf/);
  assert.deepEqual(desk.service.complaints(), new Map([["not permitted", 2]]));
});

test("a user's quota of new mappings leaves known ones alone", () => {
  const desk = new Desk({}, { newPerUserRate: 5 });
  desk.service.connected(3, { uid: 1000, mayResolve: true, mayPublish: true });
  const ask = (index: number) => desk.ask(request(index, 900 + index), 3)!;
  const replies = Array.from({ length: 8 }, (_, index) => ask(index));
  assert.equal(replies.filter((reply) => reply.startsWith("1187")).length, 5);
  assert.match(ask(0), /^1187/);
  desk.nowMs += 1000;
  assert.match(ask(7), /^1187/);
});

test("the superuser has no quota of new mappings", () => {
  const desk = new Desk({}, { newPerUserRate: 5 });
  desk.service.connected(3, { uid: 0, mayResolve: true, mayPublish: true });
  const replies = Array.from({ length: 8 }, (_, index) => desk.ask(request(index, 900 + index), 3));
  assert.ok(replies.every((reply) => reply!.startsWith("1187")));
});

test("complaints are counted all and told once a second per kind", () => {
  const desk = new Desk();
  for (let count = 0; count < 100; count++) desk.ask("1260");
  assert.deepEqual(desk.complaints, ["shorter than its header"]);
  assert.equal(desk.service.complaints().get("shorter than its header"), 100);
  desk.service.handle(1, new Uint8Array(8), true);
  assert.equal(desk.service.complaints().get("truncated"), 1);
});

test("replies of a client that is gone are dropped", () => {
  const desk = new Desk();
  desk.service.handle(1, fromHex(request(1, 900))!);
  desk.service.handle(2, fromHex(request(2, 900))!);
  desk.service.disconnected(1);
  desk.world.flush();
  assert.deepEqual(
    desk.replies.map(({ connection }) => connection),
    [2],
  );
});

test("no truncation or change of one byte of a message breaks the service", () => {
  const desk = new Desk();
  const messages = [
    REQUEST,
    "114e2002 44000013 deadbeef e7d9513f8e18e080 0401610004016200 00000000 0a00000a c6336401 00000000000000000000000000000401 00000000 0a000016",
    "114f2003 44000007 00000002 e7d9513f8e18e080 0401610004016200",
  ].map((hex) => fromHex(hex.replaceAll(" ", ""))!);
  for (const message of messages) {
    for (let length = 0; length <= message.length; length++) {
      desk.service.handle(1, message.slice(0, length));
    }
    for (let at = 0; at < message.length; at++) {
      for (const value of [0, 1, 0x7f, 0xff]) {
        const changed = message.slice();
        changed[at] = value;
        desk.service.handle(1, changed);
      }
    }
  }
  desk.world.flush();
  assert.match(desk.ask(REQUEST)!, /^1187/);
});
