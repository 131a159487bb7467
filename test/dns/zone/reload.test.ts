import assert from "node:assert/strict";
import { test } from "node:test";
import { TestServer, World } from "../world.js";

const zone = (serial: number, address: string) =>
  `@ 60 SOA ns hm ${serial} 1 1 1 1\n@ 60 NS ns\nns 60 A 192.0.2.53\nwww 60 A ${address}\n`;

async function www(server: TestServer): Promise<string> {
  const seen = await server.ask("www.zone.test. A");
  return seen.answer[0] ?? seen.rcode;
}

test("a new serial replaces the zone after the interval", async () => {
  const server = await TestServer.start("zone.test {\n file z\n}", { z: zone(1, "192.0.2.1") });
  server.world.writeFile("z", zone(2, "192.0.2.2"));
  assert.equal(await www(server), "www.zone.test. 60 A 192.0.2.1");
  await server.world.pass(60_000);
  assert.equal(await www(server), "www.zone.test. 60 A 192.0.2.2");
});

test("an edit without new serial is not taken, with a warning that says why", async () => {
  const server = await TestServer.start("zone.test {\n file z {\n reload 2s\n }\n}", {
    z: zone(1, "192.0.2.1"),
  });
  server.world.writeFile("z", zone(1, "192.0.2.2"));
  await server.world.pass(10_000);
  assert.equal(await www(server), "www.zone.test. 60 A 192.0.2.1");
  const warnings = server.world.texts("WARNING");
  assert.equal(warnings.filter((text) => text.includes("serial is still 1")).length, 1);
});

test("a lower serial is taken with a warning about secondaries", async () => {
  const server = await TestServer.start("zone.test {\n file z\n}", { z: zone(9, "192.0.2.1") });
  server.world.writeFile("z", zone(3, "192.0.2.3"));
  await server.site.reload();
  assert.equal(await www(server), "www.zone.test. 60 A 192.0.2.3");
  assert.match(server.world.texts("WARNING").join(), /went back from 9 to 3/);
});

test("a broken edit keeps the old zone and names file, line and column", async () => {
  const server = await TestServer.start("zone.test {\n file z\n}", { z: zone(1, "192.0.2.1") });
  server.world.writeFile("z", `${zone(2, "192.0.2.2")}bad 60 A 1.2.3\n`);
  await server.site.reload();
  assert.equal(await www(server), "www.zone.test. 60 A 192.0.2.1");
  assert.match(server.world.texts("ERROR").join(), /^z:5:10: Found '1\.2\.3'/);
});

test("a changed include is noticed", async () => {
  const main = "$INCLUDE soa\n@ 60 NS ns\nns 60 A 192.0.2.53\n";
  const soa = (serial: number) => `@ 60 SOA ns hm ${serial} 1 1 1 1\n`;
  const server = await TestServer.start("zone.test {\n file z\n}", { z: main, soa: soa(1) });
  server.world.writeFile("soa", soa(2));
  await server.site.reload();
  assert.match(server.world.texts("INFO").join(), /with serial 2/);
});

test("reload 0 makes an unreadable file an error and never looks again", async () => {
  await assert.rejects(TestServer.start("zone.test {\n file z {\n reload 0\n }\n}"), /Cannot open/);
  const server = await TestServer.start("zone.test {\n file z {\n reload 0\n }\n}", {
    z: zone(1, "192.0.2.1"),
  });
  server.world.writeFile("z", zone(2, "192.0.2.2"));
  await server.world.pass(3_600_000);
  assert.equal(await www(server), "www.zone.test. 60 A 192.0.2.1");
});

test("a zone that cannot be parsed stops the start", async () => {
  await assert.rejects(
    TestServer.start("zone.test {\n file z\n}", { z: "@ 60 A 192.0.2.1\n" }),
    /Found no SOA record/,
  );
});

test("root is the base of relative paths", async () => {
  const server = await TestServer.start("zone.test {\n root /etc/dns\n file z\n}", {
    "/etc/dns/z": zone(1, "192.0.2.1"),
  });
  assert.equal(await www(server), "www.zone.test. 60 A 192.0.2.1");
});

test("auto serves the files of a directory, new ones and no more removed ones", async () => {
  const corefile =
    ". {\n auto zone.test other.test {\n directory zones\n reload 5s\n }\n whoami\n}";
  const server = await TestServer.start(corefile, {
    "zones/db.zone.test": zone(1, "192.0.2.1"),
    "zones/db.elsewhere": zone(1, "192.0.2.9"),
    "zones/readme": "nothing",
  });
  assert.equal(await www(server), "www.zone.test. 60 A 192.0.2.1");
  assert.deepEqual((await server.ask("www.elsewhere. A")).answer, []);
  server.world.writeFile("zones/db.other.test", zone(1, "192.0.2.2"));
  server.world.files.delete("zones/db.zone.test");
  await server.world.pass(6000);
  assert.deepEqual((await server.ask("www.other.test. A")).answer, [
    "www.other.test. 60 A 192.0.2.2",
  ]);
  assert.deepEqual((await server.ask("www.zone.test. A")).answer, []);
});

test("auto takes a pattern and an origin of its own", async () => {
  const corefile = ". {\n auto {\n directory zones (.*)\\.zone$ {1}.test\n }\n}";
  const server = await TestServer.start(corefile, { "zones/zone.zone": zone(1, "192.0.2.7") });
  assert.equal(await www(server), "www.zone.test. 60 A 192.0.2.7");
});

test("one file may serve several zones", async () => {
  const server = await TestServer.start("a.test b.test {\n file z\n}", { z: zone(1, "192.0.2.1") });
  assert.deepEqual((await server.ask("www.b.test. A")).answer, ["www.b.test. 60 A 192.0.2.1"]);
  assert.deepEqual((await server.ask("www.a.test. A")).answer, ["www.a.test. 60 A 192.0.2.1"]);
});

test("a world without timers left has none running after stop()", async () => {
  const server = await TestServer.start("zone.test {\n file z\n}", { z: zone(1, "192.0.2.1") });
  server.site.stop();
  server.world.writeFile("z", zone(2, "192.0.2.2"));
  await server.world.pass(600_000);
  assert.equal(await www(server), "www.zone.test. 60 A 192.0.2.1");
  assert(server.world instanceof World);
});
