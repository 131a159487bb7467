/** The directives that answer or observe queries, each in a running server. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { complaintsOf, configure, requestOf, TestServer } from "../world.js";

const ZONE = "@ 60 SOA ns hm 1 1 1 1 1\n@ 60 NS ns\nns 60 A 192.0.2.53\nwww 60 A 192.0.2.1\n";

function zoneServer(directives: string) {
  return TestServer.start(`zone.org {\n file z\n${directives}\n}`, { z: ZONE });
}

test("acl: the first rule that matches acts", async () => {
  const server = await zoneServer(`acl {
    allow net 192.0.2.0/24
    filter type AAAA
    block net 198.51.100.0/24
    drop net 203.0.113.7
  }
  acl ns.zone.org {
    block
  }`);
  const ask = (question: string, client: string) => server.ask(question, { client, edns: true });
  assert.equal((await ask("www.zone.org. A", "192.0.2.1")).answer.length, 1);
  assert.equal((await ask("www.zone.org. A", "8.8.8.8")).answer.length, 1);
  const filtered = await ask("www.zone.org. AAAA", "8.8.8.8");
  assert.deepEqual(
    [filtered.rcode, filtered.answer.length, filtered.authority.length],
    ["NOERROR", 0, 0],
  );
  assert.equal((await ask("www.zone.org. A", "198.51.100.9")).rcode, "REFUSED");
  assert.equal((await ask("ns.zone.org. A", "8.8.8.8")).rcode, "REFUSED");
  assert.deepEqual(
    await server.exchange(requestOf("www.zone.org. A"), { client: "203.0.113.7" }),
    [],
  );
});

test("acl guards transfers as well", async () => {
  const server = await zoneServer("transfer {\n to *\n }\n acl {\n block type AXFR\n }");
  assert.equal((await server.ask("zone.org. AXFR", { transport: "tcp" })).rcode, "REFUSED");
});

test("acl names bad rules", async () => {
  const text = async (rule: string) =>
    complaintsOf(await configure(`. {\n acl {\n ${rule}\n }\n}`)).join();
  assert.match(await text("allow net x"), /Found 'x', expected an address or prefix/);
  assert.match(await text("allow type FOO"), /Found 'FOO', expected a record type/);
  assert.match(await text("allow 10.0.0.0/8"), /expected 'type' or 'net'/);
  assert.match(await text("permit"), /Found 'permit', expected one of allow, block, filter, drop/);
});

test("any answers ANY with HINFO and passes the rest", async () => {
  const server = await zoneServer("any");
  assert.match((await server.ask("gone.zone.org. ANY")).answer.join(), /HINFO/);
  assert.equal((await server.ask("www.zone.org. A")).answer.length, 1);
});

test("whoami tells address, port and transport", async () => {
  const server = await TestServer.start(". {\n whoami\n}");
  const udp = await server.ask("x.example. A", { client: "192.0.2.7" });
  assert.deepEqual(udp.additional, ["x.example. 0 A 192.0.2.7", "_udp.x.example. 0 SRV ."]);
  assert.equal(udp.flags, "aa rd");
  const tcp = await server.ask("x.example. A", { client: "2001:db8::7", transport: "tcp" });
  assert.match(tcp.additional[1]!, /^_tcp\./);
});

test("hosts: addresses, reverse names, NODATA, SERVFAIL, fallthrough, inline lines, reload", async () => {
  const file =
    "127.0.0.1 localhost\n192.0.2.1 a.example.org A # comment\n2001:db8::1 a.example.org\nbad line\n";
  const options = "192.0.2.2 inline.example.org\n ttl 60\n fallthrough fall.example.org";
  const server = await TestServer.start(`. {\n hosts hosts {\n ${options}\n }\n whoami\n}`, {
    hosts: file,
  });
  assert.deepEqual((await server.ask("A.example.org. A")).answer, [
    "A.example.org. 60 A 192.0.2.1",
  ]);
  assert.equal((await server.ask("a.example.org. AAAA")).answer.length, 1);
  assert.deepEqual((await server.ask("inline.example.org. A")).answer, [
    "inline.example.org. 60 A 192.0.2.2",
  ]);
  const nodata = await server.ask("inline.example.org. AAAA");
  assert.deepEqual([nodata.rcode, nodata.answer.length], ["NOERROR", 0]);
  assert.equal((await server.ask("unknown.example.org. A")).rcode, "SERVFAIL");
  assert.equal((await server.ask("x.fall.example.org. A")).rcode, "NOERROR");
  const ptr = await server.ask("1.2.0.192.in-addr.arpa. PTR");
  assert.deepEqual(ptr.answer, [
    "1.2.0.192.in-addr.arpa. 60 PTR a.example.org.",
    "1.2.0.192.in-addr.arpa. 60 PTR A.",
  ]);
  server.world.writeFile("hosts", "192.0.2.9 a.example.org\n");
  await server.world.pass(5000);
  assert.deepEqual((await server.ask("a.example.org. A")).answer, [
    "a.example.org. 60 A 192.0.2.9",
  ]);
  assert.equal((await server.ask("inline.example.org. A")).answer.length, 1);
});

test("hosts answers within its zones only", async () => {
  const server = await TestServer.start(". {\n hosts hosts example.org\n whoami\n}", {
    hosts: "192.0.2.1 a.example.org b.example.net\n",
  });
  assert.equal((await server.ask("a.example.org. A")).answer.length, 1);
  assert.equal((await server.ask("b.example.net. A")).answer.length, 0);
});

test("log writes one line in the common format", async () => {
  const server = await zoneServer("log");
  await server.ask("WWW.zone.org. A", { edns: true });
  await server.ask("gone.zone.org. A", { transport: "tcp", client: "2001:db8::7" });
  const lines = server.world.texts("INFO").filter((text) => text.includes("IN"));
  assert.equal(
    lines[0],
    '127.0.0.1:4000 - 18193 "A IN www.zone.org. udp 41 false 1232" NOERROR qr,aa,rd 57 0s',
  );
  assert.match(
    lines[1]!,
    /^\[2001:db8::7\]:4000 - 18193 "A IN gone\.zone\.org\. tcp 31 false 65535" NXDOMAIN qr,aa,rd \d+ 0s$/,
  );
});

test("log: classes, names and formats", async () => {
  const server = await zoneServer(
    'log www.zone.org "{name} {>opcode} {nonsense}"\n log zone.org {\n class denial\n }',
  );
  await server.ask("www.zone.org. A");
  await server.ask("ns.zone.org. A");
  await server.ask("ns.zone.org. AAAA");
  await server.ask("gone.zone.org. A");
  const lines = server.world.texts("INFO").filter((text) => !text.startsWith("Loaded"));
  assert.equal(lines[0], "www.zone.org. 0 -");
  assert.equal(lines.length, 3);
  assert.match(lines[1]!, /ns\.zone\.org\..*NOERROR/);
});

test("log escapes control characters in names", async () => {
  const server = await zoneServer("log");
  await server.ask("a\\010b.zone.org. A");
  assert.match(server.world.texts("INFO").join(""), /a\\010b\.zone\.org\./);
});

test("errors names rcode, name, type and cause; consolidates what matches", async () => {
  const server = await TestServer.start(". {\n errors\n}");
  await server.ask("X.example. A");
  assert.deepEqual(server.world.texts("ERROR"), ["2 x.example. A: no plugin answered"]);
  const quiet = await TestServer.start(
    '. {\n errors {\n consolidate 5s "^no plugin" warning\n }\n}',
  );
  for (let count = 0; count < 3; count++) await quiet.ask("x.example. A");
  assert.deepEqual(quiet.world.texts("ERROR"), []);
  await quiet.world.pass(5000);
  assert.deepEqual(quiet.world.texts("WARNING"), [
    "3 errors like '^no plugin' occurred in last 5s",
  ]);
});

test("minimal leaves out what a positive answer does not need", async () => {
  const plain = await zoneServer("");
  assert.equal((await plain.ask("zone.org. NS")).additional.length, 1);
  const minimal = await zoneServer("minimal");
  assert.equal((await minimal.ask("zone.org. NS")).additional.length, 0);
  assert.equal((await minimal.ask("gone.zone.org. A")).authority.length, 1);
});

test("loadbalance rotates addresses", async () => {
  const many = `${ZONE}m 60 A 10.0.0.1\nm 60 A 10.0.0.2\nm 60 A 10.0.0.3\n`;
  const server = await TestServer.start("zone.org {\n file z\n loadbalance\n}", { z: many });
  const firsts = new Set<string>();
  for (let count = 0; count < 50; count++)
    firsts.add((await server.ask("m.zone.org. A")).answer[0]!);
  assert.equal(firsts.size, 3);
});
