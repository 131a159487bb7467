/** A mapper with a memory store and a clock that tests move. */

import { type IpAddress, parseIp, parsePrefix } from "../../src/base/ip.js";
import { seededRandom } from "../../src/base/random.js";
import { parseReference, type Reference } from "../../src/base/reference.js";
import { ownEncodedAddress } from "../../src/mapper/allocator.js";
import type { MapperEvent, MapperLimits } from "../../src/mapper/config.js";
import { Mapper } from "../../src/mapper/mapper.js";
import { MemoryStore } from "../../src/mapper/memory-store.js";
import { startTimeBase } from "../../src/mapper/time-base.js";
import { addressTableBytes } from "../../src/tables/address-table.js";
import { AddressTableWriter } from "../../src/tables/address-table-writer.js";

export interface WorldOptions {
  encodeNet?: string;
  publicAddress?: string;
  gatewayReference?: string;
  recordsMax?: number;
  seed?: number;
  limits?: Partial<MapperLimits>;
  store?: MemoryStore;
  /** Wall clock in seconds at the start. */
  wallSeconds?: number;
}

/** One life of a gateway's mapper. `flush` stores what waits; nothing is stored on its own. */
export class World {
  readonly store: MemoryStore;
  readonly mapper: Mapper;
  readonly table: AddressTableWriter;
  readonly events: MapperEvent[] = [];
  readonly settled: { token: number; isStored: boolean }[] = [];
  onSettled: (token: number, isStored: boolean) => void = () => {};
  now: number;

  constructor(options: WorldOptions = {}) {
    const encodeNet = parsePrefix(options.encodeNet ?? "10.240.0.0/12")!;
    const publicAddress = ip(options.publicAddress ?? "198.51.100.1");
    const shape = {
      recordsMax: options.recordsMax ?? 4000,
      localVersion: encodeNet.address.version,
      tunnelVersion: publicAddress.version,
      hashSeed: 99,
    };
    this.store = options.store ?? new MemoryStore();
    const state = this.store.load();
    const base = startTimeBase(state, 1000 * (options.wallSeconds ?? 1_000_000));
    this.now = base.startSeconds;
    this.table = new AddressTableWriter(new ArrayBuffer(addressTableBytes(shape)), 0, shape);
    this.mapper = new Mapper({
      config: {
        encodeNet,
        ownEncoded: ownEncodedAddress(encodeNet),
        publicAddress,
        gatewayReference: ref(options.gatewayReference ?? "1"),
        limits: options.limits ?? {},
      },
      table: this.table,
      random: seededRandom(options.seed ?? 7),
      nowSeconds: () => this.now,
      timeBaseMs: base.baseMs,
      onChangesWaiting: () => {},
      onSettled: (token, isStored) => {
        this.settled.push({ token, isStored });
        this.onSettled(token, isStored);
      },
      onEvent: (event) => this.events.push(event),
    });
    this.mapper.restore(state);
  }

  /** Stores everything that waits; with `isFailing` the store refuses it. */
  flush(isFailing = false): void {
    const batch = this.mapper.takeChanges();
    if (batch === undefined) return;
    if (isFailing) {
      this.mapper.failed(batch.token, "disk full");
      return;
    }
    this.store.apply(batch.changes);
    this.mapper.committed(batch.token);
  }

  /** Lets time pass, sweeping and storing every `stepSeconds`. */
  pass(seconds: number, stepSeconds = 60): void {
    const end = this.now + seconds;
    while (this.now < end) {
      this.now = Math.min(end, this.now + stepSeconds);
      for (let step = 0; step < 16; step++) this.mapper.sweep();
      this.flush();
    }
  }

  /** Encoded address of a remote host for a resolver, stored. */
  resolve(gateway: string, reference: string): IpAddress {
    const remote = { gateway: ip(gateway), reference: ref(reference) };
    let found = this.mapper.getEncodedAddress(remote.gateway, remote.reference);
    if (found.status === "pending") {
      this.flush();
      found = this.mapper.getEncodedAddress(remote.gateway, remote.reference);
    }
    if (found.status !== "found") throw new Error(`not found: ${JSON.stringify(found)}`);
    return found.value;
  }

  /** Reference of a local host, stored. */
  reference(host: string, peer?: IpAddress): Reference {
    let found = this.mapper.oursToIpref(ip(host), true, peer);
    if (found.status === "pending") {
      this.flush();
      found = this.mapper.oursToIpref(ip(host), true, peer);
    }
    if (found.status !== "found") throw new Error("not found");
    return found.value.reference;
  }
}

export function ip(text: string): IpAddress {
  return parseIp(text)!;
}

export function ref(text: string): Reference {
  const parsed = parseReference(text);
  if (!parsed.ok) throw new Error(`bad reference ${text}`);
  return parsed.value;
}
