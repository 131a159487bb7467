import assert from "node:assert/strict";
import { test } from "node:test";
import { ProblemList } from "../../../src/dns/corefile/parser.js";
import { formatProblem } from "../../../src/dns/corefile/structure.js";
import { parseMasterFile } from "../../../src/dns/zone/master-file.js";
import { buildZone } from "../../../src/dns/zone/zone-checks.js";
import { nameOf } from "../../../src/wire/dns/name.js";
import { typeNumber } from "../../../src/wire/dns/numbers.js";
import { recordText } from "../world.js";

const SOA = "@ 3600 IN SOA ns root 1 3600 900 604800 60\n";

async function parse(text: string | Uint8Array, files: Record<string, string> = {}) {
  const list = new ProblemList();
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  const readFile = async (path: string) => {
    const content = files[path];
    return content === undefined
      ? { error: "no such file" }
      : { bytes: new TextEncoder().encode(content) };
  };
  const origin = nameOf("example.");
  const located = await parseMasterFile(bytes, "db.example", origin, readFile, list);
  return { located, list, problems: list.problems.map(formatProblem) };
}

async function records(text: string | Uint8Array, files: Record<string, string> = {}) {
  const { located, problems } = await parse(text, files);
  assert.deepEqual(problems, []);
  return located.map(({ record }) => recordText(record));
}

/** Hex of the data of one record. */
async function dataHex(type: string, text: string): Promise<string> {
  const { located, problems } = await parse(`x 60 IN ${type} ${text}`);
  assert.deepEqual(problems, [], `${type} ${text}`);
  assert.equal(located[0]!.record.type, typeNumber(type));
  return Buffer.from(located[0]!.record.data).toString("hex");
}

async function complaint(text: string, files: Record<string, string> = {}): Promise<string> {
  return (await parse(text, files)).problems.join("\n");
}

test("entries take TTL and class in either order, and repeat the owner", async () => {
  const text = [
    "$TTL 1h",
    "a 60 IN A 192.0.2.1",
    "b IN 2m A 192.0.2.2",
    "  A 192.0.2.3",
    "\tin a 192.0.2.4",
    "c.example. 5 A 192.0.2.5",
    "d.other. A 192.0.2.6 ; comment",
    "",
    "   ; only a comment",
    "@ A 192.0.2.7",
  ].join("\r\n");
  assert.deepEqual(await records(text), [
    "a.example. 60 A 192.0.2.1",
    "b.example. 120 A 192.0.2.2",
    "b.example. 3600 A 192.0.2.3",
    "b.example. 3600 A 192.0.2.4",
    "c.example. 5 A 192.0.2.5",
    "d.other. 3600 A 192.0.2.6",
    "example. 3600 A 192.0.2.7",
  ]);
});

test("parentheses join lines and comments inside them end with the line", async () => {
  const text = `@ IN SOA ns.example. root.example. ( ; start
      2024010101 ; serial
      1h 15m 1w ; times (with "quotes")
      60 )
a A 192.0.2.1`;
  assert.deepEqual(await records(text), [
    "example. 60 SOA ns.example.",
    "a.example. 60 A 192.0.2.1",
  ]);
});

test("the TTL comes from $TTL, the last record, the SOA minimum, in this order", async () => {
  assert.deepEqual(await records("a 7 A 192.0.2.1\nb A 192.0.2.2"), [
    "a.example. 7 A 192.0.2.1",
    "b.example. 7 A 192.0.2.2",
  ]);
  assert.deepEqual(await records("$TTL 9\na 7 A 192.0.2.1\nb A 192.0.2.2"), [
    "a.example. 7 A 192.0.2.1",
    "b.example. 9 A 192.0.2.2",
  ]);
  assert.deepEqual(await records("@ SOA a b 1 2 3 4 5\nb A 192.0.2.2"), [
    "example. 5 SOA a.example.",
    "b.example. 5 A 192.0.2.2",
  ]);
  assert.match(await complaint("a A 192.0.2.1"), /:1:1: Found a record without TTL/);
});

