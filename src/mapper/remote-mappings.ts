/**
 * Remote hosts: IPREF address to encoded address and back (spec/mapper.md 3.2, 3.3, 2.6). A mapping
 * made by a packet from outside is provisional until somebody inside uses it (spec/tunnel.md S2).
 */

import type { Lookup } from "../base/address-lookup.js";
import type { DropReason } from "../base/drop-reason.js";
import { type IpAddress, isPacketUnicast } from "../base/ip.js";
import { type IprefAddress, readReference } from "../base/reference.js";
import {
  FLAG_PROVISIONAL,
  KIND_REMOTE,
  RECORD_CONTEXT,
  RECORD_LOCAL,
  RECORD_REFERENCE,
} from "../tables/address-table.js";
import type { MapperCore } from "./core.js";
import { KEY_CONTEXT, KEY_REFERENCE, RecordKey } from "./record-key.js";
import { MAPPER_OID, STATE_FROM_OUTSIDE } from "./records.js";
import type { Sweeper } from "./sweeper.js";

const PENDING = { status: "pending" } as const;

/** Mappings of remote hosts. */
export class RemoteMappings {
  readonly #core: MapperCore;
  readonly #sweeper: Sweeper;
  readonly #key = new RecordKey();
  readonly #probe = new RecordKey();
  readonly #localBytes: number;
  readonly #contextBytes: number;

  constructor(core: MapperCore, sweeper: Sweeper) {
    const { shape } = core.parts.records.table;
    this.#core = core;
    this.#sweeper = sweeper;
    this.#localBytes = shape.localVersion === 4 ? 4 : 16;
    this.#contextBytes = shape.tunnelVersion === 4 ? 4 : 16;
  }

