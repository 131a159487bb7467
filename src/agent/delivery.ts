/**
 * Delivery of one source's accepted set to the mapper (spec/dns-agent.md 8): batches, ACKs,
 * resends, announcements of the hash. Pure; time and chance are arguments.
 *
 * A set is cut into packets once. Each packet is new, sent under a batch id, or acknowledged; an
 * empty set has one packet without records, so that the mapper hears of it (8.4). While the mapper
 * is not connected nothing is sent and nothing expires.
 */

import { type RandomSource, randomBelow } from "../base/random.js";
import type { HostRecord, HostSet } from "./host-set.js";
import {
  buildHostData,
  buildHostHash,
  hashText,
  type MapperReply,
  PAYLOAD_BYTES_MAX,
  type Publisher,
  recordsPerMessage,
} from "./mapper-publication.js";
import type { AgentLog, Timers } from "./ports.js";

/** spec/dns-agent.md 8.1. */
export const SEND_DELAY_MS = 257;
export const EXPIRE_MS = 5000;
/** spec/dns-agent.md 8.5: a few; the next one leaves when one is acknowledged. */
const IN_FLIGHT_MAX = 4;
/** spec/dns-agent.md 9, 15. */
const NACKS_TO_WARN = 3;
/** Lost packets in a row after which a mismatch of IP versions is likely. */
const LOSSES_TO_EXPLAIN = 3;

/** The world of a delivery. */
export interface DeliveryParts {
  readonly publisher: Publisher;
  /** `LOCAL:PUBLIC`, for the log. */
  readonly name: string;
  /** Interval between transfers; announcements follow it (8.3). */
  readonly intervalSeconds: number;
  readonly payloadBytesMax?: number;
  readonly timers: Timers;
  readonly random: RandomSource;
  readonly log: AgentLog;
  /** The next packet id of the agent. */
  nextId(): number;
  /** False when the mapper is not connected. */
  send(message: Uint8Array): boolean;
}

interface Packet {
  readonly records: readonly HostRecord[];
  /** 0: new. */
  batch: number;
  isAcked: boolean;
  cancelExpiry: () => void;
}

/** Messages since the start. */
export interface DeliveryCounts {
  sent: number;
  acknowledged: number;
  /** The mapper has another set. */
  refused: number;
  /** No answer in time. */
  lost: number;
}

const NOTHING = () => {};

/** One source's set on its way to the mapper. */
export class Delivery {
  readonly counts: DeliveryCounts = { sent: 0, acknowledged: 0, refused: 0, lost: 0 };
  readonly #parts: DeliveryParts;
  #set: HostSet | undefined;
  #hashText = "";
  #packets: Packet[] = [];
  /** Packets that are not acknowledged. */
  #openCount = 0;
  #inFlightCount = 0;
  #isConnected = false;
  #isStarted = false;
  #cancelSend = NOTHING;
  #isSendPlanned = false;
  #cancelTurn = NOTHING;
  #cancelReply = NOTHING;
  #nacksInRow = 0;
  #lossesInRow = 0;
  /** The mapper was lost with a part delivered; the hash is announced at completion. */
  #isCheckDue = false;

  constructor(parts: DeliveryParts) {
    this.#parts = parts;
  }

  /** Every record of the accepted set is acknowledged; false before there is a set. */
  get isComplete(): boolean {
    return this.#set !== undefined && this.#openCount === 0;
  }

  /** The accepted set. */
  get set(): HostSet | undefined {
    return this.#set;
  }

