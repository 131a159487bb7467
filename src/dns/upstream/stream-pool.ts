/**
 * TCP and TLS connections to one server (RFC 7766, RFC 7858): kept open while idle, many questions
 * in flight on each, replies matched by id in any order. A question that a reused connection lost
 * is sent once more on another one (RFC 7766 6.2.4).
 */

import { type RandomSource, randomBelow } from "../../base/random.js";
import { readU16, writeU16 } from "../../wire/bytes.js";
import { HEADER_LENGTH } from "../../wire/dns/reader.js";
import type { Clock } from "../ports.js";
import { Deadline, type DeadlineWheel } from "./deadlines.js";
import type { StreamConnection, StreamEvents } from "./transport.js";

const CONNECTIONS_MAX = 4;
/** Questions on a connection before another one is opened. */
const PIPELINE_DEPTH = 64;
const LENGTH_PREFIX = 2;

/** Who waits for a reply over a connection. */
export interface StreamReceiver {
  /** A message with the question's id. Borrows `bytes`. */
  onMessage(bytes: Uint8Array): void;
  onLost(detail: string): void;
}

export interface StreamPoolSettings {
  readonly open: (events: StreamEvents) => StreamConnection;
  readonly random: RandomSource;
  readonly clock: Clock;
  readonly wheel: DeadlineWheel;
  /** Idle connections live so long (`expire`). */
  readonly idleMs: number;
}

/** A question that waits for its reply. */
export class StreamTicket {
  readonly pool: StreamPool;
  /** Length prefix and message. */
  readonly framed: Uint8Array;
  readonly receiver: StreamReceiver;
  connection: PooledConnection | undefined;
  wasRepeated = false;
  nextInBucket: StreamTicket | undefined = undefined;

  constructor(pool: StreamPool, framed: Uint8Array, receiver: StreamReceiver) {
    this.pool = pool;
    this.framed = framed;
    this.receiver = receiver;
  }

  get id(): number {
    return readU16(this.framed, LENGTH_PREFIX);
  }

  set id(value: number) {
    writeU16(this.framed, LENGTH_PREFIX, value);
  }

  /** Nobody waits any more; `isTimeout` when the reply took too long. */
  cancel(isTimeout: boolean): void {
    this.connection?.forget(this, isTimeout);
  }
}

/** Twice the questions that a connection usually carries. */
const TICKET_BUCKETS = 128;

/** Waiting tickets by id, linked in fixed buckets for the reason given in flight-table.ts. */
class TicketTable {
  readonly #buckets: (StreamTicket | undefined)[] = new Array<undefined>(TICKET_BUCKETS).fill(
    undefined,
  );
  size = 0;

  get(id: number): StreamTicket | undefined {
    let ticket = this.#buckets[id % TICKET_BUCKETS];
    while (ticket !== undefined && ticket.id !== id) ticket = ticket.nextInBucket;
    return ticket;
  }

  add(ticket: StreamTicket): void {
    const bucket = ticket.id % TICKET_BUCKETS;
    ticket.nextInBucket = this.#buckets[bucket];
    this.#buckets[bucket] = ticket;
    this.size++;
  }

  /** `ticket` must be in. */
  delete(ticket: StreamTicket): void {
    const bucket = ticket.id % TICKET_BUCKETS;
    let before: StreamTicket | undefined;
    let found = this.#buckets[bucket];
    while (found !== undefined && found !== ticket) {
      before = found;
      found = found.nextInBucket;
    }
    if (before === undefined) this.#buckets[bucket] = ticket.nextInBucket;
    else before.nextInBucket = ticket.nextInBucket;
    ticket.nextInBucket = undefined;
    this.size--;
  }

  /** Takes all tickets out. */
  drain(): StreamTicket[] {
    const tickets: StreamTicket[] = [];
    for (const head of this.#buckets) {
      for (let ticket = head; ticket !== undefined; ticket = ticket.nextInBucket) {
        tickets.push(ticket);
      }
    }
    for (const ticket of tickets) ticket.nextInBucket = undefined;
    this.#buckets.fill(undefined);
    this.size = 0;
    return tickets;
  }
}

/** Connections to one server. */
export class StreamPool {
  readonly settings: StreamPoolSettings;
  readonly #connections = new Set<PooledConnection>();

