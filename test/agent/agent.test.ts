/** The DNS agent as a whole in simulated time (spec/dns-agent.md). */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { SourceStatus } from "../../src/agent/agent.js";
import { parseIp } from "../../src/base/ip.js";
import { FLAG_QR, RCODE_REFUSED, TYPE_SOA } from "../../src/wire/dns/numbers.js";
import {
  AgentLab,
  addHosts,
  addressRecord,
  chunks,
  manyHosts,
  response,
  soaRecord,
  txtRecord,
  ZoneServer,
} from "./agent-lab.js";

const WWW = txtRecord("www", "AA 198.51.100.1 + 1025");
const MAIL = txtRecord("mail", "AA 198.51.100.1 + 1026");
const WWW_LINE = "198.51.100.1+1025=10.0.0.10";
const MAIL_LINE = "198.51.100.1+1026=10.0.0.25";

function standardLab(server: ZoneServer, more: ConstructorParameters<typeof AgentLab>[0] = {}) {
  const lab = new AgentLab({ servers: { "192.0.2.53:53": server }, ...more });
  lab.names.set("www.lan", ["10.0.0.10"]);
  lab.names.set("mail.lan", ["10.0.0.25"]);
  lab.agent.start();
  return lab;
}

test("a published host reaches the mapper half a second after the first poll", async () => {
  const lab = standardLab(new ZoneServer(1, [WWW]));
  await lab.run(5.1);
  assert.deepEqual(lab.records(), []);
  await lab.run(0.5);
  assert.deepEqual(lab.records(), [WWW_LINE]);
  const [{ name, hostCount, isComplete, places }] = lab.agent.status() as [SourceStatus];
  assert.deepEqual([name, hostCount, isComplete], ["lan:example.com", 1, true]);
  assert.deepEqual(
    places.map(({ label, serial, failure }) => [label, serial, failure]),
    [["192.0.2.53:53", 1, undefined]],
  );
});

test("an equal serial is not transferred again, a newer one is", async () => {
  const server = new ZoneServer(1, [WWW]);
  const lab = standardLab(server);
  await lab.run(200);
  assert.equal(server.transfers, 1);
  assert.ok(server.soaQueries >= 3);
  server.publish([WWW, MAIL]);
  await lab.run(80);
  assert.deepEqual(lab.records(), [WWW_LINE, MAIL_LINE]);
});

test("a removed host goes with the next transfer, also the last one", async () => {
  const server = new ZoneServer(1, [WWW, MAIL]);
  const lab = standardLab(server);
  await lab.run(10);
  server.publish([MAIL]);
  await lab.run(80);
  assert.deepEqual(lab.records(), [MAIL_LINE]);
  server.publish([]);
  await lab.run(80);
  assert.deepEqual(lab.records(), []);
  assert.equal(lab.mapper.get("lan:example.com")!.hash, "cbf29ce484222325");
  assert.equal(lab.agent.status()[0]!.isComplete, true);
});

test("a server that breaks off in the middle changes nothing and is tried again soon", async () => {
  const server = new ZoneServer(1, [WWW]);
  const lab = standardLab(server);
  await lab.run(10);
  server.publish([WWW, MAIL]);
  server.script = (question) => {
    const whole = server.honest(question);
    if (question.type === TYPE_SOA) return whole;
    return [response(question, [soaRecord(server.serial), MAIL]), "break"];
  };
  await lab.run(80);
  assert.deepEqual(lab.records(), [WWW_LINE]);
  const transfers = server.transfers;
  server.script = undefined;
  await lab.run(50);
  assert.ok(server.transfers > transfers);
  assert.deepEqual(lab.records(), [WWW_LINE, MAIL_LINE]);
  assert.equal(lab.logged(/^E .*broke the connection off/).length, 1, "named once");
});

/** More records than a transfer may have. */
const FLOOD = new Array(70_000).fill(MAIL);

