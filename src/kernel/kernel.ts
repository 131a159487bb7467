/** The interface between the forwarding loops and the work that has several implementations. */

import type { Translator } from "./translator.js";

/**
 * The kernel: the work per byte and per look-up that is worth another implementation (design.md:
 * "the kernel is an interface"). All arguments are byte offsets into one memory, shared by the
 * tables and the packet slabs. No function allocates. Look-ups answer as AddressTableReader does:
 * the offset of a record, 0 for a miss.
 */
export interface Kernel {
  /** Translation of whole packets; without it forward/ does that alone. */
  readonly translator?: Translator;
  /**
   * One's complement sum of the bytes as 16-bit little-endian words, an odd last byte padded with
   * zero on the right, folded to 16 bits. Sums in either byte order are each other's byte swap
   * (RFC 1071 2(B)).
   */
  sum(offset: number, length: number): number;
  /**
   * Builds the headers of segments of a super-packet in header slots, for the segmentation job at
   * `job` (jobs.ts); returns how many. Segment k carries `size` octets of payload from k * size
   * on, the last one the rest. Its header is the template, then the TCP or UDP header with
   *  - TCP: the sequence number advanced by k * size; FIN and PSH only in the last segment, CWR
   *    only in the first;
   *  - UDP: the length of the segment;
   *  - a complete checksum over the pseudo sum, the length of layer 4, header and payload: 0001 to
   *    ffff, never 0000.
   * Reads the super-packet and changes nothing in it.
   */
  segmentInto(job: number): number;
  /**
   * How many datagrams in a row, from the first candidate on, continue the open super-packet of the
   * joining job at `job` (jobs.ts). A candidate continues it when all of this holds:
   *  - its tunnel header has the octets of the head's; its payload is 1 to `segment size` octets;
   *  - TCP: the header has the octets of the head's, options included, but for sequence number,
   *    PSH and checksum; the sequence number is the next one;
   *  - UDP: both ports are the head's, the length field is right, the checksum is not 0000;
   *  - its checksum is right (spec/tunnel.md 4.1: no addresses).
   * A candidate with PSH or with less payload than `segment size` is the last that is counted.
   * Changes nothing, and reads nothing behind the message. The head itself is not verified.
   */
  joinable(job: number): number;
  /** Copies bytes; the areas may overlap. */
  copy(target: number, source: number, length: number): void;
  /** REMOTE or primary LOCAL record of an address. */
  findByLocal(addressOffset: number): number;
  /** REMOTE record of a context and a reference of 16 bytes. */
  findRemote(contextOffset: number, referenceOffset: number): number;
  /** LOCAL record of a reference of 16 bytes. */
  findLocalByReference(referenceOffset: number): number;
  /** PAIR record of one of our hosts and an encoded address. */
  findPair(localOffset: number, encodedOffset: number): number;
}
