/**
 * TCP and UDP, spec/tunnel.md 4.2 and 4.3. The checksum on the wire leaves the addresses out
 * (4.1), so one direction takes the words of the native addresses out of it and the other puts
 * them in. Every function takes the layer-4 data by loan and answers with a translated copy.
 */

import { readU16, writeU16 } from "../wire/bytes.js";
import { addSums, invertSum, pseudoHeaderSum, subtractSums, sumBytes } from "../wire/checksum.js";
import {
  isLaterFragment,
  isWholeDatagram,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from "../wire/packet-fields.js";
import { TCP_CHECKSUM_END, TCP_CHECKSUM_OFFSET, TCP_HEADER_LENGTH } from "../wire/tcp.js";
import {
  UDP_CHECKSUM_OFFSET,
  UDP_HEADER_LENGTH,
  UDP_LENGTH_OFFSET,
  UDP_NO_CHECKSUM,
  UDP_ZERO_CHECKSUM,
} from "../wire/udp.js";
import { dropped, type Layer4Input, type Layer4Result, translated } from "./layer4-input.js";

/** TCP, spec/tunnel.md 4.2. */
export function translateTcp(input: Layer4Input): Layer4Result {
  const { payload, fragment, isQuote } = input;
  const start = fragment?.offset ?? 0;
  const end = start + payload.length;
  if (!isQuote && fragment === undefined && payload.length < TCP_HEADER_LENGTH) {
    return dropped("tcp-too-short");
  }
  if (start >= TCP_CHECKSUM_END || end <= TCP_CHECKSUM_OFFSET) return translated(payload.slice());
  if (end < TCP_CHECKSUM_END) {
    return isQuote ? translated(payload.slice()) : dropped("tcp-too-short");
  }
  const copy = payload.slice();
  adjustTcp(copy, TCP_CHECKSUM_OFFSET - start, input);
  return translated(copy);
}

/**
 * Zero is an ordinary TCP checksum. Into the tunnel it is never written, because the reference
 * skips it; out of the tunnel it is computed anew where the whole segment is there (4.2).
 */
function adjustTcp(segment: Uint8Array, position: number, input: Layer4Input): void {
  const stored = readU16(segment, position);
  if (input.direction === "to-tunnel") {
    const checksum = invertSum(subtractSums(invertSum(stored), input.addressSum));
    writeU16(segment, position, checksum === 0 ? 0xffff : checksum);
  } else if (stored === 0 && !input.isQuote && input.fragment === undefined) {
    writeU16(segment, position, 0);
    const header = pseudoHeaderSum(input.addressSum, segment.length, PROTOCOL_TCP);
    writeU16(segment, position, invertSum(sumBytes(segment, 0, segment.length, header)));
  } else {
    writeU16(segment, position, invertSum(addSums(invertSum(stored), input.addressSum)));
  }
}

/** UDP, spec/tunnel.md 4.3. */
export function translateUdp(input: Layer4Input): Layer4Result {
  const { payload, fragment } = input;
  if (isLaterFragment(fragment)) return translated(payload.slice());
  if (payload.length < UDP_HEADER_LENGTH) return dropped("udp-too-short");
  const copy = payload.slice();
  const stored = readU16(copy, UDP_CHECKSUM_OFFSET);
  if (stored === UDP_NO_CHECKSUM) return translateUdpWithoutChecksum(copy, input);
  const sum = invertSum(stored === UDP_ZERO_CHECKSUM ? 0 : stored);
  const adjust = input.direction === "to-tunnel" ? subtractSums : addSums;
  writeUdpChecksum(copy, adjust(sum, input.addressSum));
  return translated(copy);
}

/** IPv6 hosts discard UDP without checksum (RFC 8200 8.1), so one is made (4.3). */
function translateUdpWithoutChecksum(datagram: Uint8Array, input: Layer4Input): Layer4Result {
  const isChecksumNeeded = input.direction === "to-native" && input.localVersion === 6;
  if (!isChecksumNeeded || input.isQuote) return translated(datagram);
  if (!isWholeDatagram(input.fragment)) return dropped("udp-fragment-no-checksum");
  if (readU16(datagram, UDP_LENGTH_OFFSET) !== datagram.length) return dropped("udp-bad-length");
  const header = pseudoHeaderSum(input.addressSum, datagram.length, PROTOCOL_UDP);
  writeUdpChecksum(datagram, sumBytes(datagram, 0, datagram.length, header));
  return translated(datagram);
}

function writeUdpChecksum(datagram: Uint8Array, sum: number): void {
  const checksum = invertSum(sum);
  writeU16(
    datagram,
    UDP_CHECKSUM_OFFSET,
    checksum === UDP_NO_CHECKSUM ? UDP_ZERO_CHECKSUM : checksum,
  );
}
