/**
 * The look-ups of packets without their effects (spec/mapper.md 3.2, 3.3): nothing is created,
 * revived, confirmed, refreshed, stamped or counted. What a real packet would create is answered
 * with a stand-in of the right length, and look-ups of the stand-in lead back to where it came
 * from. One object for one packet; main thread.
 */

import type { AddressLookup, Lookup } from "../base/address-lookup.js";
import type { DropReason } from "../base/drop-reason.js";
import {
  type IpAddress,
  isGlobalUnicast,
  isPacketUnicast,
  prefixContains,
  sameAddress,
} from "../base/ip.js";
import { formatReference, type IprefAddress, type Reference } from "../base/reference.js";
import { FLAG_MULTIPLE, KIND_LOCAL, KIND_REMOTE } from "../tables/address-table.js";
import type { MapperCore } from "./core.js";
import { KEY_CONTEXT, KEY_REFERENCE, RecordKey } from "./record-key.js";
import { type MappingView, viewOf } from "./status.js";
import type { Sweeper } from "./sweeper.js";

/** A reference of the length that the mapper gives: 56 bits, 8 octets on the wire (3.4). */
const REFERENCE_STAND_IN = 0xff_ffff_ffff_ffffn;

/** What one look-up found. */
export interface PreviewFinding {
  /** `ours`: a local host. `theirs`: a remote one. */
  readonly role: "ours" | "theirs";
  /** Which way: from the address in local packets to the IPREF address, or back. */
  readonly from: "native" | "ipref";
  /** `created`, `revived`: a packet would do that, and wait for the store. */
  readonly outcome: "found" | "created" | "revived" | "refused";
  /** Who would have made it: the packet, or a resolver before the packet. */
  readonly by: "packet" | "resolver";
  /** Undefined where the mapper would choose it, or there is none. */
  readonly native: IpAddress | undefined;
  readonly ipref: IprefAddress | undefined;
  readonly mapping: MappingView | undefined;
  readonly reason: DropReason | undefined;
}

/** Told each finding. */
export type PreviewObserver = (finding: PreviewFinding) => void;

type Side = Pick<PreviewFinding, "role" | "from"> & {
  readonly by?: "resolver";
  readonly native?: IpAddress;
  readonly ipref?: IprefAddress;
};

/** The mapper as one packet would meet it. */
export class MapperPreview implements AddressLookup {
  readonly #core: MapperCore;
  readonly #sweeper: Sweeper;
  readonly #observe: PreviewObserver;
  readonly #key = new RecordKey();
  /** Remote host that the address stand-in stands for. */
  #standsFor: IprefAddress | undefined;

  constructor(core: MapperCore, sweeper: Sweeper, observe: PreviewObserver) {
    this.#core = core;
    this.#sweeper = sweeper;
    this.#observe = observe;
  }

  /** The address that stands for one that the mapper would choose: the last one of the net. */
  get addressStandIn(): IpAddress {
    const { address, bits } = this.#core.config.encodeNet;
    const bytes = address.bytes.map((byte, index) => {
      const ones = Math.min(8, Math.max(0, bits - 8 * index));
      return byte | (0xff >> ones);
    });
    return { version: address.version, bytes };
  }

  /** The reference that stands for one that the mapper would choose, as text. */
  get referenceStandInText(): string {
    return formatReference(REFERENCE_STAND_IN);
  }