const LIES: Readonly<Record<string, (server: ZoneServer) => ZoneServer["honest"]>> = {
  "without an SOA at the beginning": (server) => (question) =>
    question.type === TYPE_SOA ? server.honest(question) : [response(question, [MAIL])],
  "with another SOA at the end": () => (question) =>
    question.type === TYPE_SOA
      ? [response(question, [soaRecord(9)])]
      : [response(question, [soaRecord(9), MAIL, soaRecord(8)])],
  "with records behind the end": () => (question) =>
    question.type === TYPE_SOA
      ? [response(question, [soaRecord(9)])]
      : [response(question, [soaRecord(9), soaRecord(9), MAIL])],
  "with a wrong message id": (server) => (question) =>
    server.honest({ ...question, id: question.id ^ 1 }),
  "that refuses": () => (question) => [response(question, [], FLAG_QR | RCODE_REFUSED)],
  "that echoes the question": () => (question) => [response(question, [], 0)],
  "with garbage": () => () => [Uint8Array.of(1, 2, 3)],
  "with another zone's SOA": () => (question) => [
    response(question, [soaRecord(9, WWW.owner), MAIL, soaRecord(9, WWW.owner)]),
  ],
  "without any record": () => (question) =>
    question.type === TYPE_SOA
      ? [response(question, [soaRecord(9)])]
      : [response(question, []), response(question, [])],
  "with too many records": () => (question) => {
    if (question.type === TYPE_SOA) return [response(question, [soaRecord(9)])];
    const flood = chunks(FLOOD, 700).map((part) => response(question, part));
    return [response(question, [soaRecord(9)]), ...flood, response(question, [soaRecord(9)])];
  },
};

for (const [what, script] of Object.entries(LIES)) {
  test(`an answer ${what} changes nothing`, async () => {
    const server = new ZoneServer(1, [WWW]);
    const lab = standardLab(server);
    await lab.run(10);
    server.serial = 9;
    server.script = script(server);
    await lab.run(150);
    assert.deepEqual(lab.records(), [WWW_LINE]);
    assert.ok(lab.logged(/^E lan:example\.com: 192\.0\.2\.53:53: /).length > 0);
  });
}

test("a refusal names the usual cause at hosting providers", async () => {
  const server = new ZoneServer(1, []);
  server.script = (question) => [response(question, [], FLAG_QR | RCODE_REFUSED)];
  const lab = standardLab(server);
  await lab.run(6);
  assert.match(lab.lines.join("\n"), /REFUSED: the server does not allow .*Hosting providers/);
});

test("failures back off: 5, 10, 20, 40 s, then at most the interval", async () => {
  const server = new ZoneServer(1, [WWW]);
  const times: number[] = [];
  server.script = (question) => {
    times.push(Math.round(lab.time.nowMs / 1000));
    return [response(question, [], FLAG_QR | RCODE_REFUSED)];
  };
  const lab: AgentLab = standardLab(server);
  await lab.run(250);
  assert.deepEqual(times, [5, 10, 20, 40, 80, 140, 200]);
});

test("a serial that goes back is named and changes nothing", async () => {
  const server = new ZoneServer(5, [WWW]);
  const lab = standardLab(server);
  await lab.run(10);
  server.serial = 4;
  server.records = [];
  await lab.run(90);
  assert.deepEqual(lab.records(), [WWW_LINE]);
  assert.ok(lab.logged(/serial of the zone went back: 4 is older than 5/).length > 0);
});

test("an incremental transfer is used, and replaced by a full one when it does not fit", async () => {
  const server = new ZoneServer(1, [WWW]);
  const lab = standardLab(server);
  await lab.run(10);
  server.publish([WWW, MAIL]);
  server.script = (question) => {
    if (question.serial === undefined) return server.honest(question);
    return [response(question, [soaRecord(2), soaRecord(1), soaRecord(2), MAIL, soaRecord(2)])];
  };
  await lab.run(80);
  assert.deepEqual(lab.records(), [WWW_LINE, MAIL_LINE]);
  assert.equal(lab.logged(/IXFR, serial 2/).length, 1);
  server.publish([WWW]);
  server.script = (question) => {
    if (question.serial === undefined) return server.honest(question);
    const unknown = txtRecord("other", "AA 198.51.100.1 + 1");
    return [response(question, [soaRecord(3), soaRecord(2), unknown, soaRecord(3), soaRecord(3)])];
  };
  await lab.run(80);
  assert.deepEqual(lab.records(), [WWW_LINE]);
  assert.equal(lab.logged(/AXFR, serial 3/).length, 1);
});

