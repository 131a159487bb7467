/**
 * The mapper socket's protocol without the socket (spec/mapper.md 2): takes messages of
 * connections, asks the mapper, hands out replies. Any number of clients, any number of requests in
 * flight; a reply leaves when what it says is stored, so replies may overtake each other (the
 * packet id tells them apart). A message that is malformed, internal or not permitted gets no
 * reply, is counted and named at most once a second per kind; the connection stays open (2.5).
 *
 * `reply` borrows its bytes until it returns. Messages are borrowed until `handle` returns.
 */

import { LruMap, TokenBucket } from "../base/limits.js";
import { type Mapper, RESOLVE_FOUND, RESOLVE_PENDING, RESOLVE_REFUSED } from "../mapper/mapper.js";
import {
  COMMAND_GET_EA,
  COMMAND_HOST_DATA,
  COMMAND_HOST_DATA_HASH,
  COMMAND_NOOP,
  dialectOf,
  headerFault,
  isRecordPrefix,
  MESSAGE_HEADER_BYTES,
  type MessageFault,
  type MessageVersions,
  MODE_ACK,
  MODE_DATA,
  MODE_MASK,
  MODE_NACK,
  MODE_REQUEST,
  messageBatch,
  messageHash,
  OFFSET_COMMAND,
  OFFSET_IPVER,
  OFFSET_NAMES,
  type RecordLayout,
  readSourceNames,
  recordLayout,
  setMessageLength,
  setMessageMode,
} from "../wire/mapper-message.js";
import { readHostRecords } from "./host-records.js";

/** A reply must beat the 500 ms of deployed clients (spec/mapper.md 2.6). */
export const REPLY_DEADLINE_MS = 359;
/** Longer messages are refused; at least 4096 must be accepted (spec/mapper.md 2.1). */
export const MESSAGE_BYTES_MAX = 262_140;
const DEFAULT_HELD_MAX = 65_536;
const COMPLAINT_INTERVAL_MS = 1000;
const USERS_MAX = 256;

/** What a client may do (spec/mapper.md 8, 6). */
export interface ClientRights {
  /** Owner of the client process, for quotas. */
  readonly uid: number;
  readonly mayResolve: boolean;
  readonly mayPublish: boolean;
}

/** Rights of a connection that was not announced with `connected`. */
const DEFAULT_RIGHTS: ClientRights = { uid: 0, mayResolve: true, mayPublish: true };

/** Everything that is not answered. */
export type Complaint = MessageFault | "not permitted" | "source refused" | "garbage after records";

export interface MapperServiceOptions {
  readonly mapper: Mapper;
  readonly versions: MessageVersions;
  readonly nowMs: () => number;
  readonly reply: (connection: number, bytes: Uint8Array) => void;
  /** At most once a second per kind; `count` messages of this kind so far. */
  readonly onComplaint: (kind: Complaint, connection: number, count: number) => void;
  /** New mappings a second that one user may cause; no limit when absent, none for uid 0. */
  readonly newPerUserRate?: number;
  /** Most replies that wait for the store. */
  readonly heldMax?: number;
}

/** A reply that waits: the complete ACK, with room for the address. */
interface Held {
  readonly connection: number;
  readonly bytes: Uint8Array;
  readonly atMs: number;
}

/** The state machine of all connections. */
export class MapperService {
  readonly #options: MapperServiceOptions;
  readonly #mapper: Mapper;
  readonly #scratch = new Uint8Array(MESSAGE_BYTES_MAX);
  readonly #view = new DataView(this.#scratch.buffer);
  readonly #nack = this.#scratch.subarray(0, MESSAGE_HEADER_BYTES);
  readonly #layouts: { readonly oldv1: RecordLayout; readonly newv1: RecordLayout };
  readonly #acks: { readonly oldv1: Uint8Array; readonly newv1: Uint8Array };
  readonly #clients = new Map<number, ClientRights>();
  readonly #buckets = new LruMap<number, TokenBucket>(USERS_MAX);
  readonly #held = new Map<number, Held[]>();
  #heldCount = 0;
  readonly #counts = new Map<Complaint, { count: number; toldMs: number }>();