  oursToIpref(host: IpAddress, mayCreate: boolean, peer?: IpAddress): Lookup<IprefAddress> {
    const side: Side = { role: "ours", from: "native", native: host };
    const { records, hosts, nowSeconds } = this.#core.parts;
    const primary = hosts.primary(host);
    const isUsable = primary !== 0 && records.isActive(primary, nowSeconds());
    if (primary !== 0 && (isUsable || records.isHidden(primary))) {
      const isMultiple = (records.flags(primary) & FLAG_MULTIPLE) !== 0;
      const chosen = isMultiple && peer !== undefined ? hosts.choiceOf(host, peer) : 0;
      const number = chosen !== 0 ? chosen : primary;
      return this.#found(side, number, this.#ours(hosts.referenceOf(number)));
    }
    if (!mayCreate) return this.#refused(side, "icmp-quote-unknown");
    if (prefixContains(this.#core.config.encodeNet, host)) {
      return this.#refused(side, "local-source-encoded");
    }
    if (!isGlobalUnicast(host)) return this.#refused(side, "local-source-not-unicast");
    if (primary !== 0) {
      return this.#found(side, primary, this.#ours(hosts.referenceOf(primary)));
    }
    if (!this.#hasReference()) return this.#refused(side, "reference-exhausted");
    return this.#created(side, this.#ours(REFERENCE_STAND_IN));
  }

  theirsToIpref(encoded: IpAddress): Lookup<IprefAddress> {
    const side: Side = { role: "theirs", from: "native", native: encoded };
    if (this.#standsFor !== undefined && sameAddress(encoded, this.addressStandIn)) {
      return { status: "found", value: this.#standsFor };
    }
    const { records, nowSeconds } = this.#core.parts;
    const { table } = records;
    const record = table.findAnyByLocal(this.#key.set(encoded, undefined, 0n).view, 0);
    const isRemote = record !== 0 && table.kind(record) === KIND_REMOTE;
    if (!isRemote) return this.#refused(side, "local-destination-unknown");
    const number = table.numberOf(record);
    if (!records.isHidden(number) && !records.isActive(number, nowSeconds())) {
      return this.#refused(side, "local-destination-unknown", viewOf(this.#core, number));
    }
    const { context, reference } = viewOf(this.#core, number);
    return this.#found(side, number, { context, reference });
  }

  iprefToTheirs(remote: IprefAddress, mayCreate: boolean): Lookup<IpAddress> {
    const side: Side = { role: "theirs", from: "ipref", ipref: remote };
    const { records, nowSeconds } = this.#core.parts;
    const number = this.#remoteRecord(remote);
    const isKnown =
      number !== 0 && (records.isHidden(number) || records.isActive(number, nowSeconds()));
    if (isKnown) return this.#found(side, number, viewOf(this.#core, number).address);
    if (!mayCreate) return this.#refused(side, "icmp-quote-unknown");
    if (!isPacketUnicast(remote.context)) return this.#refused(side, "tunnel-source-not-unicast");
    const reason = this.#whyNoAddress(remote, number);
    if (reason !== undefined) return this.#refused(side, reason);
    if (number !== 0) return this.#found(side, number, viewOf(this.#core, number).address);
    return this.#created(side, this.#standIn(remote));
  }

  iprefToOurs(address: IprefAddress): Lookup<IpAddress> {
    const side: Side = { role: "ours", from: "ipref", ipref: address };
    const { records, hosts, nowSeconds } = this.#core.parts;
    const number = this.#referenceRecord(address.reference);
    if (number === 0 || !records.isActive(number, nowSeconds())) {
      const mapping = number === 0 ? undefined : viewOf(this.#core, number);
      return this.#refused(side, "tunnel-reference-unknown", mapping);
    }
    return this.#found(side, number, hosts.hostOf(number));
  }

  /** Nothing is noted. */
  noteContact(): void {}

  /**
   * Encoded address that a resolver is given for a remote host (spec/mapper.md 2.6): the known one,
   * or a stand-in for one that it would make.
   */
  forResolver(remote: IprefAddress): Lookup<IpAddress> {
    const side: Side = { role: "theirs", from: "ipref", ipref: remote, by: "resolver" };
    const number = this.#remoteRecord(remote);
    if (number !== 0) return this.#found(side, number, viewOf(this.#core, number).address);
    if (!isPacketUnicast(remote.context) || remote.reference === 0n) {
      return this.#refused(side, "tunnel-reference-unknown");
    }
    return this.#created(side, this.#standIn(remote));
  }

  #ours(reference: Reference): IprefAddress {
    return { context: this.#core.config.publicAddress, reference };
  }

  #standIn(remote: IprefAddress): IpAddress {
    this.#standsFor = remote;
    return this.addressStandIn;
  }

  #remoteRecord(remote: IprefAddress): number {
    const { table } = this.#core.parts.records;
    const key = this.#key.set(undefined, remote.context, remote.reference);
    const record = table.findAnyRemote(key.view, KEY_CONTEXT, KEY_REFERENCE);
    return record === 0 ? 0 : table.numberOf(record);
  }

  #referenceRecord(reference: Reference): number {
    const { table } = this.#core.parts.records;
    const key = this.#key.set(undefined, undefined, reference);
    const record = table.findAnyLocalByReference(key.view, KEY_REFERENCE);
    return record === 0 ? 0 : table.numberOf(record);
  }

  /** Half of the table is for local hosts, or what is free of it (spec/tunnel.md S4). */
  #hasReference(): boolean {
    const { records, nowSeconds } = this.#core.parts;
    const { table } = records;
    const half = Math.ceil(table.shape.recordsMax / 2);
    const isFull = this.#core.localCount >= half || table.used >= table.shape.recordsMax;
    return !isFull || this.#sweeper.mayReclaim(KIND_LOCAL, 0, nowSeconds());
  }

  /** Why a packet of this remote host would be given no encoded address; `resting` 0: no record. */
  #whyNoAddress({ context }: IprefAddress, resting: number): DropReason | undefined {
    const { contexts, records, space, nowSeconds } = this.#core.parts;
    const now = nowSeconds();
    const { bytes } = context;
    const verdict = contexts.wouldCreate(bytes, 0, bytes.length, this.#core.spaceSize, now);
    if (verdict === "mapping-rate") return verdict;
    if (resting !== 0) return undefined;
    const own = contexts.peekNumber(bytes, 0, bytes.length);
    if (verdict === "mapping-quota") {
      const mayReclaim = own !== 0 && this.#sweeper.mayReclaim(KIND_REMOTE, own, now);
      return mayReclaim ? undefined : verdict;
    }
    const { table } = records;
    const isFull = this.#core.remoteCount >= space.size || table.used >= table.shape.recordsMax;
    const hasRoom = !isFull || this.#sweeper.mayReclaim(KIND_REMOTE, 0, now);
    return hasRoom ? undefined : "encoded-address-exhausted";
  }

  #found<Value extends IpAddress | IprefAddress>(
    side: Side,
    number: number,
    value: Value,
  ): Lookup<Value> {
    const mapping = viewOf(this.#core, number);
    const outcome = mapping.state === "resting" ? "revived" : "found";
    this.#tell(side, outcome, value, mapping);
    return { status: "found", value };
  }

  #created<Value extends IpAddress | IprefAddress>(side: Side, value: Value): Lookup<Value> {
    this.#tell(side, "created", undefined, undefined);
    return { status: "found", value };
  }

  #refused(side: Side, reason: DropReason, mapping?: MappingView) {
    this.#tell(side, "refused", undefined, mapping, reason);
    return { status: "refused", reason } as const;
  }

  #tell(
    side: Side,
    outcome: PreviewFinding["outcome"],
    value: IpAddress | IprefAddress | undefined,
    mapping: MappingView | undefined,
    reason?: DropReason,
  ): void {
    const isIpref = value !== undefined && "reference" in value;
    this.#observe({
      role: side.role,
      from: side.from,
      by: side.by ?? "packet",
      outcome,
      native: side.native ?? (isIpref ? undefined : value),
      ipref: side.ipref ?? (isIpref ? value : undefined),
      mapping,
      reason,
    });
  }
}
