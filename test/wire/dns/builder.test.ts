import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  ADDITIONAL_COUNT_OFFSET,
  ANSWER_COUNT_OFFSET,
  AUTHORITY_COUNT_OFFSET,
  extendedErrorOption,
  MessageBuilder,
} from "../../../src/wire/dns/builder.js";
import { decodeMessage } from "../../../src/wire/dns/message.js";
import { Name, nameOf } from "../../../src/wire/dns/name.js";
import { type ResourceRecord, recordOf } from "../../../src/wire/dns/record.js";
import { octets, REPLY } from "./messages.js";

const TARGET = new Uint8Array(70_000);

function build(records: readonly ResourceRecord[], limit = 65_535, isCaseExact = false) {
  TARGET.fill(0xa5);
  const builder = new MessageBuilder(isCaseExact);
  builder.begin(TARGET, limit, 7, 0x8180);
  builder.question(nameOf("www.example.com."), 1, 1);
  let written = 0;
  for (const record of records) if (builder.record(ANSWER_COUNT_OFFSET, record)) written++;
  return { bytes: TARGET.slice(0, builder.length), written, builder };
}

const A = recordOf(nameOf("www.example.com."), 1, 60, octets("c0000201"));

test("MessageBuilder writes the octets of a hand-made reply", () => {
  const decoded = decodeMessage(REPLY);
  assert(decoded.ok);
  const { message } = decoded;
  const builder = new MessageBuilder();
  builder.begin(TARGET, 512, message.id, message.flags);
  const question = message.questions[0]!;
  builder.question(question.name, question.type, question.class);
  for (const record of message.answer) builder.record(ANSWER_COUNT_OFFSET, record);
  for (const record of message.authority) builder.record(AUTHORITY_COUNT_OFFSET, record);
  builder.opt(0, true);
  assert.deepEqual(TARGET.slice(0, builder.length), REPLY);
});

test("MessageBuilder compresses against the question and earlier names", () => {
  const { bytes } = build(Array.from({ length: 30 }, () => A));
  assert.equal(bytes.length, 12 + 21 + 30 * 16);
});

test("MessageBuilder does not compress names in data beyond RFC 3597 4", () => {
  const target = nameOf("sip.example.com.");
  const srv = recordOf(
    nameOf("www.example.com."),
    33,
    60,
    octets("0001 0002 0003", "03'sip'07'example'03'com'00"),
  );
  const { bytes } = build([srv]);
  assert.equal(bytes.length, 12 + 21 + 12 + 6 + target.wire.length);
});

test("MessageBuilder spells names that differ in case when told to", () => {
  const mx = recordOf(
    nameOf("www.EXAMPLE.com."),
    15,
    60,
    octets("000a", "04'mail'07'EXAMPLE'03'com'00"),
  );
  const exact = decodeMessage(build([mx], 65_535, true).bytes);
  assert(exact.ok);
  assert.equal(exact.message.answer[0]!.owner.toString(), "www.EXAMPLE.com.");
  const loose = decodeMessage(build([mx]).bytes);
  assert(loose.ok);
  assert.equal(loose.message.answer[0]!.owner.toString(), "www.example.com.");
});

test("MessageBuilder refuses a record over the limit and stays usable", () => {
  const big = recordOf(nameOf("a.b.example.com."), 16, 60, octets("ff", "61".repeat(255)));
  const { bytes, written, builder } = build([A, big, A], 100);
  assert.equal(written, 2);
  const decoded = decodeMessage(bytes);
  assert(decoded.ok);
  assert.equal(decoded.message.answer.length, 2);
  assert(builder.length <= 100);
});

test("a refused record leaves no suffix behind", () => {
  const far = recordOf(nameOf("x.other.example."), 16, 60, octets("30", "61".repeat(48)));
  const near = recordOf(nameOf("x.other.example."), 1, 60, octets("c0000201"));
  const decoded = decodeMessage(build([far, near], 90).bytes);
  assert(decoded.ok);
  assert.deepEqual(
    decoded.message.answer.map((record) => record.owner.toString()),
    ["x.other.example."],
  );
});

