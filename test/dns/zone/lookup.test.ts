/** Look-up tables of spec/resolver.md 3.3 and 6.3, asked through the whole server. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { isSerialNewer } from "../../../src/dns/zone/serial.js";
import { TestServer } from "../world.js";

/** RFC 4592 2.2.1. */
const RFC4592 = `$ORIGIN example.
@ 3600 SOA ns.example.com. root 1 3600 900 604800 60
@ 3600 NS ns.example.com.
@ 3600 NS ns.example.net.
*.example. 3600 TXT "this is a wildcard"
*.example. 3600 MX 10 host1.example.
sub.*.example. 3600 TXT "this is not a wildcard"
host1.example. 3600 A 192.0.2.1
_ssh._tcp.host1.example. 3600 SRV 0 0 22 host1
_ssh._tcp.host2.example. 3600 SRV 0 0 22 host1
subdel.example. 3600 NS ns.example.com.
subdel.example. 3600 NS ns.example.net.
`;

const ZONE = `$ORIGIN zone.test.
$TTL 600
@ SOA ns hostmaster 7 3600 900 604800 60
@ NS ns
@ MX 10 mail
ns A 192.0.2.53
ns AAAA 2001:db8::53
mail A 192.0.2.25
WWW A 192.0.2.80
www A 192.0.2.81
alias CNAME www
chain1 CNAME chain2
chain2 CNAME www
self CNAME self
loop1 CNAME loop2
loop2 CNAME loop1
nowhere CNAME gone
dangling CNAME gone.chain2
outside CNAME host.elsewhere.test.
ring CNAME ring.other.test.
other CNAME host.other.test.
private CNAME host.secret.test.
a.b.deep TXT "deep"
*.w A 192.0.2.90
*.w TXT "wild"
b.w TXT "beside"
*.c CNAME www
*.more.w A 192.0.2.91
sub NS ns.sub
sub NS ns.sib
sub NS ns.far.test.
sub DS 1 8 9 abcd
ns.sub A 192.0.2.60
ns.sub AAAA 2001:db8::60
ns.sib A 192.0.2.61
d DNAME target
d TXT "owner"
x.target A 192.0.2.70
y.target CNAME www
far DNAME elsewhere.test.
_sip._tcp SRV 1 2 5060 mail
a\\.b A 192.0.2.95
a\\032b A 192.0.2.96
long DNAME ${"l".repeat(60)}.${"m".repeat(60)}.${"n".repeat(60)}
n01 CNAME n02
n02 CNAME n03
n03 CNAME n04
n04 CNAME n05
n05 CNAME n06
n06 CNAME n07
n07 CNAME n08
n08 CNAME n09
n09 CNAME n10
n10 A 192.0.2.99
`;

const OTHER = `$ORIGIN other.test.
@ 300 SOA ns hm 1 1 1 1 30
@ 300 NS ns
host 300 A 198.51.100.1
back 300 CNAME alias.zone.test.
ring 300 CNAME ring.zone.test.
pingpong 300 CNAME pong.zone.test.
`;

const COREFILE = `example zone.test {
  file example.db example
  file zone.db zone.test
}
other.test secret.test {
  file other.db other.test
}
`;

function start() {
  return TestServer.start(COREFILE, { "example.db": RFC4592, "zone.db": ZONE, "other.db": OTHER });
}

/** question, rcode, flags, answer, authority types, additional count */
interface Row {
  readonly question: string;
  readonly rcode?: string;
  readonly aa?: boolean;
  readonly answer?: string[];
  readonly soa?: boolean;
  readonly referral?: string[];
  readonly additional?: string[];
}

async function check(server: TestServer, row: Row): Promise<void> {
  const seen = await server.ask(row.question, { edns: true });
  const { question } = row;
  assert.equal(seen.rcode, row.rcode ?? "NOERROR", question);
  assert.equal(seen.flags.includes("aa"), row.aa ?? true, `AA of ${question}`);
  assert.deepEqual(seen.answer, row.answer ?? [], question);
  const types = seen.authority.map((text) => text.split(" ")[2]);
  if (row.referral !== undefined) assert.deepEqual(seen.authority, row.referral, question);
  else assert.deepEqual(types, row.soa ? ["SOA"] : [], question);
  assert.deepEqual(seen.additional, row.additional ?? [], question);
}

