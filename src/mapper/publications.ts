/**
 * Published records in force (spec/mapper.md 3.8). Each owner claims records; a claim is in force,
 * or parked because a better owner's claim has the same key, and comes into force when that one
 * goes. Precedence: hosts file over DNS over mapper; between equals the earlier claim stays.
 */

import { addressKey, formatIp } from "../base/ip.js";
import { formatReference } from "../base/reference.js";
import { FLAG_DETACHED, FLAG_SECONDARY, KIND_LOCAL, KIND_REMOTE } from "../tables/address-table.js";
import type { LocalHosts } from "./local-hosts.js";
import type { Owners } from "./owners.js";
import type { PublishedRecord, Refusal } from "./publication-rules.js";
import { RecordKey } from "./record-key.js";
import { MAPPER_OID, type RecordBook } from "./records.js";

const PARKED = 0;

interface Claim {
  readonly record: PublishedRecord;
  /** Record number, or PARKED. */
  number: number;
}

/** Claims by owner and key. Records given to it have passed publication-rules.ts. */
export class Publications {
  readonly #records: RecordBook;
  readonly #hosts: LocalHosts;
  readonly #owners: Owners;
  readonly #claims = new Map<number, Map<string, Claim>>();
  readonly #parked = new Map<string, { oid: number; key: string }>();
  /** Mapper records whose IPREF address a published record took over. */
  readonly #detached = new Map<number, number>();
  readonly #key = new RecordKey();
  readonly #onConflict: (text: string) => void;

  constructor(
    parts: { records: RecordBook; hosts: LocalHosts; owners: Owners },
    onConflict: (text: string) => void,
  ) {
    this.#records = parts.records;
    this.#hosts = parts.hosts;
    this.#owners = parts.owners;
    this.#onConflict = onConflict;
  }

  /** Claims of an owner. */
  keysOf(oid: number): string[] {
    return [...(this.#claims.get(oid)?.keys() ?? [])];
  }

  /** Adds a claim. A refusal tells why it is only parked or, when the table is full, dropped. */
  add(oid: number, record: PublishedRecord, nowSeconds: number): Refusal | undefined {
    const claims = this.#claims.get(oid) ?? new Map<string, Claim>();
    this.#claims.set(oid, claims);
    const key = publicationKey(record);
    if (claims.has(key)) return undefined;
    const claim: Claim = { record, number: PARKED };
    claims.set(key, claim);
    const refusal = this.#install(oid, claim, nowSeconds);
    if (claim.number === PARKED) this.#park(oid, key);
    return refusal;
  }

  /** Withdraws claims; parked ones of others may come into force. */
  remove(oid: number, keys: Iterable<string>, nowSeconds: number): void {
    const claims = this.#claims.get(oid);
    let isFreed = false;
    for (const key of keys) {
      const claim = claims?.get(key);
      if (claim === undefined) continue;
      claims!.delete(key);
      this.#parked.delete(`${oid} ${key}`);
      if (claim.number === PARKED) continue;
      this.#uninstall(claim);
      isFreed = true;
    }
    if (claims?.size === 0) this.#claims.delete(oid);
    if (isFreed) this.#unparkAll(nowSeconds);
  }

  /** A record of the mapper is about to go; it can no longer come back. */
  forgetDetached(number: number): void {
    if (this.#detached.size === 0) return;
    for (const [published, dynamic] of this.#detached) {
      if (dynamic === number) this.#detached.delete(published);
    }
  }

  #park(oid: number, key: string): void {
    this.#parked.set(`${oid} ${key}`, { oid, key });
  }

  #unparkAll(nowSeconds: number): void {
    for (const [name, { oid, key }] of this.#parked) {
      const claim = this.#claims.get(oid)?.get(key);
      if (claim === undefined) continue;
      this.#install(oid, claim, nowSeconds);
      if (claim.number !== PARKED) this.#parked.delete(name);
    }
  }

  #install(oid: number, claim: Claim, nowSeconds: number): Refusal | undefined {
    return claim.record.kind === "local"
      ? this.#installLocal(oid, claim, nowSeconds)
      : this.#installRemote(oid, claim, nowSeconds);
  }

