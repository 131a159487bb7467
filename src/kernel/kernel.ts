/**
 * The kernel: the work per byte and per look-up that is worth another implementation (design.md:
 * "the kernel is an interface"). All arguments are byte offsets into one memory, shared by the
 * tables and the packet slabs. No function allocates. Look-ups answer as AddressTableReader does:
 * the offset of a record, 0 for a miss.
 */
export interface Kernel {
  /**
   * One's complement sum of the bytes as 16-bit little-endian words, an odd last byte padded with
   * zero on the right, folded to 16 bits. Sums in either byte order are each other's byte swap
   * (RFC 1071 2(B)).
   */
  sum(offset: number, length: number): number;
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
