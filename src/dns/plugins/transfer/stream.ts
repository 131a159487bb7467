/**
 * A zone as a stream of messages (RFC 5936 2.2): SOA, apex NS, all others, SOA. Messages of at most
 * 16 KiB, so that every compression pointer reaches (spec/resolver.md 3.5).
 */

import { ANSWER_COUNT_OFFSET, MessageBuilder, OPT_LENGTH } from "../../../wire/dns/builder.js";
import { FLAG_AA, FLAG_QR, FLAG_RD, MESSAGE_MAX_BYTES } from "../../../wire/dns/numbers.js";
import type { ResourceRecord } from "../../../wire/dns/record.js";
import type { StreamAnswer } from "../../answer.js";
import type { Query } from "../../query.js";
import type { ZoneVersion } from "../../zone/source.js";

const MESSAGE_BYTES = 16_384;

/** What a transfer amounted to. */
export interface TransferSummary {
  readonly records: number;
  readonly bytes: number;
  readonly isComplete: boolean;
}

/** The stream for a query; `onClose` is called once. */
export function transferStream(
  query: Query,
  version: ZoneVersion,
  onClose: (summary: TransferSummary) => void,
): StreamAnswer {
  const pump = new TransferPump(query, version);
  let isOpen = true;
  return {
    kind: "stream",
    rcode: 0,
    flags: FLAG_AA,
    isStorable: false,
    ttlSecondsMax: 0x7fff_ffff,
    extendedError: undefined,
    cause: undefined,
    nextInto: (target) => pump.nextInto(target),
    close: () => {
      if (isOpen) onClose(pump.summary());
      isOpen = false;
    },
  };
}

/** Records of the whole transfer, the final SOA included. */
function* transferRecords(version: ZoneVersion): Generator<ResourceRecord> {
  yield* version.transferRecords();
  yield version.soa;
}

class TransferPump {
  readonly #query: Query;
  readonly #records: Iterator<ResourceRecord>;
  readonly #builder = new MessageBuilder(true);
  #pending: ResourceRecord | undefined;
  #isFirst = true;
  #recordCount = 0;
  #byteCount = 0;

  constructor(query: Query, version: ZoneVersion) {
    this.#query = query;
    this.#records = transferRecords(version)[Symbol.iterator]();
    this.#pending = this.#take();
  }

  summary(): TransferSummary {
    const isComplete = this.#pending === undefined;
    return { records: this.#recordCount, bytes: this.#byteCount, isComplete };
  }

  nextInto(target: Uint8Array): number {
    if (this.#pending === undefined) return 0;
    // A record larger than the usual message gets one of its own.
    const length = this.#fill(target, MESSAGE_BYTES) || this.#fill(target, MESSAGE_MAX_BYTES);
    this.#isFirst = false;
    this.#byteCount += length;
    return length;
  }

  #take(): ResourceRecord | undefined {
    const next = this.#records.next();
    return next.done === true ? undefined : next.value;
  }

  /** Writes one message of at most `limit` octets; 0 when not even one record fits. */
  #fill(target: Uint8Array, limit: number): number {
    const query = this.#query;
    const hasOpt = this.#isFirst && query.hasEdns;
    const builder = this.#builder;
    const flags = FLAG_QR | FLAG_AA | (query.flags & FLAG_RD);
    builder.begin(target, limit - (hasOpt ? OPT_LENGTH : 0), query.id, flags);
    if (this.#isFirst) builder.question(query.name, query.type, query.class);
    let written = 0;
    while (this.#pending !== undefined && builder.record(ANSWER_COUNT_OFFSET, this.#pending)) {
      written++;
      this.#pending = this.#take();
    }
    if (written === 0) return 0;
    this.#recordCount += written;
    if (hasOpt) {
      builder.extend(OPT_LENGTH);
      builder.opt(0, query.isDnssecOk);
    }
    return builder.length;
  }
}