test("RFC 4592 section 2.2.1: wildcard answers and what is none", async () => {
  const server = await start();
  const wild = (owner: string) => [`${owner} 3600 MX host1.example.`];
  const additional = ["host1.example. 3600 A 192.0.2.1"];
  const referral = [
    "subdel.example. 3600 NS ns.example.com.",
    "subdel.example. 3600 NS ns.example.net.",
  ];
  const rows: Row[] = [
    { question: "host3.example. MX", answer: wild("host3.example."), additional },
    { question: "host3.example. A", soa: true },
    {
      question: "foo.bar.example. TXT",
      answer: ['foo.bar.example. 3600 TXT "this is a wildcard"'],
    },
    { question: "host1.example. MX", soa: true },
    { question: "sub.*.example. MX", soa: true },
    { question: "_telnet._tcp.host1.example. SRV", rcode: "NXDOMAIN", soa: true },
    { question: "host.subdel.example. A", aa: false, referral },
    { question: "ghost.*.example. MX", rcode: "NXDOMAIN", soa: true },
    { question: "host2.example. TXT", soa: true },
    { question: "_telnet._tcp.host2.example. TXT", rcode: "NXDOMAIN", soa: true },
    { question: "*.example. TXT", answer: ['*.example. 3600 TXT "this is a wildcard"'] },
  ];
  for (const row of rows) await check(server, row);
});

test("names that exist: positive, NODATA, case, escapes, additional records", async () => {
  const server = await start();
  const mail = ["mail.zone.test. 600 A 192.0.2.25"];
  const rows: Row[] = [
    {
      question: "www.zone.test. A",
      answer: ["www.zone.test. 600 A 192.0.2.80", "www.zone.test. 600 A 192.0.2.81"],
    },
    {
      question: "wWw.ZONE.test. A",
      answer: ["wWw.ZONE.test. 600 A 192.0.2.80", "wWw.ZONE.test. 600 A 192.0.2.81"],
    },
    { question: "www.zone.test. AAAA", soa: true },
    { question: "zone.test. MX", answer: ["zone.test. 600 MX mail.zone.test."], additional: mail },
    {
      question: "_sip._tcp.zone.test. SRV",
      answer: ["_sip._tcp.zone.test. 600 SRV mail.zone.test."],
      additional: mail,
    },
    {
      question: "zone.test. NS",
      answer: ["zone.test. 600 NS ns.zone.test."],
      additional: [
        "ns.zone.test. 600 A 192.0.2.53",
        "ns.zone.test. 600 AAAA [20010db8000000000000000000000053]",
      ],
    },
    { question: "a\\.b.zone.test. A", answer: ["a\\.b.zone.test. 600 A 192.0.2.95"] },
    { question: "a.b.zone.test. A", rcode: "NXDOMAIN", soa: true },
    { question: "a\\032b.zone.test. A", answer: ["a\\032b.zone.test. 600 A 192.0.2.96"] },
    { question: "zone.test. SOA", answer: ["zone.test. 600 SOA ns.zone.test."] },
    { question: "www.zone.test. TYPE65280", soa: true },
  ];
  for (const row of rows) await check(server, row);
});

test("names that do not exist: NXDOMAIN, and NODATA at an empty non-terminal", async () => {
  const server = await start();
  const rows: Row[] = [
    { question: "gone.zone.test. A", rcode: "NXDOMAIN", soa: true },
    { question: "deep.zone.test. A", soa: true },
    { question: "b.deep.zone.test. TXT", soa: true },
    { question: "c.b.deep.zone.test. TXT", rcode: "NXDOMAIN", soa: true },
    { question: "a.b.deep.zone.test. TXT", answer: ['a.b.deep.zone.test. 600 TXT "deep"'] },
  ];
  for (const row of rows) await check(server, row);
});

test("negative answers carry the SOA with the smaller of its TTL and minimum", async () => {
  const server = await start();
  const seen = await server.ask("gone.zone.test. A");
  assert.deepEqual(seen.authority, ["zone.test. 60 SOA ns.zone.test."]);
  assert.deepEqual((await server.ask("gone.other.test. A")).authority, [
    "other.test. 30 SOA ns.other.test.",
  ]);
});

