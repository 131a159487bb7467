import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fromHex, toHex } from "../../src/base/hex.js";
import { copyAddress, formatIp, parseIp } from "../../src/base/ip.js";
import { readReference } from "../../src/base/reference.js";
import { MapperService } from "../../src/broker/mapper-service.js";
import {
  buildGetEaRequest,
  readGetEaReply,
  setRequestId,
} from "../../src/dns/mapper-client-message.js";
import type { MapperResult } from "../../src/dns/ports.js";
import { readStringItem, recordLayout } from "../../src/wire/mapper-message.js";
import { World as Mapper } from "../mapper/world.js";
import { VECTORS_FOLDER } from "../support/vectors.js";
import { IprefWorld, type MapperMode } from "./ipref-world.js";

const GATEWAY = parseIp("203.0.113.5")!;

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** Asks and notes the answer and when it came. */
function ask(world: IprefWorld, reference = 1025n, context = GATEWAY, version: 4 | 6 = 4) {
  const seen: { result?: MapperResult; atMs?: number } = {};
  world.mapper
    .getEncodedAddress(context, reference, "h.example.", version)
    .then((result) => Object.assign(seen, { result, atMs: world.nowMs }));
  return seen;
}

test("a request has the octets of spec/resolver.md 1.8", async () => {
  const world = new IprefWorld();
  const seen = ask(world);
  await world.run();
  const { bytes } = world.gateway.requests[0]!;
  assert.equal(
    hex(bytes).replace(/^(1147)..../, "$1----"),
    "1147----4400000c0000000000000000cb00710500000000000000000000000000000401040a682e6578616d706c652e",
  );
  assert.equal(bytes.length, 48);
  assert.deepEqual(seen.result, { kind: "address", address: parseIp("10.240.0.1")! });
});

test("a request with IPv6 encoded addresses has 72 octets and version 64", async () => {
  const world = new IprefWorld();
  const seen = ask(world, 1n, GATEWAY, 6);
  await world.run();
  const { bytes } = world.gateway.requests[0]!;
  assert.equal(bytes.length, 72);
  assert.equal(bytes[4], 0x64);
  assert.equal(hex(bytes.subarray(6, 8)), "0012");
  assert.deepEqual(seen.result, { kind: "address", address: parseIp("fd00::1")! });
});

test("a request to a gateway over IPv6 has version 46", async () => {
  const world = new IprefWorld();
  ask(world, 1n, parseIp("2001:db8::1")!);
  await world.run();
  assert.equal(world.gateway.requests[0]!.bytes[4], 0x46);
});

test("equal requests in flight are one, different ones do not wait for each other", async () => {
  const world = new IprefWorld();
  world.gateway.delayMs = 5;
  const all = Array.from({ length: 1000 }, (_, index) => ask(world, BigInt(1 + (index % 500))));
  assert.equal(world.gateway.requests.length, 500);
  await world.run(5);
  assert.ok(all.every((seen) => seen.result?.kind === "address" && seen.atMs! <= world.nowMs));
  assert.equal(world.mapper.inFlightCount, 0);
});

test("ids of 100,000 requests in flight at once never collide", async () => {
  const world = new IprefWorld();
  world.gateway.mode = "silence";
  for (let round = 0; round < 10; round++) {
    world.gateway.requests.length = 0;
    for (let index = 0; index < 10_000; index++) ask(world, BigInt(1 + index));
    assert.equal(new Set(world.gateway.requests.map(({ id }) => id)).size, 10_000);
    await world.run(500);
    assert.equal(world.mapper.inFlightCount, 0);
  }
});

test("a silent mapper costs each request its own 500 ms", async () => {
  const world = new IprefWorld();
  world.gateway.mode = "silence";
  const startMs = world.nowMs;
  const first = ask(world, 1n);
  await world.run(200);
  const second = ask(world, 2n);
  await world.run(600);
  assert.equal(first.result?.kind, "unavailable");
  assert.equal(first.atMs! - startMs, 500);
  assert.equal(second.atMs! - startMs, 700);
});

