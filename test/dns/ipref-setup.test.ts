import assert from "node:assert/strict";
import { test } from "node:test";
import { formatIp } from "../../src/base/ip.js";
import type { IprefSettings } from "../../src/dns/plugins/ipref/settings.js";
import { IprefWorld } from "./ipref-world.js";
import { complaintsOf, configure, TestServer } from "./world.js";

async function settingsOf(body: string, from = ""): Promise<IprefSettings> {
  const configuration = await configure(`example.org {\n ipref ${from} {\n${body}\n }\n}\n`);
  assert.deepEqual(complaintsOf(configuration), []);
  return configuration.blocks[0]!.settings.get("ipref") as IprefSettings;
}

async function complaintsAbout(body: string): Promise<string[]> {
  return complaintsOf(await configure(`. {\n ipref {\n${body}\n }\n}\n`));
}

test("ipref has the documented defaults", async () => {
  const settings = await settingsOf("upstream 192.0.2.1");
  assert.deepEqual(settings.from.map(String), ["example.org."]);
  const { from: _, upstreams: __, newAddresses: ___, ...rest } = settings;
  assert.deepEqual(rest, {
    except: [],
    encodedVersion: 4,
    gatewayVersion: 4,
    mapperPath: "/run/ipref/mapper.sock",
    onFailure: "next",
    ttlSecondsMax: 300,
    recordsMax: 8,
    encodeNet: [],
    svcb: "suppress",
    isParallel: true,
  });
});

test("ipref reads every property", async () => {
  const settings = await settingsOf(
    `except a.example.com b.example.com
     except c.example.com
     upstream 192.0.2.1 192.0.2.2:5353
     ea-ipver 6
     gw-ipver 6
     mapper unix:///tmp/m.sock
     on-failure servfail
     ttl 3600
     max-records 3
     encode-net 10.240.0.0/12 fd00::/8
     svcb strip
     parallel off
     new-addresses 1 2 3`,
    "example.com 10.0.0.0/24",
  );
  assert.deepEqual(settings.from.map(String), ["example.com.", "0.0.10.in-addr.arpa."]);
  assert.equal(settings.except.length, 3);
  assert.deepEqual([settings.encodedVersion, settings.gatewayVersion], [6, 6]);
  assert.equal(settings.mapperPath, "/tmp/m.sock");
  assert.deepEqual(
    [settings.onFailure, settings.svcb, settings.isParallel],
    ["servfail", "strip", false],
  );
  assert.deepEqual([settings.ttlSecondsMax, settings.recordsMax], [3600, 3]);
  assert.equal(settings.encodeNet.length, 2);
  assert.deepEqual(settings.newAddresses, {
    clientPerMinute: 1,
    gatewayPerSecond: 2,
    totalPerSecond: 3,
  });
});

test("upstream takes addresses with and without port, bare IPv6, tls:// and a file", async () => {
  const settings = await settingsOf(
    "upstream 192.0.2.1 192.0.2.2:54 2001:4860:4860::8888 [2001:db8::1] [2001:db8::2]:55 tls://192.0.2.3 /etc/resolv.conf",
  );
  const texts = settings.upstreams.map(({ target }) =>
    target.kind === "file"
      ? target.path
      : `${target.server.transport} ${formatIp(target.server.endpoint.address)} ${target.server.endpoint.port}`,
  );
  assert.deepEqual(texts, [
    "dns 192.0.2.1 53",
    "dns 192.0.2.2 54",
    "dns 2001:4860:4860::8888 53",
    "dns 2001:db8::1 53",
    "dns 2001:db8::2 55",
    "tls 192.0.2.3 853",
    "/etc/resolv.conf",
  ]);
});

test("mistakes in ipref are named with their place", async () => {
  const cases: [string, RegExp][] = [
    ["", /^Corefile:2:2: Found 'ipref' without 'upstream'/],
    ["upstream", /^Corefile:3:1: Found the end of the line after 'upstream'/],
    ["upstream dns.example", /^Corefile:3:10: Found 'dns\.example', expected an IP address/],
    ["upstream 192.0.2.1\nea-ipver 5", /^Corefile:4:10: Found '5', expected one of 4, 6/],
    ["upstream 192.0.2.1\nea-ipver", /^Corefile:4:1: /],
    ["upstream 192.0.2.1\nttl 4000", /expected a number from 1 to 3600/],
    ["upstream 192.0.2.1\nmaper /x", /did you mean 'mapper'/],
    ["upstream 192.0.2.1\nencode-net 10.0.0.0/99", /expected a network/],
    ["upstream 192.0.2.1\non-failure drop", /expected one of next, servfail/],
    ["upstream 192.0.2.1\nnew-addresses 1 2", /^Corefile:4:1: /],
  ];
  for (const [body, expected] of cases) {
    const complaints = await complaintsAbout(body);
    assert.equal(complaints.length, 1, `${body}: ${complaints}`);
    assert.match(complaints[0]!, expected);
  }
});

test("ipref may stand only once in a block", async () => {
  const one = "ipref {\n upstream 192.0.2.1\n }\n";
  assert.equal(complaintsOf(await configure(`. {\n ${one} ${one}}\n`)).length, 1);
});

test("servers of a resolv.conf are read at start; without any the start fails", async () => {
  const corefile = ". {\n ipref {\n upstream /etc/resolv.conf\n }\n}\n";
  const world = new IprefWorld();
  let servers: readonly { endpoint: { address: { bytes: Uint8Array } } }[] = [];
  Object.assign(world.environment, {
    upstream: (given: typeof servers) => {
      servers = given;
      return world.upstream;
    },
  });
  const content = "# comment\nsearch example\nnameserver 192.0.2.7\nnameserver 2001:db8::7\n";
  await TestServer.start(corefile, { "/etc/resolv.conf": content }, world);
  assert.equal(servers.length, 2);
  await assert.rejects(
    TestServer.start(corefile, { "/etc/resolv.conf": "search x\n" }, new IprefWorld()),
  );
  await assert.rejects(TestServer.start(corefile, {}, new IprefWorld()));
});
