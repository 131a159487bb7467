/**
 * Numbers of the peer table's entries; what they mean: peer-table.ts. Constants only: the
 * WebAssembly kernel is compiled with this file as well.
 */

/** Octets of one entry. */
export const PEER_BYTES = 64;

export const PEER_SEQUENCE = 0;
export const PEER_FLAGS = 4;
export const PEER_LAST_RECEIVED = 8;
export const PEER_LAST_SENT = 12;
export const PEER_PORT = 16;
export const PEER_PACKET_BYTES_MAX = 20;
export const PEER_ADDRESS = 32;

/** The entry is taken. */
export const PEER_IN_USE = 1;
/** The remote has proven itself: workers may take packets that come from `port`. */
export const PEER_VERIFIED = 2;
/** Nothing is to be learned from the next packet sent: workers may send to `port`. */
export const PEER_SETTLED = 4;