  #installLocal(oid: number, claim: Claim, nowSeconds: number): Refusal | undefined {
    const { address, reference } = claim.record;
    const { table } = this.#records;
    const key = this.#key.set(address, undefined, reference!);
    const found = table.findAnyLocalByReference(key.view, 32);
    if (found !== 0) {
      const refusal = this.#contest(oid, table.numberOf(found), claim.record);
      if (refusal !== undefined) return refusal;
    }
    this.#key.set(address, undefined, reference!);
    const number = this.#records.insert(KIND_LOCAL, FLAG_SECONDARY, oid, this.#key, nowSeconds);
    if (number === 0) return { found: "a full table", wanted: "fewer mappings" };
    claim.number = number;
    this.#hosts.joined(address, number);
    return undefined;
  }

  #installRemote(oid: number, claim: Claim, nowSeconds: number): Refusal | undefined {
    const { address, gateway, reference } = claim.record;
    const { table } = this.#records;
    const key = this.#key.set(address, gateway, reference!);
    const sameEncoded = table.findAnyByLocal(key.view, 0);
    if (sameEncoded !== 0) {
      const refusal = this.#contest(oid, table.numberOf(sameEncoded), claim.record);
      if (refusal !== undefined) return refusal;
    }
    const sameRemote = table.findAnyRemote(
      this.#key.set(address, gateway, reference!).view,
      16,
      32,
    );
    let detached = 0;
    if (sameRemote !== 0) {
      const number = table.numberOf(sameRemote);
      if (this.#records.owners[number] === MAPPER_OID) detached = number;
      else {
        const refusal = this.#contest(oid, number, claim.record);
        if (refusal !== undefined) return refusal;
      }
    }
    if (detached !== 0) this.#records.changeFlags(detached, FLAG_DETACHED, 0);
    this.#key.set(address, gateway, reference!);
    const number = this.#records.insert(KIND_REMOTE, 0, oid, this.#key, nowSeconds);
    if (number === 0) {
      if (detached !== 0) this.#records.changeFlags(detached, 0, FLAG_DETACHED);
      return { found: "a full table", wanted: "fewer mappings" };
    }
    claim.number = number;
    if (detached !== 0) this.#detached.set(number, detached);
    return undefined;
  }

  /** Makes the holder of a key give way to `oid`; the refusal when it does not. */
  #contest(oid: number, holder: number, record: PublishedRecord): Refusal | undefined {
    const holderOid = this.#records.owners[holder]!;
    if (holderOid === MAPPER_OID) {
      return { found: "a value in use by the mapper", wanted: "another value" };
    }
    const holderName = this.#owners.byOid(holderOid)?.name ?? "unknown";
    const isSameHost =
      record.kind === "local" &&
      addressKey(this.#hosts.hostOf(holder)) === addressKey(record.address);
    if (!isSameHost) {
      const text = `${formatIp(record.address)} + ${formatReference(record.reference!)}`;
      this.#onConflict(`${text} is also published by ${holderName}`);
    }
    if (this.#owners.precedenceOf(oid) <= this.#owners.precedenceOf(holderOid)) {
      return { found: `a value already published by ${holderName}`, wanted: "another value" };
    }
    this.#displace(holderOid, holder);
    return undefined;
  }

  #displace(oid: number, number: number): void {
    for (const [key, claim] of this.#claims.get(oid) ?? []) {
      if (claim.number !== number) continue;
      this.#uninstall(claim);
      claim.number = PARKED;
      this.#park(oid, key);
      return;
    }
  }

  #uninstall(claim: Claim): void {
    const { number } = claim;
    if (claim.record.kind === "local") this.#hosts.leaving(number);
    const detached = this.#detached.get(number);
    this.#detached.delete(number);
    this.#records.remove(number);
    if (detached !== undefined) this.#records.changeFlags(detached, 0, FLAG_DETACHED);
  }
}

/** A text that is equal exactly for equal published records, gateway aside. */
export function publicationKey(record: PublishedRecord): string {
  const gateway =
    record.kind === "remote" && record.gateway !== undefined ? addressKey(record.gateway) : "";
  return `${record.kind}${addressKey(record.address)}${gateway} ${record.reference}`;
}
