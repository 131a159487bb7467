/**
 * Mutates the messages of corpus/ and hands them to both readers. Nothing may throw, no single
 * message may take long, and what is accepted must mean the same after being written again.
 * Environment: IPREF_FUZZ_SEED repeats a run, IPREF_FUZZ_MESSAGES sets its length
 * (spec/resolver.md 6.4 asks for a million).
 */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fromHex, toHex } from "../../../src/base/hex.js";
import { type RandomSource, randomBelow, seededRandom } from "../../../src/base/random.js";
import {
  ADDITIONAL_COUNT_OFFSET,
  ANSWER_COUNT_OFFSET,
  AUTHORITY_COUNT_OFFSET,
  MessageBuilder,
} from "../../../src/wire/dns/builder.js";
import { DNS_FAULTS } from "../../../src/wire/dns/fault.js";
import { type DecodedMessage, decodeMessage, packMessage } from "../../../src/wire/dns/message.js";
import { RequestView } from "../../../src/wire/dns/request.js";

const CORPUS = new URL("../../../../test/fuzz/dns/corpus/", import.meta.url);
const MESSAGES = Number(process.env.IPREF_FUZZ_MESSAGES ?? 200_000);
const SEED = Number(process.env.IPREF_FUZZ_SEED ?? Date.now() % 1_000_000_000);
/** Generous for a shared machine; a loop would take for ever. */
const SINGLE_MS_MAX = 50;

const corpus = readdirSync(CORPUS)
  .sort()
  .map((name) => ({
    name,
    bytes: fromHex(readFileSync(new URL(name, CORPUS), "utf8").replace(/#.*|\s/g, ""))!,
  }));
const faults = new Set<string>(DNS_FAULTS.map((fault) => fault.name));

function mutate(bytes: Uint8Array, random: RandomSource): Uint8Array {
  const result = [...bytes];
  for (let count = 1 + randomBelow(random, 4); count > 0; count--) {
    const at = randomBelow(random, result.length + 1);
    const kind = randomBelow(random, 6);
    if (kind === 0) result.length = at;
    else if (kind === 1) result.splice(at, 0, randomBelow(random, 256));
    else if (kind === 2) result.splice(at, 1 + randomBelow(random, 4));
    else if (kind === 3) result[at] = 0xc0 | randomBelow(random, 2);
    else if (kind === 4) result[at] = randomBelow(random, 64);
    else result[at] = randomBelow(random, 256);
  }
  return Uint8Array.from(result, (octet) => octet ?? 0);
}

const target = new Uint8Array(70_000);
const builder = new MessageBuilder(true);

/** Writes a message with one question again; undefined when it does not fit 65,535 octets. */
function write(message: DecodedMessage): Uint8Array | undefined {
  const question = message.questions[0]!;
  builder.begin(target, 65_535, message.id, message.flags);
  builder.question(question.name, question.type, question.class);
  const sections = [
    [ANSWER_COUNT_OFFSET, message.answer],
    [AUTHORITY_COUNT_OFFSET, message.authority],
    [ADDITIONAL_COUNT_OFFSET, message.additional],
  ] as const;
  for (const [section, records] of sections) {
    for (const record of records) if (!builder.record(section, record)) return undefined;
  }
  return target.slice(0, builder.length);
}

function check(bytes: Uint8Array): void {
  const request = new RequestView().read(bytes, bytes.length);
  assert(request === undefined || faults.has(request));
  const decoded = decodeMessage(bytes);
  if (!decoded.ok) {
    assert(faults.has(decoded.fault));
    return;
  }
  packMessage(bytes, bytes.length);
  if (decoded.message.questions.length !== 1) return;
  const written = write(decoded.message);
  if (written === undefined) return;
  const again = decodeMessage(written);
  assert(again.ok);
  const { answer, authority, additional } = again.message;
  assert.deepEqual(
    { answer, authority, additional },
    {
      answer: decoded.message.answer,
      authority: decoded.message.authority,
      additional: decoded.message.additional,
    },
  );
}

test("every message of the corpus decodes or is refused by name", () => {
  assert(corpus.length >= 12);
  for (const { name, bytes } of corpus) {
    assert.doesNotThrow(() => check(bytes), name);
    const isGood = !name.startsWith("bad-");
    assert.equal(decodeMessage(bytes).ok, isGood, name);
  }
});

test(`${MESSAGES} mutated messages never throw, hang or change their meaning (seed ${SEED})`, () => {
  const random = seededRandom(SEED);
  for (let count = 0; count < MESSAGES; count++) {
    const base = corpus[randomBelow(random, corpus.length)]!;
    const bytes = mutate(base.bytes, random);
    const startMs = performance.now();
    try {
      check(bytes);
    } catch (error) {
      assert.fail(`seed ${SEED} message ${count} ${toHex(bytes)}: ${String(error)}`);
    }
    assert(performance.now() - startMs < SINGLE_MS_MAX, `slow: ${toHex(bytes)}`);
  }
});
