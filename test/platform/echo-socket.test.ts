/** Echo requests through the kernel, in a namespace of this process alone: raw and datagram. */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type IpAddress, parseIp } from "../../src/base/ip.js";
import { openEchoSocket } from "../../src/platform/echo-socket.js";
import { probeHops } from "../../src/platform/hop-probes.js";
import { Reactor } from "../../src/platform/reactor.js";
import { type EchoOutcome, EchoProbes } from "../../src/programs/inspect/echo-probes.js";
import { enterPrivateNetwork, run, SKIP_WITHOUT_ROOT } from "./private-network.js";

const ip = (text: string): IpAddress => parseIp(text)!;
const DATA = new Uint8Array(56);
const LOOPBACKS = { 4: ip("127.0.0.1"), 6: ip("::1") };

describe("echo sockets", { skip: SKIP_WITHOUT_ROOT, concurrency: 1 }, () => {
  let reactor: Reactor;
  before(() => {
    enterPrivateNetwork();
    reactor = new Reactor();
  });
  after(() => reactor?.close());

  const kindNow = (version: 4 | 6): boolean => {
    const events = { onReply: () => {}, onError: () => {} };
    const socket = openEchoSocket(reactor, version, 1, events);
    socket.close();
    return socket.isRaw;
  };
  const probe = async (destination: IpAddress, ttl?: number): Promise<EchoOutcome> => {
    const probes = new EchoProbes(reactor, destination.version);
    const outcome = await probes.probe({ destination, data: DATA, ttl, waitMs: 1000 });
    probes.close();
    return outcome;
  };

  for (const isRaw of [true, false]) {
    for (const version of [4, 6] as const) {
      it(`${isRaw ? "raw" : "datagram"} sockets get IPv${version} replies with their TTL`, async () => {
        const range = isRaw ? "1 0" : "0 2147483647";
        run("sysctl", "-w", `net.ipv4.ping_group_range=${range}`);
        assert.equal(kindNow(version), isRaw);
        const outcome = await probe(LOOPBACKS[version]);
        assert.equal(outcome.kind, "reply");
        assert.deepEqual(outcome.source, LOOPBACKS[version]);
        assert.equal(outcome.octets, 64);
        assert.equal(outcome.ttl, 64);
        assert.ok(outcome.roundTripMs > 0 && outcome.roundTripMs < 1000);
      });
    }
  }

  it("tells what the kernel refuses to send", async () => {
    const outcome = await probe(ip("192.0.2.1"));
    assert.deepEqual(outcome, { kind: "refused", code: "ENETUNREACH" });
  });

  it("keeps two sockets of one kind apart, and ends in silence without an answer", async () => {
    run("ip", "address", "add", "192.0.2.1/24", "dev", "lo");
    run("ip", "route", "add", "blackhole", "198.51.100.0/24");
    const [one, two] = [new EchoProbes(reactor, 4), new EchoProbes(reactor, 4)];
    const request = { destination: ip("192.0.2.1"), data: DATA, waitMs: 500 };
    const outcomes = await Promise.all([
      one.probe(request),
      two.probe(request),
      one.probe(request),
    ]);
    assert.deepEqual(
      outcomes.map(({ kind }) => kind),
      ["reply", "reply", "reply"],
    );
    const open = two.probe({ ...request, destination: ip("127.0.0.1"), waitMs: 60_000 });
    two.close();
    assert.deepEqual(await open, { kind: "silent" });
    one.close();
  });

  it("errors of routers name who sent them, by probes of increasing TTL as well", async () => {
    // A router in a namespace of its own between this one and an address behind it.
    const router = `echo-router-${process.pid}`;
    run("ip", "netns", "add", router);
    try {
      run("ip", "link", "add", "e0", "type", "veth", "peer", "name", "e1", "netns", router);
      run("ip", "address", "add", "203.0.113.1/24", "dev", "e0");
      run("ip", "link", "set", "e0", "up");
      const inside = ["netns", "exec", router];
      run("ip", ...inside, "ip", "address", "add", "203.0.113.2/24", "dev", "e1");
      run("ip", ...inside, "ip", "link", "set", "e1", "up");
      run("ip", ...inside, "sysctl", "-w", "net.ipv4.ip_forward=1");
      run("ip", ...inside, "ip", "route", "add", "100.64.1.0/24", "via", "203.0.113.1");
      run("ip", "route", "add", "100.64.0.0/16", "via", "203.0.113.2");
      const exceeded = await probe(ip("100.64.1.9"), 1);
      assert.ok(exceeded.kind === "error" && exceeded.isTimeExceeded, JSON.stringify(exceeded));
      assert.deepEqual(exceeded.offender, ip("203.0.113.2"));
      const unreachable = await probe(ip("100.64.0.9"));
      assert.ok(unreachable.kind === "error" && !unreachable.isTimeExceeded);
      assert.equal(unreachable.text, "network unreachable");
      const common = { bind: ip("0.0.0.0"), port: 1045, hopsMax: 3, waitMs: 300 };
      const hops = await probeHops(reactor, { ...common, destination: ip("100.64.1.9") });
      assert.equal(hops[0]?.ttl, 1);
      assert.deepEqual(hops[0]?.address, ip("203.0.113.2"));
      const end = await probeHops(reactor, { ...common, destination: ip("203.0.113.2") });
      // The kernel answers a few of them at once (icmp_ratelimit of icmp(7)).
      assert.ok(end.length > 0 && end.every(({ isEnd }) => isEnd), JSON.stringify(end));
    } finally {
      run("ip", "netns", "delete", router);
    }
  });
});
