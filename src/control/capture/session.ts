/**
 * One running capture: takes records from the workers' rings and from the slow path, puts them in
 * order of time, and gives them out as a pcapng file or as lines of JSON, until one of its limits
 * is reached or its client has gone. What the client does not take in time is lost and counted;
 * nothing here ever waits for it. Main thread.
 */

import { CaptureDescriber, type OwnGateway } from "../../capture/describe.js";
import { type CaptureFilter, compileFilter, formatFilter } from "../../capture/filter.js";
import { buildDatagram, type DatagramEnd, outerLength } from "../../capture/outer-header.js";
import {
  interfaceBlock,
  LINK_USER0,
  PACKET_INBOUND,
  PACKET_OUTBOUND,
  packetBlock,
  sectionBlock,
  statisticsBlock,
} from "../../capture/pcapng.js";
import { CaptureSubject } from "../../capture/subject.js";
import {
  type CaptureRecord,
  type CaptureRingConsumer,
  type CaptureSide,
  SIDE_LOCAL,
  SIDE_TUNNEL,
  TO_TUNNEL,
} from "../../tables/capture-ring.js";
import { ChunkQueue } from "./chunk-queue.js";
import { type CaptureEndReason, captureLine, messageLine } from "./lines.js";

/** Time of one turn: the main thread has packets to forward. */
const TURN_BUDGET_MS = 4;
/** And of the last one. */
const LAST_BUDGET_MS = 50;
/** Records taken from each ring, and from the slow path, at a time: these are put in order. */
const RECORDS_AT_A_TIME = 128;
/** Records of the slow path that wait for the next turn. */
const WAITING_RECORDS_MAX = 4096;

/** In the order of the interfaces in a file; the mapper socket comes behind them. */
const SIDES = [SIDE_LOCAL, SIDE_TUNNEL] as const;
const MESSAGES_INTERFACE = SIDES.length;
/** Kept free for what ends a capture: statistics of three interfaces, or the last line. */
const END_BYTES = 3 * 100;

/** What is to be captured, within which limits. */
export interface CaptureRequest {
  readonly filter: CaptureFilter;
  readonly snaplen: number;
  readonly format: "pcapng" | "lines";
  readonly countMax: number;
  readonly durationMs: number;
  readonly bytesMax: number;
  /** With the messages of the mapper socket, to which the filter does not apply. */
  readonly hasMessages: boolean;
}

/** What a session works with. */
export interface SessionParts {
  readonly request: CaptureRequest;
  readonly generation: number;
  /** Rings of the workers: of the egress and of the ingress workers. */
  readonly egressRings: readonly CaptureRingConsumer[];
  readonly ingressRings: readonly CaptureRingConsumer[];
  readonly own: OwnGateway;
  /** The gateway's end of the tunnel, as far as it is known. */
  readonly tunnelEnd: DatagramEnd;
  readonly tunName: string;
  /** Name and version of the program. */
  readonly application: string;
  readonly nowMs: () => number;
  readonly wallClockMs: () => number;
  /** Called once, at the end. */
  readonly onEnd: () => void;
}

/** Packets of one side. */
interface SideCounts {
  shown: number;
  lost: number;
}

