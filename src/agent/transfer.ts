/**
 * One poll of one name server (spec/dns-agent.md 3.1 and 9): the SOA first, then IXFR or AXFR when
 * the serial is newer, all over TCP, signed when there is a key. A transfer that is cut short,
 * badly signed, too large or does not look like one is refused completely.
 *
 * The SOA is asked over TCP as well: what can transfer has an open TCP port, and an answer to a
 * connection is harder to forge than a datagram.
 */

import { type RandomSource, randomBelow } from "../base/random.js";
import { isSerialNewer } from "../dns/zone/serial.js";
import { AUTHORITY_COUNT_OFFSET, MessageBuilder } from "../wire/dns/builder.js";
import { type DecodedMessage, decodeMessage } from "../wire/dns/message.js";
import type { Name } from "../wire/dns/name.js";
import {
  CLASS_IN,
  FLAG_OPCODE_SHIFT,
  FLAG_QR,
  FLAG_TC,
  RCODE_NOERROR,
  RCODE_NOTAUTH,
  RCODE_NXDOMAIN,
  RCODE_REFUSED,
  rcodeName,
  TYPE_AXFR,
  TYPE_IXFR,
  TYPE_SOA,
  TYPE_TXT,
} from "../wire/dns/numbers.js";
import type { ResourceRecord } from "../wire/dns/record.js";
import type { Clock, DnsStream, Hmac, StreamOpened } from "./ports.js";
import { TransferReader } from "./transfer-reader.js";
import { findTsig, signMessage, TSIG_BADKEY, type TsigKey, TsigStream } from "./tsig.js";
import { type Soa, soaOf, type ZoneCopy } from "./zone-copy.js";

/** The reference waits 2 s; a loaded server on a slow line needs more (spec/dns-agent.md 3.1). */
export const RECEIVE_TIMEOUT_MS = 5000;
/** spec/dns-agent.md 9, 9. */
export const TRANSFER_TIME_MAX_MS = 60_000;
export const TRANSFER_RECORDS_MAX = 65_536;
export const TRANSFER_BYTES_MAX = 16 << 20;

const REQUEST_BYTES_MAX = 2048;
const OPCODE_MASK = 15 << FLAG_OPCODE_SHIFT;

/** What to transfer, and from where. */
export interface TransferRequest {
  readonly zone: Name;
  /** The version at hand, as this server gave it. */
  readonly known: ZoneCopy | undefined;
  /** Transfer the whole zone whatever its serial: the version at hand has expired. */
  readonly isForced: boolean;
  readonly key: TsigKey | undefined;
  /** Opens a connection to the server. */
  open(): Promise<StreamOpened>;
}

/** The world of a transfer. */
export interface TransferWorld {
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly hmac: Hmac;
}

export type TransferResult =
  | { readonly kind: "zone"; readonly copy: ZoneCopy; readonly how: "AXFR" | "IXFR" }
  | { readonly kind: "unchanged"; readonly soa: Soa }
  /** The server has an older version than the one it gave before. */
  | { readonly kind: "older"; readonly soa: Soa }
  | { readonly kind: "failed"; readonly reason: string };

type Failed = { readonly kind: "failed"; readonly reason: string };

function failed(reason: string): Failed {
  return { kind: "failed", reason };
}

/** Polls a server. */
export async function pollZone(
  request: TransferRequest,
  world: TransferWorld,
): Promise<TransferResult> {
  const session = new Session(request, world);
  try {
    return await session.run();
  } finally {
    session.close();
  }
}

/** The answer to one question of one message, or to a transfer's, message by message. */
class Conversation {
  readonly #stream: DnsStream;
  readonly #world: TransferWorld;
  readonly #id: number;
  readonly #question: { readonly zone: Name; readonly type: number };
  readonly #tsig: TsigStream | undefined;
  /** True when the server said nothing at all, so that another connection may help. */
  hasHeard = false;
  bytes = 0;

