/** What a running gateway explains about packets. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { dropAdvice } from "../../../src/base/drop-advice.js";
import { DROP_REASONS } from "../../../src/base/drop-reason.js";
import { toHex } from "../../../src/base/hex.js";
import { formatIp, parseIp } from "../../../src/base/ip.js";
import { FOUR, FROM_LOCAL, FROM_TUNNEL, SIX } from "../../translate/drop-packets.js";
import { settle } from "../fake-machine.js";
import { ExplainWorld, flow, linesOf, REMOTE_GATEWAY, usualWorld } from "./explain-world.js";

/** The mappings of the sites of the drop packets. */
const SITE_WORLDS = {
  4: {
    hosts: "172.17.1.11 a #= pub + 1111\n10.241.2.21 b #= ext 198.51.100.2 + 2222\n",
    encodeNet: "10.240.0.0/12",
  },
  6: {
    hosts: "fd02:98::22 a #= pub + 1111\nfdeb:128:0:7::731 b #= ext 198.51.100.2 + 2222\n",
    encodeNet: "fdeb:128:0:7::/64",
  },
};

test("a first packet is walked to the remote gateway, with what it would create", async () => {
  const world = await new ExplainWorld().start();
  const report = await world.explain(flow("10.1.0.5", "10.240.0.22"));
  assert.deepEqual(linesOf(report), [
    "TCP SYN, 10.1.0.5 port 49152 -> 10.240.0.22 port 443, 44 octets, TTL 64, DF",
    "+ packet: TCP SYN, 10.1.0.5 port 49152 -> 10.240.0.22 port 443, 44 octets, TTL 64, DF",
    "+ remote host: 10.240.0.22 is 203.0.113.1 + 1025 (published by /h)",
    ". local host: 10.1.0.5 has no reference yet: one would be created, and the packet would wait " +
      "until it is stored",
    "+ remote gateway: 203.0.113.1 port 1045 (the configured port; nothing heard from there yet; " +
      "would become known by this packet); the path carries tunnel packets of 1472 octets",
    "+ size: a tunnel packet of 52 octets fits",
    "+ MSS: the MSS of the SYN is lowered from 1460 to 1400, so that segments fit the tunnel",
    ". code path: slow path: the main thread keeps it until the store has the new mapping, and " +
      "goes on then",
    "delivered to the remote gateway 203.0.113.1 port 1045 as 198.51.100.1 + [new reference] -> " +
      "203.0.113.1 + 1025, in one datagram of 52 octets",
  ]);
  assert.equal(report.path, "waits");
  await world.gateway.stop();
});

test("a packet that must not be fragmented is dropped at its size, and its sender told", async () => {
  const world = new ExplainWorld();
  world.machine.pathMtu = 1400;
  await world.start();
  const large = { protocol: 1, size: 1420 };
  const report = await world.explain(flow("10.1.0.22", "10.240.0.22", large));
  assert.deepEqual(linesOf(report), [
    "ICMP echo request, 10.1.0.22 -> 10.240.0.22, 1420 octets, TTL 64, DF",
    "+ packet: ICMP echo request, 10.1.0.22 -> 10.240.0.22, 1420 octets, TTL 64, DF",
    "+ remote host: 10.240.0.22 is 203.0.113.1 + 1025 (published by /h)",
    "+ local host: 10.1.0.22 is 198.51.100.1 + 1025 (published by /h)",
    "+ remote gateway: 203.0.113.1 port 1045 (the configured port; nothing heard from there yet; " +
      "would become known by this packet); the path carries tunnel packets of 1372 octets",
    "x size: a tunnel packet of 1420 octets does not fit and must not be fragmented",
    ". code path: slow path: the main thread drops it",
    "dropped: packet-too-big",
    "the sender is told: ICMP too big, 10.240.0.1 -> 10.1.0.22, 576 octets, TTL 64",
  ]);
  assert.equal(report.verdict.drop?.fix, dropAdvice("packet-too-big").fix);
  assert.deepEqual(report.sentBytes, []);
  await world.gateway.stop();
});

