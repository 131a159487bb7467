/** Command line of the gateway: spec/mapper.md 7.1. */

import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { test } from "node:test";
import { formatIp, formatPrefix } from "../../src/base/ip.js";
import {
  defaultLanes,
  type GatewaySettings,
  gatewayUsage,
  parseGatewayFlags,
} from "../../src/control/gateway-flags.js";
import { ALL_OFFLOADS } from "../../src/forward/offloads.js";

function accepted(...args: string[]): GatewaySettings {
  const parsed = parseGatewayFlags(args);
  if (parsed.kind === "settings") return parsed.settings;
  return assert.fail(`refused: ${parsed.kind === "errors" ? parsed.lines.join("; ") : "help"}`);
}

function refused(...args: string[]): { text: string; exitStatus: number } {
  const parsed = parseGatewayFlags(args);
  assert.equal(parsed.kind, "errors", `${args.join(" ")} must be refused`);
  const { lines, exitStatus } = parsed as Extract<typeof parsed, { kind: "errors" }>;
  assert.match(lines.at(-1)!, /-h/);
  return { text: lines.slice(0, -1).join("\n"), exitStatus };
}

test("every flag has the default of the specification", () => {
  const settings = accepted("-gateway", "192.0.2.1");
  const { bind, publicAddress, encodeNet, debugModules, ...plain } = settings;
  assert.equal(formatIp(bind), "192.0.2.1");
  assert.equal(formatIp(publicAddress), "192.0.2.1");
  assert.equal(formatPrefix(encodeNet), "10.240.0.0/12");
  assert.deepEqual(debugModules, []);
  assert.deepEqual(plain, {
    tunnelVersion: 4,
    localVersion: 4,
    interfaceMtuBytes: 0,
    port: 1045,
    remotePort: 1045,
    gatewayReference: 1n,
    dataFolder: "/var/lib/ipref",
    mapperSocket: "/run/ipref/mapper.sock",
    mapperGroup: undefined,
    controlSocket: "/run/ipref/gateway.control",
    controlGroup: undefined,
    metrics: undefined,
    logFormat: "auto",
    hostsFile: "/etc/hosts",
    buffersMax: 64,
    remoteGatewaysMax: 1024,
    localIpsMax: 1024,
    decrementTtl: false,
    kernel: "wasm",
    lanes: defaultLanes(availableParallelism()),
    coalesceUs: 200,
    offloads: ALL_OFFLOADS,
    isDevmode: false,
    isTraced: false,
    hasTicks: false,
    hasTimeStamps: false,
  });
});

test("one dash, two dashes, a blank and an equals sign mean the same", () => {
  const forms = [
    ["-gateway", "192.0.2.1", "-gateway-port", "2000", "-trace"],
    ["--gateway", "192.0.2.1", "--gateway-port", "2000", "--trace"],
    ["-gateway=192.0.2.1", "-gateway-port=2000", "-trace=true"],
    ["--gateway=192.0.2.1", "--gateway-port=0x7d0", "--trace=1"],
  ];
  const wanted = accepted(...forms[0]!);
  assert.equal(wanted.port, 2000);
  assert.equal(wanted.isTraced, true);
  for (const form of forms) assert.deepEqual(accepted(...form), wanted);
});

test("a boolean takes a value only behind an equals sign; the rest is extra and ignored", () => {
  const settings = accepted("-gateway", "192.0.2.1", "-dec-ttl", "false", "-trace");
  assert.equal(settings.decrementTtl, true);
  assert.equal(settings.isTraced, false);
  assert.equal(accepted("-gateway", "192.0.2.1", "-dec-ttl=f").decrementTtl, false);
});

test("-coalesce-us takes 0 to 1000", () => {
  assert.equal(accepted("-gateway", "192.0.2.1", "-coalesce-us", "0").coalesceUs, 0);
  assert.equal(accepted("-gateway", "192.0.2.1", "--coalesce-us=1000").coalesceUs, 1000);
  for (const value of ["1001", "-1", "soon"]) {
    const refused = parseGatewayFlags(["-gateway", "192.0.2.1", "-coalesce-us", value]);
    assert.equal(refused.kind, "errors", value);
  }
});