  constructor(
    stream: DnsStream,
    world: TransferWorld,
    question: { readonly zone: Name; readonly type: number },
    key: TsigKey | undefined,
    known: Soa | undefined,
  ) {
    this.#stream = stream;
    this.#world = world;
    this.#question = question;
    this.#id = randomBelow(world.random, 65_536);
    const target = new Uint8Array(REQUEST_BYTES_MAX);
    const builder = new MessageBuilder();
    builder.begin(target, REQUEST_BYTES_MAX, this.#id, 0);
    builder.question(question.zone, question.type, CLASS_IN);
    if (known !== undefined) builder.record(AUTHORITY_COUNT_OFFSET, known.record);
    const plain = target.slice(0, builder.length);
    if (key === undefined) {
      stream.send(plain);
      return;
    }
    const signed = signMessage(plain, key, world.hmac, world.clock.unixSeconds());
    this.#tsig = new TsigStream(key, world.hmac, signed.mac);
    stream.send(signed.message);
  }

  /** True when the end of the answer is covered by a signature, or none is asked for. */
  get isSigned(): boolean {
    return this.#tsig === undefined || this.#tsig.isSigned;
  }

  /** The next message, checked. */
  async next(): Promise<{ kind: "message"; message: DecodedMessage } | Failed> {
    const received = await this.#stream.receive(RECEIVE_TIMEOUT_MS);
    if (!received.ok) return failed(received.reason);
    this.hasHeard = true;
    this.bytes += received.message.length;
    const decoded = decodeMessage(received.message);
    if (!decoded.ok) return failed(`the answer is malformed (${decoded.fault})`);
    const { message } = decoded;
    const refusal = this.#refusal(message, received.message);
    if (refusal !== undefined) return failed(refusal);
    const fault = this.#tsig?.check(received.message, this.#world.clock.unixSeconds());
    return fault === undefined ? { kind: "message", message } : failed(fault);
  }

  #refusal(message: DecodedMessage, bytes: Uint8Array): string | undefined {
    if (message.id !== this.#id) return "the answer has another message id";
    if ((message.flags & FLAG_QR) === 0 || (message.flags & OPCODE_MASK) !== 0) {
      return "what came is not an answer";
    }
    if (message.rcode !== RCODE_NOERROR) return rcodeReason(message.rcode, bytes);
    if ((message.flags & FLAG_TC) !== 0) return "the answer is truncated";
    const { zone, type } = this.#question;
    const isOther = message.questions.some(
      (question) => !question.name.equals(zone) || question.type !== type,
    );
    return isOther ? "the answer is to another question" : undefined;
  }
}

/** A refusal in words, with the usual cause. */
function rcodeReason(rcode: number, bytes: Uint8Array): string {
  const name = rcodeName(rcode);
  const tsig = findTsig(bytes);
  if (typeof tsig === "object" && tsig.error !== 0) {
    const hint =
      tsig.error === TSIG_BADKEY ? "the server does not know the key" : "wrong signature";
    return `${name}, TSIG error ${tsig.error}: ${hint}; compare key name, secret and clocks`;
  }
  if (rcode === RCODE_REFUSED || rcode === RCODE_NOTAUTH) {
    return (
      `${name}: the server does not allow this host to transfer the zone, or does not serve it. ` +
      "Hosting providers usually allow transfers only to addresses entered in their settings, or not at all"
    );
  }
  if (rcode === RCODE_NXDOMAIN) return `${name}: the server knows no such zone`;
  return `the server answers ${name}`;
}

class Session {
  readonly #request: TransferRequest;
  readonly #world: TransferWorld;
  readonly #startMs: number;
  #stream: DnsStream | undefined;

  constructor(request: TransferRequest, world: TransferWorld) {
    this.#request = request;
    this.#world = world;
    this.#startMs = world.clock.monotonicMs();
  }

  close(): void {
    this.#stream?.close();
    this.#stream = undefined;
  }

  async run(): Promise<TransferResult> {
    const { known, isForced } = this.#request;
    const soa = await this.#askSoa();
    if ("reason" in soa) return soa;
    const base = known?.soa;
    if (base === undefined || isForced) return await this.#transfer(TYPE_AXFR);
    if (soa.serial === base.serial) return { kind: "unchanged", soa };
    if (!isSerialNewer(soa.serial, base.serial)) return { kind: "older", soa };
    const incremental = await this.#transfer(TYPE_IXFR);
    if (incremental.kind !== "failed") return incremental;
    this.close(); // what is left of the answer must not be taken for the next one
    return await this.#transfer(TYPE_AXFR);
  }

