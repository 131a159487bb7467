/** Looking for datagrams that can be joined; twin of ../joining.ts. */

import {
  JOIN_COUNT_MAX,
  JOIN_HEAD,
  JOIN_HEADER_LENGTH,
  JOIN_LENGTH,
  JOIN_OFFSET,
  JOIN_PROTOCOL,
  JOIN_SEGMENT_SIZE,
  JOIN_SEQUENCE,
  JOIN_SIZE,
  JOIN_TUNNEL_LENGTH,
  TCP_PSH,
} from "../jobs";
import { fold, networkWord, rawSum, sameWords } from "./checksum";
import { argument } from "./segmenting";

const PROTOCOL_TCP: u32 = 6;

/** `Kernel.joinable`. */
export function joinable(job: usize): i32 {
  const head: usize = argument(job, JOIN_HEAD);
  const tunnelLength = argument(job, JOIN_TUNNEL_LENGTH);
  const headerLength = argument(job, JOIN_HEADER_LENGTH);
  const segmentSize = argument(job, JOIN_SEGMENT_SIZE);
  const protocol: u32 = argument(job, JOIN_PROTOCOL);
  const countMax = argument(job, JOIN_COUNT_MAX);
  const size = argument(job, JOIN_SIZE);
  const isTcp = protocol === PROTOCOL_TCP;
  const model = head + tunnelLength;
  let sequence: u32 = argument(job, JOIN_SEQUENCE);
  let offset: usize = argument(job, JOIN_OFFSET);
  let rest = argument(job, JOIN_LENGTH);
  let count: i32 = 0;
  for (; count < countMax && rest > 0; count++) {
    const length = min(size, rest) - tunnelLength;
    const payloadLength = length - headerLength;
    if (payloadLength <= 0 || payloadLength > segmentSize) break;
    if (!sameWords(head, offset, tunnelLength)) break;
    const layer4 = offset + tunnelLength;
    if (isTcp) {
      if (bswap<u32>(load<u32>(layer4, 4)) !== sequence) break;
      if (!sameTcp(model, layer4, headerLength)) break;
    } else if (!sameUdp(model, layer4, length)) break;
    const sum = rawSum(layer4, length) + networkWord(protocol) + networkWord(length);
    if (fold(sum) !== 0xffff) break;
    const isPushed = isTcp && (load<u8>(layer4, 13) & TCP_PSH) !== 0;
    if (isPushed || payloadLength < segmentSize) return count + 1;
    sequence += payloadLength;
    offset += size;
    rest -= size;
  }
  return count;
}

/** All but sequence number (4-7), PSH (in 13) and checksum (16-17). */
function sameTcp(a: usize, b: usize, headerLength: i32): bool {
  // In little-endian words byte 13 is the second of its word.
  const differs =
    (load<u32>(a) ^ load<u32>(b)) |
    (load<u32>(a, 8) ^ load<u32>(b, 8)) |
    ((load<u32>(a, 12) ^ load<u32>(b, 12)) & ~(TCP_PSH << 8)) |
    (load<u16>(a, 18) ^ load<u16>(b, 18));
  return differs === 0 && sameWords(a + 20, b + 20, headerLength - 20);
}

/** Both ports; a length field that is right; a checksum. `length` is at least 9. */
function sameUdp(a: usize, b: usize, length: u32): bool {
  if (load<u32>(a) !== load<u32>(b)) return false;
  return load<u16>(b, 4) === networkWord(length) && load<u16>(b, 6) !== 0;
}