test("-lanes takes 1 to 8, and follows the processors by default", () => {
  assert.equal(accepted("-gateway", "192.0.2.1", "-lanes", "2").lanes, 2);
  assert.equal(accepted("-gateway", "192.0.2.1", "--lanes=8").lanes, 8);
  for (const value of ["0", "9", "-1", "two"]) {
    const refused = parseGatewayFlags(["-gateway", "192.0.2.1", "-lanes", value]);
    assert.equal(refused.kind, "errors", value);
  }
  const lanes = [1, 2, 3, 4, 5, 6, 8, 15, 16, 64].map(defaultLanes);
  assert.deepEqual(lanes, [1, 1, 1, 2, 2, 3, 4, 7, 8, 8]);
});

test("-kernel takes ts or wasm", () => {
  assert.equal(accepted("-gateway", "192.0.2.1", "-kernel", "ts").kernel, "ts");
  assert.equal(accepted("-gateway", "192.0.2.1", "--kernel=wasm").kernel, "wasm");
  const refused = parseGatewayFlags(["-gateway", "192.0.2.1", "-kernel", "c"]);
  assert.equal(refused.kind, "errors");
  if (refused.kind !== "errors") return;
  assert.equal(refused.lines[0], 'Cannot use -kernel: found "c", expected wasm or ts');
});

test("extra arguments and everything behind two dashes are ignored", () => {
  assert.equal(accepted("-gateway", "192.0.2.1", "extra", "-no-such-flag").port, 1045);
  assert.equal(accepted("-gateway", "192.0.2.1", "--", "-gateway-port", "7").port, 1045);
  assert.equal(accepted("-gateway", "192.0.2.1", "-", "-gateway-port", "7").port, 1045);
});

test("the last of equal flags wins, and a value may begin with a dash", () => {
  assert.equal(accepted("-gateway=192.0.2.1", "-gateway-port=1", "-gateway-port=2").port, 2);
  assert.equal(accepted("-gateway", "192.0.2.1", "-max-local-ips", "-5").localIpsMax, 1);
});

test("one address alone makes the other the zero address of its version", () => {
  const bound = accepted("-gateway-bind", "2001:db8::1");
  assert.equal(formatIp(bound.publicAddress), "::");
  assert.equal(bound.tunnelVersion, 6);
  const published = accepted("-gateway-pub", "192.0.2.1");
  assert.equal(formatIp(published.bind), "0.0.0.0");
});

test("-gateway fills only what is absent", () => {
  const settings = accepted("-gateway", "192.0.2.1", "-gateway-bind", "10.0.0.1");
  assert.equal(formatIp(settings.bind), "10.0.0.1");
  assert.equal(formatIp(settings.publicAddress), "192.0.2.1");
});

test("limits below their ranges mean what the specification says", () => {
  const low = accepted("-gateway=::", "-max-remote-gateways=0", "-max-buffers=1");
  assert.equal(low.remoteGatewaysMax, undefined);
  assert.equal(low.buffersMax, 16);
  assert.equal(accepted("-gateway=::", "-max-buffers=9999").buffersMax, 1024);
  assert.equal(accepted("-gateway=::", "-gateway-port=0").port, 1045);
});

test("relative paths become absolute and an empty hosts path turns the file off", () => {
  const settings = accepted("-gateway=::", "-data=d", "-mapper-socket=s", "-hosts=");
  assert.equal(settings.dataFolder, `${process.cwd()}/d`);
  assert.equal(settings.mapperSocket, `${process.cwd()}/s`);
  assert.equal(settings.hostsFile, undefined);
});

test("-debug strips directory and extension of module names", () => {
  const settings = accepted("-gateway=::", "-debug", "mapper.go, src/db.ts,,gw");
  assert.deepEqual(settings.debugModules, ["mapper", "db", "gw"]);
});

