/** Go's flag syntax. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { nearestWord } from "../../src/base/nearest-word.js";
import { parseGoBoolean, parseGoInteger } from "../../src/control/go-flags.js";

test("parseGoInteger() reads what strconv.ParseInt with base 0 reads", () => {
  const good: [string, number][] = [
    ["0", 0],
    ["1045", 1045],
    ["+7", 7],
    ["-7", -7],
    ["0x1F", 31],
    ["010", 8],
    ["0o17", 15],
    ["0b101", 5],
  ];
  for (const [text, value] of good) assert.equal(parseGoInteger(text), value, text);
  for (const text of ["", "x", "1.5", "1e3", " 1", "0x", "09", "--1", "99999999999999999999"]) {
    assert.equal(parseGoInteger(text), undefined, text);
  }
});

test("parseGoBoolean() reads the twelve spellings of strconv.ParseBool", () => {
  for (const text of ["1", "t", "T", "TRUE", "true", "True"]) {
    assert.equal(parseGoBoolean(text), true, text);
  }
  for (const text of ["0", "f", "F", "FALSE", "false", "False"]) {
    assert.equal(parseGoBoolean(text), false, text);
  }
  for (const text of ["", "yes", "on", "tRUE"]) assert.equal(parseGoBoolean(text), undefined, text);
});

test("nearestWord() finds slips of the finger and nothing else", () => {
  const words = ["gateway", "gateway-bind", "hosts", "data"];
  assert.equal(nearestWord("gatewya", words), "gateway");
  assert.equal(nearestWord("host", words), "hosts");
  assert.equal(nearestWord("zzz", words), undefined);
});
