/**
 * Plays the exchanges of a mapper socket file, in order, on one running gateway, and judges each
 * answer and each effect.
 */

import { hexOf, isAllocatedAddress } from "./adopt.js";
import { dissect } from "./dissect.js";
import { type Judgement, judge } from "./judge.js";
import { checksumsOf, writeHeaderChecksum, writeTransportChecksum } from "./naive-checksum.js";
import { type Finding, thrown } from "./played.js";
import { feed } from "./run-packets.js";
import type { Answer, StartGateway, TestGateway } from "./test-gateway.js";
import type { Exchange, Passage, VectorConfig } from "./vector-file.js";

/** Generations that are counted in whole seconds need two between them (README). */
const SECONDS_BETWEEN_EXCHANGES = 2;

/** Second octet of requests and answers (spec/mapper.md 2.2). */
const HOST_DATA = 0x4e;
const HOST_DATA_HASH = 0x4f;
const HASH_CONFIRMED = 0x8f;
/** Offset of the two strings that name a source (spec/mapper.md 2.7). */
const SOURCE_NAME = 20;

/** An effect that comes only after the set is complete, and the exchange that it belongs to. */
interface Deferred {
  readonly owner: Exchange;
  readonly effect: Passage;
}

/** One running gateway and what is known about it. */
interface Session {
  readonly gateway: TestGateway;
  readonly config: VectorConfig;
  /** Allocated addresses by the name of the exchange. */
  readonly allocated: Map<string, Uint8Array>;
  readonly results: Map<Exchange, Judgement>;
  deferred: Deferred[];
}

/** The judgement of each exchange. */
export async function runExchanges(
  config: VectorConfig,
  exchanges: readonly Exchange[],
  start: StartGateway,
): Promise<ReadonlyMap<Exchange, Judgement>> {
  const session: Session = {
    gateway: start(config),
    config,
    allocated: new Map(),
    results: new Map(),
    deferred: [],
  };
  for (const exchange of exchanges) {
    try {
      await runExchange(session, exchange);
    } catch (error) {
      fail(session, exchange, [thrown(error)]);
    }
  }
  for (const { owner, effect } of session.deferred) {
    const field = `${effect.name}: old record`;
    fail(session, owner, [{ field, expected: "void", got: "in force to the end" }]);
  }
  return session.results;
}

async function runExchange(session: Session, exchange: Exchange): Promise<void> {
  const { gateway, config } = session;
  gateway.advance(SECONDS_BETWEEN_EXCHANGES);
  await gateway.settle();
  gateway.takeAnswers();
  gateway.fromClient(exchange.connection, exchange.request.slice());
  await gateway.settle();
  const answers = gateway.takeAnswers();
  const findings = compareAnswers(session, exchange, answers);
  const status = exchange.isInformative ? "informative" : "passed";
  session.results.set(exchange, { status, findings: exchange.isInformative ? findings : [] });
  if (findings.length > 0 && !exchange.isInformative) fail(session, exchange, findings);
  await runDeferred(session, exchange, answers[0]?.message);
  for (const effect of exchange.effects) {
    const judgement = await runEffect(gateway, config, allocatedInput(session, exchange, effect));
    if (judgement.status !== "failed") continue;
    if (isDeferrable(exchange, effect)) session.deferred.push({ owner: exchange, effect });
    else fail(session, exchange, inEffect(effect, judgement.findings));
  }
}

function fail({ results }: Session, exchange: Exchange, findings: readonly Finding[]): void {
  const before = results.get(exchange)?.findings ?? [];
  results.set(exchange, { status: "failed", findings: [...before, ...findings] });
}

function inEffect(effect: Passage, findings: readonly Finding[]): Finding[] {
  const text = effect.name.slice(effect.name.lastIndexOf("effect"));
  return findings.map((one) => ({ ...one, field: `${text}: ${one.field}` }));
}

function compareAnswers(
  session: Session,
  exchange: Exchange,
  answers: readonly Answer[],
): Finding[] {
  const expected = exchange.response;
  const [answer] = answers;
  if (expected === undefined || answer === undefined || answers.length > 1) {
    if (expected === undefined && answers.length === 0) return [];
    const want = expected === undefined ? "none" : hexOf(expected);
    const got = answers.map(({ message }) => hexOf(message)).join(" and ") || "none";
    return [{ field: "answer", expected: want, got }];
  }
  if (answer.connection !== exchange.connection) {
    const [want, got] = [exchange.connection, answer.connection];
    return [{ field: "connection", expected: String(want), got: String(got) }];
  }
  return compareAnswer(session, exchange, expected.slice(), answer.message);
}

