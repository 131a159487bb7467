/**
 * UDP header, RFC 768.
 *
 *   0-1  source port    2-3  destination port    4-5  length    6-7  checksum (0: none)
 */

export const UDP_SOURCE_PORT_OFFSET = 0;
export const UDP_DESTINATION_PORT_OFFSET = 2;
export const UDP_LENGTH_OFFSET = 4;
export const UDP_CHECKSUM_OFFSET = 6;
export const UDP_HEADER_LENGTH = UDP_CHECKSUM_OFFSET + 2;

/** "No checksum" (RFC 768). */
export const UDP_NO_CHECKSUM = 0;
/** How a checksum that computes to zero is stored (RFC 768). */
export const UDP_ZERO_CHECKSUM = 0xffff;

export function udpLength(view: DataView, offset: number): number {
  return view.getUint16(offset + UDP_LENGTH_OFFSET);
}

export function udpChecksum(view: DataView, offset: number): number {
  return view.getUint16(offset + UDP_CHECKSUM_OFFSET);
}
