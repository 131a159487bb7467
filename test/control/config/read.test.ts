/** The configuration of `ipref up`: what is taken, what is refused, and in which words. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  changedSettings,
  formatOrigin,
  readConfiguration,
} from "../../../src/control/config/read.js";
import { SETTINGS, type UpConfiguration } from "../../../src/control/config/settings.js";

function read(text: string, flags: Readonly<Record<string, string>> = {}) {
  return readConfiguration({ file: "x.toml", text, flags: new Map(Object.entries(flags)) });
}

function accepted(text: string, flags: Readonly<Record<string, string>> = {}): UpConfiguration {
  const result = read(text, flags);
  assert.ok(result.ok, result.ok ? "" : result.complaints.join("\n"));
  return result.configuration;
}

function complaints(text: string, flags: Readonly<Record<string, string>> = {}): string[] {
  const result = read(text, flags);
  assert.ok(!result.ok, "the configuration was accepted");
  return [...result.complaints];
}

test("an empty configuration is client mode with the defaults", () => {
  const { gateway, resolver, publish } = accepted("");
  assert.equal(gateway.bind, "0.0.0.0");
  assert.equal(gateway.public, "");
  assert.equal(gateway["encode-net"], "10.240.0.0/12");
  assert.deepEqual(resolver.listen, []);
  assert.equal(publish.domain, "");
});

test("every default satisfies the rule of its setting, or stands for none", () => {
  for (const { key, preset, presetText, schema } of SETTINGS) {
    assert.ok(schema.safeParse(preset).success || presetText !== undefined, key);
  }
});

test("a flag goes before the file", () => {
  const text = '[gateway]\nbind = "192.0.2.1"\n[resolver]\nport = 5353\n';
  const { gateway, resolver } = accepted(text, { bind: "192.0.2.2", listen: "10.0.0.1, ::1" });
  assert.equal(gateway.bind, "192.0.2.2");
  assert.equal(resolver.port, 5353);
  assert.deepEqual(resolver.listen, ["10.0.0.1", "::1"]);
});

test("an unknown setting has its place and the nearest name", () => {
  const [line] = complaints('\n[gateway]\n  pulbic = "192.0.2.1"\n');
  assert.equal(
    line,
    "x.toml:3:3: Found the setting 'pulbic', which does not exist in [gateway]; " +
      "did you mean 'public'?",
  );
});

test("an unknown section has its place and the nearest name", () => {
  const [line] = complaints("[resolvr]\nport = 53\n");
  assert.match(line!, /^x\.toml:1:1: Found the section \[resolvr\].*did you mean 'resolver'\?$/);
});

test("a setting outside of its section is told where it belongs", () => {
  const [line] = complaints('bind = "0.0.0.0"\n');
  assert.match(line!, /^x\.toml:1:1: .* it belongs below \[gateway\]$/);
});

test("a wrong value has its place, the value found and the value wanted", () => {
  const found = complaints('[gateway]\nport = 70000\nencode-net = "10.0.0.0/24"\n');
  assert.deepEqual(found, [
    "x.toml:2:1: Cannot use port = 70000: expected a port from 1 to 65535",
    'x.toml:3:1: Cannot use encode-net = "10.0.0.0/24": ' +
      "expected a prefix with 13 host bits or more",
  ]);
});

test("a value of the wrong type is refused for every setting", () => {
  for (const { section, key } of SETTINGS) {
    const [line] = complaints(`[${section}]\n${key} = 1979-05-27\n`);
    assert.match(line!, /^x\.toml:2:1: Cannot use .*: expected /, key);
  }
});

test("broken TOML has its place", () => {
  const [line] = complaints('[gateway]\nbind = "0.0.0.0\n');
  assert.match(line!, /^x\.toml:2:\d+: Cannot read this as TOML: /);
});

test("a flag with a wrong value is named", () => {
  assert.deepEqual(complaints("", { upstream: "ns.example.com" }), [
    "Cannot use --upstream ns.example.com: expected an IP address, with or without port",
  ]);
});

test("values that contradict each other are refused", () => {
  const mixed = complaints('[gateway]\nbind = "0.0.0.0"\npublic = "2001:db8::1"\n');
  assert.match(mixed[0]!, /gateway\.bind is IPv4 and gateway\.public IPv6/);
  const hidden = complaints('[publish]\ndomain = "example.com"\n');
  assert.match(hidden[0]!, /publish\.domain needs gateway\.public/);
  const unsigned = complaints('[publish]\nupdate-server = "192.0.2.1"\n');
  assert.match(unsigned[0]!, /needs publish\.tsig-key/);
  const circle = complaints('[resolver]\nlisten = ["10.0.0.1"]\nupstream = ["10.0.0.1"]\n');
  assert.match(circle[0]!, /^x\.toml:3:1: .* a circle/);
  const inside = complaints('[gateway]\nencode-net = "10.0.0.0/8"\nbind = "10.1.0.2"\n');
  assert.match(inside[0]!, /^x\.toml:3:1: gateway\.bind 10\.1\.0\.2 is inside of/);
  const upstream = complaints('[resolver]\nupstream = ["9.9.9.9", "10.240.0.53"]\n');
  assert.match(upstream[0]!, /^x\.toml:2:1: resolver\.upstream 10\.240\.0\.53 is inside of/);
  assert.match(complaints("", { public: "::1", bind: "0.0.0.0" })[0]!, /^Cannot use --public ::1/);
  assert.match(complaints("", { public: "2001:db8::1" })[0]!, /^x\.toml: gateway\.bind is IPv4/);
});

test("every value has its origin: default, flag, or its place in the file", () => {
  const result = read('[gateway]\nport = 1046\nbind = "::"\n\nencode-net="fd00:1::/64"\n', {
    bind: "2001:db8::1",
  });
  assert.ok(result.ok);
  const { origins } = result;
  assert.equal(origins.size, SETTINGS.length);
  assert.equal(formatOrigin(origins.get("gateway.port")!), "x.toml:2:1");
  assert.equal(formatOrigin(origins.get("gateway.encode-net")!), "x.toml:5:1");
  assert.equal(formatOrigin(origins.get("gateway.bind")!), "--bind");
  assert.equal(formatOrigin(origins.get("resolver.port")!), "default");
});

test("settings that differ are listed with their way of reload", () => {
  const before = accepted("");
  const after = accepted('[gateway]\nport = 1046\n[resolver]\nupstream = ["192.0.2.1"]\n');
  assert.deepEqual(changedSettings(before, after), [
    { name: "gateway.port", reload: "restart" },
    { name: "resolver.upstream", reload: "yes" },
  ]);
  assert.deepEqual(changedSettings(before, accepted("")), []);
});