  async #connect(): Promise<DnsStream | Failed> {
    if (this.#stream !== undefined) return this.#stream;
    const opened = await this.#request.open();
    if (!opened.ok) return failed(opened.reason);
    this.#stream = opened.stream;
    return opened.stream;
  }

  async #askSoa(): Promise<Soa | Failed> {
    const stream = await this.#connect();
    if ("reason" in stream) return stream;
    const { zone, key } = this.#request;
    const talk = new Conversation(stream, this.#world, { zone, type: TYPE_SOA }, key, undefined);
    const answer = await talk.next();
    if (answer.kind === "failed") return failed(`asked for the SOA: ${answer.reason}`);
    if (!talk.isSigned) return failed("the answer is not signed");
    for (const record of answer.message.answer) {
      const soa = record.owner.equals(zone) ? soaOf(record) : undefined;
      if (soa !== undefined) return soa;
    }
    return failed("the server has no SOA for this zone: it does not serve it");
  }

  /** A transfer; on a new connection when the server closed the old one after the SOA. */
  async #transfer(type: typeof TYPE_AXFR | typeof TYPE_IXFR): Promise<TransferResult> {
    const isReused = this.#stream !== undefined;
    const first = await this.#transferOnce(type);
    if (first.hasHeard || !isReused || first.result.kind !== "failed") return first.result;
    this.close();
    return (await this.#transferOnce(type)).result;
  }

  async #transferOnce(
    type: typeof TYPE_AXFR | typeof TYPE_IXFR,
  ): Promise<{ readonly result: TransferResult; readonly hasHeard: boolean }> {
    const stream = await this.#connect();
    if ("reason" in stream) return { result: stream, hasHeard: false };
    const { zone, key, known } = this.#request;
    const base = type === TYPE_IXFR ? known : undefined;
    const talk = new Conversation(stream, this.#world, { zone, type }, key, base?.soa);
    const result = await this.#receive(talk, new TransferReader(zone, base));
    return { result, hasHeard: talk.hasHeard };
  }

  async #receive(talk: Conversation, reader: TransferReader): Promise<TransferResult> {
    let recordCount = 0;
    for (;;) {
      const answer = await talk.next();
      if (answer.kind === "failed") return failed(`transfer: ${answer.reason}`);
      recordCount += answer.message.answer.length;
      const excess = this.#excess(recordCount, talk.bytes);
      if (excess !== undefined) return failed(excess);
      const state = reader.message(answer.message.answer);
      if (state.kind === "fault") return failed(`transfer: ${state.reason}`);
      if (state.kind === "more") continue;
      if (!talk.isSigned) return failed("transfer: the end of the answer is not signed");
      if (state.kind === "done") return this.#done(state.copy, state.isIncremental);
      return { kind: "unchanged", soa: this.#request.known!.soa! };
    }
  }

  #done(copy: ZoneCopy, isIncremental: boolean): TransferResult {
    const base = this.#request.known?.soa;
    const serial = copy.soa!.serial;
    if (base !== undefined && !this.#request.isForced && isSerialNewer(base.serial, serial)) {
      return { kind: "older", soa: copy.soa! };
    }
    return { kind: "zone", copy, how: isIncremental ? "IXFR" : "AXFR" };
  }

  #excess(recordCount: number, bytes: number): string | undefined {
    if (recordCount > TRANSFER_RECORDS_MAX) {
      return `transfer: more than ${TRANSFER_RECORDS_MAX} records`;
    }
    if (bytes > TRANSFER_BYTES_MAX) return `transfer: more than ${TRANSFER_BYTES_MAX} octets`;
    const isLate = this.#world.clock.monotonicMs() - this.#startMs > TRANSFER_TIME_MAX_MS;
    return isLate ? `transfer: not complete after ${TRANSFER_TIME_MAX_MS / 1000} s` : undefined;
  }
}

/** The TXT records of a zone copy, in zone order. */
export function textRecords(copy: ZoneCopy): ResourceRecord[] {
  return [...copy.records.values()].filter((record) => record.type === TYPE_TXT);
}
