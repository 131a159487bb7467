/**
 * Translation of whole batches by a kernel: the fast path of forward/fast-egress.ts and
 * forward/fast-ingress.ts once more, for kernels that are faster at it. Same decisions, same bytes;
 * what a translator does not know it leaves to those files, untouched.
 *
 * Constants only: the WebAssembly kernel is compiled with this file as well. An egress job is an
 * array of entries of TRANSLATION_BYTES, four 32-bit words each, at a byte offset (a multiple of 4)
 * of the shared memory.
 */

/** Given: offset of a native packet (a multiple of 4), and its length. */
export const ENTRY_OFFSET = 0;
export const ENTRY_LENGTH = 1;
/** Filled: offset of the tunnel packet, which ends where the native one does; or RESULT_…. */
export const ENTRY_RESULT = 2;
/** Filled with a tunnel packet: UDP port of the remote gateway. */
export const ENTRY_PORT = 3;

/** The slow path must take the packet, which is as it was, but for a completed checksum. */
export const RESULT_HAND_OVER = 0;
/** Not judged and not touched: a super-packet, or a bad device header. */
export const RESULT_UNKNOWN = -1;

/** Octets of the device header in front of a packet. */
export const DEVICE_HEADER_BYTES = 10;
