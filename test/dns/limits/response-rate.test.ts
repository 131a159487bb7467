/** The response rate limit (spec/resolver.md 5.2). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseIp } from "../../../src/base/ip.js";
import { seededRandom } from "../../../src/base/random.js";
import { EQUAL_RESPONSES_PER_SECOND, ResponseRate } from "../../../src/dns/limits/response-rate.js";
import { readU16 } from "../../../src/wire/bytes.js";
import { nameOf } from "../../../src/wire/dns/name.js";
import { FLAG_QR, FLAG_TC } from "../../../src/wire/dns/numbers.js";

const CLIENT = parseIp("198.51.100.7")!;

/** A reply for `name` with this many made-up octets of answer behind the question. */
function replyFor(name: string, rcode = 0): { bytes: Uint8Array; questionEnd: number } {
  const { wire } = nameOf(name);
  const questionEnd = 12 + wire.length + 4;
  const bytes = new Uint8Array(questionEnd + 16);
  bytes.set(wire, 12);
  bytes.set([FLAG_QR >> 8, rcode, 0, 1, 0, rcode === 0 ? 1 : 0], 2);
  bytes[questionEnd - 3] = 1;
  bytes[questionEnd - 1] = 1;
  return { bytes, questionEnd };
}

function outcomes(rate: ResponseRate, count: number, name: (index: number) => string, rcode = 0) {
  const found = { sent: 0, truncated: 0, dropped: 0 };
  for (let index = 0; index < count; index++) {
    const { bytes, questionEnd } = replyFor(name(index), rcode);
    const length = rate.admit(bytes, bytes.length, CLIENT, 1000);
    if (length === bytes.length) found.sent++;
    else if (length === 0) found.dropped++;
    else {
      found.truncated++;
      assert.equal(length, questionEnd);
      assert.equal(readU16(bytes, 2) & FLAG_TC, FLAG_TC);
      assert.deepEqual([...bytes.subarray(4, 12)], [0, 1, 0, 0, 0, 0, 0, 0]);
    }
  }
  return found;
}

test("ResponseRate sends 20 equal responses, then truncates and drops in turn", () => {
  const rate = new ResponseRate(seededRandom(1));
  const found = outcomes(rate, 120, () => "a.example.");
  assert.deepEqual(found, { sent: EQUAL_RESPONSES_PER_SECOND, truncated: 50, dropped: 50 });
  assert.deepEqual(rate.counts, { truncated: 50, dropped: 50 });
});

test("ResponseRate lets a second pass restore the share", () => {
  const rate = new ResponseRate(seededRandom(2));
  const { bytes } = replyFor("a.example.");
  for (let index = 0; index < 100; index++) rate.admit(bytes.slice(), bytes.length, CLIENT, 0);
  let sent = 0;
  for (let index = 0; index < 100; index++) {
    if (rate.admit(bytes.slice(), bytes.length, CLIENT, 1000) === bytes.length) sent++;
  }
  assert.equal(sent, EQUAL_RESPONSES_PER_SECOND);
});

test("ResponseRate counts different answers apart and random names that do not exist together", () => {
  const rate = new ResponseRate(seededRandom(3));
  assert.equal(outcomes(rate, 100, (index) => `n${index}.example.`).sent, 100);
  assert.equal(outcomes(rate, 100, (index) => `x${index}.example.`, 3).sent, 20);
});

test("ResponseRate takes the case of a name for the same name", () => {
  const rate = new ResponseRate(seededRandom(4));
  const found = outcomes(rate, 60, (index) => (index % 2 === 0 ? "aaa.example." : "AAA.example."));
  assert.equal(found.sent, 20);
});

test("ResponseRate takes a /24 and a /56 for one client", () => {
  const rate = new ResponseRate(seededRandom(5));
  const { bytes } = replyFor("a.example.");
  const sentTo = (text: (index: number) => string) => {
    let sent = 0;
    for (let index = 0; index < 40; index++) {
      const client = parseIp(text(index))!;
      if (rate.admit(bytes.slice(), bytes.length, client, 0) === bytes.length) sent++;
    }
    return sent;
  };
  assert.equal(
    sentTo((index) => `192.0.2.${index + 1}`),
    20,
  );
  assert.equal(
    sentTo((index) => `192.1.${index}.1`),
    40,
  );
  assert.equal(
    sentTo((index) => `2001:db8:0:${index}::1`),
    20,
  );
  assert.equal(
    sentTo((index) => `2001:db8:${index}::1`),
    39,
    "2001:db8:0::/56 is used up",
  );
});

test("ResponseRate copes with a reply without question", () => {
  const rate = new ResponseRate(seededRandom(6));
  const header = Uint8Array.of(1, 2, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0);
  for (let index = 0; index < 100; index++) {
    const length = rate.admit(header.slice(), 12, CLIENT, 0);
    assert.ok(length === 12 || length === 0);
  }
  assert.ok(rate.counts.dropped > 0);
});