test("$ORIGIN is relative and $INCLUDE restores origin and owner", async () => {
  const files = {
    sub: "$ORIGIN deep\nx A 192.0.2.1\n A 192.0.2.2\n",
    "dir/inner": "y A 192.0.2.3",
  };
  const text =
    "$TTL 60\n$ORIGIN a\nb A 192.0.2.9\n$INCLUDE sub inc\n A 192.0.2.8\n$INCLUDE dir/inner\n";
  assert.deepEqual(await records(text, files), [
    "b.a.example. 60 A 192.0.2.9",
    "x.deep.inc.a.example. 60 A 192.0.2.1",
    "x.deep.inc.a.example. 60 A 192.0.2.2",
    "b.a.example. 60 A 192.0.2.8",
    "y.a.example. 60 A 192.0.2.3",
  ]);
});

test("includes are bounded and stay in their directory", async () => {
  assert.match(await complaint("$INCLUDE self", { self: "$INCLUDE self" }), /at most 7 files/);
  assert.match(await complaint("$INCLUDE ../x"), /expected an absolute path/);
  assert.match(await complaint("$INCLUDE missing"), /Cannot include 'missing': no such file/);
  assert.match(await complaint("$INCLUDE bad", { bad: "\nx A 1" }), /^bad:2:5: Found '1'/);
});

test("directives that are not understood are named", async () => {
  assert.match(
    await complaint("$GENERATE 1-9 a A 192.0.2.$"),
    /\$GENERATE', which is not supported/,
  );
  assert.match(await complaint("$ORIGN x"), /did you mean \$ORIGIN/);
  assert.match(await complaint("$TTL abc"), /:1:6: Found 'abc', expected a time/);
  assert.match(await complaint("$TTL 2147483648"), /expected a time/);
  assert.match(await complaint("$TTL 1 2"), /Found '2', expected the end/);
});

test("escapes in names and strings give the octets they stand for", async () => {
  assert.equal(await dataHex("CNAME", "a\\.b\\032c."), "05612e62206300");
  assert.equal(await dataHex("TXT", '"a\\"b" c\\;d \\000'), "03612262" + "03633b64" + "0100");
  assert.equal(await dataHex("TXT", '""'), "00");
  assert.equal(
    await dataHex("TXT", '"; no comment (" x'),
    "0e3b206e6f20636f6d6d656e742028" + "0178",
  );
  assert.equal(await dataHex("TXT", "ü"), "02c3bc");
  const raw = Uint8Array.from([...Buffer.from('a 60 TXT "'), 0xff, 0x5c, 0xfe, 0x22]);
  const { located } = await parse(raw);
  assert.deepEqual([...located[0]!.record.data], [2, 0xff, 0xfe]);
});

test("a string over 255 octets becomes chunks of 255", async () => {
  const hex = await dataHex("TXT", `"${"a".repeat(300)}"`);
  assert.equal(hex, `ff${"61".repeat(255)}2d${"61".repeat(45)}`);
});