  constructor(options: MapperServiceOptions) {
    this.#options = options;
    this.#mapper = options.mapper;
    const oldv1 = recordLayout("oldv1", options.versions);
    const newv1 = recordLayout("newv1", options.versions);
    this.#layouts = { oldv1, newv1 };
    this.#acks = {
      oldv1: this.#scratch.subarray(0, MESSAGE_HEADER_BYTES + oldv1.length),
      newv1: this.#scratch.subarray(0, MESSAGE_HEADER_BYTES + newv1.length),
    };
  }

  /** Replies that wait for the store. */
  get heldCount(): number {
    return this.#heldCount;
  }

  /** Unanswered messages by kind. */
  complaints(): ReadonlyMap<Complaint, number> {
    return new Map([...this.#counts].map(([kind, { count }]) => [kind, count]));
  }

  /** A client has connected; call before its first message to set its rights. */
  connected(connection: number, rights: ClientRights): void {
    this.#clients.set(connection, rights);
  }

  /** A client is gone; its waiting replies are dropped when they come up. */
  disconnected(connection: number): void {
    this.#clients.delete(connection);
    this.#mapper.disconnected(connection);
    for (const [token, list] of this.#held) {
      const rest = list.filter((held) => held.connection !== connection);
      this.#heldCount -= list.length - rest.length;
      this.#held.set(token, rest);
    }
  }

  /** Processes one message. `isTruncated`: it did not fit the receive buffer. */
  handle(connection: number, message: Uint8Array, isTruncated = false): void {
    const { length } = message;
    if (isTruncated || length > MESSAGE_BYTES_MAX) {
      this.#complain("truncated", connection);
      return;
    }
    this.#scratch.set(message);
    const fault = headerFault(this.#scratch, length, this.#options.versions);
    if (fault !== undefined) {
      this.#complain(fault, connection);
      return;
    }
    const byte = this.#scratch[OFFSET_COMMAND]!;
    if (byte === (MODE_REQUEST | COMMAND_GET_EA)) this.#getEncoded(connection, length);
    else if (byte === (MODE_REQUEST | COMMAND_HOST_DATA)) this.#hostData(connection, length);
    else if (byte === (MODE_REQUEST | COMMAND_HOST_DATA_HASH)) this.#hash(connection, length);
    else if (byte !== (MODE_DATA | COMMAND_NOOP)) this.#complain(commandFault(byte), connection);
  }

  /** A batch was stored or refused: sends what waited for it. From `onSettled` of the mapper. */
  settled(token: number, isStored: boolean): void {
    const list = this.#held.get(token);
    if (list === undefined) return;
    this.#held.delete(token);
    this.#heldCount -= list.length;
    for (const held of list) {
      this.#scratch.set(held.bytes);
      const isHostData = (held.bytes[OFFSET_COMMAND]! & ~MODE_MASK) === COMMAND_HOST_DATA;
      // Host data that is not stored gets no answer: the agent sends it again.
      if (isHostData) {
        if (isStored) this.#options.reply(held.connection, held.bytes);
      } else if (isStored) this.#answerEncoded(held.connection, held.atMs);
      else this.#sendNack(held.connection);
    }
  }

  /** Refuses what has waited too long. Call every 50 ms or so while `heldCount` is not 0. */
  expire(): void {
    const oldestMs = this.#options.nowMs() - REPLY_DEADLINE_MS;
    for (const [token, list] of this.#held) {
      const due = list.filter((held) => held.atMs <= oldestMs);
      if (due.length === 0) continue;
      this.#heldCount -= due.length;
      const rest = list.filter((held) => held.atMs > oldestMs);
      if (rest.length > 0) this.#held.set(token, rest);
      else this.#held.delete(token);
      for (const held of due) {
        if ((held.bytes[OFFSET_COMMAND]! & ~MODE_MASK) === COMMAND_HOST_DATA) continue;
        this.#scratch.set(held.bytes);
        this.#sendNack(held.connection);
      }
    }
  }

  /** MC_GET_EA (spec/mapper.md 2.6). */
  #getEncoded(connection: number, length: number): void {
    const isNew = this.#scratch[OFFSET_IPVER] === 0;
    const layout = isNew ? this.#layouts.newv1 : this.#layouts.oldv1;
    if (length < MESSAGE_HEADER_BYTES + layout.length) {
      this.#complain("too short for its command", connection);
      return;
    }
    if (isNew && !isRecordPrefix(this.#scratch, MESSAGE_HEADER_BYTES, this.#options.versions)) {
      this.#complain("malformed address record", connection);
      return;
    }
    if (!this.#rightsOf(connection).mayResolve) {
      this.#complain("not permitted", connection);
      return;
    }
    this.#answerEncoded(connection, -1);
  }

  /** Answers the request in the scratch buffer; `sinceMs` is when it came, -1 for now. */
  #answerEncoded(connection: number, sinceMs: number): void {
    const isNew = this.#scratch[OFFSET_IPVER] === 0;
    const layout = isNew ? this.#layouts.newv1 : this.#layouts.oldv1;
    const ack = isNew ? this.#acks.newv1 : this.#acks.oldv1;
    const record = MESSAGE_HEADER_BYTES;
    const status = this.#mapper.resolveInto(
      this.#view,
      record + layout.gw,
      record + layout.reference,
      this.#scratch,
      record + layout.ea,
      sinceMs >= 0 || this.#mayCreate(connection),
    );
    if (status === RESOLVE_REFUSED) {
      this.#sendNack(connection);
      return;
    }
    setMessageLength(this.#scratch, ack.length);
    if (status === RESOLVE_FOUND) {
      setMessageMode(this.#scratch, MODE_ACK);
      this.#options.reply(connection, ack);
    } else if (status === RESOLVE_PENDING) {
      if (sinceMs < 0) this.#takeToken(connection);
      const atMs = sinceMs < 0 ? this.#options.nowMs() : sinceMs;
      if (!this.#hold(this.#mapper.pendingToken, { connection, bytes: ack.slice(), atMs })) {
        this.#sendNack(connection);
      }
    }
  }

  /** MC_HOST_DATA (spec/mapper.md 2.7). */
  #hostData(connection: number, length: number): void {
    const names = this.#namesOf(connection, length);
    if (names === undefined) return;
    const message = this.#scratch.subarray(0, length);
    const { versions } = this.#options;
    const parsed = readHostRecords(message, names.end, dialectOf(message), versions);
    if (parsed === undefined) {
      this.#complain("malformed address record", connection);
      return;
    }
    if (parsed.hasGarbage) this.#complain("garbage after records", connection);
    const hash = messageHash(message);
    if (this.#mapper.deliver(names.joined, hash, parsed.records, connection) === "ignored") {
      this.#complain("source refused", connection);
      return;
    }
    setMessageMode(this.#scratch, MODE_ACK);
    setMessageLength(this.#scratch, names.end);
    const bytes = this.#scratch.subarray(0, names.end);
    if (this.#mapper.isAllStored) {
      this.#options.reply(connection, bytes);
      return;
    }
    const atMs = this.#options.nowMs();
    this.#hold(this.#mapper.currentToken, { connection, bytes: bytes.slice(), atMs });
  }

  /** MC_HOST_DATA_HASH (spec/mapper.md 2.8). */
  #hash(connection: number, length: number): void {
    const names = this.#namesOf(connection, length);
    if (names === undefined) return;
    const count = messageBatch(this.#scratch);
    const hash = messageHash(this.#scratch);
    const isMatching = this.#mapper.confirm(names.joined, hash, count, connection);
    setMessageMode(this.#scratch, isMatching ? MODE_ACK : MODE_NACK);
    this.#options.reply(connection, this.#scratch.subarray(0, length));
  }

  #namesOf(connection: number, length: number): { joined: string; end: number } | undefined {
    if (length < OFFSET_NAMES) {
      this.#complain("too short for its command", connection);
      return undefined;
    }
    const names = readSourceNames(this.#scratch, length);
    if (names === undefined) this.#complain("malformed source name", connection);
    else if (!this.#rightsOf(connection).mayPublish) this.#complain("not permitted", connection);
    else return names;
    return undefined;
  }

  #sendNack(connection: number): void {
    setMessageMode(this.#scratch, MODE_NACK);
    setMessageLength(this.#scratch, MESSAGE_HEADER_BYTES);
    this.#options.reply(connection, this.#nack);
  }

  #hold(token: number, held: Held): boolean {
    if (this.#heldCount >= (this.#options.heldMax ?? DEFAULT_HELD_MAX)) return false;
    const list = this.#held.get(token);
    if (list === undefined) this.#held.set(token, [held]);
    else list.push(held);
    this.#heldCount++;
    return true;
  }

  #rightsOf(connection: number): ClientRights {
    return this.#clients.get(connection) ?? DEFAULT_RIGHTS;
  }

  #mayCreate(connection: number): boolean {
    return this.#bucketOf(connection)?.has(this.#options.nowMs()) ?? true;
  }

  #takeToken(connection: number): void {
    this.#bucketOf(connection)?.take(this.#options.nowMs());
  }

  /** The superuser has no bucket: it could end the gateway as well. */
  #bucketOf(connection: number): TokenBucket | undefined {
    const { newPerUserRate: rate } = this.#options;
    const { uid } = this.#rightsOf(connection);
    if (rate === undefined || uid === 0) return undefined;
    const known = this.#buckets.get(uid);
    if (known !== undefined) return known;
    const made = new TokenBucket({ ratePerSecond: rate, burst: rate }, this.#options.nowMs());
    this.#buckets.set(uid, made);
    return made;
  }

  #complain(kind: Complaint, connection: number): void {
    const nowMs = this.#options.nowMs();
    const entry = this.#counts.get(kind) ?? { count: 0, toldMs: Number.NEGATIVE_INFINITY };
    this.#counts.set(kind, entry);
    entry.count++;
    if (nowMs - entry.toldMs < COMPLAINT_INTERVAL_MS) return;
    entry.toldMs = nowMs;
    this.#options.onComplaint(kind, connection, entry.count);
  }
}

/** Commands that exist only inside the original gateway (spec/mapper.md 2.2, 2.10). */
const INTERNAL_COMMANDS: ReadonlySet<number> = new Set([1, 2, 4, 6, 8, 9, 10, 11, 16]);

function commandFault(byte: number): MessageFault {
  return INTERNAL_COMMANDS.has(byte & ~MODE_MASK) ? "internal command" : "unknown command";
}