test("MessageBuilder never exceeds 65,535 octets nor points beyond 16,383", () => {
  const records = Array.from({ length: 4000 }, (_, index) =>
    recordOf(nameOf(`host${index}.sub${index}.example.com.`), 1, 60, octets("c0000201")),
  );
  const { bytes, written } = build(records);
  assert(written > 1000 && written < 4000);
  assert(bytes.length <= 65_535);
  const decoded = decodeMessage(bytes);
  assert(decoded.ok);
  assert.equal(decoded.message.answer.length, written);
  assert.equal(decoded.message.answer[written - 1]!.owner.key, records[written - 1]!.owner.key);
});

test("MessageBuilder counts beyond 255 records", () => {
  const decoded = decodeMessage(build(Array.from({ length: 700 }, () => A)).bytes);
  assert(decoded.ok);
  assert.equal(decoded.message.answer.length, 700);
});

test("opt() carries the extended response code and error", () => {
  const builder = new MessageBuilder();
  builder.begin(TARGET, 512, 1, 0x8000);
  builder.question(Name.ROOT, 1, 1);
  assert(builder.opt(1, false, extendedErrorOption(23, "timed out")));
  const decoded = decodeMessage(TARGET.slice(0, builder.length));
  assert(decoded.ok);
  assert.equal(decoded.message.rcode, 16);
  assert.deepEqual(decoded.message.edns!.options, octets("000f 000b 0017 'timed out'"));
});

test("dropSections() leaves header and question", () => {
  const { builder } = build([A, A]);
  builder.dropSections(33);
  builder.opt(0, false);
  const decoded = decodeMessage(TARGET.slice(0, builder.length));
  assert(decoded.ok);
  assert.equal(decoded.message.answer.length, 0);
  assert.equal(decoded.message.questions.length, 1);
  assert.notEqual(decoded.message.edns, undefined);
});

const names = fc
  .array(fc.constantFrom("a", "B", "www", "example", "Example", "com", "x\\.y", "\\000"), {
    minLength: 1,
    maxLength: 5,
  })
  .map((labels) => nameOf(`${labels.join(".")}.`));
const ttls = fc.nat(0x7fff_ffff);
const recordArbitrary: fc.Arbitrary<ResourceRecord> = fc.oneof(
  fc
    .record({ owner: names, ttl: ttls })
    .map(({ owner, ttl }) => recordOf(owner, 1, ttl, octets("c0000201"))),
  fc
    .record({ owner: names, ttl: ttls, target: names })
    .map(({ owner, ttl, target }) => recordOf(owner, 5, ttl, target.wire)),
  fc
    .record({ owner: names, ttl: ttls, target: names })
    .map(({ owner, ttl, target }) =>
      recordOf(owner, 15, ttl, Uint8Array.from([0, 10, ...target.wire])),
    ),
  fc
    .record({ owner: names, ttl: ttls, data: fc.uint8Array({ maxLength: 40 }) })
    .map(({ owner, ttl, data }) => recordOf(owner, 65_400, ttl, data)),
);

test("what MessageBuilder writes, decodeMessage() reads back", () => {
  fc.assert(
    fc.property(fc.array(recordArbitrary, { maxLength: 30 }), fc.boolean(), (records, exact) => {
      const decoded = decodeMessage(build(records, 65_535, exact).bytes);
      assert(decoded.ok);
      assert.equal(decoded.message.answer.length, records.length);
      for (const [index, record] of decoded.message.answer.entries()) {
        const original = records[index]!;
        assert.equal(record.owner.key, original.owner.key);
        assert.equal(record.ttlSeconds, original.ttlSeconds);
        const lower = (name: ResourceRecord) => new Name(name.data).key;
        if (exact) assert.deepEqual(record.data, original.data);
        else assert.equal(lower(record), lower(original));
        if (exact) assert.equal(record.owner.spelling, original.owner.spelling);
      }
    }),
  );
});

test("a message of two sections keeps the counts apart", () => {
  const builder = new MessageBuilder();
  builder.begin(TARGET, 512, 1, 0x8000);
  builder.question(nameOf("www.example.com."), 1, 1);
  builder.record(ANSWER_COUNT_OFFSET, A);
  builder.record(AUTHORITY_COUNT_OFFSET, A);
  builder.record(ADDITIONAL_COUNT_OFFSET, A);
  builder.record(ADDITIONAL_COUNT_OFFSET, A);
  const decoded = decodeMessage(TARGET.slice(0, builder.length));
  assert(decoded.ok);
  const { answer, authority, additional } = decoded.message;
  assert.deepEqual([answer.length, authority.length, additional.length], [1, 1, 2]);
});