test("wildcards: closest encloser, NODATA, CNAME, the more specific one", async () => {
  const server = await start();
  const rows: Row[] = [
    { question: "x.w.zone.test. A", answer: ["x.w.zone.test. 600 A 192.0.2.90"] },
    { question: "x.y.w.zone.test. A", answer: ["x.y.w.zone.test. 600 A 192.0.2.90"] },
    { question: "x.w.zone.test. AAAA", soa: true },
    { question: "b.w.zone.test. A", soa: true },
    { question: "a.b.w.zone.test. A", rcode: "NXDOMAIN", soa: true },
    { question: "x.more.w.zone.test. A", answer: ["x.more.w.zone.test. 600 A 192.0.2.91"] },
    { question: "w.zone.test. A", soa: true },
    {
      question: "x.c.zone.test. A",
      answer: [
        "x.c.zone.test. 600 CNAME www.zone.test.",
        "www.zone.test. 600 A 192.0.2.80",
        "www.zone.test. 600 A 192.0.2.81",
      ],
    },
    { question: "x.c.zone.test. CNAME", answer: ["x.c.zone.test. 600 CNAME www.zone.test."] },
  ];
  for (const row of rows) await check(server, row);
});

test("CNAME chains and loops end, each record once", async () => {
  const server = await start();
  const www = ["www.zone.test. 600 A 192.0.2.80", "www.zone.test. 600 A 192.0.2.81"];
  const cname = (from: string, to: string) => `${from}.zone.test. 600 CNAME ${to}.zone.test.`;
  const rows: Row[] = [
    { question: "alias.zone.test. A", answer: [cname("alias", "www"), ...www] },
    { question: "alias.zone.test. CNAME", answer: [cname("alias", "www")] },
    { question: "alias.zone.test. AAAA", answer: [cname("alias", "www")], soa: true },
    {
      question: "chain1.zone.test. A",
      answer: [cname("chain1", "chain2"), cname("chain2", "www"), ...www],
    },
    { question: "self.zone.test. A", answer: [cname("self", "self")] },
    { question: "loop1.zone.test. A", answer: [cname("loop1", "loop2"), cname("loop2", "loop1")] },
    {
      question: "nowhere.zone.test. A",
      rcode: "NXDOMAIN",
      answer: [cname("nowhere", "gone")],
      soa: true,
    },
  ];
  for (const row of rows) await check(server, row);
  const long = await server.ask("n01.zone.test. A");
  assert.equal(long.answer.length, 8);
  assert.equal(
    (await server.ask("n03.zone.test. A")).answer.at(-1),
    "n10.zone.test. 600 A 192.0.2.99",
  );
});

test("CNAME targets outside the zone are resolved through the server", async () => {
  const server = await start();
  const rows: Row[] = [
    {
      question: "other.zone.test. A",
      answer: [
        "other.zone.test. 600 CNAME host.other.test.",
        "host.other.test. 300 A 198.51.100.1",
      ],
    },
    {
      question: "outside.zone.test. A",
      answer: ["outside.zone.test. 600 CNAME host.elsewhere.test."],
    },
    {
      question: "private.zone.test. A",
      answer: ["private.zone.test. 600 CNAME host.secret.test."],
    },
    {
      question: "back.other.test. A",
      answer: [
        "back.other.test. 300 CNAME alias.zone.test.",
        "alias.zone.test. 600 CNAME www.zone.test.",
        "www.zone.test. 600 A 192.0.2.80",
        "www.zone.test. 600 A 192.0.2.81",
      ],
    },
  ];
  for (const row of rows) await check(server, row);
  const ring = await server.ask("ring.zone.test. A");
  assert.deepEqual(ring.answer, [
    "ring.zone.test. 600 CNAME ring.other.test.",
    "ring.other.test. 300 CNAME ring.zone.test.",
  ]);
  const missing = await server.ask("pingpong.other.test. A");
  assert.equal(missing.rcode, "NXDOMAIN");
  assert.deepEqual(missing.answer, ["pingpong.other.test. 300 CNAME pong.zone.test."]);
});

