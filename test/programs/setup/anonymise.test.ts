/** Texts of a bundle: nothing of the original survives, and relations stay visible. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import {
  formatIp,
  type IpAddress,
  type IpVersion,
  parseIp,
  parsePrefix,
  prefixContains,
} from "../../../src/base/ip.js";
import { type RandomSource, randomBelow, seededRandom } from "../../../src/base/random.js";
import { addressKind } from "../../../src/programs/setup/address-kind.js";
import { anonymise, type NamedText } from "../../../src/programs/setup/anonymise.js";
import { PrefixPermutation } from "../../../src/programs/setup/prefix-permutation.js";
import { REMOVED, withoutSecrets } from "../../../src/programs/setup/secrets.js";

const SEED = 20_263;
const ENCODE_NET = parsePrefix("10.240.0.0/12")!;

/** Keys in a row, so that a failure is repeated. */
function keysFrom(seed: number): () => Uint8Array {
  let count = 0;
  return () => createHash("sha256").update(`${seed} ${count++}`).digest();
}

function replaced(text: string, words: readonly string[] = [], seed = SEED): string {
  const options = { drawKey: keysFrom(seed), kept: [ENCODE_NET], words };
  const { texts } = anonymise([{ name: "x", text, format: "text", hasNames: true }], options);
  return texts[0]!.text;
}

test("addresses, names and MACs are replaced, everything else stays", () => {
  const text =
    "2026-01-02T03:04:05Z gw1 peer 8.8.4.4:1045 (gw.corp.test) 02:fc:00:00:00:01 up 3.5 s";
  const shown = replaced(text, ["gw1"]);
  assert.match(
    shown,
    /^2026-01-02T03:04:05Z n[0-9a-f]{8} peer [0-9.]+:1045 \(n[0-9a-f]{8}\.n[0-9a-f]{8}\.test\) (xx:){5}xx up 3\.5 s$/,
  );
});

test("what names nobody stays: loopback, documentation, encode net, masks, versions, files", () => {
  const text =
    "127.0.0.1 ::1 0.0.0.0 255.255.255.0 224.0.0.1 ff02::1 198.51.100.7 2001:db8::7 10.240.0.22 " +
    "v20.20.0 6.1.0-18-amd64 libc.so.6 /run/ipref/gateway.control ipref.toml net.ipv4.ip_forward " +
    "gateway.public resolver.upstream 00:00:00:00:00:00 localhost 12:34:56 file.js:3:1: a 1.2.3";
  assert.equal(replaced(text), text);
});

const FORMS: readonly ((address: string) => string)[] = [
  (address) => address,
  (address) => `from ${address}: no answer.`,
  (address) => `The peer is ${address}.`,
  (address) => `src=${address}`,
  (address) => `"${address}"`,
  (address) => `<${address}>,${address};`,
  (address) => (address.includes(":") ? `[${address}]:1045` : `${address}:1045`),
  (address) => (address.includes(":") ? `up:${address}` : `${address}-${address}`),
  (address) => (address.includes(":") ? `${address}%eth0` : `::ffff:${address}`),
  (address) => (address.includes(":") ? address.toUpperCase() : `host-${address}.lan`),
  (address) => `${address}/${address.includes(":") ? 128 : 32}`,
  (address) => `${address}@53`,
  (address) => (address.includes(":") ? `IP6 ${address}.53 >` : `IP ${address}.1045 >`),
  (address) => `{"a":"x\\n${address}"}`,
];

test("an address is found in every form", () => {
  for (const [index, form] of FORMS.entries()) {
    for (const address of ["8.8.4.4", "192.168.7.22", "2a02:8071:1:2::22", "fd5a:1:2:3:4:5:6:7"]) {
      const shown = replaced(form(address)).toLowerCase();
      assert.ok(!shown.includes(address), `form ${index}: ${shown}`);
      assert.notEqual(shown, form(address).toLowerCase());
    }
  }
});

test(`an address is found between any two marks (seed ${SEED})`, () => {
  const random = seededRandom(SEED);
  const marks = [...Array.from({ length: 94 }, (_, index) => String.fromCharCode(33 + index))]
    .filter((mark) => /[^A-Za-z0-9_]/.test(mark))
    .concat(" ", "\n", "\t", "é", "“");
  const pick = () => marks[randomBelow(random, marks.length)]!;
  const noise = () => ["", "up", "7", "eth0", "a.b", "::", "12:34"][randomBelow(random, 7)]!;
  const originals = ["8.8.4.4", "192.168.7.22", "2a02:8071:1:2::22", "fd5a:1:2:3:4:5:6:7"];
  for (let trial = 0; trial < 800; trial++) {
    const address = originals[trial % originals.length]!;
    const text = `${noise()}${pick()}${address}${pick()}${noise()}`;
    const shown = replaced(text);
    assert.ok(!shown.includes(address), `${JSON.stringify(text)} ${shown}`);
  }
});

