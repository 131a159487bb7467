/**
 * `GET /flows`: the busiest conversations, estimated from samples of the fast path's batches
 * (tables/flow-samples.ts). Query: seconds to look (0.2 to 10), limit. Workers sample only while
 * somebody looks. Packets of the slow path are not among the samples.
 */

import { copyAddress, formatIp, type IpAddress, isUnspecified } from "../../base/ip.js";
import { formatReference, type IprefAddress } from "../../base/reference.js";
import { CaptureSubject, type Field } from "../../capture/subject.js";
import { counterWriter } from "../../tables/arena.js";
import { type FlowSample, FlowSampleBlock } from "../../tables/flow-samples.js";
import { type ReferenceLength, readWireReference } from "../../wire/wire-reference.js";
import { SharedMappings } from "../capture/mapping-view.js";
import { type ControlHandler, jsonReply, refusal } from "./api.js";
import type { InspectionParts } from "./gateway-routes.js";
import type { Rate } from "./rates.js";

/** Rounds follow each other in this interval. */
const ROUND_MS = 10;
const SECONDS_DEFAULT = 1;
const SECONDS_MIN = 0.2;
const SECONDS_MAX = 10;
const LIMIT_DEFAULT = 50;
/** Conversations that are told apart in one look; what comes beyond is not told. */
const FLOWS_MAX = 4096;
const LOOKS_MAX = 8;
const PROTOCOL_NAMES: Readonly<Record<number, string>> = { 1: "icmp", 6: "tcp", 17: "udp" };

/** One end of a conversation. */
export interface FlowEnd {
  /** In the local network: the host's own address, or the encoded one; null when not mapped. */
  readonly address: string | null;
  readonly ipref: string;
  readonly port: number | null;
}

/** One conversation. Rates are estimates, of tunnel packets without outer headers. */
export interface FlowEntry {
  readonly protocol: string;
  readonly local: FlowEnd;
  readonly remote: FlowEnd;
  readonly out: Rate;
  readonly in: Rate;
}

/** What was seen. */
export interface FlowsReport {
  readonly seconds: number;
  /** Packets that were looked at. */
  readonly sampledPackets: number;
  readonly out: Rate;
  readonly in: Rate;
  /** Busiest first. */
  readonly flows: readonly FlowEntry[];
}

type Direction = "out" | "in";

interface FlowSums {
  readonly protocol: number;
  readonly local: IprefAddress;
  readonly remote: IprefAddress;
  readonly localPort: number;
  readonly remotePort: number;
  /** Packets and octets of the samples, as shares of what each worker sampled. */
  readonly out: Sums;
  readonly in: Sums;
}

interface Sums {
  packets: number;
  octets: number;
}

/** Handler of `GET /flows`. */
export function flowsHandler(parts: InspectionParts): ControlHandler {
  const sampler = new FlowSampler(parts);
  return async ({ query, signal }) => {
    const seconds = Number(query.get("seconds") ?? SECONDS_DEFAULT);
    if (!(seconds >= SECONDS_MIN && seconds <= SECONDS_MAX)) {
      const range = `${SECONDS_MIN} to ${SECONDS_MAX}`;
      return refusal(400, `Cannot look for ${query.get("seconds")} seconds: expected ${range}`);
    }
    const limit = Number(query.get("limit") ?? LIMIT_DEFAULT);
    if (!(Number.isInteger(limit) && limit >= 1)) {
      return refusal(400, `Cannot show ${query.get("limit")} flows: expected a number from 1 on`);
    }
    if (sampler.lookCount >= LOOKS_MAX) return refusal(503, "Too many look at flows already");
    return jsonReply(await sampler.look(seconds, limit, signal));
  };
}

/** One worker's block, with its direction. */
interface Source {
  readonly block: FlowSampleBlock;
  readonly direction: Direction;
}

/** The samples of all workers, shared by those who look at the same time. */
class FlowSampler {
  readonly #parts: InspectionParts;
  readonly #sources: readonly Source[];
  readonly #looks = new Set<Look>();
  #timer: { close(): void } | undefined;
  #round = 0;