test("three requests without an answer warn about the versions, once", async () => {
  const world = new IprefWorld();
  world.gateway.mode = "silence";
  for (let index = 1; index < 6; index++) {
    ask(world, BigInt(index));
    await world.run(500);
  }
  const warnings = world.texts("WARNING").filter((text) => text.includes("ea-ipver"));
  assert.equal(warnings.length, 1);
});

test("a refusal is a refusal", async () => {
  const world = new IprefWorld();
  world.gateway.mode = "refuse";
  const seen = ask(world);
  await world.run();
  assert.deepEqual(seen.result, { kind: "refused" });
});

test("replies with an unknown id or for another address are ignored", async () => {
  for (const mode of ["wrong-id", "other-record"] as const satisfies readonly MapperMode[]) {
    const world = new IprefWorld();
    world.gateway.mode = mode;
    const seen = ask(world);
    await world.run(499);
    assert.equal(seen.result, undefined);
    assert.equal(world.gateway.connectCount, 1);
    await world.run(1);
    assert.equal(seen.result!.kind, "unavailable");
  }
});

test("a malformed message closes the connection and the request is sent once more", async () => {
  for (const mode of ["wrong-version", "short"] as const satisfies readonly MapperMode[]) {
    const world = new IprefWorld();
    let lostCount = 0;
    world.mapper.onLost(() => lostCount++);
    world.mapper.start();
    await world.run(1000);
    world.gateway.mode = mode;
    world.gateway.delayMs = 1;
    const seen = ask(world);
    await world.pass(1);
    assert.equal(lostCount, 1);
    assert.equal(world.gateway.connectCount, 2);
    assert.equal(world.gateway.requests.length, 2);
    await world.run(1);
    assert.equal(seen.result!.kind, "unavailable");
    assert.equal(world.gateway.requests.length, 2);
    // The next connection waits, so that two bad programs do not keep each other busy.
    assert.equal(world.gateway.connectCount, 2);
    world.gateway.mode = "answer";
    await world.run(250);
    const later = ask(world, 7n);
    await world.run(1);
    assert.equal(later.result!.kind, "address");
  }
});

test("a lost connection is opened again at once and requests in flight are answered", async () => {
  const world = new IprefWorld();
  world.mapper.start();
  await world.run(1000);
  world.gateway.mode = "silence";
  const seen = ask(world);
  world.gateway.mode = "answer";
  world.gateway.restart();
  await world.run();
  assert.equal(world.gateway.connectCount, 2);
  assert.deepEqual(seen.result, { kind: "address", address: parseIp("10.240.0.101")! });
});

test("a request is not sent a third time", async () => {
  const world = new IprefWorld();
  world.mapper.start();
  await world.run(1000);
  world.gateway.mode = "silence";
  const seen = ask(world);
  world.gateway.restart();
  await world.run(260);
  assert.equal(world.gateway.requests.length, 2);
  world.gateway.restart();
  await world.run();
  assert.equal(seen.result!.kind, "unavailable");
});

test("a mapper that is gone is tried after 250 ms up to every 5 s and fails requests at once", async () => {
  const world = new IprefWorld();
  world.gateway.isListening = false;
  world.mapper.start();
  const attempts: number[] = [];
  const startMs = world.nowMs;
  let before = world.gateway.connectCount;
  for (let ms = 0; ms < 20_000; ms += 50) {
    await world.pass(50);
    if (world.gateway.connectCount > before) attempts.push(world.nowMs - startMs);
    before = world.gateway.connectCount;
  }
  assert.deepEqual(attempts, [250, 750, 1750, 3750, 7750, 12_750, 17_750]);
  assert.equal(world.texts("WARNING").length, 1);
  assert.equal(world.mapper.isReady, false);
  const seen = ask(world);
  await world.run();
  assert.equal(seen.result!.kind, "unavailable");
  world.gateway.isListening = true;
  await world.run(250);
  const later = ask(world);
  await world.run();
  assert.equal(later.result!.kind, "address");
  assert.equal(world.mapper.isReady, true);
});

test("a mapper that closes at once is not asked in a loop", async () => {
  const world = new IprefWorld();
  world.gateway.mode = "close";
  ask(world);
  await world.run(2000);
  assert.ok(world.gateway.connectCount <= 8, `${world.gateway.connectCount} connections`);
});