test("of three servers the stale one is outvoted, whichever it is", async () => {
  for (const stale of [0, 1, 2]) {
    const servers = [1, 2, 3].map((n) => new ZoneServer(2, n - 1 === stale ? [] : [WWW, MAIL]));
    servers[stale]!.serial = 1;
    const lab = standardLab(servers[0]!, {
      specs: ["lan:example.com:192.0.2.1,192.0.2.2,192.0.2.3"],
      servers: Object.fromEntries(servers.map((server, n) => [`192.0.2.${n + 1}:53`, server])),
    });
    await lab.run(10);
    assert.deepEqual(lab.records(), [WWW_LINE, MAIL_LINE], `stale server ${stale}`);
  }
});

test("of two servers one may be dead", async () => {
  const lab = standardLab(new ZoneServer(1, []), {
    specs: ["lan:example.com:192.0.2.1,192.0.2.2"],
    servers: { "192.0.2.2:53": new ZoneServer(1, [WWW]) },
  });
  await lab.run(10);
  assert.deepEqual(lab.records(), [WWW_LINE]);
});

test("two servers that disagree are settled by the newest serial after two rounds", async () => {
  const [old, fresh] = [new ZoneServer(1, [WWW]), new ZoneServer(2, [WWW, MAIL])];
  const lab = standardLab(old, {
    specs: ["lan:example.com:192.0.2.1,192.0.2.2"],
    servers: { "192.0.2.1:53": old, "192.0.2.2:53": fresh },
  });
  await lab.run(100);
  assert.deepEqual(lab.records(), []);
  assert.equal(lab.logged(/^W .*the servers disagree/).length, 1);
  await lab.run(100);
  assert.deepEqual(lab.records(), [WWW_LINE, MAIL_LINE]);
});

test("a restarted mapper gets everything again right after the reconnect", async () => {
  const lab = standardLab(new ZoneServer(1, [WWW]));
  await lab.run(10);
  lab.mapper.stop();
  await lab.run(30);
  lab.mapper.isUp = true;
  await lab.run(11);
  assert.deepEqual(lab.records(), [WWW_LINE]);
});

test("a mapper that comes back with its memory is only asked for the hash", async () => {
  const lab = standardLab(new ZoneServer(1, [WWW]));
  await lab.run(10);
  lab.mapper.stop(false);
  const before = lab.mapper.sent.length;
  lab.mapper.isUp = true;
  await lab.run(2);
  const commands = lab.mapper.sent.slice(before).map(({ bytes }) => bytes[1]);
  assert.deepEqual(commands, [0x4f]);
});

test("lost packets are sent again after five seconds with a new batch number", async () => {
  const lab = standardLab(new ZoneServer(1, [WWW]));
  lab.mapper.losses = 2;
  await lab.run(20);
  const data = lab.mapper.sent.filter(({ bytes }) => bytes[1] === 0x4e);
  const seconds = data.map(({ atMs }) => Math.round(atMs / 10) / 100);
  assert.deepEqual(seconds, [5.26, 10.51, 15.77]);
  const batches = new Set(data.map(({ bytes }) => new DataView(bytes.buffer).getUint32(8)));
  assert.equal(batches.size, 3);
  assert.deepEqual(lab.records(), [WWW_LINE]);
});

test("malformed and foreign messages of the mapper are dropped", async () => {
  const lab = standardLab(new ZoneServer(1, [WWW]));
  await lab.run(10);
  const ack = lab.mapper.sent[0]!.bytes.slice();
  ack[1] = 0x8e;
  for (let length = 0; length < ack.length; length++) lab.mapper.say(ack.slice(0, length));
  lab.mapper.say(ack);
  await lab.run(60);
  assert.deepEqual(lab.records(), [WWW_LINE]);
});

test("10,000 hosts are accepted within a second of the first poll", async () => {
  const count = 10_000;
  const lab = standardLab(new ZoneServer(1, manyHosts(count)));
  addHosts(lab, count);
  await lab.run(6);
  assert.equal(lab.records().length, count);
  assert.equal(lab.agent.status()[0]!.isComplete, true);
  for (const { bytes } of lab.mapper.sent) assert.ok(bytes.length <= 1200);
});

test("an address that cannot be looked up stays for three intervals, then goes", async () => {
  const lab = standardLab(new ZoneServer(1, [WWW, MAIL]));
  await lab.run(10);
  lab.names.set("www.lan", undefined);
  await lab.run(120);
  assert.deepEqual(lab.records(), [WWW_LINE, MAIL_LINE]);
  await lab.run(150);
  assert.deepEqual(lab.records(), [MAIL_LINE]);
});

