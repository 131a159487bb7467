/** What `ipref up` starts from a configuration: command lines and Corefile. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { readConfiguration } from "../../src/control/config/read.js";
import type { UpConfiguration } from "../../src/control/config/settings.js";
import { parseGatewayFlags } from "../../src/control/gateway-flags.js";
import { readConfiguration as readCorefile } from "../../src/dns/configuration.js";
import { parseAgentFlags } from "../../src/programs/agent-flags.js";
import { ownServer, planOf } from "../../src/programs/up-plan.js";

const EXAMPLES = new URL("../../../examples/", import.meta.url);
const UPSTREAMS = ["192.0.2.53", "2001:db8::53"];

function configurationOf(text: string): UpConfiguration {
  const read = readConfiguration({ file: "x", text, flags: new Map() });
  assert.ok(read.ok, read.ok ? "" : read.complaints.join("\n"));
  return read.configuration;
}

function flagOf(args: readonly string[], flag: string): string | undefined {
  const at = args.indexOf(flag);
  return at < 0 ? undefined : args[at + 1];
}

for (const name of readdirSync(EXAMPLES)) {
  const text = readFileSync(new URL(name, EXAMPLES), "utf8");

  test(`the programs take what examples/${name} makes of their command lines`, () => {
    const plan = planOf(configurationOf(text), UPSTREAMS);
    assert.equal(parseGatewayFlags(plan.gateway).kind, "settings");
    assert.equal(parseAgentFlags(plan.agent).kind, "settings");
  });

  test(`the DNS server takes the Corefile of examples/${name}`, async () => {
    const { corefile } = planOf(configurationOf(text), UPSTREAMS);
    const configuration = await readCorefile({
      text: corefile,
      file: "Corefile",
      imports: { read: async () => undefined, list: async () => [] } as never,
      variables: () => undefined,
      defaultPort: 53,
    });
    assert.deepEqual(configuration.problems, []);
  });
}

test("the agent asks for gateways past the translation (spec/dns-agent.md 5.1)", () => {
  const text =
    '[gateway]\npublic = "198.51.100.7"\n[resolver]\nlisten = ["10.1.0.2"]\n' +
    '[publish]\ndomain = "home.example.com"\ngateway = "gw.home.example.com"\n';
  const configuration = configurationOf(text);
  const { agent, corefile } = planOf(configuration, UPSTREAMS);
  assert.equal(flagOf(agent, "-resolver"), UPSTREAMS.join(","));
  assert.equal(flagOf(agent, "-local-resolver"), ownServer(configuration));
  assert.equal(flagOf(agent, "-gateway-pub"), "198.51.100.7");
  assert.match(corefile, /^ {8}except gw\.home\.example\.com$/m);
  assert.match(corefile, /hosts \S+own-names\.hosts home\.example\.com \{/);
});

test("two names of the doctor are in every Corefile, one of them in the encode net", () => {
  const four = planOf(configurationOf(""), UPSTREAMS).corefile;
  assert.match(four, /^ipref\.internal:53 \{\n {4}hosts \/dev\/null ipref\.internal \{\n/m);
  assert.match(four, /^ {8}10\.240\.0\.1 encoded\.ipref\.internal$/m);
  const six = planOf(configurationOf('[gateway]\nencode-net = "fd00:240::/64"\n'), UPSTREAMS);
  assert.match(six.corefile, /^ {8}fd00:240::1 encoded\.ipref\.internal$/m);
});

test("client mode names no source, no local zone and no public address", () => {
  const { agent, gateway, corefile } = planOf(configurationOf(""), UPSTREAMS);
  assert.equal(agent.at(-2), "-resolver");
  assert.equal(flagOf(gateway, "-gateway-pub"), "0.0.0.0");
  assert.doesNotMatch(corefile, /^internal|own-names|except/m);
});

test("without a resolver there is none to start, and the agent asks the system's", () => {
  const text =
    '[gateway]\npublic = "198.51.100.7"\n[resolver]\nenabled = false\n' +
    '[publish]\ndomain = "home.example.com"\n';
  const plan = planOf(configurationOf(text), UPSTREAMS);
  assert.equal(plan.resolver, undefined);
  assert.equal(flagOf(plan.agent, "-local-resolver"), undefined);
});

test("with name servers the source is their transfer, without the zone of ipref publish", () => {
  const head = '[gateway]\npublic = "198.51.100.7"\n[publish]\ndomain = "home.example.com"\n';
  const own = planOf(configurationOf(head), UPSTREAMS);
  const file = "internal:home.example.com:file:///var/lib/ipref/zones/home.example.com.db";
  assert.equal(own.agent.at(-1), file);
  const servers = planOf(configurationOf(`${head}servers = ["192.0.2.1", "ns.x.org:5353"]`), []);
  assert.equal(servers.agent.at(-1), "internal:home.example.com:192.0.2.1,ns.x.org:5353");
});

test("lanes, offloads and kernel of the configuration are those of the gateway", () => {
  const chosen = planOf(
    configurationOf(
      '[gateway]\nlanes = 3\ncoalesce-us = 40\noffload = "csum, tso"\nkernel = "ts"\n',
    ),
    UPSTREAMS,
  );
  const flags = parseGatewayFlags(chosen.gateway);
  assert.ok(flags.kind === "settings");
  assert.equal(flags.settings.lanes, 3);
  assert.equal(flags.settings.kernel, "ts");
  assert.equal(flags.settings.coalesceUs, 40);
  const { csum, tso, uso, gso, gro } = flags.settings.offloads;
  assert.deepEqual([csum, tso, uso, gso, gro], [true, true, false, false, false]);
  const { gateway } = planOf(configurationOf(""), UPSTREAMS);
  assert.equal(flagOf(gateway, "-lanes"), undefined, "by the number of processors");
  assert.equal(flagOf(gateway, "-offload"), "all");
  assert.equal(flagOf(gateway, "-coalesce-us"), "200");
  assert.equal(flagOf(gateway, "-kernel"), "wasm");
});

test("lanes, offloads and kernels that do not exist are refused with what is wanted", () => {
  for (const [line, wanted] of [
    ["lanes = 9", /lanes = .*expected a number of lanes from 1 to 8, or 0/],
    ["lanes = 1.5", /lanes = .*expected a number of lanes from 1 to 8, or 0/],
    ['offload = "csum;tso"', /offload = .*expected all, none, or some of csum,tso/],
    ['kernel = "rust"', /kernel = .*expected wasm or ts/],
  ] as const) {
    const read = readConfiguration({ file: "x", text: `[gateway]\n${line}\n`, flags: new Map() });
    assert.ok(!read.ok);
    assert.match(read.complaints.join("\n"), wanted);
  }
});
