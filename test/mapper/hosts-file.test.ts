/** spec/mapper.md 5.3, line by line, with the differences that the table calls FIX. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { formatIp } from "../../src/base/ip.js";
import { parseHosts } from "../../src/mapper/hosts-file.js";
import { World } from "./world.js";

const PARSE_REFUSED = "refused when parsed";
const INSTALL_REFUSED = "refused when installed";
const INSTALLED = "installed";
const IGNORED = "ignored";
type Outcome = typeof PARSE_REFUSED | typeof INSTALL_REFUSED | typeof INSTALLED | typeof IGNORED;

/** Line, outcome, and for parsed lines the reference. */
const TABLE: readonly (readonly [string, Outcome, bigint?])[] = [
  ["192.168.84.97 taro #= pub + 0-700", INSTALLED, 0x700n],
  ["192.168.84.97 taro #= pub + 0-7000", INSTALL_REFUSED, 0x7000n],
  ["192.168.73.127 taro-7 #= pub + 0-7107", INSTALL_REFUSED, 0x7107n],
  ["10.254.8.88 tikopia #= ext 192.168.84.98 + 0-8000", INSTALLED, 0x8000n],
  ["10.254.22.202 tikopia-8 #= ext 192.168.84.98 + 0-8028", INSTALL_REFUSED, 0x8028n],
  ["19.37.2 example.com #= pub", PARSE_REFUSED],
  [
    "179.187.127.252 a b #= ext 198.247.163.149 + abc-123-7DFE-007",
    INSTALL_REFUSED,
    0x0abc01237dfe0007n,
  ],
  ["179.40.12.22 h #= ext 198.27.43.199 + abc-127", INSTALL_REFUSED, 0x0abc0127n],
  ["179.41.7.23 h #=ext 198.29.10.15 + abc-145", INSTALL_REFUSED, 0x0abc0145n],
  ["howta oset7 #= ext 198.2.3.9 + abc-158", PARSE_REFUSED],
  ["179.43.12.25 h #= pub", INSTALL_REFUSED],
  ["179.44.12.24 #= pub 192.168.163.14", INSTALL_REFUSED],
  ["179.48.12.20 h o#=pub 192.168.163.16", INSTALL_REFUSED],
  ["179.49.1.42 h #= extern 198.247.163.149 + abc-123-7DFE-007", PARSE_REFUSED],
  ["179.50.27.52 h#= ext 198.27.16.19 + abc-12323 8294", PARSE_REFUSED],
  ["179.51.7.82 h#= ext 198.47.63.14 + abc-123-7DFEG-690", PARSE_REFUSED],
  ["179.52.67.62 h#= ext + abc-123-7D-a444", PARSE_REFUSED],
  ["179.53.37.52 h#= ext 198.47.63.17", PARSE_REFUSED],
  ["179.54.37.53 h#= ext 198.47.63.19 +", PARSE_REFUSED],
  ["179.56.37.55 h#= ext 255.255.255.255 + ae45-221", PARSE_REFUSED],
  ["179.57.38.56 #= pub 32.28.1.5 28.1.33.5", PARSE_REFUSED],
  ["179.58.39.57 #=", PARSE_REFUSED],
  ["179.59.40.58 #= ext 32.29.2.6 + afe07 + 0-127e", PARSE_REFUSED],
  ["1.2.3.6 c #=pub+5", INSTALLED, 5n],
  ["1.2.3.9 f #= pub 8", INSTALLED, 8n],
  ["1.2.3.25 h #= pub 0-12", INSTALLED, 18n],
  ["1.2.3.13 h #= pub 8 + 9", PARSE_REFUSED],
  ["10.240.1.12 g #= ext 9", PARSE_REFUSED],
  ["10.240.1.11 g #= ext 192.0.2.1 9", PARSE_REFUSED],
  ["1.2.3.5 b #= pub + 4 # note", INSTALLED, 4n],
  ["1.2.3.4 a # x #= pub + 3", IGNORED],
  ["1.2.3.7 d #= loc anything at + all + ok", IGNORED],
  [" #= pub + 4", IGNORED],
  ["1.2.3.43 h #== pub + 4", PARSE_REFUSED],
  ["1.2.3.41 h #= + 5", PARSE_REFUSED],
  ["1.2.3.14 h #= PUB + 9", PARSE_REFUSED],
  ["1.2.3.16 h #= pub gw.example.com + 9", PARSE_REFUSED],
  ["1.2.3.20 h #= pub 10.0.0.1 + 9", INSTALL_REFUSED, 9n],
  ["1.2.3.18 h #= pub 127.0.0.1 + 9", PARSE_REFUSED],
  ["1.2.3.50 h #= pub 0.0.0.0 + 44", INSTALLED, 44n],
  ["1.2.3.51 h #= pub 198.51.100.1 + 44", INSTALLED, 44n],
  ["10.240.8.89 h #= ext 0.0.0.0 + 0-8001", INSTALL_REFUSED, 0x8001n],
  ["1.2.3.24 h #= pub + 0", INSTALL_REFUSED, 0n],
  ["10.240.9.9 h #= ext 192.0.2.1 + 0", PARSE_REFUSED],
  ["1.2.3.46 h #= pub + 007", INSTALLED, 7n],
  ["1.2.3.132 h #= pub + 4095", INSTALLED, 4095n],
  ["1.2.3.132 h #= pub + 4096", INSTALL_REFUSED, 4096n],
  ["1.2.3.47 h #= pub + abcd-12", INSTALLED, 0xabcd0012n],
  ["1.2.3.39 h #= pub + 6-789a", INSTALL_REFUSED, 0x6789an],
  ["1.2.3.21 h #= pub + ffff", PARSE_REFUSED],
  ["1.2.3.28 h #= pub + a--1", INSTALLED, (0xan << 112n) | 1n],
  ["1.2.3.29 h #= pub + a--", INSTALLED, 0xan << 112n],
  ["1.2.3.30 h #= pub + --1", PARSE_REFUSED],
  ["1.2.3.31 h #= pub + 1-2-3-4-5-6-7-8", INSTALLED, 0x10002000300040005000600070008n],
  ["1.2.3.32 h #= pub + 1-2-3-4-5-6-7-8-9", PARSE_REFUSED],
  [
    "1.2.3.26 h #= pub + 340282366920938463463374607431768211455",
    INSTALL_REFUSED,
    (1n << 128n) - 1n,
  ],
  ["1.2.3.27 h #= pub + 340282366920938463463374607431768211456", PARSE_REFUSED],
  ["1.2.3.34 h #= pub + 1-", PARSE_REFUSED],
  ["1.2.3.34 h #= pub + -1", PARSE_REFUSED],
  ["1.2.3.34 h #= pub + 0x10", PARSE_REFUSED],
  ["1.2.3.34 h #= pub + 1,000", PARSE_REFUSED],
  ["1.2.3.34 h #= pub + 1.2", PARSE_REFUSED],
  ["1.2.3.34 h #= pub + 12345-1", PARSE_REFUSED],
  ["1.2.3.49 h #= pub + +3", PARSE_REFUSED],
  ["01.2.3.44 h #= pub + 4", PARSE_REFUSED],
  ["fe80::1%eth0 h #= pub + 1", PARSE_REFUSED],
  ["127.0.0.1 h #= pub + 1", INSTALL_REFUSED, 1n],
  ["0.0.0.0 h #= pub + 1", INSTALL_REFUSED, 1n],
  ["255.255.255.255 h #= pub + 1", INSTALL_REFUSED, 1n],
  ["240.0.0.1 h #= pub + 2", INSTALLED, 2n],
  ["240.0.0.1 h #= pub + 1", INSTALL_REFUSED, 1n],
  ["10.240.0.9 h #= pub + 2", INSTALL_REFUSED, 2n],
  ["192.0.2.77 h #= ext 192.0.2.1 + 5", INSTALL_REFUSED, 5n],
  ["10.240.15.5 h #= ext 192.0.2.1 + 99999", INSTALLED, 99999n],
  ["10.240.16.5 h #= ext 192.0.2.1 + 5", INSTALL_REFUSED, 5n],
  ["2001:db8::9 h #= pub + 2", INSTALL_REFUSED, 2n],
  ["::ffff:1.2.3.4 h #= pub + 3", PARSE_REFUSED],
  ["10.240.8.90 h #= ext 2001:db8::1 + 0-8001", INSTALL_REFUSED, 0x8001n],
  ["10.240.0.1 h #= ext 192.0.2.1 + 5", INSTALL_REFUSED, 5n],
  ["198.51.100.1 h #= pub + 5", INSTALL_REFUSED, 5n],
  ["#", IGNORED],
  ["##", IGNORED],
  ["##...", IGNORED],
  ["127.0.0.1 localhost #", IGNORED],
  ["1.2.3.4\u00a0h\t#=\u2003public\u3000+\u00a05\r", INSTALLED, 5n],
  ["1.2.3.4 h #= local", IGNORED],
  ["10.240.3.4 h #= external\t192.0.2.1+77", INSTALLED, 77n],
];

