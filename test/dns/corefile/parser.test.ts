import assert from "node:assert/strict";
import { test } from "node:test";
import { formatIp, parsePrefix } from "../../../src/base/ip.js";
import { nearestWord } from "../../../src/base/nearest-word.js";
import { reverseZones } from "../../../src/dns/corefile/keys.js";
import { parseDurationMs, parseEndpoint } from "../../../src/dns/corefile/words.js";
import { complaintsOf, configure } from "../world.js";

async function outline(text: string, files: Record<string, string> = {}) {
  const configuration = await configure(text, files);
  assert.deepEqual(complaintsOf(configuration), []);
  return configuration.blocks.map(({ zones, block }) => ({
    zones: zones.map(({ zone, port }) => `${zone}:${port}`),
    directives: block.directives.map((directive) =>
      [directive.name, ...directive.args].map((word) => word.text).join(" "),
    ),
  }));
}

async function complaint(text: string, files: Record<string, string> = {}): Promise<string> {
  const complaints = complaintsOf(await configure(text, files));
  return complaints.join("\n");
}

test("parseCorefile() reads blocks, keys and directives", async () => {
  assert.deepEqual(await outline("example.org {\n whoami\n}\n. a.:1053 {\n log\n any\n}"), [
    { zones: ["example.org.:53"], directives: ["whoami"] },
    { zones: [".:53", "a.:1053"], directives: ["log", "any"] },
  ]);
});

test("parseCorefile() accepts keys over several lines and the brace on the next line", async () => {
  const expected = [{ zones: ["a.:53", "b.:53", "c.:53"], directives: ["whoami"] }];
  assert.deepEqual(await outline("a, b,\nc\n{\n whoami\n}"), expected);
  assert.deepEqual(await outline("a b c {\n whoami\n}"), expected);
  assert.deepEqual(await outline("a , b ,\n\nc {\n whoami\n}"), expected);
});

test("parseCorefile() reads a file without braces as one block", async () => {
  assert.deepEqual(await outline(".\nwhoami\nlog . {\n class all\n}\n"), [
    { zones: [".:53"], directives: ["whoami", "log ."] },
  ]);
});

test("parseCorefile() puts snippets and files in place of imports", async () => {
  const text =
    "(common) {\n log\n any\n}\n. {\n import common\n import conf.d/*.conf\n}\nimport more\n";
  const files = {
    "conf.d/b.conf": "errors",
    "conf.d/a.conf": "# nothing\nwhoami",
    "conf.d/c.txt": "bad",
    more: "x {\n log\n}",
  };
  assert.deepEqual(await outline(text, files), [
    { zones: [".:53"], directives: ["log", "any", "whoami", "errors"] },
    { zones: ["x.:53"], directives: ["log"] },
  ]);
});

test("parseCorefile() imports inside the braces of a directive, relative to the file", async () => {
  const files = { "etc/part": "import rules", "etc/rules": "allow net 127.0.0.0/8\nblock" };
  const configuration = await configure(". {\n acl {\n import etc/part\n }\n}", files);
  assert.deepEqual(complaintsOf(configuration), []);
  assert.deepEqual(configuration.importedFiles, ["etc/part", "etc/rules"]);
  const [directive] = configuration.blocks[0]!.block.directives;
  assert.equal(directive!.lines.length, 2);
});

test("parseCorefile() ends import cycles and reports missing files", async () => {
  assert.match(await complaint("import a", { a: "import a" }), /nested too deeply/);
  assert.match(await complaint("(s) {\n import s\n}\n. {\n import s\n}"), /nested too deeply/);
  assert.match(await complaint("import b"), /Corefile:1:8: Cannot import 'b': no such file/);
  assert.match(await complaint(". {\n import x/*\n}"), /No file matches/);
  assert.match(await complaint(". {\n import a*b*\n}"), /at most one \*/);
  assert.match(await complaint(". {\n import [ab]\n}"), /at most one \*/);
  assert.match(await complaint(". {\n import\n}"), /Found the end of the line, expected one name/);
  assert.match(await complaint(". {\n import a b\n}"), /Found 'b'/);
});

test("complaints name the place in an imported file", async () => {
  const text = await complaint("import part", { part: "\n. {\n  gatway\n}" });
  assert.match(text, /^part:3:3: Found 'gatway', expected a directive/);
});