test("delegations: referral with glue, DS at the parent", async () => {
  const server = await start();
  const referral = [
    "sub.zone.test. 600 NS ns.sub.zone.test.",
    "sub.zone.test. 600 NS ns.sib.zone.test.",
    "sub.zone.test. 600 NS ns.far.test.",
  ];
  const additional = [
    "ns.sub.zone.test. 600 A 192.0.2.60",
    "ns.sub.zone.test. 600 AAAA [20010db8000000000000000000000060]",
    "ns.sib.zone.test. 600 A 192.0.2.61",
  ];
  for (const question of [
    "sub.zone.test. A",
    "sub.zone.test. NS",
    "sub.zone.test. SOA",
    "www.sub.zone.test. A",
    "ns.sub.zone.test. A",
    "x.ns.sub.zone.test. A",
    "x.sub.zone.test. DS",
  ]) {
    await check(server, { question, aa: false, referral, additional });
  }
  await check(server, {
    question: "sub.zone.test. DS",
    answer: ["sub.zone.test. 600 DS 00010809abcd"],
  });
  await check(server, { question: "zone.test. DS", soa: true });
});

test("a referral whose glue does not fit is truncated", async () => {
  const server = await start();
  const big = ZONE.replace(
    "ns.sub A 192.0.2.60",
    Array.from({ length: 60 }, (_, index) => `ns.sub A 10.0.0.${index}`).join("\n"),
  );
  server.world.writeFile("zone.db", big.replace(" 7 3600", " 8 3600"));
  await server.site.reload();
  const seen = await server.ask("x.sub.zone.test. A");
  assert(seen.flags.includes("tc"));
  assert.equal(seen.authority.length, 0);
});

test("DNAME: substitution, own types, out of the zone, too long", async () => {
  const server = await start();
  const dname = "d.zone.test. 600 DNAME target.zone.test.";
  const rows: Row[] = [
    {
      question: "x.d.zone.test. A",
      answer: [
        dname,
        "x.d.zone.test. 600 CNAME x.target.zone.test.",
        "x.target.zone.test. 600 A 192.0.2.70",
      ],
    },
    { question: "d.zone.test. DNAME", answer: [dname] },
    { question: "d.zone.test. TXT", answer: ['d.zone.test. 600 TXT "owner"'] },
    { question: "d.zone.test. A", soa: true },
    {
      question: "nope.d.zone.test. A",
      rcode: "NXDOMAIN",
      answer: [dname, "nope.d.zone.test. 600 CNAME nope.target.zone.test."],
      soa: true,
    },
    {
      question: "x.far.zone.test. A",
      answer: [
        "far.zone.test. 600 DNAME elsewhere.test.",
        "x.far.zone.test. 600 CNAME x.elsewhere.test.",
      ],
    },
  ];
  for (const row of rows) await check(server, row);
  const label = "q".repeat(50);
  const long = await server.ask(`${label}.${label}.long.zone.test. A`, { edns: true });
  assert.equal(long.rcode, "YXDOMAIN");
});

test("ANY gets one HINFO, a missing name NXDOMAIN", async () => {
  const server = await start();
  const any = await server.ask("www.zone.test. ANY");
  assert.equal(any.answer.length, 1);
  assert.match(any.answer[0]!, /HINFO 075246433834383200$/);
  assert.equal((await server.ask("gone.zone.test. ANY")).rcode, "NXDOMAIN");
});

test("a zone that cannot be opened answers SERVFAIL", async () => {
  const server = await TestServer.start("zone.test {\n file missing.db\n}");
  const seen = await server.ask("www.zone.test. A");
  assert.equal(seen.rcode, "SERVFAIL");
  assert.match(server.world.texts("WARNING").join(), /Cannot open the zone file missing\.db/);
  server.world.writeFile("missing.db", ZONE);
  await server.world.pass(61_000);
  assert.equal((await server.ask("www.zone.test. A")).rcode, "NOERROR");
});

test("isSerialNewer() follows RFC 1982", () => {
  const cases: [number, number, boolean][] = [
    [2, 1, true],
    [1, 2, false],
    [1, 1, false],
    [0, 0xffff_ffff, true],
    [0xffff_ffff, 0, false],
    [0x7fff_ffff, 0, true],
    [0x8000_0000, 0, false],
    [0x8000_0001, 0, false],
  ];
  for (const [a, b, expected] of cases) assert.equal(isSerialNewer(a, b), expected, `${a} ${b}`);
});