  constructor(settings: StreamPoolSettings) {
    this.settings = settings;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Sends a copy of message[0, length) under an id of the pool's choice. */
  ask(message: Uint8Array, length: number, receiver: StreamReceiver): StreamTicket {
    const framed = new Uint8Array(LENGTH_PREFIX + length);
    writeU16(framed, 0, length);
    framed.set(message.subarray(0, length), LENGTH_PREFIX);
    const ticket = new StreamTicket(this, framed, receiver);
    this.send(ticket);
    return ticket;
  }

  /** Puts a ticket on the least busy connection. */
  send(ticket: StreamTicket): void {
    this.#choose().add(ticket);
  }

  /** Takes a connection out of use; it may still wait for replies. */
  retire(connection: PooledConnection): void {
    this.#connections.delete(connection);
  }

  /** Closes all connections; waiting questions are lost. */
  close(): void {
    for (const connection of [...this.#connections]) connection.end("closed");
  }

  #choose(): PooledConnection {
    let best: PooledConnection | undefined;
    for (const connection of this.#connections) {
      if (best === undefined || connection.load < best.load) best = connection;
    }
    const isFull = best === undefined || best.load >= PIPELINE_DEPTH;
    if (best !== undefined && (!isFull || this.#connections.size >= CONNECTIONS_MAX)) return best;
    const opened = new PooledConnection(this);
    this.#connections.add(opened);
    opened.open();
    return opened;
  }
}

/** One connection with its questions. */
export class PooledConnection extends Deadline implements StreamEvents {
  readonly #pool: StreamPool;
  readonly #pending = new TicketTable();
  #connection: StreamConnection | undefined;
  /** Octets of an incomplete message. */
  #partial: Uint8Array | undefined;
  #hasAnswered = false;
  #isRetired = false;

  constructor(pool: StreamPool) {
    super();
    this.#pool = pool;
  }

  get load(): number {
    return this.#pending.size;
  }

  open(): void {
    this.#connection = this.#pool.settings.open(this);
  }

  add(ticket: StreamTicket): void {
    const { random, wheel } = this.#pool.settings;
    wheel.cancel(this);
    let id = randomBelow(random, 0x1_0000);
    while (this.#pending.get(id) !== undefined) id = (id + 1) & 0xffff;
    ticket.id = id;
    ticket.connection = this;
    this.#pending.add(ticket);
    this.#connection?.write(ticket.framed.slice());
  }

  /** Gives up a question. A connection on which a reply timed out gets no new ones. */
  forget(ticket: StreamTicket, isTimeout: boolean): void {
    if (this.#pending.get(ticket.id) !== ticket) return;
    this.#pending.delete(ticket);
    ticket.connection = undefined;
    if (isTimeout && !this.#isRetired) {
      this.#isRetired = true;
      this.#pool.retire(this);
    }
    this.#rest();
  }

  onOpen(): void {}

  onChunk(chunk: Uint8Array): void {
    let bytes = chunk;
    if (this.#partial !== undefined) {
      bytes = new Uint8Array(this.#partial.length + chunk.length);
      bytes.set(this.#partial);
      bytes.set(chunk, this.#partial.length);
    }
    let at = 0;
    while (at + LENGTH_PREFIX <= bytes.length) {
      const end = at + LENGTH_PREFIX + readU16(bytes, at);
      if (end > bytes.length) break;
      if (!this.#deliver(bytes.subarray(at + LENGTH_PREFIX, end))) return;
      at = end;
    }
    this.#partial = at < bytes.length ? bytes.slice(at) : undefined;
  }

  onClose(detail: string): void {
    this.#connection = undefined;
    this.#dissolve(detail);
  }

  /** Nothing was asked for `idleMs`. */
  expire(): void {
    this.end("idle");
  }

  end(detail: string): void {
    this.#connection?.close();
    this.#connection = undefined;
    this.#dissolve(detail);
  }

  /** False when the connection had to be closed. */
  #deliver(message: Uint8Array): boolean {
    if (message.length < HEADER_LENGTH) {
      this.end("malformed message");
      return false;
    }
    const ticket = this.#pending.get(readU16(message, 0));
    this.#hasAnswered = true;
    if (ticket === undefined) return true;
    this.#pending.delete(ticket);
    ticket.connection = undefined;
    ticket.receiver.onMessage(message);
    this.#rest();
    return this.#connection !== undefined;
  }

  /** Waits for the end when there is nothing to do. */
  #rest(): void {
    if (this.#pending.size > 0 || this.#connection === undefined) return;
    if (this.#isRetired) {
      this.end("retired");
      return;
    }
    const { wheel, clock, idleMs } = this.#pool.settings;
    const nowMs = clock.monotonicMs();
    wheel.set(this, nowMs + idleMs, nowMs);
  }

  #dissolve(detail: string): void {
    this.#pool.settings.wheel.cancel(this);
    this.#pool.retire(this);
    for (const ticket of this.#pending.drain()) {
      ticket.connection = undefined;
      if (this.#hasAnswered && !ticket.wasRepeated && detail !== "closed") {
        ticket.wasRepeated = true;
        this.#pool.send(ticket);
      } else {
        ticket.receiver.onLost(detail);
      }
    }
  }
}