test("a packet that the device does not take is refused or cut by the kernel before", async () => {
  const world = await new ExplainWorld().start();
  const large = { protocol: 17, size: 1441, syn: false };
  const refused = await world.explain(flow("10.1.0.22", "10.240.0.22", large));
  assert.deepEqual(linesOf(refused).slice(2), [
    "x device: too large for fake0, whose MTU is 1440: the kernel tells the sender before the " +
      "gateway sees it",
    "dropped by the kernel: packets of more than 1440 octets do not fit",
    "the sender is told: packet too big, the path carries 1440 octets",
  ]);
  const cut = await world.explain(flow("10.1.0.22", "10.240.0.22", { ...large, df: false }));
  assert.equal(cut.steps[1]!.title, "device");
  assert.equal(cut.verdict.kind, "delivered");
  const fits = await world.explain(flow("10.1.0.22", "10.240.0.22", { ...large, size: 1440 }));
  assert.equal(fits.steps.filter(({ title }) => title === "device").length, 0);
  await world.gateway.stop();
});

test("a packet from outside is walked to the local host and the address that it sees", async () => {
  const world = await new ExplainWorld().start();
  const report = await world.explain(flow(`${REMOTE_GATEWAY} + 9999`, "198.51.100.1 + 1025"));
  assert.deepEqual(linesOf(report), [
    "TCP SYN, (203.0.113.1 + 9999) port 49152 -> (198.51.100.1 + 1025) port 443, 44 octets, " +
      "TTL 64, DF, from 203.0.113.1 port 1045",
    "+ datagram: TCP SYN, (203.0.113.1 + 9999) port 49152 -> (198.51.100.1 + 1025) port 443, " +
      "44 octets, TTL 64, DF, from 203.0.113.1 port 1045",
    "+ local host: 198.51.100.1 + 1025 is 10.1.0.22 (published by /h)",
    ". remote host: 203.0.113.1 + 9999 has no encoded address yet: one would be created, and the " +
      "packet would wait until it is stored",
    "+ MSS: the MSS of the SYN is lowered from 1460 to 1400, so that segments fit the tunnel",
    ". code path: slow path: the main thread keeps it until the store has the new mapping, and " +
      "goes on then",
    "delivered to the local host 10.1.0.22, which sees it come from [new encoded address], in " +
      "one packet of 44 octets",
  ]);
  await world.gateway.stop();
});

test("what cannot go in one datagram is shown in fragments", async () => {
  const world = await new ExplainWorld().start();
  const large = { protocol: 17, size: 3000, df: false, syn: false };
  const report = await world.explain(flow("10.1.0.22", "10.240.0.22", large));
  const text = "3000 octets do not fit: 3 fragments of ";
  const size = report.steps.find(({ title }) => title === "size");
  assert.ok(size?.text.startsWith(text), size?.text);
  assert.equal(report.sentBytes.length, 3);
  assert.ok(report.sentBytes.every((octets) => octets <= 1472));
  await world.gateway.stop();
});

test("IPv6 local networks are explained alike", async () => {
  const world = await new ExplainWorld(usualWorld(6)).start();
  const report = await world.explain(flow("2001:db8:1::22", "fd00:240::22"));
  assert.match(report.verdict.text, /as 198\.51\.100\.1 \+ 1025 -> 203\.0\.113\.1 \+ 1025, in one/);
  const back = await world.explain(flow(`${REMOTE_GATEWAY} + 1025`, "2001:db8:1::22"));
  assert.match(
    back.verdict.text,
    /local host 2001:db8:1::22, which sees it come from fd00:240::22/,
  );
  await world.gateway.stop();
});

test("an IPREF address without encoded address is one that a resolver would be given", async () => {
  const world = await new ExplainWorld().start();
  const report = await world.explain(flow("10.1.0.22", `${REMOTE_GATEWAY} + 7777`));
  const step = report.steps.find(({ title }) => title === "remote host");
  assert.equal(
    step?.text,
    "203.0.113.1 + 7777 has no encoded address yet: one would be created when its name is asked for",
  );
  assert.notEqual(report.path, "waits");
  assert.match(report.verdict.text, /-> 203\.0\.113\.1 \+ 7777, in one datagram/);
  await world.gateway.stop();
});