test("messages nobody asked for change nothing unless they are malformed", async () => {
  const world = new IprefWorld();
  world.mapper.start();
  world.gateway.inject(Uint8Array.of(0x11, 0xc7, 0, 1, 0x44, 0, 0, 2));
  assert.equal(world.gateway.connectCount, 1);
  await world.run(300);
  world.gateway.inject(Uint8Array.of(0x12, 0xc7, 0, 1, 0x44, 0, 0, 2));
  assert.equal(world.gateway.connectCount, 2);
});

test("closing ends all requests", async () => {
  const world = new IprefWorld();
  world.gateway.mode = "silence";
  const seen = ask(world);
  world.mapper.close();
  await world.run();
  assert.equal(seen.result!.kind, "unavailable");
  const after = ask(world);
  await world.run();
  assert.equal(after.result!.kind, "unavailable");
});

interface Exchange {
  readonly name: string;
  readonly request_hex: string;
  readonly response_hex: string | null;
}

for (const [local, tunnel] of [
  [4, 4],
  [4, 6],
  [6, 4],
  [6, 6],
] as const) {
  const file = `${VECTORS_FOLDER}/mapper-ea${local}-gw${tunnel}.json`;
  const skip = existsSync(file) ? false : `${file} does not exist`;
  test(`requests and replies of the original, ea${local}, gw${tunnel}, octet for octet`, {
    skip,
  }, () => {
    const { exchanges } = JSON.parse(readFileSync(file, "utf8"));
    let builtCount = 0;
    let readCount = 0;
    for (const { name, request_hex, response_hex } of exchanges as Exchange[]) {
      const request = fromHex(request_hex)!;
      const layout = recordLayout("oldv1", { local, tunnel });
      const item = readStringItem(request, request.length, 8 + layout.length);
      const isOurs = request_hex.startsWith("1147") && item?.end === request.length;
      if (!isOurs || request[4] !== (local << 4) + tunnel || request[5] !== 0) continue;
      const ipIsZero = request.subarray(8, 8 + layout.gw).every((octet) => octet === 0);
      if (!ipIsZero || 4 * (request[6]! * 256 + request[7]!) !== request.length) continue;
      const context = copyAddress(request, 8 + layout.gw, tunnel);
      const reference = readReference(request, 8 + layout.reference);
      const built = buildGetEaRequest(context, reference, item!.text, local);
      setRequestId(built, request[2]! * 256 + request[3]!);
      assert.equal(toHex(built), request_hex, name);
      builtCount++;
      if (response_hex === null) continue;
      const reply = readGetEaReply(fromHex(response_hex)!, built);
      const isAck = response_hex.startsWith("1187");
      assert.equal(reply.kind, isAck ? "address" : "refused", name);
      readCount++;
    }
    assert.ok(builtCount > 0 && readCount > 0, `${builtCount} built, ${readCount} read`);
  });
}

test("our gateway answers our client", async () => {
  const world = new IprefWorld();
  const mapper = new Mapper();
  let deliver: (bytes: Uint8Array) => void = () => {};
  const service = new MapperService({
    mapper: mapper.mapper,
    versions: { local: 4, tunnel: 4 },
    nowMs: () => world.nowMs,
    reply: (_, bytes) => deliver(bytes),
    onComplaint: (kind) => assert.fail(String(kind)),
  });
  mapper.onSettled = (token, isStored) => service.settled(token, isStored);
  world.gateway.connect = (events) => {
    deliver = (bytes) => events.onMessage(bytes);
    return {
      send: (message) => {
        service.handle(1, message.slice());
        return true;
      },
      close: () => {},
    };
  };
  const seen = [ask(world, 5n), ask(world, 6n), ask(world, 5n)];
  mapper.flush();
  await world.run();
  const texts = seen.map(({ result }) =>
    result?.kind === "address" ? formatIp(result.address) : result?.kind,
  );
  assert.match(texts[0]!, /^10\.2[45]/);
  assert.equal(texts[0], texts[2]);
  assert.notEqual(texts[0], texts[1]);
});
