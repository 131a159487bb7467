/**
 * TCP header, RFC 9293 3.1, as far as translation looks at it.
 *
 *   0-1  source port    2-3  destination port    4-7  sequence number    8-11  acknowledgment
 *   12   data offset    13   flags               14-15  window           16-17  checksum
 *   18-19  urgent pointer
 */

export const TCP_CHECKSUM_OFFSET = 16;
/** First octet behind the checksum. */
export const TCP_CHECKSUM_END = TCP_CHECKSUM_OFFSET + 2;
/** Length of a header without options. */
export const TCP_HEADER_LENGTH = TCP_CHECKSUM_END + 2;

export function tcpChecksum(view: DataView, offset: number): number {
  return view.getUint16(offset + TCP_CHECKSUM_OFFSET);
}