  /** The first result of the source has come: announcements begin (8.3). */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#cancelTurn = this.#parts.timers.after(SEND_DELAY_MS, () => this.#turn());
  }

  /** A new accepted set: old states are forgotten. */
  accept(set: HostSet): void {
    this.#forgetPackets();
    this.#cancelReply();
    this.#set = set;
    this.#hashText = hashText(set.hash);
    this.#nacksInRow = 0;
    this.#isCheckDue = false;
    const { publisher, payloadBytesMax } = this.#parts;
    const size = recordsPerMessage(publisher, payloadBytesMax ?? PAYLOAD_BYTES_MAX);
    for (let at = 0; at === 0 || at < set.records.length; at += size) {
      const records = set.records.slice(at, at + size);
      this.#packets.push({ records, batch: 0, isAcked: false, cancelExpiry: NOTHING });
    }
    this.#openCount = this.#packets.length;
    this.#planSend(SEND_DELAY_MS);
  }

  /** The mapper can be reached: what is missing is sent, a complete set announced (8.5). */
  connected(): void {
    this.#isConnected = true;
    this.#lossesInRow = 0;
    if (this.isComplete) this.#announce();
    else if (this.#set !== undefined) {
      // What was acknowledged before the break may be forgotten: the hash will tell.
      this.#isCheckDue = true;
      this.#planSend(0);
    }
  }

  /** The mapper is gone; what was not acknowledged will be sent again. */
  disconnected(): void {
    this.#isConnected = false;
    this.#cancelReply();
    for (const packet of this.#packets) if (packet.batch !== 0) this.#renew(packet);
  }

  /** Takes a reply for this source. */
  reply(reply: MapperReply): void {
    if (this.#set === undefined) return;
    const isCurrent = reply.hash === this.#hashText;
    if (reply.kind === "data-ack") {
      if (isCurrent) this.#acknowledged(reply.batch);
    } else if (reply.kind === "hash-ack") {
      if (!isCurrent) return;
      this.#cancelReply();
      this.counts.acknowledged++;
      this.#nacksInRow = 0;
      this.#lossesInRow = 0;
    } else this.#refused();
  }

  /** Ends all timers. */
  close(): void {
    this.#forgetPackets();
    this.#cancelSend();
    this.#cancelTurn();
    this.#cancelReply();
  }

  #forgetPackets(): void {
    for (const packet of this.#packets) packet.cancelExpiry();
    this.#packets = [];
    this.#openCount = 0;
    this.#inFlightCount = 0;
  }

  #planSend(delayMs: number): void {
    if (this.#isSendPlanned && delayMs > 0) return;
    this.#cancelSend();
    this.#isSendPlanned = true;
    this.#cancelSend = this.#parts.timers.after(delayMs, () => {
      this.#isSendPlanned = false;
      this.#sendNew();
    });
  }

  #sendNew(): void {
    if (!this.#isConnected) return;
    for (const packet of this.#packets) {
      if (this.#inFlightCount >= IN_FLIGHT_MAX) return;
      if (!packet.isAcked && packet.batch === 0 && !this.#sendPacket(packet)) return;
    }
  }

  #sendPacket(packet: Packet): boolean {
    const { publisher, random, timers, nextId, send } = this.#parts;
    packet.batch = 1 + randomBelow(random, 0xffff_ffff);
    const { hash } = this.#set!;
    this.#inFlightCount++;
    packet.cancelExpiry = timers.after(EXPIRE_MS, () => this.#expired(packet));
    if (send(buildHostData(publisher, nextId(), packet.batch, hash, packet.records))) {
      this.counts.sent++;
      return true;
    }
    if (packet.batch !== 0) this.#renew(packet);
    return false;
  }

  #acknowledged(batch: number): void {
    const packet = this.#packets.find((one) => one.batch === batch && batch !== 0);
    if (packet === undefined) return;
    this.#renew(packet);
    packet.isAcked = true;
    this.counts.acknowledged++;
    this.#openCount--;
    this.#lossesInRow = 0;
    if (this.#openCount > 0) {
      this.#sendNew();
      return;
    }
    const { records } = this.#set!;
    const text = `${this.#parts.name}: ${records.length} records acknowledged`;
    this.#parts.log.info(text, "agent-delivered");
    if (this.#isCheckDue) this.#announce();
    this.#isCheckDue = false;
  }

  /** Takes a packet out of flight. */
  #renew(packet: Packet): void {
    packet.cancelExpiry();
    packet.cancelExpiry = NOTHING;
    packet.batch = 0;
    this.#inFlightCount--;
  }

  #expired(packet: Packet): void {
    this.#renew(packet);
    this.#lost(`host data (${packet.records.length} records)`);
    this.#planSend(SEND_DELAY_MS);
  }

  #lost(what: string): void {
    this.counts.lost++;
    const { log, name } = this.#parts;
    log.warning(`${name}: ${what} was not acknowledged, sending again`, "agent-delivery-lost");
    if (++this.#lossesInRow !== LOSSES_TO_EXPLAIN) return;
    const text = `${name}: the gateway does not answer; do -ea-ipver and -gw-ipver match its own?`;
    log.warning(text, "agent-delivery-lost");
  }

  #refused(): void {
    this.counts.refused++;
    this.#cancelReply();
    const { log, name } = this.#parts;
    if (++this.#nacksInRow >= NACKS_TO_WARN) {
      const times = `${this.#nacksInRow} times in a row`;
      const text = `${name}: the gateway refused the hash ${times}; is there another agent for it?`;
      log.warning(text, "agent-delivery-refused");
    } else {
      const text = `${name}: the gateway has another set, sending all records again`;
      log.info(text, "agent-delivery-refused");
    }
    for (const packet of this.#packets) {
      if (packet.batch !== 0) this.#renew(packet);
      packet.isAcked = false;
    }
    this.#openCount = this.#packets.length;
    this.#planSend(SEND_DELAY_MS);
  }

  /** One turn of 8.3; a turn that finds nothing to announce is not made up for. */
  #turn(): void {
    const { intervalSeconds, random, timers } = this.#parts;
    if (this.#isConnected && this.isComplete) this.#announce();
    const fixed = Math.floor(0.9 * intervalSeconds);
    const spread = Math.max(1, Math.floor(0.1 * intervalSeconds));
    const delaySeconds = fixed + randomBelow(random, spread);
    this.#cancelTurn = timers.after(1000 * delaySeconds, () => this.#turn());
  }

  #announce(): void {
    this.#cancelReply();
    const { publisher, timers, nextId, send } = this.#parts;
    const { records, hash } = this.#set!;
    if (!send(buildHostHash(publisher, nextId(), records.length, hash))) return;
    this.counts.sent++;
    this.#cancelReply = timers.after(EXPIRE_MS, () => {
      if (!this.#isConnected || !this.isComplete) return;
      this.#lost("the announcement");
      this.#cancelReply = timers.after(SEND_DELAY_MS, () => {
        if (this.#isConnected && this.isComplete) this.#announce();
      });
    });
  }
}