test("an echo to the gateway's own reference is answered by the gateway", async () => {
  const world = await new ExplainWorld().start();
  const echo = flow(`${REMOTE_GATEWAY} + 1025`, "198.51.100.1 + 1", { protocol: 1 });
  const { verdict } = await world.explain(echo);
  assert.equal(verdict.kind, "answered");
  assert.match(verdict.text, /ICMP echo reply, \(198\.51\.100\.1 \+ 1\) -> \(203\.0\.113\.1/);
  await world.gateway.stop();
});

test("a host without reference cannot be reached, and is told how", async () => {
  const world = await new ExplainWorld().start();
  const { verdict } = await world.explain(flow(`${REMOTE_GATEWAY} + 1025`, "10.1.0.7"));
  assert.equal(verdict.text, "10.1.0.7 cannot be reached from outside");
  assert.equal(verdict.drop?.reason, "tunnel-reference-unknown");
  assert.match(verdict.drop!.fix, /ipref publish/);
  await world.gateway.stop();
});

test("a gateway that knows no public address says who fills it in", async () => {
  const world = await new ExplainWorld().start("-gateway-pub", "0.0.0.0");
  const report = await world.explain(flow("10.1.0.22", "10.240.0.22"));
  const step = report.steps.find(({ title }) => title === "public address");
  assert.match(step!.text, /^the own public address is not known: the remote gateway fills in/);
  assert.match(report.verdict.text, /as 0\.0\.0\.0 \+ 1025 -> 203\.0\.113\.1 \+ 1025/);
  const known = await new ExplainWorld().start();
  const other = await known.explain(flow("10.1.0.22", "10.240.0.22"));
  assert.ok(other.steps.every(({ title }) => title !== "public address"));
  for (const each of [world, known]) await each.gateway.stop();
});

test("destinations outside of the encode net are left to routing", async () => {
  const world = await new ExplainWorld().start();
  for (const destination of ["192.0.2.9", "198.51.100.1 + 1025"]) {
    const { verdict } = await world.explain(flow("10.1.0.5", destination));
    assert.equal(verdict.kind, "direct");
  }
  await world.gateway.stop();
});

test("a mapping that has expired is named, and a packet from inside would bring it back", async () => {
  const world = await new ExplainWorld().start();
  const packet = nativeUdp();
  packet[15] = 77;
  world.fromLocal(packet);
  await settle();
  const { ipref } = await world.who("10.1.0.77");
  world.machine.pass(14_500);
  const remote = `${REMOTE_GATEWAY} + 1025`;
  const back = await world.explain(flow(remote, ipref!));
  const step = back.steps.find(({ title }) => title === "local host");
  assert.equal(step?.text, `${ipref} has no mapping; it was 10.1.0.77 and has expired`);
  assert.equal(back.verdict.drop?.reason, "tunnel-reference-unknown");
  const out = await world.explain(flow("10.1.0.77", "10.240.0.22"));
  assert.equal(out.path, "waits");
  const revived = out.steps.find(({ title }) => title === "local host");
  assert.equal(revived?.text, `10.1.0.77 is ${ipref} (expired; the packet would bring it back)`);
  await world.gateway.stop();
});

test("the fast path is named once both mappings and the gateway are known", async () => {
  const world = await new ExplainWorld().start();
  const out = flow("10.1.0.22", "10.240.0.22", { protocol: 17, syn: false });
  const back = flow(`${REMOTE_GATEWAY} + 1025`, "10.1.0.22", { protocol: 17, syn: false });
  assert.equal((await world.explain(out)).path, "slow");
  world.fromLocal(nativeUdp());
  assert.equal((await world.explain(out)).path, "fast");
  const before = await world.explain(back);
  assert.match(before.steps.at(-1)!.text, /its remote gateway has not been answered yet/);
  world.fromTunnel(tunnelUdp());
  world.fromLocal(nativeUdp());
  await settle();
  assert.equal((await world.explain(back)).path, "fast");
  const fragment = Uint8Array.from(nativeUdp());
  fragment[6] = 0x20;
  const raw = { packet: toHex(fragment.subarray(0, 28)), side: "local" } as const;
  assert.equal((await world.explain(raw)).verdict.kind, "delivered");
  await world.gateway.stop();
});

/** UDP from 10.1.0.22 to 10.240.0.22, without checksum. */
function nativeUdp(): Uint8Array {
  const [from, to] = ["10.1.0.22", "10.240.0.22"].map((text) => parseIp(text)!.bytes);
  const ip = [0x45, 0, 0, 28, 0, 1, 0x40, 0, 64, 17, 0, 0, ...from!, ...to!];
  return Uint8Array.from([...ip, 0xc0, 0, 1, 0xbb, 0, 8, 0, 0]);
}

/** UDP from 203.0.113.1 + 1025 to 198.51.100.1 + 1025, without checksum. */
function tunnelUdp(): Uint8Array {
  const [from, to] = [REMOTE_GATEWAY, "198.51.100.1"].map((text) => parseIp(text)!.bytes);
  const head = [0x11, 0x40, 64, 17, ...from!, ...to!, 0, 0, 4, 1, 0, 0, 4, 1];
  return Uint8Array.from([...head, 1, 0xbb, 0xc0, 0, 0, 8, 0, 0]);
}

const SITES = [
  { name: "IPv4", sites: FOUR, world: SITE_WORLDS[4] },
  { name: "IPv6", sites: SIX, world: SITE_WORLDS[6] },
];

for (const { name, sites, world: settings } of SITES) {
  const local = FROM_LOCAL.filter((each) => each[2] === sites);
  const tunnel = FROM_TUNNEL.filter((each) => each[2] === sites);
  for (const [side, cases] of [["local", local] as const, ["tunnel", tunnel] as const]) {
    for (const [index, [reason, packet]] of cases.entries()) {
      test(`${name}: ${reason} (${side} ${index}) is explained as the gateway counts it`, async () => {
        const world = await new ExplainWorld(settings).start();
        const from = formatIp(sites.publicB);
        const before = world.digest();
        const report = await world.explain({ packet: toHex(packet), side, from });
        assert.equal(world.digest(), before, "an explanation changes nothing");
        if (side === "local") world.fromLocal(packet);
        else world.fromTunnel(packet, from);
        await settle();
        const { drop, told = "" } = report.verdict;
        const isNamed = (name: string) => drop!.reason === name || told.includes(`(${name}:`);
        assert.ok(isNamed(reason), `${drop?.reason}; ${told}`);
        assert.deepEqual(
          [...world.drops().keys()].filter((name) => !isNamed(name)),
          [],
        );
        assert.equal(world.drops().get(drop!.reason), 1);
        await world.gateway.stop();
      });
    }
  }
}

test("every drop reason has causes and a fix", () => {
  for (const { name } of DROP_REASONS) {
    const { causes, fix } = dropAdvice(name as Parameters<typeof dropAdvice>[0]);
    assert.ok(causes.length > 20 && fix.length > 10, name);
    assert.ok(!/[.|]$/.test(fix) && !causes.includes("|"), name);
  }
});

test("questions that cannot be read are refused with what was expected", async () => {
  const world = await new ExplainWorld().start();
  const good = flow("10.1.0.22", "10.240.0.22");
  const cases: readonly (readonly [unknown, string])[] = [
    [7, "400 Expected a JSON object"],
    [{ ...good, source: 5 }, "400 Cannot read the source: expected text"],
    [{ ...good, port: 65_536 }, "400 Cannot read the port: expected a number from 0 to 65535"],
    [{ ...good, size: 20 }, "400 Cannot make a packet of 20 octets: wanted 44 to 65535"],
    [
      { packet: "4", side: "local" },
      "400 Cannot read the packet: expected pairs of hexadecimal digits",
    ],
    [{ packet: "45", side: "up" }, "400 Cannot read the side: expected local or tunnel"],
    [
      { ...good, source: "2001:db8::1" },
      "400 The source is an IPv6 address; the local network of this gateway is IPv4",
    ],
    [
      { ...good, source: "10.240.77.1" },
      "400 No remote host has the encoded address 10.240.77.1; ipref maps lists them",
    ],
  ];
  for (const [question, expected] of cases) assert.equal(await world.refusal(question), expected);
  await world.gateway.stop();
});

test("who tells remote hosts, local hosts, the gateway and strangers apart", async () => {
  const world = await new ExplainWorld().start();
  const roles: string[] = [];
  const addresses = ["10.240.0.22", `${REMOTE_GATEWAY} + 1025`, "10.1.0.22", "198.51.100.1 + 1025"];
  for (const address of [...addresses, "10.240.0.1", "198.51.100.1 + 1", "10.240.0.99"]) {
    const { role, ipref } = await world.who(address);
    roles.push(`${role} ${ipref}`);
  }
  assert.deepEqual(roles, [
    "remote 203.0.113.1 + 1025",
    "remote 203.0.113.1 + 1025",
    "local 198.51.100.1 + 1025",
    "local 198.51.100.1 + 1025",
    "gateway 198.51.100.1 + 1",
    "gateway 198.51.100.1 + 1",
    "unknown undefined",
  ]);
  await world.gateway.stop();
});

test("a gateway in -devmode has nothing to explain", async () => {
  const world = await new ExplainWorld().start("-devmode");
  assert.match(await world.refusal(flow("10.1.0.5", "10.240.0.22")), /^409 .*-devmode/);
  await world.gateway.stop();
});
