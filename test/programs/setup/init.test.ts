/** What `ipref init` chooses for which machine, and that the result can be used. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  formatPrefix,
  type IpPrefix,
  type IpVersion,
  parsePrefix,
  prefixesOverlap,
  prefixOf,
} from "../../../src/base/ip.js";
import { type RandomSource, randomBelow, seededRandom } from "../../../src/base/random.js";
import { readConfiguration } from "../../../src/control/config/read.js";
import type { UpConfiguration } from "../../../src/control/config/settings.js";
import { collisions, freeNetwork } from "../../../src/programs/setup/free-network.js";
import { choose } from "../../../src/programs/setup/init-choice.js";
import { usedNetworks } from "../../../src/programs/setup/init-encode-net.js";
import { choicesText, nextStepsText } from "../../../src/programs/setup/init-report.js";
import { configurationText } from "../../../src/programs/setup/init-text.js";
import { CannotChoose, type Choices, type Wishes } from "../../../src/programs/setup/init-types.js";
import { type MachineWords, machineOf } from "./machines.js";

const SEED = 20_262;
const TRIALS = 400;

type Wanted = Partial<Omit<Wishes, "settings">> & { settings?: Record<string, string> };

function wishes({ settings, ...others }: Wanted = {}): Wishes {
  const none = { tunnel: undefined, local: undefined, uplink: undefined };
  return { ...none, ...others, settings: new Map(Object.entries(settings ?? {})) };
}

function init(words: MachineWords, wanted: Wanted = {}): UpConfiguration & { all: Choices } {
  const all = choose(machineOf(words), wishes(wanted));
  const text = configurationText(all, { file: "/etc/ipref/ipref.toml", schema: "x.json" });
  const read = readConfiguration({ file: "ipref.toml", text, flags: new Map() });
  assert.ok(read.ok, read.ok ? "" : `${read.complaints.join("\n")}\n${text}`);
  for (const line of text.split("\n")) assert.ok(line.length <= 100, line);
  return { ...read.configuration, all };
}

const HOME: MachineWords = {
  addresses: ["eth0 192.168.1.20/24"],
  routes: ["0.0.0.0/0 eth0 192.168.1.1 100", "192.168.1.0/24 eth0 -"],
  sources: ["192.168.1.20"],
};

test("behind a NAT: client mode, any address, the usual encode net, the machine's resolvers", () => {
  const { gateway, resolver, all } = init(HOME);
  assert.deepEqual(
    [gateway.bind, gateway.public, gateway["encode-net"], resolver.listen, resolver.upstream],
    ["0.0.0.0", "", "10.240.0.0/12", [], []],
  );
  const text = configurationText(all, { file: undefined, schema: undefined });
  const line = text.replaceAll(/\n# /g, " ");
  assert.match(line, /private address 192\.168\.1\.20, so there is a NAT on the way/);
  assert.match(line, /forward UDP port 1045 of the router to 192\.168\.1\.20/);
  const next = nextStepsText(machineOf(HOME), all, "/etc/ipref/ipref.toml", true);
  assert.match(next, /sudo ipref up\n/);
  assert.match(
    next,
    /hosts of 192\.168\.1\.0\/24: .* route for 10\.240\.0\.0\/12 via 192\.168\.1\.20/,
  );
});

test("behind a NAT with --public: the address is published, and the forwarded port is noted", () => {
  const { gateway, all } = init(HOME, { settings: { public: "198.51.100.7" } });
  assert.equal(gateway.public, "198.51.100.7");
  assert.match(choicesText(all), /router has to forward UDP port 1045 to 192\.168\.1\.20/);
});

test("behind a provider's NAT: client mode, and no port can be forwarded", () => {
  const { gateway, all } = init({
    addresses: ["wwan0 100.72.3.4/30"],
    routes: ["0.0.0.0/0 wwan0 -", "100.72.3.4/30 wwan0 -"],
    sources: ["100.72.3.4"],
  });
  assert.equal(gateway.public, "");
  assert.match(choicesText(all), /100\.72\.3\.4 behind a provider's NAT \(RFC 6598\)/);
});

test("a public address: it is published, and the DNS server does not answer there", () => {
  const { gateway, resolver } = init({
    addresses: ["wan 198.51.100.7/24", "lan 10.1.0.1/24"],
    routes: ["0.0.0.0/0 wan 198.51.100.1", "198.51.100.0/24 wan -", "10.1.0.0/24 lan -"],
    sources: ["198.51.100.7"],
  });
  assert.deepEqual([gateway.bind, gateway.public], ["0.0.0.0", "198.51.100.7"]);
  assert.deepEqual(resolver.listen, ["10.1.0.1", "127.0.0.1", "::1"]);
});

test("IPv6 only: both networks are IPv6, and a temporary address is not published", () => {
  const { gateway } = init({
    addresses: ["eth0 2001:db8:7::9f3a/64", "eth0 2001:db8:7::7/64", "eth0 fe80::1/64"],
    routes: ["::/0 eth0 fe80::ff 1024", "2001:db8:7::/64 eth0 - 256"],
    sources: ["2001:db8:7::9f3a"],
    passing: ["2001:db8:7::9f3a"],
    resolvers: ["2001:db8::53"],
  });
  assert.deepEqual(
    [gateway.bind, gateway.public, gateway["encode-net"]],
    ["::", "2001:db8:7::7", "fd00:240::/64"],
  );
});

test("both versions: IPv4 in the tunnel, a hint at IPv6, and --tunnel 6 takes it", () => {
  const words: MachineWords = {
    addresses: [...HOME.addresses!, "eth0 2001:db8:7::7/64"],
    routes: [...HOME.routes!, "::/0 eth0 fe80::ff 1024"],
    sources: [...HOME.sources!, "2001:db8:7::7"],
  };
  const plain = init(words);
  assert.equal(plain.gateway.bind, "0.0.0.0");
  assert.match(choicesText(plain.all), /With --tunnel 6 .* without a forwarded port/);
  const asked = init(words, { tunnel: 6 });
  assert.deepEqual([asked.gateway.bind, asked.gateway.public], ["::", "2001:db8:7::7"]);
  assert.equal(asked.gateway["encode-net"], "10.240.0.0/12");
  assert.equal(init(words, { local: 6 }).gateway["encode-net"], "fd00:240::/64");
});

const TWO: MachineWords = {
  addresses: ["wan1 198.51.100.7/24", "wan2 203.0.113.9/24"],
  routes: ["0.0.0.0/0 wan2 203.0.113.1 200", "0.0.0.0/0 wan1 198.51.100.1 100"],
  sources: ["198.51.100.7"],
};

test("two uplinks: the best metric is bound, and --uplink chooses the other", () => {
  const first = init(TWO);
  assert.deepEqual([first.gateway.bind, first.gateway.public], ["198.51.100.7", "198.51.100.7"]);
  assert.match(choicesText(first.all), /other ways out \(wan2\)/);
  const second = init(TWO, { uplink: "wan2" });
  assert.deepEqual([second.gateway.bind, second.gateway.public], ["203.0.113.9", "203.0.113.9"]);
});

test("an encode net in use is left for another, and the reason names what overlaps", () => {
  const { gateway, all } = init({
    addresses: ["eth0 10.250.1.2/16"],
    routes: ["0.0.0.0/0 eth0 10.250.0.1", "10.250.0.0/16 eth0 -", "10.224.0.0/12 vpn0 -"],
    sources: ["10.250.1.2"],
  });
  assert.equal(gateway["encode-net"], "10.208.0.0/12");
  assert.match(choicesText(all), /10\.240\.0\.0\/12, the usual one, overlaps 10\.250\.0\.0\/16/);
});

test("servers and routers behind the default route count as used, halves of it do not", () => {
  const base: MachineWords = {
    ...HOME,
    routes: [...HOME.routes!, "0.0.0.0/1 tun0 -", "128.0.0.0/1 tun0 -"],
  };
  assert.equal(init(base).gateway["encode-net"], "10.240.0.0/12");
  const behind = init({ ...base, resolvers: ["10.250.0.53"] });
  assert.equal(behind.gateway["encode-net"], "10.224.0.0/12");
  const asked = init(base, { settings: { upstream: "10.241.0.53:5353" } });
  assert.equal(asked.gateway["encode-net"], "10.224.0.0/12");
  assert.deepEqual(asked.resolver.upstream, ["10.241.0.53:5353"]);
});

test("a network that only another routing table knows counts as used", () => {
  const { gateway } = init({ ...HOME, networks: ["10.240.0.0/12"] });
  assert.equal(gateway["encode-net"], "10.224.0.0/12");
});

test("what a running gateway has set up is no obstacle", () => {
  const running: MachineWords = {
    ...HOME,
    addresses: [...HOME.addresses!, "ipref0 10.240.0.1/12"],
    routes: [...HOME.routes!, "10.240.0.0/12 ipref0 -"],
    networks: ["10.240.0.0/12", "10.240.0.1/32"],
    udp: ["0.0.0.0 1045", "0.0.0.0 53"],
    isRunning: true,
  };
  const { gateway, resolver } = init(running);
  assert.deepEqual(
    [gateway["encode-net"], gateway.port, resolver.port],
    ["10.240.0.0/12", 1045, 53],
  );
});

test("a machine without room is told to name an encode net", () => {
  const networks = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"];
  assert.throws(
    () => init({ ...HOME, networks }),
    (error: unknown) =>
      error instanceof CannotChoose && !error.isWish && /--encode-net/.test(error.message),
  );
  const { gateway, all } = init(
    { ...HOME, networks },
    { settings: { "encode-net": "10.9.0.0/16" } },
  );
  assert.equal(gateway["encode-net"], "10.9.0.0/16");
  assert.match(choicesText(all), /10\.9\.0\.0\/16 overlaps 10\.0\.0\.0\/8/);
});

test("ports that are taken are gone around", () => {
  const other = init({ ...HOME, udp: ["0.0.0.0 1045", "0.0.0.0 1046"] });
  assert.equal(other.gateway.port, 1047);
  assert.match(choicesText(other.all), /let the router forward 1045 to 1047/);
  const dns = init({ ...HOME, udp: [":: 53"], tcp: ["0.0.0.0 1053"] });
  assert.equal(dns.resolver.port, 1054);
  assert.match(choicesText(dns.all), /server=127\.0\.0\.1#1054/);
  const stub = init({ ...HOME, udp: ["127.0.0.1 53"] });
  assert.equal(stub.resolver.port, 53);
  assert.match(choicesText(stub.all), /Port 53 of 127\.0\.0\.1 is another program's/);
});

test("without a DNS server the router is named, or a public one", () => {
  assert.deepEqual(init({ ...HOME, resolvers: [] }).resolver.upstream, ["192.168.1.1"]);
  const alone = init({ addresses: ["eth0 10.1.0.2/24"], resolvers: [] });
  assert.deepEqual(alone.resolver.upstream, ["9.9.9.9"]);
  assert.match(choicesText(alone.all), /names no DNS server/);
});

test("a machine without any network still gets a configuration", () => {
  const { gateway, all } = init({ tunTrouble: "ENOENT" });
  assert.deepEqual([gateway.bind, gateway.public], ["::", ""]);
  assert.match(choicesText(all), /\/dev\/net\/tun cannot be used \(ENOENT\): sudo modprobe tun/);
});

test("every wish is kept and marked as one", () => {
  const settings = {
    bind: "10.9.9.9",
    public: "203.0.113.4",
    "encode-net": "10.192.0.0/14",
    listen: "10.1.0.1,127.0.0.1",
    "dns-port": "5300",
    upstream: "192.0.2.1,192.0.2.2:54",
    domain: "home.example.com",
    data: "/srv/ipref",
    run: "/run/other",
  };
  const { gateway, resolver, publish, files, all } = init(HOME, { settings });
  assert.deepEqual(
    { gateway: gateway.bind, publicAddress: gateway.public, net: gateway["encode-net"] },
    { gateway: "10.9.9.9", publicAddress: "203.0.113.4", net: "10.192.0.0/14" },
  );
  assert.deepEqual([resolver.listen, resolver.port], [["10.1.0.1", "127.0.0.1"], 5300]);
  assert.deepEqual(resolver.upstream, ["192.0.2.1", "192.0.2.2:54"]);
  assert.equal(publish.domain, "home.example.com");
  assert.deepEqual(files, { data: "/srv/ipref", run: "/run/other" });
  const marked = all.choices.filter(({ reasons }) => reasons[0]?.startsWith("As asked for"));
  assert.equal(marked.length, Object.keys(settings).length);
});

test("wishes that cannot be met are told with what there is", () => {
  const cases: readonly (readonly [MachineWords, Wanted, RegExp])[] = [
    [TWO, { uplink: "wan3" }, /Found --uplink wan3, expected .*: wan1, wan2$/],
    [{}, { uplink: "wan3" }, /there is none$/],
    [TWO, { tunnel: 6, settings: { public: "198.51.100.7" } }, /expected one version/],
  ];
  for (const [words, wanted, message] of cases) {
    assert.throws(
      () => init(words, wanted),
      (error: unknown) =>
        error instanceof CannotChoose && error.isWish && message.test(error.message),
    );
  }
});

test("names of interfaces cannot break the file, whatever they contain", () => {
  for (const name of ['a"b', "a\\b", "a\u0007b", "a\u001b[2J", "#=[x]", "'''", "ü\u2028"]) {
    const facts = machineOf(HOME);
    const rename = <T extends { readonly interfaceName: string }>(each: T): T => ({
      ...each,
      interfaceName: each.interfaceName === "eth0" ? name : each.interfaceName,
    });
    const renamed = {
      ...facts,
      addresses: facts.addresses.map(rename),
      routes: facts.routes.map(rename),
    };
    const places = { file: undefined, schema: undefined };
    const text = configurationText(choose(renamed, wishes()), places);
    const read = readConfiguration({ file: "x", text, flags: new Map() });
    assert.ok(read.ok, JSON.stringify(name));
    assert.ok(text.includes("192.168.1.20"));
    assert.doesNotMatch(text, /[^\P{Cc}\n]/u);
  }
});

function randomPrefix(random: RandomSource, version: IpVersion): IpPrefix {
  const pools =
    version === 4
      ? ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "0.0.0.0/0"]
      : ["fd00::/8", "fd00:200::/24", "::/0"];
  const pool = parsePrefix(pools[randomBelow(random, pools.length)]!)!;
  const length = 8 * pool.address.bytes.length;
  const noise = pool.address.bytes.map((byte, index) => {
    const fixed = Math.min(8, Math.max(0, pool.bits - 8 * index));
    return byte | (randomBelow(random, 256) >> fixed);
  });
  const bits = pool.bits + randomBelow(random, length - pool.bits + 1);
  return prefixOf({ version, bytes: noise }, bits);
}

test(`the encode net overlaps no route, whatever the routes (seed ${SEED})`, () => {
  const random = seededRandom(SEED);
  let found = 0;
  for (let trial = 0; trial < TRIALS; trial++) {
    const version = trial % 2 === 0 ? 4 : 6;
    const count = randomBelow(random, 40);
    const networks = Array.from({ length: count }, () =>
      formatPrefix(randomPrefix(random, version)),
    );
    const facts = machineOf({ ...HOME, networks });
    let chosen: Choices;
    try {
      chosen = choose(facts, wishes({ local: version }));
    } catch (error) {
      assert.ok(error instanceof CannotChoose, String(error));
      assert.equal(freeNetwork(version, usedNetworks(facts, [])), undefined);
      continue;
    }
    found++;
    const bits = 8 * chosen.encodeNet.address.bytes.length;
    assert.ok(bits - chosen.encodeNet.bits >= 13, formatPrefix(chosen.encodeNet));
    assert.equal(chosen.encodeNet.address.version, version);
    for (const text of networks) {
      const network = parsePrefix(text)!;
      const isEverything = network.bits <= (version === 4 ? 1 : 3);
      assert.ok(
        isEverything || !prefixesOverlap(chosen.encodeNet, network),
        `${text} in trial ${trial}`,
      );
    }
  }
  assert.ok(found > TRIALS / 2, `only ${found} of ${TRIALS} machines had room`);
});

test("networks overlap when one contains the other, and in no other case", () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ["10.0.0.0/8", "10.240.0.0/12", true],
    ["10.240.0.0/12", "10.0.0.0/8", true],
    ["10.240.0.0/12", "10.255.255.255/32", true],
    ["10.240.0.0/12", "10.224.0.0/12", false],
    ["10.0.0.0/8", "fd00::/8", false],
    ["fd00:240::/64", "fd00:240::/32", true],
  ];
  for (const [a, b, wanted] of cases) {
    assert.equal(prefixesOverlap(parsePrefix(a)!, parsePrefix(b)!), wanted, `${a} ${b}`);
  }
  assert.deepEqual(collisions(parsePrefix("10.240.0.0/12")!, [parsePrefix("0.0.0.0/0")!]), []);
});
