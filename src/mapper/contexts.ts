/**
 * What the mapper knows about each remote context: how many mappings it has, how fast it makes new
 * ones and whether anybody inside ever addressed it (spec/tunnel.md S2). Numbers instead of
 * objects, because there may be as many contexts as mappings. A context without mappings is
 * forgotten.
 */

import { TokenBucket } from "../base/limits.js";
import type { MapperLimits } from "./config.js";

/** Why a packet may not make a mapping now. */
export type QuotaVerdict = "ok" | "mapping-quota" | "mapping-rate";

/** Counters of contexts, numbered from 1. */
export class ContextBook {
  readonly #limits: MapperLimits;
  readonly #total: TokenBucket;
  readonly #numbers = new Map<number | string, number>();
  readonly #keys: (number | string)[] = [0];
  readonly #free: number[] = [];
  #counts = new Uint32Array(1024);
  #outsideCounts = new Uint32Array(1024);
  #contacted = new Uint8Array(1024);
  #tokens = new Float64Array(1024);
  #filledSeconds = new Float64Array(1024);
  #uncontactedRecords = 0;

  constructor(limits: MapperLimits, nowSeconds: number) {
    this.#limits = limits;
    const rate = { ratePerSecond: limits.totalRate, burst: limits.totalRate };
    this.#total = new TokenBucket(rate, 1000 * nowSeconds);
  }

  /** Contexts that have mappings. */
  get size(): number {
    return this.#numbers.size;
  }

  /** Number of the context in 16 bytes at `offset` (IPv4 in the first 4); makes it when new. */
  numberOf(bytes: Uint8Array, offset: number, length: number): number {
    const key = contextKey(bytes, offset, length);
    const known = this.#numbers.get(key);
    return known ?? this.#make(key);
  }

  /** Number of a context that has mappings; 0 for another one. */
  peekNumber(bytes: Uint8Array, offset: number, length: number): number {
    return this.#numbers.get(contextKey(bytes, offset, length)) ?? 0;
  }

  /** Mappings of a context. */
  count(context: number): number {
    return this.#counts[context]!;
  }

  /** Mappings of a context that packets from it made. */
  outsideCount(context: number): number {
    return this.#outsideCounts[context]!;
  }

  /** Notes a new mapping. */
  add(context: number, isFromOutside: boolean): void {
    this.#counts[context]!++;
    if (isFromOutside) this.#outsideCounts[context]!++;
    if (this.#contacted[context] === 0) this.#uncontactedRecords++;
  }

  /** Notes that a mapping is gone. */
  remove(context: number, isFromOutside: boolean): void {
    this.#counts[context]!--;
    if (isFromOutside) this.#outsideCounts[context]!--;
    if (this.#contacted[context] === 0) this.#uncontactedRecords--;
    this.releaseIfEmpty(context);
  }

  /** Forgets a context that has no mappings. */
  releaseIfEmpty(context: number): void {
    if (this.#counts[context] !== 0) return;
    if (!this.#numbers.delete(this.#keys[context]!)) return;
    this.#free.push(context);
  }

  /** Somebody inside addressed the context. */
  setContacted(context: number): void {
    if (this.#contacted[context] === 1) return;
    this.#contacted[context] = 1;
    this.#uncontactedRecords -= this.#counts[context]!;
  }

  /** May a packet of this context make one more mapping in a space of `space` addresses? */
  mayCreate(context: number, space: number, nowSeconds: number): QuotaVerdict {
    // The rate comes first: it also bounds the work that a refused packet causes.
    if (!this.#total.has(1000 * nowSeconds)) return "mapping-rate";
    if (!this.#takeToken(context, nowSeconds)) return "mapping-rate";
    this.#total.take(1000 * nowSeconds);
    return this.#quotaOf(context, space);
  }

  /** `context` 0: one without mappings. */
  #quotaOf(context: number, space: number): "ok" | "mapping-quota" {
    const share = Math.min(this.#limits.perContextMax, quarter(space));
    if (this.#outsideCounts[context]! >= share) return "mapping-quota";
    if (this.#contacted[context] === 0 && this.#uncontactedRecords >= Math.floor(space / 2)) {
      return "mapping-quota";
    }
    return "ok";
  }

  /** What `mayCreate` would say of a context, known or new; takes nothing. */
  wouldCreate(
    bytes: Uint8Array,
    offset: number,
    length: number,
    space: number,
    now: number,
  ): QuotaVerdict {
    const context = this.peekNumber(bytes, offset, length);
    if (!this.#total.copy().has(1000 * now)) return "mapping-rate";
    const rate = this.#limits.perContextRate;
    const passed = Math.max(0, now - this.#filledSeconds[context]!);
    const tokens = context === 0 ? rate : this.#tokens[context]! + passed * rate;
    if (Math.min(rate, tokens) < 1) return "mapping-rate";
    return this.#quotaOf(context, space);
  }

  /** May a resolver make one more mapping to this context (spec/mapper.md 3.6)? */
  mayResolve(context: number, space: number): boolean {
    return this.#counts[context]! < quarter(space);
  }

  #takeToken(context: number, nowSeconds: number): boolean {
    const rate = this.#limits.perContextRate;
    const passed = Math.max(0, nowSeconds - this.#filledSeconds[context]!);
    const tokens = Math.min(rate, this.#tokens[context]! + passed * rate);
    this.#filledSeconds[context] = nowSeconds;
    this.#tokens[context] = tokens >= 1 ? tokens - 1 : tokens;
    return tokens >= 1;
  }

  #make(key: number | string): number {
    const context = this.#free.pop() ?? this.#keys.length;
    if (context === this.#counts.length) this.#grow();
    this.#keys[context] = key;
    this.#numbers.set(key, context);
    this.#counts[context] = 0;
    this.#outsideCounts[context] = 0;
    this.#contacted[context] = 0;
    this.#tokens[context] = this.#limits.perContextRate;
    this.#filledSeconds[context] = 0;
    return context;
  }

  #grow(): void {
    const length = 2 * this.#counts.length;
    const counts = new Uint32Array(length);
    counts.set(this.#counts);
    this.#counts = counts;
    const outside = new Uint32Array(length);
    outside.set(this.#outsideCounts);
    this.#outsideCounts = outside;
    const contacted = new Uint8Array(length);
    contacted.set(this.#contacted);
    this.#contacted = contacted;
    const tokens = new Float64Array(length);
    tokens.set(this.#tokens);
    this.#tokens = tokens;
    const filled = new Float64Array(length);
    filled.set(this.#filledSeconds);
    this.#filledSeconds = filled;
  }
}

function quarter(space: number): number {
  return Math.max(1, Math.floor(space / 4));
}

function contextKey(bytes: Uint8Array, offset: number, length: number): number | string {
  if (length === 4) {
    const high = (bytes[offset]! << 8) | bytes[offset + 1]!;
    return high * 65536 + ((bytes[offset + 2]! << 8) | bytes[offset + 3]!);
  }
  return String.fromCharCode(...bytes.subarray(offset, offset + length));
}
