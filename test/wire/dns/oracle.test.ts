/**
 * dns-packet as second opinion (spec/resolver.md 7.4): for inputs that both should accept, both
 * must say the same. The environment variable DNS_PACKET_ROOT names a directory with node_modules
 * when the package is installed elsewhere.
 */

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import fc from "fast-check";
import { formatIp } from "../../../src/base/ip.js";
import { ANSWER_COUNT_OFFSET, MessageBuilder } from "../../../src/wire/dns/builder.js";
import { decodeMessage } from "../../../src/wire/dns/message.js";
import { Name, nameOf } from "../../../src/wire/dns/name.js";
import { recordOf } from "../../../src/wire/dns/record.js";

interface OracleRecord {
  readonly type: string;
  readonly name: string;
  readonly ttl?: number;
  readonly data: unknown;
}

interface Oracle {
  encode(message: object): Uint8Array;
  decode(bytes: Uint8Array): { id: number; answers: OracleRecord[]; questions: OracleRecord[] };
}

function loadOracle(): Oracle | undefined {
  const root = process.env.DNS_PACKET_ROOT;
  const require = createRequire(root === undefined ? import.meta.url : `${root}/index.js`);
  try {
    return require("dns-packet") as Oracle;
  } catch {
    return undefined;
  }
}

const oracle = loadOracle();
const skip = oracle === undefined ? "dns-packet is not installed" : false;

const label = fc.stringMatching(/^[a-z0-9-]{1,12}$/);
const host = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join("."));
const ttl = fc.nat(0x7fff_ffff);
const ipv4 = fc.ipV4();
const ipv6 = fc.uint8Array({ minLength: 16, maxLength: 16 });
const u16 = fc.nat(65_535);

/** A record for the oracle's encoder and the data we must read from its octets. */
const pairs = fc.oneof(
  fc.record({ name: host, ttl, ip: ipv4 }).map(({ name, ttl, ip }) => ({
    record: { type: "A", name, ttl, data: ip },
    data: [...ip.split(".").map(Number)],
  })),
  fc.record({ name: host, ttl, bytes: ipv6 }).map(({ name, ttl, bytes }) => ({
    record: { type: "AAAA", name, ttl, data: formatIp({ version: 6, bytes }) },
    data: [...bytes],
  })),
  fc.record({ name: host, ttl, target: host }).map(({ name, ttl, target }) => ({
    record: { type: "CNAME", name, ttl, data: target },
    data: [...nameOf(target).wire],
  })),
  fc.record({ name: host, ttl, target: host, preference: u16 }).map((mx) => ({
    record: {
      type: "MX",
      name: mx.name,
      ttl: mx.ttl,
      data: { preference: mx.preference, exchange: mx.target },
    },
    data: [mx.preference >> 8, mx.preference & 255, ...nameOf(mx.target).wire],
  })),
  fc
    .record({
      name: host,
      ttl,
      texts: fc.array(fc.uint8Array({ maxLength: 255 }), { minLength: 1, maxLength: 3 }),
    })
    .map(({ name, ttl, texts }) => ({
      record: { type: "TXT", name, ttl, data: texts.map((text) => Buffer.from(text)) },
      data: texts.flatMap((text) => [text.length, ...text]),
    })),
  fc
    .record({ name: host, ttl, target: host, numbers: fc.tuple(u16, u16, u16) })
    .map(({ name, ttl, target, numbers: [priority, weight, port] }) => ({
      record: { type: "SRV", name, ttl, data: { priority, weight, port, target } },
      data: [
        ...[priority, weight, port].flatMap((value) => [value >> 8, value & 255]),
        ...nameOf(target).wire,
      ],
    })),
);

test("decodeMessage() reads what dns-packet writes", { skip }, () => {
  fc.assert(
    fc.property(fc.array(pairs, { maxLength: 20 }), u16, (answers, id) => {
      const questions = [{ type: "A", class: "IN", name: "question.example" }];
      const bytes = oracle!.encode({
        type: "response",
        id,
        questions,
        answers: answers.map((pair) => pair.record),
      });
      const decoded = decodeMessage(new Uint8Array(bytes));
      assert(decoded.ok);
      assert.equal(decoded.message.id, id);
      assert.deepEqual(
        decoded.message.answer.map((record) => [
          record.owner.key,
          record.ttlSeconds,
          [...record.data],
        ]),
        answers.map((pair) => [nameOf(pair.record.name).key, pair.record.ttl, pair.data]),
      );
    }),
  );
});

test("dns-packet reads what MessageBuilder writes", { skip }, () => {
  const target = new Uint8Array(70_000);
  const types: Record<string, number> = { A: 1, CNAME: 5, MX: 15, TXT: 16, AAAA: 28, SRV: 33 };
  fc.assert(
    fc.property(fc.array(pairs, { maxLength: 20 }), (answers) => {
      const builder = new MessageBuilder();
      builder.begin(target, 65_535, 9, 0x8180);
      builder.question(nameOf("question.example"), 1, 1);
      for (const { record, data } of answers) {
        const owner = nameOf(record.name);
        const ours = recordOf(owner, types[record.type]!, record.ttl, Uint8Array.from(data));
        assert(builder.record(ANSWER_COUNT_OFFSET, ours));
      }
      const decoded = oracle!.decode(Buffer.from(target.slice(0, builder.length)));
      assert.equal(decoded.questions[0]!.name, "question.example");
      assert.deepEqual(
        decoded.answers.map(({ type, name, ttl, data }) =>
          JSON.stringify({ type, name, ttl, data }),
        ),
        answers.map(({ record: { type, name, ttl, data } }) =>
          JSON.stringify({ type, name, ttl, data }),
        ),
      );
    }),
  );
});

test("dns-packet and Name agree on the octets of a name", { skip }, () => {
  fc.assert(
    fc.property(host, (text) => {
      const bytes = oracle!.encode({ questions: [{ type: "A", class: "IN", name: text }] });
      assert.deepEqual(new Uint8Array(bytes.slice(12, -4)), nameOf(text).wire);
      assert.equal(new Name(nameOf(text).wire).toString(), `${text}.`);
    }),
  );
});
