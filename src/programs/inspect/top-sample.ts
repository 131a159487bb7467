/** What `ipref top` looks at, and the rates between two looks. Pure. */

import type { FlowsReport } from "../../control/inspection/flows.js";
import type { PeerEntry } from "../../control/inspection/peers.js";
import type { Rate } from "../../control/inspection/rates.js";
import type { GatewayStatus, TrafficStatus } from "../../control/inspection/status.js";

/** One look at a gateway. */
export interface TopSample {
  /** Monotonic clock of the one who looks. */
  readonly atMs: number;
  readonly status: GatewayStatus;
  readonly peers: readonly PeerEntry[];
  /** Undefined when the gateway does not tell. */
  readonly flows: FlowsReport | undefined;
}

/** Rates of one direction. */
export interface DirectionRates extends Rate {
  /** Packets of the slow path, which are among `packetsPerSecond`. */
  readonly slowPerSecond: number;
}

/** A remote gateway with its rates. */
export interface PeerRates {
  readonly peer: PeerEntry;
  readonly out: Rate;
  readonly in: Rate;
}

/** A drop reason with its rate. */
export interface DropRate {
  readonly reason: string;
  readonly perSecond: number;
}

/** Rates now. */
export interface TopRates {
  readonly toTunnel: DirectionRates;
  readonly fromTunnel: DirectionRates;
  /** Busiest first. */
  readonly peers: readonly PeerRates[];
  /** Of those that occur now, most first. */
  readonly drops: readonly DropRate[];
}

const NO_RATE: Rate = { packetsPerSecond: 0, bitsPerSecond: 0 };

/** Rates between two looks; those of the gateway itself when there is no earlier one. */
export function topRates(sample: TopSample, before: TopSample | undefined): TopRates {
  const isSame = before !== undefined && before.status.pid === sample.status.pid;
  const earlier = isSame && sample.atMs > before.atMs ? before : undefined;
  const seconds = earlier === undefined ? 0 : (sample.atMs - earlier.atMs) / 1000;
  const { toTunnel, fromTunnel } = sample.status.traffic;
  return {
    toTunnel: directionRates(toTunnel, earlier?.status.traffic.toTunnel, seconds),
    fromTunnel: directionRates(fromTunnel, earlier?.status.traffic.fromTunnel, seconds),
    peers: peerRates(sample.peers, earlier?.peers, seconds),
    drops: dropRates(sample, earlier, seconds),
  };
}

function directionRates(
  now: TrafficStatus,
  before: TrafficStatus | undefined,
  seconds: number,
): DirectionRates {
  if (before === undefined) return { ...(now.rate ?? NO_RATE), slowPerSecond: 0 };
  const slowPerSecond = growth(now.slowPackets, before.slowPackets, seconds);
  return {
    packetsPerSecond: growth(now.packets, before.packets, seconds) + slowPerSecond,
    bitsPerSecond: 8 * growth(now.bytes, before.bytes, seconds),
    slowPerSecond,
  };
}

function peerRates(
  peers: readonly PeerEntry[],
  before: readonly PeerEntry[] | undefined,
  seconds: number,
): PeerRates[] {
  const known = new Map((before ?? []).map((peer) => [peer.address, peer]));
  const rates = peers.map((peer) => {
    const earlier = known.get(peer.address);
    return {
      peer,
      out: trafficRate(peer.sent, earlier?.sent, seconds),
      in: trafficRate(peer.received, earlier?.received, seconds),
    };
  });
  return rates.sort((a, b) => bits(b) - bits(a) || (a.peer.address < b.peer.address ? -1 : 1));
}

function bits({ out, in: back }: PeerRates): number {
  return out.bitsPerSecond + back.bitsPerSecond;
}

function trafficRate(
  now: PeerEntry["sent"],
  before: PeerEntry["sent"] | undefined,
  seconds: number,
): Rate {
  if (before === undefined) return now.rate ?? NO_RATE;
  return {
    packetsPerSecond: growth(now.packets, before.packets, seconds),
    bitsPerSecond: 8 * growth(now.bytes, before.bytes, seconds),
  };
}

function dropRates(sample: TopSample, before: TopSample | undefined, seconds: number): DropRate[] {
  const known = new Map(before?.status.drops.map(({ reason, count }) => [reason, count]) ?? []);
  const rates = sample.status.drops.map(({ reason, count, perSecond }) => ({
    reason,
    perSecond:
      before === undefined ? (perSecond ?? 0) : growth(count, known.get(reason) ?? 0, seconds),
  }));
  return rates
    .filter(({ perSecond }) => perSecond > 0)
    .sort((a, b) => b.perSecond - a.perSecond || (a.reason < b.reason ? -1 : 1));
}

/** A counter that has become smaller was made anew: it counts from zero. */
function growth(now: number, before: number, seconds: number): number {
  return (now >= before ? now - before : now) / seconds;
}