test("every type with a syntax of its own is read", async () => {
  const cases: [string, string, string][] = [
    ["A", "192.0.2.1", "c0000201"],
    ["AAAA", "2001:db8::1", "20010db8000000000000000000000001"],
    ["NS", "ns.x.", "026e73017800"],
    ["PTR", "@", "076578616d706c6500"],
    ["DNAME", ".", "00"],
    ["MX", "10 m.", "000a016d00"],
    ["SRV", "1 2 3 s.", "000100020003017300"],
    ["HINFO", 'PC "Linux 6"', "02504307" + "4c696e75782036"],
    ["SPF", '"v=spf1"', "06" + "763d73706631"],
    ["CAA", '0 issue "ca.example"', "0005" + "6973737565" + "63612e6578616d706c65"],
    [
      "NAPTR",
      '1 2 "u" "E2U+sip" "!^.*$!x!" .',
      "00010002" + "0175" + "074532552b736970" + "08215e2e2a24217821" + "00",
    ],
    ["SSHFP", "4 9 0102 0304", "040901020304"],
    ["TLSA", "3 1 1 AABB", "030101aabb"],
    ["DS", "1 8 9 ab cd", "00010809abcd"],
    ["DNSKEY", "256 3 8 AQID BA==", "0100030801020304"],
    [
      "RRSIG",
      "A 8 2 1h 20240101000000 1700000000 5 x. AQID",
      "000108020000" + "0e10" + "65920080" + "6553f100" + "0005" + "017800" + "010203",
    ],
    ["NSEC3", "1 0 10 aabb 0P9MHAVEQVM6T7VBL5LOP2U3T2RP3TOM A", "0100000a02aabb14"],
    ["NSEC3PARAM", "1 0 0 -", "0100000000"],
    [
      "HTTPS",
      "1 . alpn=h2,h3 port=443 ipv4hint=192.0.2.1",
      "000100" + "0001" + "0006" + "026832026833" + "0003000201bb" + "00040004c0000201",
    ],
    [
      "SVCB",
      '2 s. mandatory=port,alpn port=1 alpn="a\\\\,b"',
      "0002017300" + "0000000400010003" + "0001000403612c62" + "000300020001",
    ],
    ["SVCB", "0 alias.", "000005616c69617300"],
    ["TYPE65400", "\\# 3 01 0203", "010203"],
    ["TYPE65400", "\\# 0", ""],
    ["A", "\\# 4 c0000201", "c0000201"],
    ["TYPE1", "192.0.2.1", "c0000201"],
  ];
  for (const [type, text, hex] of cases) {
    if (type === "NSEC3") assert((await dataHex(type, text)).startsWith(hex));
    else assert.equal(await dataHex(type, text), hex, `${type} ${text}`);
  }
});

test("type bit maps have one block for each window", async () => {
  assert.equal(await dataHex("NSEC", "b. A MX"), "016200" + "00024001");
  assert.equal(
    await dataHex("NSEC", "host.x. A MX RRSIG NSEC TYPE1234"),
    `04686f7374017800${"0006400100000003"}041b${"00".repeat(26)}20`,
  );
});

