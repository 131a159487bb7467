/**
 * ICMP (RFC 792) and ICMPv6 (RFC 4443), the 8 octets in front of every message.
 *
 *   0  type    1  code    2-3  checksum
 *   4-7  echo: identifier and sequence number; too big: MTU (ICMP: octets 6-7); else unused
 *   8-   echo: data; error: the quoted packet
 *
 * RFC 4884 puts the length of the quote into octet 5 (ICMP, units of 4 octets) or octet 4 (ICMPv6,
 * units of 8 octets) when an extension follows it.
 */

export const ICMP_TYPE_OFFSET = 0;
export const ICMP_CODE_OFFSET = 1;
export const ICMP_CHECKSUM_OFFSET = 2;
export const ICMP_IDENTIFIER_OFFSET = 4;
export const ICMP_SEQUENCE_OFFSET = 6;
/** The 16 bits of the MTU; ICMPv6 has 16 more in front of them. */
export const ICMP_MTU_OFFSET = 6;
export const ICMP_HEADER_LENGTH = 8;

/** RFC 4884 4.1, 4.2: octets of the quote's length in ICMP and in ICMPv6. */
export const ICMP_QUOTE_LENGTH_OFFSET = 5;
export const ICMP_QUOTE_LENGTH_UNIT = 4;
export const ICMPV6_QUOTE_LENGTH_OFFSET = 4;
export const ICMPV6_QUOTE_LENGTH_UNIT = 8;
/** RFC 4884 3: a quote in front of an extension has at least this many octets. */
export const ICMP_EXTENDED_QUOTE_MIN = 128;

/** ICMP types (RFC 792). */
export const ICMP_ECHO_REPLY = 0;
export const ICMP_UNREACHABLE = 3;
export const ICMP_ECHO_REQUEST = 8;
export const ICMP_TIME_EXCEEDED = 11;
/** Code of "fragmentation needed" (RFC 792). */
export const ICMP_FRAGMENTATION_NEEDED = 4;

/** ICMPv6 types (RFC 4443). */
export const ICMPV6_UNREACHABLE = 1;
export const ICMPV6_PACKET_TOO_BIG = 2;
export const ICMPV6_TIME_EXCEEDED = 3;
export const ICMPV6_ECHO_REQUEST = 128;
export const ICMPV6_ECHO_REPLY = 129;
