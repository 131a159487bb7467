/** Our hosts: address to reference and back (spec/mapper.md 3.2, 3.3, 3.8). */

import type { Lookup } from "../base/address-lookup.js";
import { type IpAddress, isGlobalUnicast, prefixContains } from "../base/ip.js";
import type { IprefAddress, Reference } from "../base/reference.js";
import { FLAG_MULTIPLE, FLAG_SECONDARY, KIND_LOCAL } from "../tables/address-table.js";
import { chooseReference } from "./allocator.js";
import type { MapperCore } from "./core.js";
import { KEY_REFERENCE, RecordKey } from "./record-key.js";
import type { Sweeper } from "./sweeper.js";

const PENDING = { status: "pending" } as const;

/** Mappings of our hosts. */
export class LocalMappings {
  readonly #core: MapperCore;
  readonly #sweeper: Sweeper;
  readonly #key = new RecordKey();

  constructor(core: MapperCore, sweeper: Sweeper) {
    this.#core = core;
    this.#sweeper = sweeper;
  }

  /** IPREF address of a host, towards `peer` if that is given. */
  ours(host: IpAddress, mayCreate: boolean, peer?: IpAddress): Lookup<IprefAddress> {
    const { records, hosts, nowSeconds } = this.#core.parts;
    const primary = hosts.primary(host);
    if (primary !== 0 && records.isHidden(primary)) return PENDING;
    if (primary !== 0 && records.isActive(primary, nowSeconds())) {
      const isMultiple = (records.flags(primary) & FLAG_MULTIPLE) !== 0;
      const chosen = isMultiple && peer !== undefined ? hosts.choiceOf(host, peer) : 0;
      const number = chosen !== 0 ? chosen : primary;
      this.#core.use(number);
      return { status: "found", value: this.#ours(hosts.referenceOf(number)) };
    }
    if (!mayCreate) return this.#core.refuse("icmp-quote-unknown");
    const { encodeNet } = this.#core.config;
    if (prefixContains(encodeNet, host)) return this.#core.refuse("local-source-encoded");
    if (!isGlobalUnicast(host)) return this.#core.refuse("local-source-not-unicast");
    if (primary !== 0) this.#core.revive(primary, false);
    else if (!this.#make(host)) return this.#core.refuse("reference-exhausted");
    return PENDING;
  }

  /** Address of the host with a reference. */
  host(reference: Reference): Lookup<IpAddress> {
    const { records, hosts, nowSeconds } = this.#core.parts;
    const number = this.find(reference);
    if (number === 0 || !records.isActive(number, nowSeconds())) {
      return this.#core.refuse("tunnel-reference-unknown");
    }
    this.#core.use(number);
    return { status: "found", value: hosts.hostOf(number) };
  }

  /** Record of a reference, in any state; 0 when there is none. */
  find(reference: Reference): number {
    const { table } = this.#core.parts.records;
    const key = this.#key.set(undefined, undefined, reference);
    const record = table.findAnyLocalByReference(key.view, KEY_REFERENCE);
    return record === 0 ? 0 : table.numberOf(record);
  }

  /** Notes which reference of a host a peer used; matters for hosts with several only. */
  noteContact(host: IpAddress, peer: IpAddress, reference: Reference): void {
    const { records, hosts, nowSeconds } = this.#core.parts;
    const primary = hosts.primary(host);
    if (primary === 0 || (records.flags(primary) & FLAG_MULTIPLE) === 0) return;
    const number = this.find(reference);
    if (number === 0 || !records.isActive(number, nowSeconds())) return;
    hosts.setChoice(host, peer, number, nowSeconds());
  }

  #ours(reference: Reference): IprefAddress {
    return { context: this.#core.config.publicAddress, reference };
  }

  #make(host: IpAddress): boolean {
    const { records, random, hosts, nowSeconds, onEvent } = this.#core.parts;
    const { table } = records;
    // Local hosts may fill half of the table (spec/tunnel.md S4), or what is free of it.
    const half = Math.ceil(table.shape.recordsMax / 2);
    if (this.#core.localCount >= half || table.used >= table.shape.recordsMax) {
      this.#sweeper.reclaim(KIND_LOCAL, 0, nowSeconds());
    }
    const reference =
      this.#core.localCount < half
        ? chooseReference(
            random,
            (value) => value !== this.#core.config.gatewayReference && this.find(value) === 0,
          )
        : undefined;
    if (reference !== undefined) {
      const key = this.#key.set(host, undefined, reference);
      const number = this.#core.create(KIND_LOCAL, key, FLAG_SECONDARY, 0, 0);
      if (number !== 0) {
        hosts.joined(host, number);
        return true;
      }
    }
    const text = `No free reference for a local host: ${this.#core.localCount} are in use`;
    onEvent({ level: "error", kind: "exhausted", text });
    return false;
  }
}