for (const [line, outcome, reference] of TABLE) {
  test(`hosts line ${JSON.stringify(line)} is ${outcome}`, () => {
    const { records, complaints } = parseHosts(`# first line\n${line}`);
    if (outcome === PARSE_REFUSED || outcome === IGNORED) {
      assert.equal(records.length, 0);
      assert.equal(complaints.length, outcome === IGNORED ? 0 : 1);
      if (outcome === PARSE_REFUSED) assert.equal(complaints[0]!.line, 2);
      return;
    }
    assert.deepEqual(complaints, []);
    assert.equal(records.length, 1);
    assert.equal(records[0]!.reference, reference);
    const world = new World();
    const refused = world.mapper.installHosts("/etc/hosts", records);
    assert.equal(refused.length, outcome === INSTALLED ? 0 : 1);
    let active = 0;
    world.mapper.forEachMapping((mapping) => {
      assert.equal(mapping.owner, "/etc/hosts");
      assert.equal(formatIp(mapping.address), formatIp(records[0]!.address));
      active++;
    });
    assert.equal(active, outcome === INSTALLED ? 1 : 0);
  });
}

test("a complaint names line, column, what was found and what was wanted", () => {
  const { complaints } = parseHosts("\n1.2.3.4 host #= pub + 12x # remark\n");
  assert.deepEqual(complaints, [
    {
      line: 2,
      column: 23,
      found: "12x",
      wanted: "a decimal number or hexadecimal groups with -",
    },
  ]);
});

test("of two lines with one address the later one wins, unless it is bad", () => {
  const { records, complaints } = parseHosts(
    "1.2.3.4 #= pub + 4\n1.2.3.4 #= pub + 5\n1.2.3.4 #= pub + x\n",
  );
  assert.deepEqual(
    records.map(({ reference, line }) => [reference, line]),
    [[5n, 2]],
  );
  assert.equal(complaints.length, 1);
});

test("a line of 64 KiB is refused and the next one is read", () => {
  const { records, complaints } = parseHosts(
    `1.2.3.4 ${"x".repeat(66_000)} #= pub + 4\n1.2.3.5 #= pub + 5`,
  );
  assert.equal(records.length, 1);
  assert.deepEqual(
    complaints.map(({ line }) => line),
    [1],
  );
});

test("two hosts with one reference: the first line counts, the second is a complaint", () => {
  const world = new World();
  const { records } = parseHosts("1.2.3.4 #= pub + 4\n1.2.3.5 #= pub + 4\n");
  const complaints = world.mapper.installHosts("/etc/hosts", records);
  assert.deepEqual(
    complaints.map(({ line }) => line),
    [2],
  );
  assert.match(complaints[0]!.found, /already published/);
});