/** A running capture. */
export class CaptureSession {
  readonly #parts: SessionParts;
  readonly #queue = new ChunkQueue();
  readonly #describer: CaptureDescriber;
  readonly #subject = new CaptureSubject();
  readonly #test: (subject: CaptureSubject) => boolean;
  readonly #startMs: number;
  readonly #startNs: bigint;
  readonly #counts: Readonly<Record<CaptureSide, SideCounts>> = {
    [SIDE_LOCAL]: { shown: 0, lost: 0 },
    [SIDE_TUNNEL]: { shown: 0, lost: 0 },
  };
  readonly #messages: SideCounts = { shown: 0, lost: 0 };
  readonly #waiting: CaptureRecord[] = [];
  #bytes = 0;
  #isEnded = false;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    this.#describer = new CaptureDescriber(parts.own);
    this.#test = compileFilter(parts.request.filter);
    this.#startMs = parts.nowMs();
    this.#startNs = BigInt(Math.floor(parts.wallClockMs())) * 1_000_000n;
    for (const ring of [...parts.egressRings, ...parts.ingressRings]) ring.takeLost();
    if (parts.request.format === "pcapng") this.#writeHead();
  }

  /** The capture as it grows; ends with it. */
  chunks(): AsyncIterable<string | Uint8Array> {
    return this.#queue;
  }

  /** A record of the slow path. */
  offer(record: CaptureRecord): void {
    const wanted = this.#wantedSides(record);
    if (wanted === 0 || this.#isEnded) return;
    if (this.#waiting.length < WAITING_RECORDS_MAX) {
      this.#waiting.push({ ...record, sides: wanted });
    } else this.#lose(cameInAt(record.direction), 1);
  }

  /** A message of the mapper socket. Borrows it. */
  offerMessage(
    message: Uint8Array,
    client: { readonly pid: number; readonly uid: number },
    isReceived: boolean,
  ): void {
    if (this.#isEnded) return;
    const timeNs = this.#timeNs(this.#parts.nowMs());
    if (this.#parts.request.format === "lines") {
      const line = messageLine(message, client, isReceived, timeNs);
      return this.#push(`${JSON.stringify(line)}\n`, this.#messages);
    }
    const way = isReceived ? "from" : "to";
    const block = packetBlock({
      ...{ on: MESSAGES_INTERFACE, timeNs, packet: message, originalLength: message.length },
      flags: isReceived ? PACKET_INBOUND : PACKET_OUTBOUND,
      comment: `${way} process ${client.pid} of user ${client.uid}`,
    });
    this.#push(block, this.#messages);
  }

  /** Now and then: gives out what has come. */
  turn(): void {
    if (this.#isEnded) return;
    this.#giveOut(TURN_BUDGET_MS);
    if (this.#parts.nowMs() - this.#startMs >= this.#parts.request.durationMs) this.end("duration");
  }

  /** Ends the capture; what was captured before is given out first. */
  end(reason: CaptureEndReason): void {
    if (this.#isEnded) return;
    if (reason === "stopped" || reason === "duration") this.#giveOut(LAST_BUDGET_MS);
    if (this.#isEnded) return;
    this.#isEnded = true;
    for (const { direction } of this.#waiting.splice(0)) this.#lose(cameInAt(direction), 1);
    if (this.#parts.request.format === "pcapng") this.#writeStatistics();
    else this.#writeLast(reason);
    this.#queue.end();
    this.#parts.onEnd();
  }

  /** As much as there is, but no longer than `budgetMs`. */
  #giveOut(budgetMs: number): void {
    const { egressRings, ingressRings, nowMs } = this.#parts;
    const untilMs = nowMs() + budgetMs;
    do {
      const records = this.#takeSome();
      if (records.length === 0) break;
      for (const record of records) this.#give(record);
    } while (!this.#isEnded && nowMs() < untilMs);
    for (const ring of egressRings) this.#lose(SIDE_LOCAL, ring.takeLost());
    for (const ring of ingressRings) this.#lose(SIDE_TUNNEL, ring.takeLost());
    this.#queue.flush();
  }

  /** The next records of all sources, in order of time. */
  #takeSome(): CaptureRecord[] {
    const { egressRings, ingressRings, generation } = this.#parts;
    const records = this.#waiting.splice(0, RECORDS_AT_A_TIME);
    for (const ring of [...egressRings, ...ingressRings]) {
      for (let count = 0; count < RECORDS_AT_A_TIME; count++) {
        const record = ring.take(generation);
        if (record === undefined) break;
        records.push(record);
      }
    }
    return records.sort((a, b) => a.timeMs - b.timeMs);
  }

  #wantedSides(record: CaptureRecord): number {
    const subject = this.#subject;
    subject.setNative(record.native, 0, record.native.length);
    subject.setTunnel(record.tunnel, 0, record.tunnel.length);
    const hasRemote = record.remotePort !== 0;
    subject.remote.set(record.remote.bytes, 0, hasRemote ? record.remote.bytes.length : 0);
    subject.path = record.path;
    subject.verdict = record.verdict;
    subject.reason = record.reason;
    let wanted = 0;
    for (const side of SIDES) {
      subject.side = side;
      if ((record.sides & side) !== 0 && this.#test(subject)) wanted |= side;
    }
    return wanted;
  }

  #lose(side: CaptureSide, count: number): void {
    this.#counts[side].lost += count;
  }

  #give(record: CaptureRecord): void {
    for (const side of SIDES) {
      if ((record.sides & side) === 0 || this.#isEnded) continue;
      const { request } = this.#parts;
      const chunk =
        request.format === "pcapng" ? this.#block(record, side) : this.#line(record, side);
      this.#push(chunk, this.#counts[side]);
    }
  }

  /** One packet or message into the queue; ends the capture when that reaches a limit. */
  #push(chunk: string | Uint8Array, counts: SideCounts): void {
    const { bytesMax, countMax } = this.#parts.request;
    if (this.#bytes + chunk.length + END_BYTES > bytesMax) return this.end("size");
    if (!this.#queue.push(chunk)) {
      counts.lost++;
      return;
    }
    this.#bytes += chunk.length;
    counts.shown++;
    if (this.#total().packets >= countMax) this.end("count");
  }

  #total(): { packets: number; lost: number } {
    const { [SIDE_LOCAL]: local, [SIDE_TUNNEL]: tunnel } = this.#counts;
    const messages = this.#messages;
    return {
      packets: local.shown + tunnel.shown + messages.shown,
      lost: local.lost + tunnel.lost + messages.lost,
    };
  }

  #timeNs(timeMs: number): bigint {
    return this.#startNs + BigInt(Math.round((timeMs - this.#startMs) * 1e6));
  }

  #line(record: CaptureRecord, side: CaptureSide): string {
    const description = this.#describer.describe(record, side);
    const hasEnds = side === SIDE_TUNNEL && record.remotePort !== 0;
    const ends = hasEnds ? this.#outerEnds(record) : undefined;
    const line = captureLine(description, { timeNs: this.#timeNs(record.timeMs), ends });
    return `${JSON.stringify(line)}\n`;
  }

  #block(record: CaptureRecord, side: CaptureSide): Uint8Array {
    const { snaplen } = this.#parts.request;
    const isInbound = (side === SIDE_LOCAL) === (record.direction === TO_TUNNEL);
    const of = side === SIDE_LOCAL ? this.#nativePacket(record) : this.#datagram(record);
    return packetBlock({
      on: side === SIDE_LOCAL ? 0 : 1,
      timeNs: this.#timeNs(record.timeMs),
      packet: of.packet.subarray(0, snaplen),
      originalLength: of.length,
      flags: isInbound ? PACKET_INBOUND : PACKET_OUTBOUND,
      comment: this.#describer.comment(record, side),
    });
  }

  #nativePacket({ native, nativeLength }: CaptureRecord) {
    return { packet: native, length: nativeLength };
  }

  /** The tunnel packet in its datagram, as it is on the way between the gateways. */
  #datagram(record: CaptureRecord) {
    const { tunnel, tunnelLength } = record;
    const { source, destination } = this.#outerEnds(record);
    const packet = buildDatagram(source, destination, tunnel, tunnelLength);
    return { packet, length: tunnelLength + outerLength(source.address) };
  }

  #outerEnds(record: CaptureRecord): { source: DatagramEnd; destination: DatagramEnd } {
    const own = this.#parts.tunnelEnd;
    const remote = { address: record.remote, port: record.remotePort };
    if (record.direction === TO_TUNNEL) return { source: own, destination: remote };
    return { source: remote, destination: own };
  }

  #writeHead(): void {
    const { application, request, tunName, tunnelEnd } = this.#parts;
    const { snaplen } = request;
    const filter = formatFilter(request.filter);
    const comment = "Both sides of an IPREF gateway; each packet has its mapping and verdict";
    const local = "Local network: native packets, super-packets as one";
    const tunnel = `Tunnel: UDP port ${tunnelEnd.port}, outer headers as the kernel makes them`;
    const blocks = [
      sectionBlock(application, comment),
      interfaceBlock({ name: tunName, description: local, snaplen, filter }),
      interfaceBlock({ name: "tunnel", description: tunnel, snaplen, filter }),
    ];
    if (request.hasMessages) {
      const description = "Messages of the mapper socket";
      const head = { name: "mapper", description, snaplen: 65_535, filter: "", link: LINK_USER0 };
      blocks.push(interfaceBlock(head));
    }
    for (const block of blocks) {
      this.#queue.push(block);
      this.#bytes += block.length;
    }
    this.#queue.flush();
  }

  #writeLast(reason: CaptureEndReason): void {
    const end = { reason, ...this.#total() };
    this.#queue.pushLast(`${JSON.stringify({ end })}\n`);
  }

  #writeStatistics(): void {
    const endNs = this.#timeNs(this.#parts.nowMs());
    const counts = SIDES.map((side) => this.#counts[side]);
    if (this.#parts.request.hasMessages) counts.push(this.#messages);
    for (const [on, { shown: received, lost: dropped }] of counts.entries()) {
      const startNs = this.#startNs;
      this.#queue.pushLast(statisticsBlock({ on, startNs, endNs, received, dropped }));
    }
  }
}

/** The side on which packets of a direction come in. */
function cameInAt(direction: CaptureRecord["direction"]): CaptureSide {
  return direction === TO_TUNNEL ? SIDE_LOCAL : SIDE_TUNNEL;
}
