/** docs/ipref.schema.json: current, true to the table of settings, and of use in an editor. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { parse } from "smol-toml";
import { randomBelow, seededRandom } from "../../../src/base/random.js";
import {
  configurationSchema,
  configurationSchemaText,
} from "../../../src/control/config/json-schema.js";
import { readConfiguration } from "../../../src/control/config/read.js";
import { SETTINGS } from "../../../src/control/config/settings.js";
import { schemaViolations } from "./json-schema-judge.js";

const ROOT = new URL("../../../../", import.meta.url);
const SCHEMA = configurationSchema();
const EXAMPLES = readdirSync(new URL("examples", ROOT)).filter((name) => name.endsWith(".toml"));
const SEED = 20_261;
const TRIALS = 4000;

test("docs/ipref.schema.json is made from the present settings", () => {
  const text = readFileSync(new URL("docs/ipref.schema.json", ROOT), "utf8");
  assert.equal(text, configurationSchemaText(), "run node scripts/write-configuration.js");
});

for (const name of EXAMPLES) {
  test(`the schema takes examples/${name}, which names it in its first line`, () => {
    const text = readFileSync(new URL(`examples/${name}`, ROOT), "utf8");
    assert.equal(text.split("\n")[0], "#:schema ../docs/ipref.schema.json");
    assert.deepEqual(schemaViolations(SCHEMA, parse(text)), []);
  });
}

test("the schema takes every default and describes every setting", () => {
  const sections = SCHEMA.properties as Record<string, { properties: Record<string, object> }>;
  for (const { section, key, preset, presetText, meaning } of SETTINGS) {
    const rule = sections[section]!.properties[key] as Record<string, unknown>;
    assert.ok(String(rule.description).includes(meaning.slice(1)), key);
    if (rule.default === undefined) assert.ok(presetText !== undefined, key);
    else assert.deepEqual(schemaViolations(rule, preset), [], key);
  }
});

const WRONG: readonly (readonly [string, RegExp])[] = [
  ["[gatewai]\nport = 1\n", /unknown gatewai/],
  ["[gateway]\nports = 1\n", /\.gateway: unknown ports/],
  ["port = 1\n", /unknown port/],
  ["[gateway]\nport = 70000\n", /\.gateway\.port: above 65535/],
  ["[gateway]\nport = 0\n", /\.gateway\.port: below 1/],
  ['[gateway]\nport = "1045"\n', /\.gateway\.port: expected integer/],
  ["[gateway]\nport = 1.5\n", /\.gateway\.port: expected integer/],
  ['[gateway]\nforwarding = "yes"\n', /expected boolean/],
  ['[gateway]\nbind = "gw.example.com"\n', /\.gateway\.bind: not /],
  ['[gateway]\nencode-net = "10.240.0.0/24"\n', /\.gateway\.encode-net: not /],
  ['[gateway]\nencode-net = "10.240.0.0"\n', /\.gateway\.encode-net: not /],
  ['[files]\ndata = "var/lib"\n', /\.files\.data: not /],
  ['[resolver]\nupstream = "9.9.9.9"\n', /expected array/],
  ['[resolver]\nupstream = ["ns.example.com"]\n', /\.resolver\.upstream\[0\]: not /],
  ['[resolver]\nnew-addresses = "60 10"\n', /new-addresses: not /],
  ['[publish]\ndomain = "a b"\n', /\.publish\.domain: not /],
  ["[publish]\ninterval = 0\n", /\.publish\.interval: below 1/],
];

for (const [text, wanted] of WRONG) {
  test(`the schema refuses ${JSON.stringify(text)}, and so does the program`, () => {
    const [first] = schemaViolations(SCHEMA, parse(text));
    assert.match(first ?? "nothing", wanted);
    assert.equal(readConfiguration({ file: "x", text, flags: new Map() }).ok, false);
  });
}

/** Right and almost right words for each kind of setting. */
const WORDS = [
  ...["0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "192.0.2.1:53", "[2001:db8::1]:5353", "fe80::1"],
  ...["::ffff:192.0.2.1", "64:ff9b::192.0.2.33", "1:2:3:4:5:6:7:8", "1.2.3.4:0", "255.255.255.255"],
  ...["10.0.0.0/8", "10.240.0.0/12", "10.0.0.0/19", "0.0.0.0/0", "fd00::/64", "fd00::/115", "::/0"],
  ...[
    "1",
    "0",
    "12-3456",
    "12--7",
    "ffff-0",
    "65536",
    "00012",
    "1-",
    "home.example.com",
    "a",
    "_x.b",
  ],
  ...["xn--bcher-kva.example", "internal", "-a.b", "a-.b", "a..b", "ns.example.com:53", "a_b.c_d"],
  ...["", "/", "/etc/hosts", "relative", "off", "60 10 100", "1 2 3 4", "x".repeat(63), "a.b.c."],
];

test(`what the program takes the schema takes as well (seed ${SEED})`, () => {
  const random = seededRandom(SEED);
  const pick = <T>(list: readonly T[]): T => list[randomBelow(random, list.length)]!;
  const sections = SCHEMA.properties as Record<string, { properties: Record<string, object> }>;
  let taken = 0;
  for (let trial = 0; trial < TRIALS; trial++) {
    const { section, key, schema, preset } = pick(SETTINGS);
    const word: string | number =
      typeof preset === "number" ? randomBelow(random, 70_000) : pick(WORDS);
    const value = Array.isArray(preset) ? [word, pick(WORDS)] : word;
    if (!schema.safeParse(value).success) continue;
    taken++;
    const rule = sections[section]!.properties[key] as Record<string, unknown>;
    assert.deepEqual(schemaViolations(rule, value), [], `${section}.${key} = ${value}`);
  }
  assert.ok(taken > TRIALS / 10, `only ${taken} values were right`);
});