test("a name that does not exist any more goes at once; most of them, one poll later", async () => {
  const lab = standardLab(new ZoneServer(1, manyHosts(10)));
  addHosts(lab, 10);
  await lab.run(10);
  lab.names.delete("h0.lan");
  await lab.run(70);
  assert.equal(lab.records().length, 9);
  for (let index = 1; index < 9; index++) lab.names.delete(`h${index}.lan`);
  await lab.run(60);
  assert.equal(lab.records().length, 9);
  await lab.run(90);
  assert.equal(lab.records().length, 1);
});

test("rotating local addresses do not change the set", async () => {
  const lab = standardLab(new ZoneServer(1, [WWW]));
  lab.names.set("www.lan", ["10.0.0.12", "10.0.0.11"]);
  await lab.run(10);
  assert.deepEqual(lab.records(), ["198.51.100.1+1025=10.0.0.11"]);
  const sent = lab.mapper.sent.length;
  lab.names.set("www.lan", ["10.0.0.9", "10.0.0.11", "10.0.0.12"]);
  await lab.run(70);
  assert.equal(lab.mapper.sent.slice(sent).filter(({ bytes }) => bytes[1] === 0x4e).length, 0);
});

test("the gateway's own name is taken from the zone, not from a resolver", async () => {
  const gateway = addressRecord("gw", "198.51.100.1");
  const record = txtRecord("www", "AA gw.example.com + 1025");
  const lab = standardLab(new ZoneServer(1, [gateway, record]));
  lab.names.set("gw.example.com", ["10.240.3.4"]);
  await lab.run(10);
  assert.deepEqual(lab.records(), [WWW_LINE]);
  assert.ok(!lab.asked.includes("gw.example.com"));
});

test("an encoded address is refused as gateway and as host, and named", async () => {
  const record = txtRecord("www", "AA gw.elsewhere.net + 1025");
  const encodeNet = { address: parseIp("10.240.0.0")!, bits: 12 };
  const lab = standardLab(new ZoneServer(1, [record, MAIL]), { settings: { encodeNet } });
  lab.names.set("gw.elsewhere.net", ["10.240.3.4"]);
  lab.names.set("mail.lan", ["10.241.3.4"]);
  await lab.run(10);
  assert.deepEqual(lab.records(), []);
  assert.equal(lab.logged(/^W .*10\.24[01]\.3\.4 is an encoded address/).length, 2);
});

test("records of other gateways are left out when the own one is known", async () => {
  const foreign = txtRecord("mail", "AA 203.0.113.7 + 1026");
  const own = txtRecord("www", "AA 0.0.0.0 + 1025");
  const settings = { ownGateway: parseIp("198.51.100.1")! };
  const lab = standardLab(new ZoneServer(1, [own, foreign]), { settings });
  await lab.run(10);
  assert.deepEqual(lab.records(), ["0.0.0.0+1025=10.0.0.10"]);
  assert.equal(lab.logged(/gateway 203\.0\.113\.7 is not this one/).length, 1);
});

test("what is left out is a warning that names the record, once", async () => {
  const server = new ZoneServer(1, [
    WWW,
    txtRecord("nolocal", "AA 198.51.100.1 + 7"),
    txtRecord("twice", "AA 198.51.100.1 + 1025"),
    txtRecord("high", "AA 198.51.100.1 + 5000"),
    txtRecord("zero", "AA 198.51.100.1 + 0"),
    txtRecord("a.deep", "AA 198.51.100.1 + 9"),
    txtRecord("six", "AA 2001:db8::1 + 9"),
    txtRecord("bad", "AA 198.51.100.1"),
  ]);
  const lab = standardLab(server);
  lab.names.set("twice.lan", ["10.0.0.30"]);
  await lab.run(130);
  const warnings = lab.logged(/^W /);
  for (const name of ["nolocal", "twice", "high", "zero", "a.deep", "six", "bad"]) {
    const about = warnings.filter((line) => line.includes(`${name}.example.com`));
    assert.equal(about.length, 1, `${name}: ${about.join("; ")}`);
  }
  assert.match(warnings.join("\n"), /high\.example\.com .*second byte .* below 16/);
  assert.match(warnings.join("\n"), /duplicate ipref address 198\.51\.100\.1 \+ 1025/);
});