test("a network stays a network, and its hosts stay inside", () => {
  const shown = replaced("192.168.7.0/24 192.168.7.22/24 fd5a:1:2::/48 fd5a:1:2:9::7 8.8.0.0/16");
  const [net, host, net6, host6, wide] = shown.split(" ") as [
    string,
    string,
    string,
    string,
    string,
  ];
  assert.match(net, /^192\.168\.\d+\.0\/24$/);
  assert.ok(prefixContains(parsePrefix(net)!, parseIp(host.split("/")[0]!)!), shown);
  assert.match(net6, /^fd[0-9a-f:]+::\/48$/);
  assert.ok(prefixContains(parsePrefix(net6)!, parseIp(host6)!), shown);
  assert.match(wide, /\.0\.0\/16$/);
});

test("names of the reverse tree follow their addresses", () => {
  const [address, name, zone] = replaced(
    "192.168.7.22 22.7.168.192.in-addr.arpa 7.168.192.in-addr.arpa",
  ).split(" ") as [string, string, string];
  const reversed = address.split(".").reverse();
  assert.equal(name, `${reversed.join(".")}.in-addr.arpa`);
  assert.equal(zone, `${reversed.slice(1).join(".")}.in-addr.arpa`);
  const ip6 = replaced("2.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.a.5.d.f.ip6.arpa");
  assert.match(ip6, /^([0-9a-f]\.){30}d\.f\.ip6\.arpa$/);
  assert.doesNotMatch(ip6, /^2\.2\.0\.0\.0\.0/);
});

