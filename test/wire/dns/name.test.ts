import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  compareNames,
  formatName,
  isKeyWithin,
  Name,
  nameOf,
  parentKey,
  parseName,
  replaceSuffix,
  wildcardKey,
} from "../../../src/wire/dns/name.js";

const labelArbitrary = fc.uint8Array({ minLength: 1, maxLength: 20 });
const nameArbitrary = fc.array(labelArbitrary, { maxLength: 8 }).map((labels) => {
  const octets = labels.flatMap((label) => [label.length, ...label]);
  return new Name(Uint8Array.from([...octets, 0]));
});

test("parseName() reads what formatName() writes, for every octet", () => {
  fc.assert(
    fc.property(nameArbitrary, (name) => {
      const parsed = parseName(formatName(name));
      assert(parsed.ok && parsed.isAbsolute);
      assert.deepEqual(parsed.name.wire, name.wire);
    }),
  );
});

test("parseName() understands escapes, relative names and non-ASCII text", () => {
  const origin = nameOf("example.");
  const cases: [string, string][] = [
    ["www", "www.example."],
    ["www.", "www."],
    [".", "."],
    ["a\\.b", "a\\.b.example."],
    ["a\\046b", "a\\.b.example."],
    ["\\065", "A.example."],
    ["\\\\", "\\\\.example."],
    ['\\"', '\\".example.'],
    ["ü", "\\195\\188.example."],
    ["*", "*.example."],
    ["a b", "a\\032b.example."],
  ];
  for (const [text, expected] of cases) {
    const parsed = parseName(text, origin);
    assert(parsed.ok, text);
    assert.equal(formatName(parsed.name), expected);
  }
});

test("parseName() names what is wrong", () => {
  const origin = nameOf("example.");
  const cases: [string, string][] = [
    ["", "empty"],
    ["a..b", "empty label"],
    [".a", "empty label"],
    ["a".repeat(64), "label too long"],
    [`${"a".repeat(63)}.`.repeat(4), "name too long"],
    [`${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(54)}`, "name too long"],
    ["a\\", "escape"],
    ["a\\25", "escape"],
    ["a\\256", "escape"],
    ["a\\2x5", "escape"],
  ];
  for (const [text, error] of cases) {
    const parsed = parseName(text, origin);
    assert(!parsed.ok, text);
    assert.equal(parsed.error, error, text);
  }
});

test("parseName() accepts labels of 63 and names of 255 octets", () => {
  const text = `${`${"a".repeat(63)}.`.repeat(3)}${"b".repeat(61)}.`;
  const parsed = parseName(text);
  assert(parsed.ok);
  assert.equal(parsed.name.wire.length, 255);
  assert.equal(parseName(text.replace("b.", "bb.")).ok, false);
});

test("keys ignore ASCII case and nothing else", () => {
  assert.equal(nameOf("WWW.Example.").key, nameOf("www.eXAMPLE.").key);
  assert.notEqual(nameOf("a\\.b.").key, nameOf("a.b.").key);
  assert.notEqual(nameOf("Ü.").key, nameOf("ü.").key);
  assert.notEqual(nameOf("[.").key, nameOf("{.").key);
});

test("isKeyWithin() compares by label", () => {
  const within = (a: string, b: string) => isKeyWithin(nameOf(a).key, nameOf(b).key);
  assert(within("a.example.com.", "example.com."));
  assert(within("EXAMPLE.com.", "example.com."));
  assert(within("example.com.", "."));
  assert(!within("badexample.com.", "example.com."));
  assert(!within("com.", "example.com."));
  // A label whose octets look like the encoded suffix is still one label.
  assert(!within("x\\007example\\003com.", "example.com."));
});

test("parent(), parentKey(), wildcardKey() and firstLabelKey walk the tree", () => {
  const name = nameOf("A.b.c.");
  assert.equal(name.parent()!.toString(), "b.c.");
  assert.equal(parentKey(name.key), nameOf("b.c.").key);
  assert.equal(parentKey("\0"), undefined);
  assert.equal(Name.ROOT.parent(), undefined);
  assert.equal(wildcardKey(nameOf("c.").key), nameOf("*.c.").key);
  assert.equal(name.firstLabelKey, "a");
  assert.equal(name.labelCount, 3);
});

test("replaceSuffix() substitutes as a DNAME and notices names that get too long", () => {
  const renamed = replaceSuffix(nameOf("a.b.old."), nameOf("old."), nameOf("new.example."));
  assert.equal(renamed!.toString(), "a.b.new.example.");
  const long = nameOf(`${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.`);
  const front = nameOf(`${"d".repeat(60)}.old.`);
  assert.notEqual(replaceSuffix(front, nameOf("old."), long), undefined);
  const longer = nameOf(`${"d".repeat(63)}.old.`);
  assert.equal(replaceSuffix(longer, nameOf("old."), long), undefined);
});

test("compareNames() gives the order of RFC 4034 6.1", () => {
  const sorted = [
    "example.",
    "a.example.",
    "yljkjljk.a.example.",
    "Z.a.example.",
    "zABC.a.EXAMPLE.",
    "z.example.",
    "\\001.z.example.",
    "*.z.example.",
    "\\200.z.example.",
  ].map(nameOf);
  const shuffled = [...sorted].reverse().sort(compareNames);
  assert.deepEqual(shuffled.map(formatName), sorted.map(formatName));
});