test("parseCorefile() says what is missing and where", async () => {
  const cases: [string, RegExp][] = [
    [". {\n log", /Corefile:2:2: Found the end of the file, expected '}' for the '{' of line 1/],
    [". {\n acl {\n block\n}\n", /expected '}' for the '{' of line 1/],
    [". { log }", /Corefile:1:5: Found 'log', expected a new line before it/],
    [". {\n log }", /Found '}', expected a new line/],
    [". {\n log\n} x {", /Found 'x' after '}'/],
    [". {\n acl\n {\n}\n}", /Found '{' on a line of its own/],
    ["a,\n{\n}", /Found '{', expected a zone/],
    [". {\n}\nx\ny {\n}", /Corefile:4:1: Found 'y', expected '{'/],
    ["(s)\nlog", /expected '{' after the snippet's name/],
    ["(s) {\n log", /expected '}' for the '{' of line 1/],
    ["(s) {\n}\n(s) {\n}\n", /Found the snippet 's' again/],
    ["", /Found no block/],
  ];
  for (const [text, pattern] of cases) assert.match(await complaint(text), pattern, text);
});

test("keys carry schemes, ports and prefixes", async () => {
  assert.deepEqual((await outline("dns://example.org:1053 {\n}"))[0]!.zones, ["example.org.:1053"]);
  assert.deepEqual((await outline("10.0.0.0/24 {\n}"))[0]!.zones, ["0.0.10.in-addr.arpa.:53"]);
  assert.deepEqual((await outline("2001:db8::/32 {\n}"))[0]!.zones, [
    "8.b.d.0.1.0.0.2.ip6.arpa.:53",
  ]);
  assert.match(await complaint("tls://example.org {\n}"), /serving over tls is not supported/);
  assert.match(await complaint("foo://example.org {\n}"), /the scheme is unknown/);
  assert.match(await complaint("example.org:99999 {\n}"), /a port from 1 to 65535/);
  assert.match(await complaint("a..b {\n}"), /Found 'a..b', expected a zone/);
});

test("reverseZones() covers prefixes off a label boundary", () => {
  const zones = (text: string) => reverseZones(parsePrefix(text)!).map(String);
  assert.deepEqual(zones("10.0.0.0/8"), ["10.in-addr.arpa."]);
  assert.deepEqual(zones("172.16.4.0/23"), ["4.16.172.in-addr.arpa.", "5.16.172.in-addr.arpa."]);
  assert.equal(zones("192.168.1.128/25").length, 128);
  assert.deepEqual(zones("0.0.0.0/0"), ["in-addr.arpa."]);
  assert.deepEqual(zones("192.0.2.1/32"), ["1.2.0.192.in-addr.arpa."]);
  assert.deepEqual(zones("2001:db8::/31"), [
    "8.b.d.0.1.0.0.2.ip6.arpa.",
    "9.b.d.0.1.0.0.2.ip6.arpa.",
  ]);
});

test("two blocks for the same zone, port and address are an error", async () => {
  assert.match(
    await complaint("a {\n}\nb, A {\n}"),
    /Corefile:3:1: Found zone A\. on port 53 again/,
  );
  assert.equal(await complaint("a {\n}\na:1053 {\n}"), "");
  const bound = (one: string, two: string) => `a {\n${one}\n}\na {\n${two}\n}`;
  assert.equal(await complaint(bound("bind 127.0.0.1", "bind 127.0.0.2")), "");
  assert.match(await complaint(bound("bind 127.0.0.1", "bind 127.0.0.1")), /again/);
  assert.match(await complaint(bound("bind 127.0.0.1", "log")), /again/);
});

test("unknown directives get the nearest known one, CoreDNS's others the way out", async () => {
  assert.match(
    await complaint(". {\n  forwrd . 1.1.1.1\n}"),
    /^Corefile:2:3: Found 'forwrd', expected a directive; did you mean 'forward'\?$/,
  );
  assert.match(await complaint(". {\n xyzzyplugh\n}"), /expected a directive$/);
  assert.match(
    await complaint(". {\n\n rewrite name a b\n}"),
    /^Corefile:3:2: Found 'rewrite', a CoreDNS plugin that ipref-coredns does not have; use a CNAME/,
  );
  const refused = ["template", "dnssec", "sign", "secondary", "tsig", "view", "tls", "kubernetes"];
  for (const name of refused) assert.match(await complaint(`. {\n ${name}\n}`), /does not have/);
});

test("once-only directives and their properties are checked, all in one run", async () => {
  const text =
    ". {\n errors\n errors\n cache abc.. {\n  sucess 1\n }\n ipref {\n }\n hosts {\n  ttl x\n }\n}";
  const complaints = (await complaint(text)).split("\n");
  assert.equal(complaints.length, 5);
  assert.match(
    complaints[0]!,
    /:3:2: Found 'errors' again, expected it once in a block; first at line 2/,
  );
  assert.match(complaints[1]!, /:4:8: Found 'abc..', expected a zone/);
  assert.match(complaints[2]!, /:5:3: Found 'sucess'.*did you mean 'success'/);
  assert.match(complaints[3]!, /:7:2: Found 'ipref' without 'upstream'/);
  assert.match(complaints[4]!, /:10:7: Found 'x', expected a number/);
});

test("parseDurationMs() follows Go", () => {
  const cases: [string, number | undefined][] = [
    ["1h30m", 5_400_000],
    ["500ms", 500],
    ["1.5s", 1500],
    ["0", 0],
    ["2us", 0.002],
    ["30", undefined],
    ["", undefined],
    ["s", undefined],
    ["1d", undefined],
    ["-1s", undefined],
  ];
  for (const [text, expected] of cases) assert.equal(parseDurationMs(text), expected, text);
});

test("parseEndpoint() reads every documented form", () => {
  const text = (input: string) => {
    const endpoint = parseEndpoint(input, 53);
    return endpoint && `${formatIp(endpoint.address)} ${endpoint.port}`;
  };
  assert.equal(text("192.0.2.1"), "192.0.2.1 53");
  assert.equal(text("192.0.2.1:1053"), "192.0.2.1 1053");
  assert.equal(text("2001:4860:4860::8888"), "2001:4860:4860::8888 53");
  assert.equal(text("[2001:db8::1]"), "2001:db8::1 53");
  assert.equal(text("[2001:db8::1]:5353"), "2001:db8::1 5353");
  for (const bad of ["example.org", "192.0.2.1:0", "[192.0.2.1]:53", "1.2.3", "[::1", ""]) {
    assert.equal(text(bad), undefined, bad);
  }
});

test("nearestWord() suggests only what is close", () => {
  const known = ["forward", "file", "transfer"];
  assert.equal(nearestWord("foward", known), "forward");
  assert.equal(nearestWord("FILE", known), "file");
  assert.equal(nearestWord("trasnfer", known), "transfer");
  assert.equal(nearestWord("zzz", known), undefined);
});
