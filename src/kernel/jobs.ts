/**
 * Jobs of the kernel: the arguments of its larger functions, as 32-bit words at a byte offset (a
 * multiple of 4) of the shared memory. The caller fills the words named here; a kernel only reads
 * them. All offsets are byte offsets into the same memory.
 *
 * Segmentation cuts one super-packet into packets without moving its payload: each packet gets its
 * own header in a header slot, and its payload stays where it is (the system calls gather both).
 *
 *   header slot k:  template | TCP or UDP header of segment k         payload: in the super-packet
 *
 * Joining compares the datagrams of a batch, where they lie, with the first one of an open
 * super-packet, the head:
 *
 *   datagram:  tunnel header | TCP or UDP header | payload
 */

// Segmentation job.
/** Header that stands before layer 4 in every packet; offset (multiple of 4) and length (ditto). */
export const SEGMENT_TEMPLATE = 0;
export const SEGMENT_TEMPLATE_LENGTH = 1;
/** TCP or UDP header of the super-packet, a multiple of 4; the payload follows it. */
export const SEGMENT_LAYER4 = 2;
/** Its length: 20 to 60 and a multiple of 4 for TCP, 8 for UDP. */
export const SEGMENT_HEADER_LENGTH = 3;
/** Octets of payload of the whole super-packet; at least 1. */
export const SEGMENT_PAYLOAD_LENGTH = 4;
/** Octets of payload of each segment but the last; at least 1. */
export const SEGMENT_SIZE = 5;
/** Index of the first segment to build, and the most to build. */
export const SEGMENT_FIRST = 6;
export const SEGMENT_COUNT_MAX = 7;
/** First header slot (multiple of 4), and the distance of two slots (ditto). */
export const SEGMENT_TARGET = 8;
export const SEGMENT_DISTANCE = 9;
/** 6 (TCP) or 17 (UDP). */
export const SEGMENT_PROTOCOL = 10;
/**
 * What the checksum covers beside layer 4 and its length: a sum of little-endian words, below 2^20:
 * that of the protocol, and of the addresses where the form of the packet has them.
 */
export const SEGMENT_PSEUDO_SUM = 11;
export const SEGMENT_JOB_BYTES = 48;

// Joining job.
/** First datagram of the open super-packet, any alignment. Its TCP or UDP header is complete. */
export const JOIN_HEAD = 0;
/** First candidate, any alignment, and the octets from there to the end of its message. */
export const JOIN_OFFSET = 1;
export const JOIN_LENGTH = 2;
/** Octets of each datagram of the message but the last; at least 1. */
export const JOIN_SIZE = 3;
/** Octets of the tunnel header, of head and candidates alike; a multiple of 4. */
export const JOIN_TUNNEL_LENGTH = 4;
/** Octets of the TCP (20 to 60) or UDP (8) header of the head. */
export const JOIN_HEADER_LENGTH = 5;
/** Octets of payload of the head: no candidate may have more. */
export const JOIN_SEGMENT_SIZE = 6;
/** TCP: sequence number of the next octet, as a number (host order). */
export const JOIN_SEQUENCE = 7;
/** The most candidates to take. */
export const JOIN_COUNT_MAX = 8;
/** 6 (TCP) or 17 (UDP). */
export const JOIN_PROTOCOL = 9;
export const JOIN_JOB_BYTES = 40;

/** TCP flags (RFC 9293 3.1) that only the last, or only the first, segment of a packet keeps. */
export const TCP_FIN = 0x01;
export const TCP_PSH = 0x08;
export const TCP_ACK = 0x10;
export const TCP_CWR = 0x80;