  /** IPREF address behind an encoded address, for a packet from inside. */
  theirs(encoded: IpAddress): Lookup<IprefAddress> {
    const { records, contexts, nowSeconds } = this.#core.parts;
    const { table } = records;
    const record = table.findAnyByLocal(this.#key.set(encoded, undefined, 0n).view, 0);
    if (record === 0 || table.kind(record) !== KIND_REMOTE) {
      return this.#core.refuse("local-destination-unknown");
    }
    const number = table.numberOf(record);
    if (records.isHidden(number)) return PENDING;
    if (!records.isActive(number, nowSeconds())) {
      return this.#core.refuse("local-destination-unknown");
    }
    if (records.owners[number] === MAPPER_OID) {
      contexts.setContacted(records.contexts[number]!);
      if ((records.flags(number) & FLAG_PROVISIONAL) !== 0) this.#core.confirm(number);
    }
    this.#core.use(number);
    return { status: "found", value: this.#remoteOf(number) };
  }

  /** Encoded address for the source of a packet from outside. */
  encodedForPacket(remote: IprefAddress, mayCreate: boolean): Lookup<IpAddress> {
    const { records, nowSeconds } = this.#core.parts;
    const key = this.#key.set(undefined, remote.context, remote.reference);
    const number = this.#find(key);
    if (number !== 0 && records.isHidden(number)) return PENDING;
    if (number !== 0 && records.isActive(number, nowSeconds())) {
      this.#core.use(number);
      return { status: "found", value: this.#encodedOf(number) };
    }
    if (!mayCreate) return this.#core.refuse("icmp-quote-unknown");
    if (!isPacketUnicast(remote.context)) return this.#core.refuse("tunnel-source-not-unicast");
    const reason = this.#makeForPacket(key, number);
    return reason === undefined ? PENDING : this.#core.refuse(reason);
  }

  /**
   * Encoded address for a resolver: makes what is missing and confirms what is provisional. The
   * record number, whose batch is 0 when the address may be told; or why there is none. `key` holds
   * context and reference.
   */
  resolve(key: RecordKey, mayCreate: boolean): number | DropReason {
    const { records, contexts, nowSeconds } = this.#core.parts;
    const number = this.#find(key);
    if (number !== 0) {
      if (records.owners[number] !== MAPPER_OID) return number;
      contexts.setContacted(records.contexts[number]!);
      const isProvisional = (records.flags(number) & FLAG_PROVISIONAL) !== 0;
      if (!records.isHidden(number) && !records.isActive(number, nowSeconds())) {
        if (!mayCreate) return "mapping-rate";
        this.#core.revive(number, false);
      } else if (isProvisional) {
        this.#core.confirm(number);
        this.#core.hold(number);
      } else if (!records.isHidden(number)) this.#useForResolver(number);
      return number;
    }
    if (!mayCreate) return "mapping-rate";
    const context = contexts.numberOf(key.bytes, KEY_CONTEXT, this.#contextBytes);
    if (!contexts.mayResolve(context, this.#core.spaceSize)) {
      if (!this.#sweeper.reclaim(KIND_REMOTE, context, nowSeconds())) {
        contexts.releaseIfEmpty(context);
        return "mapping-quota";
      }
      return this.resolve(key, mayCreate);
    }
    contexts.setContacted(context);
    return this.#make(key, context, 0, 0);
  }

  /** A lookup extends the life like a packet does (2.6); that is stored before it is told. */
  #useForResolver(number: number): void {
    const { records } = this.#core.parts;
    const mark = records.marks[number];
    this.#core.use(number);
    if (records.marks[number] !== mark) this.#core.hold(number);
  }

  /** Encoded address of a record, copied. */
  #encodedOf(number: number): IpAddress {
    const { records } = this.#core.parts;
    const bytes = records.copyBytes(number, RECORD_LOCAL, this.#localBytes);
    return { version: records.table.shape.localVersion, bytes };
  }

  #remoteOf(number: number): IprefAddress {
    const { records } = this.#core.parts;
    const bytes = records.copyBytes(number, RECORD_CONTEXT, this.#contextBytes);
    const reference = records.copyBytes(number, RECORD_REFERENCE, 16);
    return {
      context: { version: records.table.shape.tunnelVersion, bytes },
      reference: readReference(reference, 0),
    };
  }

  #find(key: RecordKey): number {
    const { table } = this.#core.parts.records;
    const record = table.findAnyRemote(key.view, KEY_CONTEXT, KEY_REFERENCE);
    return record === 0 ? 0 : table.numberOf(record);
  }

  /** Makes or revives a provisional mapping; the reason when that is refused. */
  #makeForPacket(key: RecordKey, resting: number): DropReason | undefined {
    const { contexts, nowSeconds } = this.#core.parts;
    const now = nowSeconds();
    const context = contexts.numberOf(key.bytes, KEY_CONTEXT, this.#contextBytes);
    const verdict = contexts.mayCreate(context, this.#core.spaceSize, now);
    if (verdict === "mapping-rate") {
      contexts.releaseIfEmpty(context);
      return verdict;
    }
    if (resting !== 0) {
      this.#core.revive(resting, true);
      return undefined;
    }
    if (verdict === "mapping-quota") {
      if (!this.#sweeper.reclaim(KIND_REMOTE, context, now)) {
        contexts.releaseIfEmpty(context);
        return verdict;
      }
      // The context may have lost its last mapping and with it its number.
      const again = contexts.numberOf(key.bytes, KEY_CONTEXT, this.#contextBytes);
      return reasonOf(this.#make(key, again, FLAG_PROVISIONAL, STATE_FROM_OUTSIDE));
    }
    return reasonOf(this.#make(key, context, FLAG_PROVISIONAL, STATE_FROM_OUTSIDE));
  }

  /** A hidden record with a new encoded address; or why there is none (spec/mapper.md 3.6). */
  #make(key: RecordKey, context: number, flags: number, state: number): number | DropReason {
    const { space, records, contexts, nowSeconds, onEvent } = this.#core.parts;
    const { table } = records;
    const isFull = this.#core.remoteCount >= space.size || table.used >= table.shape.recordsMax;
    let owner = context;
    if (isFull && this.#sweeper.reclaim(KIND_REMOTE, 0, nowSeconds())) {
      owner = contexts.numberOf(key.bytes, KEY_CONTEXT, this.#contextBytes);
      if (flags === 0) contexts.setContacted(owner);
    }
    const encoded = this.#core.remoteCount < space.size ? this.#chooseEncoded() : undefined;
    if (encoded !== undefined) {
      key.bytes.fill(0, 0, KEY_CONTEXT);
      key.bytes.set(encoded.bytes);
      const number = this.#core.create(KIND_REMOTE, key, flags, state, owner);
      if (number !== 0) return number;
    }
    contexts.releaseIfEmpty(owner);
    const text = `No free encoded address: ${this.#core.remoteCount} of ${space.size} are in use`;
    onEvent({ level: "error", kind: "exhausted", text });
    return "encoded-address-exhausted";
  }

  #chooseEncoded(): IpAddress | undefined {
    const { space, records } = this.#core.parts;
    return space.choose((bytes) => {
      this.#probe.bytes.set(bytes);
      return records.table.findAnyByLocal(this.#probe.view, 0) === 0;
    });
  }
}

function reasonOf(result: number | DropReason): DropReason | undefined {
  return typeof result === "number" ? undefined : result;
}
