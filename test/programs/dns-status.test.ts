/** What the DNS server tells of itself, and when that is a problem. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseIp } from "../../src/base/ip.js";
import { readConfiguration } from "../../src/dns/configuration.js";
import type { ServiceFacts } from "../../src/programs/dns-service.js";
import { resolverStatus } from "../../src/programs/dns-status.js";

const UP = { label: "192.0.2.53:53", isDown: false, isLooping: false, failCount: 0 };
const DOWN = { label: "192.0.2.54:53", isDown: true, isLooping: false, failCount: 3 };
const LOOP = { label: "127.0.0.1:53", isDown: false, isLooping: true, failCount: 0 };

async function factsOf(change: Partial<ServiceFacts> = {}): Promise<ServiceFacts> {
  const configuration = await readConfiguration({
    text: ".:5300 {\n  cache\n  forward . 192.0.2.53\n}\nhome.example:5300 {\n  whoami\n}\n",
    file: "Corefile",
    imports: { read: async () => ({ ok: false, error: "none" }), list: async () => [] } as never,
    variables: () => undefined,
    defaultPort: 53,
  });
  assert.deepEqual(configuration.problems, []);
  const chains = configuration.blocks.map((block) => ({ configuration: block, handlers: [] }));
  return {
    chains: chains as unknown as ServiceFacts["chains"],
    waitingFor: [],
    endpoints: [
      { address: parseIp("::1")!, port: 5300 },
      { address: parseIp("127.0.0.1")!, port: 5300 },
    ],
    upstreams: [UP],
    mappers: [{ socket: "/run/ipref/mapper.sock", isReady: true }],
    queriesInFlight: 2,
    tcpConnections: 1,
    ...change,
  };
}

test("addresses, blocks with their directives, servers and load are told", async () => {
  const status = resolverStatus(await factsOf());
  assert.equal(status.part, "resolver");
  assert.deepEqual([status.isHealthy, status.problems], [true, []]);
  assert.deepEqual(status.listening, ["127.0.0.1:5300", "[::1]:5300"]);
  assert.deepEqual(status.blocks, [
    { zones: [".:5300"], plugins: ["cache", "forward"] },
    { zones: ["home.example.:5300"], plugins: ["whoami"] },
  ]);
  assert.deepEqual(status.upstreams, [
    { server: "192.0.2.53:53", isDown: false, isLooping: false, failedChecks: 0 },
  ]);
  assert.deepEqual([status.queriesInFlight, status.tcpConnections], [2, 1]);
});

test("a server that several blocks ask is told once, as well as it is anywhere", async () => {
  const twice = [DOWN, { ...DOWN, isDown: false, failCount: 1 }, UP];
  const { upstreams, isHealthy } = resolverStatus(await factsOf({ upstreams: twice }));
  assert.deepEqual(upstreams, [
    { server: "192.0.2.54:53", isDown: false, isLooping: false, failedChecks: 3 },
    { server: "192.0.2.53:53", isDown: false, isLooping: false, failedChecks: 0 },
  ]);
  assert.equal(isHealthy, true);
});

test("each thing that stops names from being resolved is a problem with its name", async () => {
  const cases: [Partial<ServiceFacts>, RegExp][] = [
    [{ waitingFor: ["ipref", "file"] }, /Not ready: waits for ipref, file/],
    [{ endpoints: [] }, /Listens nowhere/],
    [{ mappers: [{ socket: "/m", isReady: false }] }, /mapper at \/m does not answer/],
    [{ upstreams: [DOWN] }, /No server answers: 192\.0\.2\.54:53/],
    [{ upstreams: [UP, LOOP] }, /127\.0\.0\.1:53 leads back/],
  ];
  for (const [change, problem] of cases) {
    const { isHealthy, problems } = resolverStatus(await factsOf(change));
    assert.equal(isHealthy, false);
    assert.match(problems.join("\n"), problem);
  }
  assert.equal(resolverStatus(await factsOf({ upstreams: [UP, DOWN] })).isHealthy, true);
});
