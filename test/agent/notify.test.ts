/** NOTIFY (RFC 1996): who is answered, and what it causes. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { findTsig, signMessage, type TsigKey, TsigStream } from "../../src/agent/tsig.js";
import { parseIp } from "../../src/base/ip.js";
import { nameOf } from "../../src/wire/dns/name.js";
import { FLAG_QR, OPCODE_NOTIFY, RCODE_NOTAUTH, TYPE_SOA } from "../../src/wire/dns/numbers.js";
import { AgentLab, hmac, response, soaRecord, txtRecord, ZoneServer } from "./agent-lab.js";

const NOTIFY_FLAGS = OPCODE_NOTIFY << 11;
const SERVER = parseIp("192.0.2.53")!;
const NOW = 1_750_000_000;
const KEY: TsigKey = {
  name: nameOf("transfer."),
  algorithm: "sha256",
  secret: new Uint8Array(32).fill(7),
};

function notify(serial: number, zone = "example.com."): Uint8Array {
  const apex = nameOf(zone);
  return response({ id: 9, type: TYPE_SOA }, [soaRecord(serial, apex)], NOTIFY_FLAGS, apex);
}

function lab(server: ZoneServer, keys?: ConstructorParameters<typeof AgentLab>[0]["settings"]) {
  const made = new AgentLab({
    servers: { "192.0.2.53:53": server },
    ...(keys && { settings: keys }),
  });
  made.names.set("www.lan", ["10.0.0.10"]);
  made.agent.start();
  return made;
}

test("a server's NOTIFY is answered and followed by a transfer", async () => {
  const server = new ZoneServer(1, []);
  const { agent, run, records } = withMethods(lab(server));
  await run(10);
  server.publish([txtRecord("www", "AA 198.51.100.1 + 1025")]);
  const reply = agent.notify(notify(2), SERVER)!;
  assert.equal(reply[0]! * 256 + reply[1]!, 9);
  assert.equal((reply[2]! << 8) | reply[3]!, FLAG_QR | NOTIFY_FLAGS | 0x0400);
  await run(1);
  assert.deepEqual(records(), ["198.51.100.1+1025=10.0.0.10"]);
});

function withMethods(made: AgentLab) {
  return {
    agent: made.agent,
    run: (seconds: number) => made.run(seconds),
    records: () => made.records(),
  };
}

test("the serial in a NOTIFY is not believed", async () => {
  const server = new ZoneServer(1, []);
  const { agent, run } = withMethods(lab(server));
  await run(10);
  agent.notify(notify(99), SERVER);
  await run(1);
  assert.equal(server.transfers, 1);
  assert.equal(server.soaQueries, 2);
});

test("a flood of NOTIFY causes one question", async () => {
  const server = new ZoneServer(1, []);
  const { agent, run } = withMethods(lab(server));
  await run(10);
  for (let count = 0; count < 1000; count++) agent.notify(notify(2), SERVER);
  await run(1);
  assert.equal(server.soaQueries, 2);
});

test("strangers, other zones, questions and garbage get no answer", async () => {
  const server = new ZoneServer(1, []);
  const { agent, run } = withMethods(lab(server));
  await run(10);
  assert.equal(agent.notify(notify(2), parseIp("203.0.113.9")!), undefined);
  assert.equal(agent.notify(notify(2, "example.net."), SERVER), undefined);
  assert.equal(agent.notify(response({ id: 1, type: TYPE_SOA }, [], 0), SERVER), undefined);
  const whole = notify(2);
  for (let length = 0; length < whole.length; length++) {
    assert.equal(agent.notify(whole.slice(0, length), SERVER), undefined);
  }
  await run(1);
  assert.equal(server.soaQueries, 1);
});

test("a signed NOTIFY is checked and its answer signed; a wrong signature is refused", async () => {
  const server = new ZoneServer(1, []);
  const keys = { keys: { common: KEY, byServer: new Map() } };
  const { agent } = withMethods(lab(server, keys));
  const signed = signMessage(notify(2), KEY, hmac, NOW);
  const reply = agent.notify(signed.message, SERVER)!;
  assert.ok(typeof findTsig(reply) === "object");
  assert.equal(new TsigStream(KEY, hmac, signed.mac).check(reply, NOW), undefined);
  const forged = signMessage(notify(2), { ...KEY, secret: new Uint8Array(32) }, hmac, NOW);
  const refusal = agent.notify(forged.message, SERVER)!;
  assert.equal(refusal[3]! & 15, RCODE_NOTAUTH);
});
