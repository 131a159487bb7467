/**
 * Traffic of each remote gateway in shared memory: one block for each thread that counts, so that
 * every counter has a single writer, as in counters.ts. A block has a record of 16 bytes for each
 * entry of the peer table: packets and octets of tunnel packets (without the outer IP and UDP
 * headers), as doubles. The main thread and egress workers count what was sent, ingress workers
 * what was received. Record 0 takes what belongs to no entry.
 *
 * Nothing is ever set back to zero: the main thread, the only reader, notes what the counters show
 * when an entry gets a new owner, and subtracts it.
 */

import { assert } from "../base/assert.js";

const RECORD_DOUBLES = 2;
const CACHE_LINE_BYTES = 64;

function blockBytes(peersMax: number): number {
  const bytes = 8 * RECORD_DOUBLES * (peersMax + 1);
  return Math.ceil(bytes / CACHE_LINE_BYTES) * CACHE_LINE_BYTES;
}

/** Octets of the blocks of `writers` threads. */
export function peerTrafficBytes(peersMax: number, writers: number): number {
  return writers * blockBytes(peersMax);
}

function blockView(
  memory: ArrayBufferLike,
  baseOffset: number,
  peersMax: number,
  writer: number,
): Float64Array {
  assert(baseOffset % 8 === 0, "peer traffic is aligned to 8 octets");
  const offset = baseOffset + writer * blockBytes(peersMax);
  return new Float64Array(memory, offset, RECORD_DOUBLES * (peersMax + 1));
}

/** The block of one thread; `writer` numbers threads as the counter blocks do. */
export class PeerTrafficBlock {
  readonly #values: Float64Array;

  constructor(memory: ArrayBufferLike, baseOffset: number, peersMax: number, writer: number) {
    this.#values = blockView(memory, baseOffset, peersMax, writer);
  }

  /** Counts packets of a peer entry. */
  add(entry: number, packets: number, octets: number): void {
    this.#values[RECORD_DOUBLES * entry]! += packets;
    this.#values[RECORD_DOUBLES * entry + 1]! += octets;
  }
}

/** Sums of one remote gateway since its entry was made. */
export interface PeerTraffic {
  readonly sentPackets: number;
  readonly sentBytes: number;
  readonly receivedPackets: number;
  readonly receivedBytes: number;
}

/** Sums over all blocks; the main thread. Block 0 is the main thread's, then a pair each lane. */
export class PeerTrafficReader {
  readonly #blocks: readonly Float64Array[];
  /** Four sums for each entry: what the counters showed when its owner came. */
  readonly #starts: Float64Array;

  constructor(memory: ArrayBufferLike, baseOffset: number, peersMax: number, writers: number) {
    this.#blocks = Array.from({ length: writers }, (_, writer) =>
      blockView(memory, baseOffset, peersMax, writer),
    );
    this.#starts = new Float64Array(4 * (peersMax + 1));
  }

  /** An entry has a new owner, whose sums begin at zero. */
  begin(entry: number): void {
    for (let field = 0; field < 4; field++) {
      this.#starts[4 * entry + field] = this.#sum(entry, field);
    }
  }

  /** What the owner of an entry was sent and sent us. */
  read(entry: number): PeerTraffic {
    const value = (field: number) => this.#sum(entry, field) - this.#starts[4 * entry + field]!;
    return {
      sentPackets: value(0),
      sentBytes: value(1),
      receivedPackets: value(2),
      receivedBytes: value(3),
    };
  }

  /** Field 0, 1: packets and octets sent; 2, 3: received. */
  #sum(entry: number, field: number): number {
    const blocks = this.#blocks;
    const isSent = field < 2;
    const place = RECORD_DOUBLES * entry + (field % 2);
    let sum = isSent ? blocks[0]![place]! : 0;
    for (let writer = isSent ? 1 : 2; writer < blocks.length; writer += 2) {
      sum += blocks[writer]![place]!;
    }
    return sum;
  }
}