test("a zone file is a source and is read again when it changes", async () => {
  const lab = new AgentLab({ specs: ["lan:example.com:file:///zones/example.com"] });
  lab.names.set("www.lan", ["10.0.0.10"]);
  lab.names.set("mail.lan", ["10.0.0.25"]);
  const head = "$TTL 300\n@ IN SOA ns hostmaster 1 3600 600 86400 300\n";
  lab.write("/zones/example.com", `${head}www IN TXT "AA 198.51.100.1 + 1025"\n`);
  lab.agent.start();
  await lab.run(6);
  assert.deepEqual(lab.records(), [WWW_LINE]);
  lab.write("/zones/example.com", `${head}mail IN TXT "AA 198.51.100.1 + 1026"\n`);
  await lab.run(2);
  assert.deepEqual(lab.records(), [MAIL_LINE]);
  lab.write("/zones/example.com", `${head}www IN TXT\nmail IN NONSENSE x\n`);
  await lab.run(2);
  assert.deepEqual(lab.records(), [MAIL_LINE]);
  assert.ok(lab.logged(/^E .*\/zones\/example\.com:3/).length > 0);
});

test("a list of names is a source; one name that cannot be asked changes nothing", async () => {
  const lab = new AgentLab({ specs: ["lan:example.com:names:www,mail,@"] });
  lab.names.set("www.lan", ["10.0.0.10"]);
  lab.names.set("mail.lan", ["10.0.0.25"]);
  lab.texts.set("www.example.com", [["v=spf1 -all"], ["AA 198.51.100.1 + 1025"]]);
  lab.texts.set("mail.example.com", [["AA 198.51.100.1 + 1026"]]);
  lab.agent.start();
  await lab.run(6);
  assert.deepEqual(lab.records(), [WWW_LINE, MAIL_LINE]);
  lab.texts.set("mail.example.com", undefined);
  await lab.run(80);
  assert.deepEqual(lab.records(), [WWW_LINE, MAIL_LINE]);
  lab.texts.set("mail.example.com", []);
  await lab.run(80);
  assert.deepEqual(lab.records(), [WWW_LINE]);
});

test("weeks pass in a moment, and nothing is sent but announcements", async () => {
  const server = new ZoneServer(1, [WWW]);
  const lab = standardLab(server, { settings: { intervalSeconds: 3540 } });
  await lab.run(14 * 86_400);
  const data = lab.mapper.sent.filter(({ bytes }) => bytes[1] === 0x4e);
  assert.equal(data.length, 1);
  const hashes = lab.mapper.sent.length - data.length;
  assert.ok(hashes > 340 && hashes < 400, `${hashes} announcements`);
});

test("a resolver that starts later than the agent withdraws nothing", async () => {
  const lab = standardLab(new ZoneServer(1, [WWW, MAIL]));
  lab.names.set("www.lan", undefined);
  lab.names.set("mail.lan", undefined);
  await lab.run(12);
  assert.equal(lab.mapper.sent.length, 0);
  lab.names.set("www.lan", ["10.0.0.10"]);
  lab.names.set("mail.lan", ["10.0.0.25"]);
  await lab.run(10);
  assert.deepEqual(lab.records(), [WWW_LINE, MAIL_LINE]);
});

test("a name that never can be looked up does not hold the others back for ever", async () => {
  const lab = standardLab(new ZoneServer(1, [WWW, MAIL]));
  lab.names.set("mail.lan", undefined);
  await lab.run(90);
  assert.deepEqual(lab.records(), [WWW_LINE]);
});

test("a mapper that restarts in the middle of a delivery ends up with the whole set", async () => {
  const count = 1600;
  for (const afterMs of [5260, 5261, 5262, 5263, 5264]) {
    const lab = standardLab(new ZoneServer(1, manyHosts(count)));
    addHosts(lab, count);
    await lab.run(afterMs / 1000);
    assert.ok(lab.records().length < count, `${lab.records().length} after ${afterMs} ms`);
    lab.mapper.stop();
    lab.mapper.isUp = true;
    await lab.run(8);
    assert.equal(lab.records().length, count);
    assert.equal(lab.agent.status()[0]!.isComplete, true);
  }
});
