/** The one-pass check of replies against the decoder: spec/resolver.md 4.3. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { randomBelow, seededRandom } from "../../src/base/random.js";
import { judgeReply } from "../../src/dns/upstream/judgement.js";
import { readReply } from "../../src/dns/upstream/reply.js";
import { MessageBuilder, type SectionOffset } from "../../src/wire/dns/builder.js";
import { decodeMessage, packMessage } from "../../src/wire/dns/message.js";
import { nameOf } from "../../src/wire/dns/name.js";
import { recordOf } from "../../src/wire/dns/record.js";

const NAME = nameOf("www.example.com.");
const ASKED = { name: NAME, type: 1 };
const QUESTION_END = 12 + NAME.wire.length + 4;

/** A reply with a chain, addresses, an SOA, glue and an OPT. */
function richReply(): Uint8Array {
  const bytes = new Uint8Array(2000);
  const builder = new MessageBuilder();
  builder.begin(bytes, bytes.length, 7, 0x8580);
  builder.question(NAME, 1, 1);
  const host = nameOf("host.example.com.");
  const soa = Uint8Array.of(...host.wire, ...NAME.wire, ...new Array<number>(20).fill(1));
  const mail = Uint8Array.of(0, 10, ...host.wire);
  const records: [number, ReturnType<typeof recordOf>][] = [
    [6, recordOf(NAME, 5, 300, host.wire)],
    [6, recordOf(host, 1, 200, Uint8Array.of(192, 0, 2, 1))],
    [6, recordOf(host, 16, 100, Uint8Array.of(2, 65, 65, 0))],
    [8, recordOf(nameOf("com."), 6, 60, soa)],
    [10, recordOf(host, 28, 400, new Uint8Array(16))],
    [10, recordOf(host, 15, 500, mail)],
  ];
  for (const [section, record] of records) builder.record(section as SectionOffset, record);
  builder.opt(1, true);
  return bytes.slice(0, builder.length);
}

test("readReply() packs what the decoder and packMessage() see", () => {
  const bytes = richReply();
  const reply = readReply(bytes, bytes.length, ASKED)!;
  const packed = packMessage(bytes, bytes.length)!;
  assert.deepEqual(reply.sections, packed);
  assert.equal(reply.rcode, 16);
  assert.equal(reply.message.rcode, 16);
  assert.equal(reply.message.answer.length, 3);
  assert.equal(reply.sections?.ttlSecondsMin, 60);
});

test("readReply() rebuilds the message of a direct reply, spelled as asked", () => {
  const bytes = new Uint8Array(600);
  const builder = new MessageBuilder();
  builder.begin(bytes, bytes.length, 7, 0x8180);
  builder.question(NAME, 1, 1);
  builder.record(6, recordOf(NAME, 1, 300, Uint8Array.of(192, 0, 2, 1)));
  builder.opt(0, false);
  const asked = { name: nameOf("WWW.Example.COM."), type: 1 };
  const reply = readReply(bytes, builder.length, asked)!;
  const decoded = decodeMessage(reply.bytes);
  assert(decoded.ok);
  assert.equal(decoded.message.questions[0]!.name.toString(), "WWW.Example.COM.");
  assert.equal(decoded.message.answer[0]!.owner.toString(), "WWW.Example.COM.");
  const other = reply.spelledAs(NAME);
  assert.equal(other.message.answer[0]!.owner.toString(), "www.example.com.");
  assert.equal(reply.message.answer[0]!.owner.toString(), "WWW.Example.COM.");
});

test("readReply() refuses every truncation", () => {
  const bytes = richReply();
  for (let length = QUESTION_END; length < bytes.length; length++) {
    assert.equal(readReply(bytes, length, ASKED), undefined, `${length} octets`);
    const cut = bytes.slice(0, length);
    assert.equal(readReply(cut, length, ASKED), undefined, `${length} octets, cut`);
  }
});

test("readReply() takes a mutated reply exactly when the decoder does", () => {
  const seed = Date.now() & 0xffff;
  const random = seededRandom(seed);
  const original = richReply();
  let takenCount = 0;
  for (let round = 0; round < 100_000; round++) {
    const bytes = original.slice();
    const changes = 1 + randomBelow(random, 3);
    for (let change = 0; change < changes; change++) {
      // Header flags and the question stay, as the judgement has found them right.
      const at = randomBelow(random, bytes.length - 6);
      const place = at < 6 ? 6 + at : QUESTION_END + ((at - 6) % (bytes.length - QUESTION_END));
      bytes[place] = randomBelow(random, 256);
    }
    const decoded = decodeMessage(bytes);
    const reply = readReply(bytes, bytes.length, ASKED);
    assert.equal(reply !== undefined, decoded.ok, `seed ${seed} round ${round}`);
    if (reply === undefined || !decoded.ok) continue;
    takenCount++;
    assert.equal(reply.rcode, decoded.message.rcode);
    assert(reply.message.answer.length <= decoded.message.answer.length);
    const { sections } = reply;
    if (sections !== undefined) assert.deepEqual(sections, packMessage(bytes, bytes.length));
  }
  assert(takenCount > 1000, `${takenCount} taken`);
});

test("judgeReply() accepts nothing but the question repeated octet for octet", () => {
  const sent = richReply();
  sent[2] = 1;
  const reply = richReply();
  assert.equal(judgeReply(reply, reply.length, sent, QUESTION_END), "reply");
  for (let at = 0; at < QUESTION_END; at++) {
    if (at >= 6 && at < 12) continue; // counts of records are the reader's concern
    for (let bit = 0; bit < 8; bit++) {
      if ((at === 2 && bit < 3) || at === 3) continue; // AA, TC, RD and the rcode
      const bytes = reply.slice();
      bytes[at]! ^= 1 << bit;
      const judgement = judgeReply(bytes, bytes.length, sent, QUESTION_END);
      assert.notEqual(judgement, "reply", `octet ${at} bit ${bit}`);
    }
  }
  for (let length = 0; length < QUESTION_END; length++) {
    assert.notEqual(judgeReply(reply, length, sent, QUESTION_END), "reply");
  }
});