test("names are replaced label by label, in the same way everywhere", () => {
  const shown = replaced(
    "web.corp.test mail.corp.test WEB.CORP.TEST _sip._tcp.corp.test web alone",
    ["web", "gateway"],
  );
  const [web, mail, upper, service, lone, other] = shown.split(" ") as [
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  assert.equal(web.split(".")[1], mail.split(".")[1]);
  assert.notEqual(web.split(".")[0], mail.split(".")[0]);
  assert.equal(upper.toLowerCase(), web);
  assert.match(service, /^_sip\._tcp\.n[0-9a-f]{8}\.test$/);
  assert.equal(lone, web.split(".")[0]);
  assert.equal(other, "alone");
  assert.equal(replaced("the gateway answers", ["gateway"]), "the gateway answers");
  assert.match(
    replaced("/data/zones/home.corp.test.json"),
    /^\/data\/zones\/n.*\.n.*\.test\.json$/,
  );
  assert.match(replaced("alice@corp.test"), /^n[0-9a-f]{8}@n[0-9a-f]{8}\.test$/);
});

test("in texts without names only known words and addresses are replaced", () => {
  const text = "eth0.100 table inet filter 8.8.4.4 box1 web.corp.test";
  const one: NamedText = { name: "x", text, format: "text", hasNames: false };
  const options = { drawKey: keysFrom(SEED), kept: [], words: ["box1", "corp"] };
  const shown = anonymise([one], options).texts[0]!.text;
  assert.match(shown, /^eth0\.100 table inet filter [0-9.]+ n[0-9a-f]{8} web\.n[0-9a-f]{8}\.test$/);
  assert.ok(!shown.includes("8.8.4.4"));
});

test("MAC addresses in names of interfaces and numbers of bridges are replaced", () => {
  const shown = replaced(
    "enx02fc000000a1: bridge_id 8000.02fc000000a1 altname enp1s0 eth0@if7 br0",
  );
  assert.doesNotMatch(shown, /02fc/);
  assert.match(shown, /bridge_id 8000\.n[0-9a-f]{8} altname enp1s0/);
});

test("JSON stays JSON, in values, in keys and line by line", () => {
  const options = { drawKey: keysFrom(SEED), kept: [], words: ["box1"] };
  const value = {
    peers: { "8.8.4.4": { name: "box1", n: 7, up: true, none: null } },
    list: ["8.8.4.4"],
  };
  const texts: NamedText[] = [
    { name: "a", text: JSON.stringify(value), format: "json", hasNames: true },
    {
      name: "b",
      text: '{"a":"8.8.4.4"}\n{"a":"line\\nbox1"}\n',
      format: "json-lines",
      hasNames: true,
    },
    { name: "c", text: "{broken 8.8.4.4", format: "json", hasNames: true },
  ];
  const { texts: done } = anonymise(texts, options);
  const first = JSON.parse(done[0]!.text) as typeof value;
  const [address] = Object.keys(first.peers) as ["8.8.4.4"];
  assert.notEqual(address, "8.8.4.4");
  assert.deepEqual(first.list, [address]);
  assert.match(first.peers[address].name, /^n[0-9a-f]{8}$/);
  assert.deepEqual({ ...first.peers[address], name: "" }, { name: "", n: 7, up: true, none: null });
  const lines = done[1]!.text.split("\n");
  assert.equal(lines[0], `{"a":"${address}"}`);
  assert.equal((JSON.parse(lines[1]!) as { a: string }).a, `line\n${first.peers[address].name}`);
  assert.equal(done[2]!.text, `{broken ${address}`);
});

test("secrets are taken out, the names of key files stay", () => {
  const key = Buffer.alloc(32, 7).toString("base64");
  const cases: readonly (readonly [string, string])[] = [
    [`key "home" { algorithm hmac-sha256; secret "${key}"; };`, `secret "${REMOVED}"`],
    [`secret: ${key}`, `secret: ${REMOVED}`],
    [`some log line ${key} end`, `line ${REMOVED} end`],
    ["password = hunter22", `password = ${REMOVED}`],
    ["Authorization: Bearer abcdef0123", `Authorization: ${REMOVED}`],
    ['{"token":"abcdef0123"}', `"token":"${REMOVED}"`],
    ["-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----", `KEY-----${REMOVED}-----END`],
  ];
  for (const [text, wanted] of cases) {
    const { text: shown, count } = withoutSecrets(text);
    assert.ok(shown.includes(wanted), shown);
    assert.ok(count >= 1);
    assert.ok(!/hunter22|abcdef0123|MIIE|BwcH/.test(shown), shown);
  }
  const harmless =
    'tsig-key = "/etc/ipref/tsig.key"\nsecret missing\nbase/a/long/path/of/files/here';
  assert.deepEqual(withoutSecrets(harmless), { text: harmless, count: 0 });
});

function randomAddress(random: RandomSource, version: IpVersion): IpAddress {
  for (;;) {
    const bytes = Uint8Array.from({ length: version === 4 ? 4 : 16 }, () =>
      randomBelow(random, 256),
    );
    if (version === 6) bytes.set(randomBelow(random, 2) === 0 ? [0xfd, 0x5a] : [0x2a, 0x02]);
    else if (randomBelow(random, 2) === 0) bytes.set([10, randomBelow(random, 4)]);
    const permutation = new PrefixPermutation(new Uint8Array(1), [ENCODE_NET]);
    if (!permutation.isKept({ version, bytes })) return { version, bytes };
  }
}

function commonBits(a: IpAddress, b: IpAddress): number {
  const length = 8 * a.bytes.length;
  const bit = ({ bytes }: IpAddress, index: number) =>
    (bytes[index >> 3]! >> (7 - (index % 8))) & 1;
  const first = Array.from({ length }, (_, index) => index).find((i) => bit(a, i) !== bit(b, i));
  return first ?? length;
}

test(`no original survives, equal ones stay equal, prefixes stay common (seed ${SEED})`, () => {
  const random = seededRandom(SEED);
  for (let trial = 0; trial < 40; trial++) {
    const version: IpVersion = trial % 2 === 0 ? 4 : 6;
    const list = Array.from({ length: 2 + randomBelow(random, 20) }, () => {
      const address = randomAddress(random, version);
      return address;
    });
    const near = list.map((address) => {
      const bytes = address.bytes.slice();
      bytes[bytes.length - 1]! ^= 1 + randomBelow(random, 255);
      return { version, bytes };
    });
    const originals = [...list, ...near];
    const names = originals.map((_, index) => `host${trial}x${index}.site${trial}.test`);
    const body = originals.map((address, index) => `${formatIp(address)} ${names[index]}`);
    const texts = [body.join("\n"), body.toReversed().join("\n")].map((text, index) => ({
      name: String(index),
      text,
      format: "text" as const,
      hasNames: true,
    }));
    const options = { drawKey: keysFrom(SEED + trial), kept: [ENCODE_NET], words: [] };
    const { texts: done, counts } = anonymise(texts, options);
    const mapped = done[0]!.text.split("\n").map((line) => line.split(" ") as [string, string]);
    assert.deepEqual(done[1]!.text.split("\n").toReversed(), done[0]!.text.split("\n"));
    const shown = new Set(mapped.flat());
    for (const text of [...originals.map(formatIp), ...names]) {
      assert.ok(!shown.has(text), `${text} survives in trial ${trial}`);
    }
    assert.doesNotMatch(done[0]!.text, /host\d+x|site\d/);
    assert.equal(new Set(mapped.map(([address]) => address)).size, counts.addresses);
    for (const [index, address] of originals.entries()) {
      const image = parseIp(mapped[index]![0])!;
      assert.equal(addressKind(image), addressKind(address));
      for (const [other, second] of originals.entries()) {
        const bits = commonBits(address, second);
        if (bits < 8) continue;
        assert.equal(commonBits(image, parseIp(mapped[other]![0])!), bits, formatIp(address));
      }
    }
  }
});

test("hostile texts take bounded time", () => {
  const started = performance.now();
  for (const unit of [
    ":",
    "1:",
    "a.",
    "1.",
    "999.1.1.1 ",
    "12.",
    "8.8.4.4.",
    "a@",
    "-",
    "/",
    "AAAA=",
    "fd00::1:",
    "-----BEGIN SECRET",
    "SECRET",
    "secret \t",
    "secret:",
    "authorization bearer ",
  ]) {
    replaced(unit.repeat(20_000));
  }
  replaced(`secret${" ".repeat(200_000)}`);
  replaced(`-----BEGIN ${"SECRET".repeat(30_000)}`);
  assert.ok(performance.now() - started < 20_000);
});