test("-encode-net is masked and may be IPv6", () => {
  assert.equal(
    formatPrefix(accepted("-gateway=::", "-encode-net=10.99.7.1/16").encodeNet),
    "10.99.0.0/16",
  );
  assert.equal(accepted("-gateway=::", "-encode-net=fd00:240::/64").localVersion, 6);
});

test("bad flags are named with value and rule and end with status 2", () => {
  const cases: [string[], RegExp][] = [
    [["-gatewy", "192.0.2.1"], /-gatewy: there is no such flag; did you mean -gateway\?/],
    [["-gateway"], /-gateway: a value must follow/],
    [[], /missing gateway IP address/],
    [["-encode-net=10.0.0.0/8"], /missing gateway IP address/],
    [["-gateway", "fe80::1%eth0"], /-gateway: found "fe80::1%eth0", expected an IPv4 or IPv6/],
    [["-gateway", "127.0.0.1"], /-gateway: found "127.0.0.1", expected a unicast address/],
    [["-gateway", "224.0.0.1"], /unicast/],
    [["-gateway", "255.255.255.255"], /unicast/],
    [["-gateway-bind=192.0.2.1", "-gateway-pub=::"], /-gateway-pub: found "::", expected IPv4/],
    [["-gateway=::", "-gateway-port=70000"], /-gateway-port: found "70000", .*0 to 65535/],
    [["-gateway=::", "-remote-gateway-port=-1"], /-remote-gateway-port: found "-1"/],
    [["-gateway=::", "-gateway-port=http"], /-gateway-port: found "http", .*whole number/],
    [["-gateway=::", "-gateway-ifc-mtu=65535"], /-gateway-ifc-mtu: found "65535", .*65534/],
    [["-gateway=::", "-gateway-ref=xyz"], /-gateway-ref: found "xyz", expected a reference/],
    [["-gateway=::", "-encode-net=10.0.0.0"], /-encode-net: found "10.0.0.0", .*prefix/],
    [["-gateway=::", "-encode-net=127.0.0.0/8"], /-encode-net: .*unicast/],
    [["-gateway=::", "-data="], /-data: found "", expected a path/],
    [["-gateway=::", "-mapper-socket="], /-mapper-socket: found "", expected a path/],
    [["-gateway=::", "-dec-ttl=maybe"], /-dec-ttl: found "maybe", expected true or false/],
    [["---gateway=::"], /this is not a flag/],
    [["-=1"], /this is not a flag/],
  ];
  for (const [args, wanted] of cases) {
    const { text, exitStatus } = refused(...args);
    assert.match(text, wanted, args.join(" "));
    assert.equal(exitStatus, 2, args.join(" "));
  }
});

test("an encode net that is too small is a configuration error, status 78", () => {
  for (const net of ["10.240.0.0/20", "fd00::/116"]) {
    const { text, exitStatus } = refused("-gateway=::", `-encode-net=${net}`);
    assert.match(text, /too small; use a prefix of \/(19|115) or shorter/);
    assert.equal(exitStatus, 78);
  }
  assert.equal(accepted("-gateway=::", "-encode-net=10.240.0.0/19").encodeNet.bits, 19);
  assert.equal(accepted("-gateway=::", "-encode-net=fd00::/115").encodeNet.bits, 115);
});

test("several wrong values are all reported at once", () => {
  const { text } = refused("-gateway=::", "-gateway-port=x", "-data=", "-gateway-ref=0x1");
  assert.equal(text.split("\n").length, 3);
});

test("-h prints the usage with every flag", () => {
  for (const form of ["-h", "--help", "-help"]) {
    assert.deepEqual(parseGatewayFlags([form]), { kind: "help", text: gatewayUsage() });
  }
  for (const line of gatewayUsage().split("\n")) assert.ok(line.length <= 100, line);
  for (const name of ["gateway-ifc-mtu", "max-buffers", "time-stamps", "devmode"]) {
    assert.match(gatewayUsage(), new RegExp(`\n  -${name} `));
  }
});

test("-devmode needs no address", () => {
  const settings = accepted("-devmode");
  assert.equal(formatIp(settings.publicAddress), "198.51.100.1");
});
