/** Source specifications (spec/dns-agent.md 2). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseServer, parseSourceSpec } from "../../src/agent/source-spec.js";

function servers(text: string): string[] {
  const parsed = parseSourceSpec(text);
  assert.ok(parsed.ok, text);
  const { origin } = parsed.spec;
  return origin.kind === "servers" ? origin.servers.map((server) => server.text) : [origin.kind];
}

function error(text: string): string {
  const parsed = parseSourceSpec(text);
  return parsed.ok ? "accepted" : parsed.error;
}

test("the text is split at the first two colons, and port 53 is the default", () => {
  const parsed = parseSourceSpec("internal:example.com:ns1.example.com,ns2.example.com:5353");
  assert.ok(parsed.ok);
  assert.equal(parsed.spec.name, "internal:example.com");
  assert.equal(parsed.spec.publicZone.toString(), "example.com.");
  assert.deepEqual(servers("internal:example.com:ns1.example.com,ns2.example.com:5353"), [
    "ns1.example.com:53",
    "ns2.example.com:5353",
  ]);
});

test("domains are trimmed, lower-cased and lose one trailing dot", () => {
  const parsed = parseSourceSpec(" Internal. : Example.COM. : ns1.example.com ");
  assert.ok(parsed.ok);
  assert.equal(parsed.spec.name, "internal:example.com");
});

test("IPv6 servers are accepted bare, bracketed and with a port", () => {
  assert.deepEqual(servers("lan:example.com:2001:db8::1"), ["[2001:db8::1]:53"]);
  assert.deepEqual(servers("lan:example.com:[::1]"), ["[::1]:53"]);
  assert.deepEqual(servers("lan:example.com:[::1]:5353,192.0.2.1"), ["[::1]:5353", "192.0.2.1:53"]);
});

test("a repeated server is counted once", () => {
  assert.deepEqual(servers("lan:example.com:192.0.2.1, 192.0.2.1:53"), ["192.0.2.1:53"]);
});

test("files and lists of names are sources too, a server may be called names", () => {
  assert.deepEqual(servers("lan:example.com:file:///etc/zone"), ["file"]);
  assert.deepEqual(servers("lan:example.com:names:///etc/names"), ["names"]);
  assert.deepEqual(servers("lan:example.com:names:www,@"), ["names-inline"]);
  assert.deepEqual(servers("lan:example.com:names:5353"), ["names:5353"]);
});

test("every mistake is refused with its reason", () => {
  const cases: Readonly<Record<string, RegExp>> = {
    "": /invalid source specification/,
    "lan:example.com": /invalid source specification/,
    ":example.com:ns": /missing local or public domain/,
    "lan::ns": /missing local or public domain/,
    "lan:example.com:": /missing servers/,
    "lan:example.com:ns1,,ns2": /empty server/,
    "lan:a..b:ns": /empty label/,
    "lan:us:ns": /shorter than 3/,
    "lan:example.com:ns:0": /port 0/,
    "lan:example.com:ns:70000": /port 70000/,
    "lan:example.com:192.0.2.300": /not an IPv4 address/,
    "lan:example.com:[192.0.2.1]:53": /brackets/,
    "lan:ex ample.com:ns": /not printable/,
    [`${"a".repeat(60)}:${`${"b".repeat(60)}.`.repeat(3)}${"c".repeat(40)}:ns`]: /longer than 254/,
  };
  for (const [text, pattern] of Object.entries(cases)) assert.match(error(text), pattern, text);
});

test("parseServer() takes another default port", () => {
  const server = parseServer("192.0.2.1", 5353);
  assert.ok(typeof server !== "string");
  assert.equal(server.port, 5353);
});
