/** Tables and units for people, and hostile text on its way to a terminal. */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { printable, printableJson } from "../../../src/base/printable.js";
import {
  cutText,
  tableLines,
  textWidth,
  wrapWords,
} from "../../../src/programs/inspect/text-table.js";
import {
  agoText,
  bitRateText,
  bytesText,
  countText,
  rateText,
  spanText,
} from "../../../src/programs/inspect/units.js";

const COLUMNS = [{ heading: "NAME" }, { heading: "COUNT", isRight: true }, { heading: "" }];

test("columns are as wide as their widest cell, numbers to the right, no blanks at the end", () => {
  const rows = [["a", "1", ""], ["longer", "12345678", "x"], ["short row"]];
  assert.deepEqual(tableLines(COLUMNS, rows, { indent: " " }), [
    " NAME          COUNT",
    " a                 1",
    " longer     12345678  x",
    " short row",
  ]);
});

test("a table without headings has no heading line, and wide characters keep columns straight", () => {
  const lines = tableLines(
    [{ heading: "" }, { heading: "" }],
    [
      ["日本", "x"],
      ["abcd", "y"],
      ["e\u0301f", "z"],
    ],
  );
  assert.deepEqual(lines, ["日本  x", "abcd  y", "e\u0301f    z"]);
});

test("lines are cut at the width of the terminal", () => {
  const lines = tableLines(COLUMNS, [["a".repeat(30), "5", "tail"]], { widthMax: 12 });
  assert.ok(lines.every((line) => textWidth(line) <= 12));
  assert.equal(lines[1], `${"a".repeat(11)}…`);
  assert.equal(cutText("日本語", 4), "日…");
});

test("whatever a name contains, what is shown moves no cursor and turns no direction", () => {
  const hostile = fc.string({ unit: "binary", maxLength: 40 });
  const check = (text: string): void => {
    assert.doesNotMatch(printable(text), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
    const [line = ""] = tableLines([{ heading: "" }], [[text]]);
    assert.doesNotMatch(line, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
  };
  fc.assert(fc.property(hostile, check), { verbose: 1 });
  check("\u001b]0;title\u0007");
  assert.equal(printable("\u001b[2J\u202e"), "\\u001b[2J\\u202e");
});

test("JSON stays the same value and holds nothing that a terminal obeys", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const json = printableJson(JSON.stringify({ text }));
      assert.deepEqual(JSON.parse(json), { text });
      assert.doesNotMatch(json, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
    }),
    { verbose: 1 },
  );
  assert.equal(printableJson("{}\n"), "{}\n");
});

test("words are wrapped at blanks", () => {
  assert.deepEqual(wrapWords("one two three", 7), ["one two", "three"]);
  assert.deepEqual(wrapWords("extraordinary", 5), ["extraordinary"]);
});

test("units have three figures and change in time", () => {
  assert.equal(countText(1_234_567), "1,234,567");
  assert.equal(countText(999), "999");
  assert.deepEqual([0, 999, 1000, 12_345, 999_950, 1.3e9].map(bytesText), [
    "0 B",
    "999 B",
    "1.00 kB",
    "12.3 kB",
    "1.00 MB",
    "1.30 GB",
  ]);
  assert.equal(bitRateText(6.42e9), "6.42 Gb/s");
  assert.deepEqual([0, 0.04, 0.5, 12, 147_000].map(rateText), [
    "0/s",
    "0.1/s",
    "0.5/s",
    "12/s",
    "147 k/s",
  ]);
});

test("spans of time have their two largest units", () => {
  const spans = [0, 59, 60, 61, 3600, 7500, 86_400, 90_000, 1_000_000].map(spanText);
  assert.deepEqual(spans, [
    "0 s",
    "59 s",
    "1 min",
    "1 min 1 s",
    "1 h",
    "2 h 5 min",
    "1 d",
    "1 d 1 h",
    "11 d 13 h",
  ]);
  assert.deepEqual([null, 0, 5].map(agoText), ["never", "now", "5 s ago"]);
});