function compareAnswer(
  session: Session,
  exchange: Exchange,
  expected: Uint8Array,
  message: Uint8Array,
): Finding[] {
  const findings: Finding[] = [];
  for (const { offset, length, rule } of exchange.variable) {
    const value = message.slice(offset, offset + length);
    const earlier = /allocated in (\S+)$/.exec(rule)?.[1];
    const isRight =
      earlier === undefined
        ? isAllocatedAddress(value, session.config)
        : hexOf(session.allocated.get(earlier) ?? new Uint8Array()) === hexOf(value);
    if (!isRight) findings.push({ field: "address", offset, expected: rule, got: hexOf(value) });
    if (earlier === undefined) session.allocated.set(exchange.name, value);
    if (value.length === length) expected.set(value, offset);
  }
  const offset = firstDifference(expected, message);
  if (offset === undefined) return findings;
  const field = answerField(offset);
  return [...findings, { field, offset, expected: hexOf(expected), got: hexOf(message) }];
}

function firstDifference(a: Uint8Array, b: Uint8Array): number | undefined {
  const index = a.findIndex((byte, at) => byte !== b[at]);
  if (index >= 0) return index;
  return a.length === b.length ? undefined : a.length;
}

/** Name of a field of the header (spec/mapper.md 2.2). */
function answerField(offset: number): string {
  const names = ["signature", "mode and command", "packet id", "packet id", "versions", "reserved"];
  return names[offset] ?? (offset < 8 ? "length" : "answer");
}

/** The effect with the allocated address in its input and the checksums that follow from it. */
function allocatedInput(session: Session, exchange: Exchange, effect: Passage): Passage {
  const value = session.allocated.get(exchange.name);
  const parts = effect.inputVariable;
  if (value === undefined || parts.length === 0) return effect;
  const form = effect.direction === "encap" ? "native" : "tunnel";
  const inputs = effect.inputs.map((original) => {
    const input = original.slice();
    const names = checksumsOf(input, dissect(input, form));
    for (const { offset, length } of parts) if (length === value.length) input.set(value, offset);
    for (const { offset } of parts) {
      const name = names.find((one) => one.offset === offset)?.name;
      if (name?.endsWith("header checksum")) writeHeaderChecksum(input, 0);
      else if (name !== undefined) writeTransportChecksum(input, dissect(input, form)!);
    }
    return input;
  });
  return { ...effect, inputs };
}

async function runEffect(
  gateway: TestGateway,
  config: VectorConfig,
  passage: Passage,
): Promise<Judgement> {
  const play = async (inputs: readonly Uint8Array[]) => {
    gateway.take();
    await feed(gateway, passage, inputs, config);
    return gateway.take();
  };
  return judge({ passage, config, played: await play(passage.inputs), play });
}

/** A record of the old set may stay in force until the new set is complete (README). */
function isDeferrable(exchange: Exchange, effect: Passage): boolean {
  return exchange.request[1] === HOST_DATA && effect.recorded.verdict !== "accept";
}

/** After a confirmed hash the old set of that source must be gone. */
async function runDeferred(
  session: Session,
  exchange: Exchange,
  answer: Uint8Array | undefined,
): Promise<void> {
  if (exchange.request[1] !== HOST_DATA_HASH || answer?.[1] !== HASH_CONFIRMED) return;
  const name = hexOf(exchange.request.subarray(SOURCE_NAME));
  const isOfSource = ({ owner }: Deferred) =>
    hexOf(owner.request.subarray(SOURCE_NAME)).startsWith(name);
  const due = session.deferred.filter(isOfSource);
  session.deferred = session.deferred.filter((one) => !isOfSource(one));
  for (const { owner, effect } of due) {
    const judgement = await runEffect(session.gateway, session.config, effect);
    if (judgement.status === "failed") {
      fail(session, owner, inEffect(effect, judgement.findings));
    }
  }
}
