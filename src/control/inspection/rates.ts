/**
 * Rates over the last seconds. The gateway's clock tick takes one sample of the counters a second;
 * nothing is done per packet and no timer is added. Main thread.
 */

import type { DropReason } from "../../base/drop-reason.js";
import { DROP_REASONS } from "../../base/drop-reason.js";
import { addressKey, type IpAddress } from "../../base/ip.js";
import { COUNTER_NAMES, type CounterName, type CounterReader } from "../../tables/counters.js";
import type { PeerTrafficReader } from "../../tables/peer-traffic.js";

/** Samples kept: rates are of the last five seconds, or since the start when that is less. */
const SAMPLES_MAX = 6;
/** With more remote gateways than this, rates of single ones are not kept. */
const PEERS_MAX = 4096;

/** Packets and octets a second, of one direction. */
export interface Rate {
  readonly packetsPerSecond: number;
  readonly bitsPerSecond: number;
}

/** One remote gateway, as the sampler has to know it. */
export interface SampledPeer {
  readonly address: IpAddress;
  readonly entry: number;
}

/** Where samples come from. */
export interface RateSources {
  readonly totals: CounterReader;
  readonly peerTotals: PeerTrafficReader;
  /** Remote gateways with a record. */
  readonly peers: () => Iterable<SampledPeer>;
}

interface Sample {
  readonly atMs: number;
  readonly values: Float64Array;
}

/** Samples of one thing, oldest first. */
class History {
  readonly #samples: Sample[] = [];

  add(sample: Sample): void {
    this.#samples.push(sample);
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
  }

  /** Seconds between the first and the last sample. */
  get seconds(): number {
    const { length } = this.#samples;
    return length < 2 ? 0 : (this.#samples[length - 1]!.atMs - this.#samples[0]!.atMs) / 1000;
  }

  /** Growth of a value in a second; undefined before there are two samples. */
  perSecond(index: number): number | undefined {
    const { seconds } = this;
    if (seconds <= 0) return undefined;
    const last = this.#samples[this.#samples.length - 1]!;
    return (last.values[index]! - this.#samples[0]!.values[index]!) / seconds;
  }
}

interface PeerHistory extends History {
  owner: string;
}

/** Samples of one gateway. */
export class RateSampler {
  readonly #sources: RateSources;
  readonly #totals = new History();
  readonly #peers = new Map<number, PeerHistory>();

  constructor(sources: RateSources) {
    this.#sources = sources;
  }

  /** Takes a sample; about once a second. */
  tick(atMs: number): void {
    const { totals } = this.#sources;
    const counters = COUNTER_NAMES.map((name) => totals.total(name));
    const drops = DROP_REASONS.map(({ name }) => totals.drops(name as DropReason));
    this.#totals.add({ atMs, values: Float64Array.from([...counters, ...drops]) });
    this.#samplePeers(atMs);
  }

  /** Length of the window in seconds; 0 before there are two samples. */
  get windowSeconds(): number {
    return this.#totals.seconds;
  }

  /** Growth of a counter in a second. */
  counterPerSecond(name: CounterName): number | undefined {
    return this.#totals.perSecond(COUNTER_NAMES.indexOf(name));
  }

  /** Packets dropped for a reason in a second. */
  dropsPerSecond(reason: DropReason): number | undefined {
    const index = DROP_REASONS.findIndex(({ name }) => name === reason);
    return this.#totals.perSecond(COUNTER_NAMES.length + index);
  }

  /** Rates of a remote gateway; undefined when there are no samples of it. */
  peer(entry: number): { readonly sent: Rate; readonly received: Rate } | undefined {
    const history = this.#peers.get(entry);
    if (history === undefined || history.seconds === 0) return undefined;
    const rate = (first: number): Rate => ({
      packetsPerSecond: history.perSecond(first) ?? 0,
      bitsPerSecond: 8 * (history.perSecond(first + 1) ?? 0),
    });
    return { sent: rate(0), received: rate(2) };
  }

  #samplePeers(atMs: number): void {
    const seen = new Set<number>();
    for (const { address, entry } of this.#sources.peers()) {
      if (seen.size >= PEERS_MAX) {
        this.#peers.clear();
        return;
      }
      seen.add(entry);
      const traffic = this.#sources.peerTotals.read(entry);
      const { sentPackets, sentBytes, receivedPackets, receivedBytes } = traffic;
      const values = Float64Array.of(sentPackets, sentBytes, receivedPackets, receivedBytes);
      this.#historyOf(entry, addressKey(address)).add({ atMs, values });
    }
    for (const entry of this.#peers.keys()) if (!seen.has(entry)) this.#peers.delete(entry);
  }

  /** The samples of an entry; those of an earlier owner are forgotten. */
  #historyOf(entry: number, owner: string): PeerHistory {
    const known = this.#peers.get(entry);
    if (known?.owner === owner) return known;
    const fresh: PeerHistory = Object.assign(new History(), { owner });
    this.#peers.set(entry, fresh);
    return fresh;
  }
}