test("bad data is named with its place", async () => {
  const cases: [string, RegExp][] = [
    ["a 60 A 999.1.1.1", /:1:8: Found '999.1.1.1', expected an IPv4 address/],
    ["a 60 A 192.0.2.1 x", /Found 'x', expected the end of the entry/],
    ["a 60 A", /Found the end of the entry, expected an IPv4 address/],
    ["a 60 AAAA 192.0.2.1", /expected an IPv6 address/],
    ["a 60 MX mail", /Found 'mail', expected a preference/],
    ["a 60 MX 65536 m", /expected a preference/],
    ["a 60 TXT", /expected a text/],
    ['a 60 TXT "open', /expected a closing quote/],
    ['a 60 TXT "line\nbreak"', /expected a closing quote/],
    ["a 60 TXT \\256", /expected a text with valid escapes/],
    ["a 60 CNAME a..b", /expected a name \(empty label\)/],
    [`a 60 CNAME ${"a".repeat(64)}.`, /label too long/],
    [`${"a".repeat(64)} 60 A 192.0.2.1`, /label too long/],
    ["a 60 CH TXT x", /Found 'CH', expected the class IN/],
    ["a 60 FOO x", /Found 'FOO', expected a record type/],
    ["a 60 AXFR x", /expected a record type/],
    ["a 60 OPT x", /expected a record type/],
    ["a 2147483648 A 192.0.2.1", /expected a TTL below 2\^31/],
    ["@ SOA a b 1 2 3 4", /expected the minimum time/],
    ["@ SOA a b 4294967296 2 3 4 5", /expected a serial number/],
    ["a 60 TYPE65400 x", /expected data in the form \\# length hex/],
    ["a 60 TYPE65400 \\# 2 01", /expected 2 octets of data/],
    ["a 60 A \\# 3 010203", /expected data that is valid for A/],
    ["a 60 SSHFP 1 1 xyz", /expected hexadecimal digits/],
    ["a 60 DS 1 8 2 abcd", /Found 'abcd', expected a digest of 32 octets for type 2/],
    ["a 60 SSHFP 4 1 abcd", /a digest of 20 octets/],
    ["a 60 HTTPS 1 . foo=1", /expected a service parameter/],
    ["a 60 HTTPS 1 . port=1 port=2", /expected the parameter 'port' once/],
    ["a 60 HTTPS 1 . port=x", /expected a valid value for 'port'/],
    [" 60 A 192.0.2.1", /expected an owner name/],
    ["a 60 A ( 192.0.2.1", /expected '\)'/],
    ["a 60 A 192.0.2.1 )", /Found '\)' without '\('/],
  ];
  for (const [text, pattern] of cases) assert.match(await complaint(text), pattern, text);
});

test("all problems of a file are reported, good entries are kept", async () => {
  const { located, problems } = await parse("a 60 A x\nb 60 A 192.0.2.1\nc 60 MX\nd 60 A y\n");
  assert.equal(located.length, 1);
  assert.deepEqual(
    problems.map((text) => text.split(":")[1]),
    ["1", "3", "4"],
  );
});

async function load(text: string) {
  const { located, list } = await parse(text);
  const zone = buildZone(nameOf("example."), located, "db.example", list);
  return { zone, problems: list.problems.map(formatProblem) };
}

test("buildZone() refuses what spec/resolver.md 3.2 calls an error", async () => {
  const cases: [string, RegExp][] = [
    ["a 60 A 192.0.2.1", /Found no SOA record, expected one at example\./],
    [`${SOA}${SOA.replace(" 1 ", " 2 ")}`, /:2:1: Found a second SOA/],
    [`${SOA}a 60 SOA x y 1 2 3 4 5`, /Found an SOA record at a\.example\./],
    [`${SOA}a 60 CNAME b\na 60 A 192.0.2.1`, /Found a CNAME beside A at a\.example\./],
    [`${SOA}a 60 CNAME b\na 60 CNAME c`, /Found a second CNAME/],
    [`${SOA}@ 60 CNAME c`, /Found a CNAME beside SOA/],
  ];
  for (const [text, pattern] of cases) {
    const { zone, problems } = await load(text);
    assert.equal(zone, undefined, text);
    assert.match(problems.join("\n"), pattern, text);
  }
});

test("buildZone() warns and goes on", async () => {
  const text = [
    `${SOA}@ 60 NS ns`,
    "ns 60 A 192.0.2.1",
    "www.other. 60 A 192.0.2.1",
    "a 60 A 192.0.2.1",
    "a 30 A 192.0.2.2",
    "a 30 A 192.0.2.2",
    "sub 60 NS ns.sub",
    "ns.sub 60 A 192.0.2.3",
    "x.sub 60 TXT hidden",
    "c 60 CNAME a",
    "m 60 MX 1 c",
    "k 60 DNSKEY 256 3 8 AQID",
    "@ 60 DNSKEY 256 3 8 AQID",
  ].join("\n");
  const { zone, problems } = await load(text);
  assert(zone !== undefined);
  const all = problems.join("\n");
  assert.match(all, /Dropped www\.other\., which lies outside/);
  assert.match(all, /different TTLs in a\.example\. A; 30 is used/);
  assert.match(all, /Found x\.sub\.example\. TXT below the delegation of sub\.example\./);
  assert.match(all, /The MX target c\.example\. is a CNAME/);
  assert.match(all, /is signed; it is served without DNSSEC/);
  const set = zone.node(nameOf("a.example.").key)!.sets.get(1)!;
  assert.deepEqual(
    set.records.map((record) => record.ttlSeconds),
    [30, 30],
  );
  assert.doesNotMatch(all, /ns\.sub/);
});

test("buildZone() warns of a zone without NS and removes exact duplicates of long records", async () => {
  const long = `"${"a".repeat(600)}"`;
  const { zone, problems } = await load(
    `${SOA}a 60 TXT ${long}\na 60 TXT ${long}\na 60 TXT ${long}b\na 60 TXT x${long}\n`,
  );
  assert.match(problems.join("\n"), /Found no NS record at example\./);
  assert.equal(zone!.recordCount, 5 - 1);
});