  constructor(parts: InspectionParts) {
    const { memory, plan } = parts.shared;
    const source = (lane: number, role: "egress" | "ingress"): Source => {
      const writer = counterWriter(lane, role);
      const block = new FlowSampleBlock(memory, plan.flowSamplesOffset, writer);
      return { block, direction: role === "egress" ? "out" : "in" };
    };
    this.#parts = parts;
    this.#sources = plan.lanes.flatMap((_, lane) => [
      source(lane, "egress"),
      source(lane, "ingress"),
    ]);
  }

  get lookCount(): number {
    return this.#looks.size;
  }

  /** Looks for some seconds. */
  async look(seconds: number, limit: number, signal: AbortSignal): Promise<FlowsReport> {
    const { machine, shared, settings } = this.#parts;
    const look = new Look(this.#sources, machine.monotonicMs());
    this.#looks.add(look);
    this.#timer ??= machine.every(ROUND_MS, () => this.#turn());
    this.#nextRound();
    await look.until(machine.monotonicMs() + 1000 * seconds, signal);
    this.#looks.delete(look);
    if (this.#looks.size === 0) {
      this.#timer?.close();
      this.#timer = undefined;
    }
    const mappings = new SharedMappings(shared, settings);
    return look.report(machine.monotonicMs(), limit, settings.publicAddress, mappings);
  }

  #turn(): void {
    const nowMs = this.#parts.machine.monotonicMs();
    for (const { block, direction } of this.#sources) {
      if (block.round() !== this.#round) continue;
      const samples = Array.from({ length: block.sampleCount() }, (_, at) => block.sample(at));
      for (const look of this.#looks) look.take(block, direction, samples);
    }
    for (const look of this.#looks) look.tick(nowMs);
    this.#nextRound();
  }

  #nextRound(): void {
    this.#round = (this.#round % 0x7fff_ffff) + 1;
    this.#parts.shared.control.setSamplingRound(this.#round);
  }
}

/** Samples of one look. */
class Look {
  readonly #startMs: number;
  readonly #starts: ReadonlyMap<
    FlowSampleBlock,
    { source: Source; packets: number; octets: number }
  >;
  /** What was sampled of each worker. */
  readonly #sampled = new Map<FlowSampleBlock, Sums>();
  readonly #flows = new Map<string, FlowSums>();
  readonly #shares = new Map<FlowSampleBlock, Map<FlowSums, Sums>>();
  readonly #subject = new CaptureSubject();
  #sampledPackets = 0;
  #endMs = 0;
  #end = (): void => undefined;

  constructor(sources: readonly Source[], nowMs: number) {
    this.#startMs = nowMs;
    this.#starts = new Map(
      sources.map((source) => [source.block, { source, ...source.block.totals() }]),
    );
  }

  /** Resolves at the time, or when the caller goes. */
  until(endMs: number, signal: AbortSignal): Promise<void> {
    this.#endMs = endMs;
    return new Promise((resolve) => {
      this.#end = resolve;
      signal.addEventListener("abort", () => resolve(), { once: true });
      if (signal.aborted) resolve();
    });
  }

  tick(nowMs: number): void {
    if (nowMs >= this.#endMs) this.#end();
  }

  take(block: FlowSampleBlock, direction: Direction, samples: readonly FlowSample[]): void {
    const sampled = this.#sampled.get(block) ?? { packets: 0, octets: 0 };
    this.#sampled.set(block, sampled);
    const shares = this.#shares.get(block) ?? new Map<FlowSums, Sums>();
    this.#shares.set(block, shares);
    for (const sample of samples) {
      this.#sampledPackets++;
      addTo(sampled, sample);
      const flow = this.#flowOf(direction, sample);
      if (flow === undefined) continue;
      const share = shares.get(flow) ?? { packets: 0, octets: 0 };
      shares.set(flow, share);
      addTo(share, sample);
    }
  }

  report(
    nowMs: number,
    limit: number,
    ownContext: IpAddress,
    mappings: SharedMappings,
  ): FlowsReport {
    const seconds = Math.max(0.001, (nowMs - this.#startMs) / 1000);
    const sums = { out: { packets: 0, octets: 0 }, in: { packets: 0, octets: 0 } };
    for (const [block, start] of this.#starts) {
      const { packets, octets } = block.totals();
      const moved = { packets: packets - start.packets, octets: octets - start.octets };
      const { direction } = start.source;
      addTo(sums[direction], moved);
      this.#spread(block, direction, moved);
    }
    const rate = ({ packets, octets }: Sums): Rate => ({
      packetsPerSecond: packets / seconds,
      bitsPerSecond: (8 * octets) / seconds,
    });
    const busiest = [...this.#flows.values()].sort((a, b) => octetsOf(b) - octetsOf(a));
    return {
      seconds,
      sampledPackets: this.#sampledPackets,
      out: rate(sums.out),
      in: rate(sums.in),
      flows: busiest.slice(0, limit).map((flow) => ({
        protocol: PROTOCOL_NAMES[flow.protocol] ?? String(flow.protocol),
        local: endOf(flow.local, flow.localPort, ownContext, mappings),
        remote: endOf(flow.remote, flow.remotePort, ownContext, mappings),
        out: rate(flow.out),
        in: rate(flow.in),
      })),
    };
  }

  /** Gives each flow its share of what a worker has moved. */
  #spread(block: FlowSampleBlock, direction: Direction, moved: Sums): void {
    const sampled = this.#sampled.get(block);
    if (sampled === undefined) return;
    for (const [flow, share] of this.#shares.get(block) ?? []) {
      addTo(flow[direction], {
        packets: sampled.packets === 0 ? 0 : (moved.packets * share.packets) / sampled.packets,
        octets: sampled.octets === 0 ? 0 : (moved.octets * share.octets) / sampled.octets,
      });
    }
  }

  /** The conversation of a sample; undefined when its header cannot be read. */
  #flowOf(direction: Direction, { header, address }: FlowSample): FlowSums | undefined {
    const subject = this.#subject;
    subject.setNative(header, 0, 0);
    subject.setTunnel(header, 0, header.length);
    const { sourceReference, destinationReference, sourceContext, destinationContext } = subject;
    if (sourceReference.length === 0) return undefined;
    const gateway = copyAddress(address, 0, address.length === 4 ? 4 : 6);
    const isOut = direction === "out";
    const context = contextOf(isOut ? destinationContext : sourceContext) ?? gateway;
    const own = contextOf(isOut ? sourceContext : destinationContext) ?? gateway;
    const [from, to] = [referenceOf(sourceReference), referenceOf(destinationReference)];
    const { sourcePort, destinationPort, tunnelProtocol } = subject;
    const fresh: FlowSums = {
      protocol: tunnelProtocol,
      local: { context: own, reference: isOut ? from : to },
      remote: { context, reference: isOut ? to : from },
      localPort: isOut ? sourcePort : destinationPort,
      remotePort: isOut ? destinationPort : sourcePort,
      out: { packets: 0, octets: 0 },
      in: { packets: 0, octets: 0 },
    };
    const key = keyOf(fresh);
    const known = this.#flows.get(key);
    if (known !== undefined) return known;
    if (this.#flows.size >= FLOWS_MAX) return undefined;
    this.#flows.set(key, fresh);
    return fresh;
  }
}

function addTo(sums: Sums, { packets, octets }: Sums): void {
  sums.packets += packets;
  sums.octets += octets;
}

function octetsOf(flow: FlowSums): number {
  return flow.out.octets + flow.in.octets;
}

function keyOf({ protocol, local, remote, localPort, remotePort }: FlowSums): string {
  const ends = `${local.reference} ${localPort} ${formatIp(remote.context)} ${remote.reference}`;
  return `${protocol} ${ends} ${remotePort}`;
}

function contextOf({ bytes, offset, length }: Field): IpAddress | undefined {
  return length === 0 ? undefined : copyAddress(bytes, offset, length === 4 ? 4 : 6);
}

function referenceOf({ bytes, offset, length }: Field): bigint {
  return readWireReference(bytes, offset, length as ReferenceLength);
}

/** Looked up with our own context for our hosts: packets may carry none. */
function endOf(
  { context, reference }: IprefAddress,
  port: number,
  ownContext: IpAddress,
  mappings: SharedMappings,
): FlowEnd {
  const native =
    mappings.nativeOf({ context, reference }) ??
    (isUnspecified(context) ? mappings.nativeOf({ context: ownContext, reference }) : undefined);
  const gateway = isUnspecified(context) ? "unknown" : formatIp(context);
  return {
    address: native === undefined ? null : formatIp(native),
    ipref: `${gateway} + ${formatReference(reference)}`,
    port: port < 0 ? null : port,
  };
}
