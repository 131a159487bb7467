/** The AA grammar in character strings (spec/dns-agent.md 4). */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { characterStrings, parseAaText } from "../../src/agent/aa-text.js";
import { txtData } from "../../src/agent/fetchers.js";
import { formatIp, parseIp } from "../../src/base/ip.js";
import { formatReference } from "../../src/base/reference.js";

function show(text: string): string {
  const parsed = parseAaText(text);
  if (parsed.kind !== "aa") return parsed.kind === "none" ? "none" : `bad: ${parsed.reason}`;
  const { gateway, reference } = parsed;
  return `${typeof gateway === "string" ? gateway : formatIp(gateway)} + ${reference}`;
}

test("valid texts of the table", () => {
  assert.equal(show("AA gw.example.com + 1025"), "gw.example.com + 1025");
  assert.equal(show("AA 192.0.2.1+1027"), "192.0.2.1 + 1027");
  assert.equal(show("AA   192.0.2.1   +   1106  "), "192.0.2.1 + 1106");
  assert.equal(show("AA 0.0.0.0 + 1117"), "0.0.0.0 + 1117");
  assert.equal(show("AA GW.Example.COM. + 1-045c"), "gw.example.com + 66652");
  assert.equal(show("AA 2001:db8::1 + 0"), "2001:db8::1 + 0");
});

test("other texts are no AA values", () => {
  for (const text of ["aa 192.0.2.1 + 1", " AA 192.0.2.1 + 1", "AA\t192.0.2.1 + 1", "AA", ""]) {
    assert.equal(show(text), "none", text);
  }
  assert.equal(show("v=spf1 -all"), "none");
  assert.equal(show("+ 1102"), "none");
});

test("malformed AA values are named", () => {
  assert.match(show("AA 192.0.2.1 1108"), /bad: invalid IPREF address/);
  assert.match(show("AA a + 1 + 2"), /bad: invalid IPREF address/);
  assert.match(show("AA 192.0.2.1 + 12ab"), /bad: invalid IPREF reference/);
  assert.match(show("AA 192.0.2.1 "), /bad: invalid IPREF address/);
  assert.match(show("AA two words + 1"), /bad: invalid IPREF address/);
  assert.match(show("AA 192.0.2.300 + 1"), /bad: invalid IPREF address/);
  assert.match(show("AA + 1"), /bad: invalid IPREF address/);
});

test("any address and reference written out is read back", () => {
  const address = fc.uint8Array({ minLength: 4, maxLength: 4 });
  const reference = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n });
  fc.assert(
    fc.property(address, reference, (bytes, value) => {
      const text = formatIp({ version: 4, bytes });
      const parsed = parseAaText(`AA ${text} + ${formatReference(value)}`);
      assert.ok(parsed.kind === "aa");
      assert.deepEqual(parsed.gateway, parseIp(text));
      assert.equal(parsed.reference, value);
    }),
  );
});

test("character strings survive the way through TXT data", () => {
  const strings = fc.array(fc.string({ unit: "binary-ascii", maxLength: 255 }), { minLength: 1 });
  fc.assert(
    fc.property(strings, (list) => assert.deepEqual(characterStrings(txtData(list)), list)),
  );
});
