/**
 * The records of a zone transfer, one after the other: AXFR (RFC 5936 2.2) and IXFR in both of its
 * forms (RFC 1995 4). Nothing partial ever comes out: a transfer is complete, unchanged or wrong.
 */

import type { Name } from "../wire/dns/name.js";
import { TYPE_SOA } from "../wire/dns/numbers.js";
import { type ResourceRecord, sameData } from "../wire/dns/record.js";
import {
  isOfInterest,
  type Soa,
  soaOf,
  type ZoneCopy,
  zoneCopyOf,
  zoneRecordKey,
} from "./zone-copy.js";

/** Where a transfer stands. */
export type ReadState =
  | { readonly kind: "more" }
  | { readonly kind: "done"; readonly copy: ZoneCopy; readonly isIncremental: boolean }
  | { readonly kind: "unchanged" }
  | { readonly kind: "fault"; readonly reason: string };

const MORE: ReadState = { kind: "more" };
const UNCHANGED: ReadState = { kind: "unchanged" };

function fault(reason: string): ReadState {
  return { kind: "fault", reason };
}

/** Reads one transfer. Give it each answer section in turn. */
export class TransferReader {
  readonly #zone: Name;
  /** What an incremental transfer starts from; undefined for AXFR. */
  readonly #base: ZoneCopy | undefined;
  #soa: Soa | undefined;
  #mode: "begin" | "second" | "full" | "deleting" | "adding" = "begin";
  readonly #full: ResourceRecord[] = [];
  readonly #changed: Map<string, ResourceRecord>;
  /** Serial that the additions being read lead to. */
  #stepSerial = 0;
  #isEnded = false;

  constructor(zone: Name, base: ZoneCopy | undefined) {
    this.#zone = zone;
    this.#base = base;
    this.#changed = new Map(base?.records);
  }

  /** Takes the answer section of the next message. */
  message(answer: readonly ResourceRecord[]): ReadState {
    let state: ReadState = MORE;
    for (const record of answer) {
      if (this.#isEnded) return fault("records follow the closing SOA");
      state = this.#record(record);
      if (state.kind === "fault") return state;
      this.#isEnded = state.kind !== "more";
    }
    return state.kind === "more" ? this.#endOfMessage(answer.length) : state;
  }

  /** A lone SOA that is not newer answers IXFR with "nothing has changed" (RFC 1995 2). */
  #endOfMessage(count: number): ReadState {
    if (count === 0) return fault("a message without records");
    const known = this.#base?.soa?.serial;
    const isAlone = this.#mode === "second" && count === 1;
    return isAlone && known !== undefined && this.#soa?.serial === known ? UNCHANGED : MORE;
  }

  #record(record: ResourceRecord): ReadState {
    const soa = record.type === TYPE_SOA ? soaOf(record) : undefined;
    if (record.type === TYPE_SOA && (soa === undefined || !record.owner.equals(this.#zone))) {
      return fault("an SOA of another zone");
    }
    switch (this.#mode) {
      case "begin":
        return this.#begin(soa);
      case "second":
        return this.#second(record, soa);
      case "full":
        return this.#inFull(record, soa);
      case "deleting":
        return this.#inDeletions(record, soa);
      default:
        return this.#inAdditions(record, soa);
    }
  }

  #begin(soa: Soa | undefined): ReadState {
    if (soa === undefined) return fault("it does not begin with an SOA");
    this.#soa = soa;
    this.#mode = this.#base?.soa === undefined ? "full" : "second";
    return MORE;
  }

  /** The record behind the first SOA of IXFR: another SOA starts differences. */
  #second(record: ResourceRecord, soa: Soa | undefined): ReadState {
    const known = this.#base!.soa!.serial;
    if (soa === undefined || (soa.serial === this.#soa!.serial && soa.serial !== known)) {
      this.#mode = "full";
      return this.#inFull(record, soa);
    }
    if (soa.serial !== known) return fault("the differences start from another serial");
    this.#mode = "deleting";
    return MORE;
  }

  #inFull(record: ResourceRecord, soa: Soa | undefined): ReadState {
    if (soa === undefined) {
      if (isOfInterest(record) && record.owner.isWithin(this.#zone)) this.#full.push(record);
      return MORE;
    }
    if (!sameData(record.data, this.#soa!.record.data)) {
      return fault("the closing SOA differs from the first one");
    }
    return { kind: "done", copy: zoneCopyOf(this.#soa, this.#full), isIncremental: false };
  }

  #inDeletions(record: ResourceRecord, soa: Soa | undefined): ReadState {
    if (soa !== undefined) {
      this.#stepSerial = soa.serial;
      this.#mode = "adding";
      return MORE;
    }
    if (!isOfInterest(record) || !record.owner.isWithin(this.#zone)) return MORE;
    const isKnown = this.#changed.delete(zoneRecordKey(record));
    return isKnown ? MORE : fault("a record is deleted that is not there");
  }

  #inAdditions(record: ResourceRecord, soa: Soa | undefined): ReadState {
    if (soa === undefined) {
      if (isOfInterest(record) && record.owner.isWithin(this.#zone)) {
        this.#changed.set(zoneRecordKey(record), record);
      }
      return MORE;
    }
    if (soa.serial !== this.#stepSerial) return fault("the differences are out of sequence");
    if (soa.serial !== this.#soa!.serial) {
      this.#mode = "deleting";
      return MORE;
    }
    const copy = { soa: this.#soa, records: this.#changed };
    return { kind: "done", copy, isIncremental: true };
  }
}
