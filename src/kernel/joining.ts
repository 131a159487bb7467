/** Looking for datagrams that can be joined, in TypeScript, for `Kernel.joinable`. */

import { PROTOCOL_TCP } from "../wire/packet-fields.js";
import { foldSum, networkWord } from "./checksum-update.js";
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
} from "./jobs.js";
import type { Kernel } from "./kernel.js";

/** Counts candidates; `view` and `words` show the memory of the job. */
export function joinable(
  kernel: Pick<Kernel, "sum">,
  view: DataView,
  words: Int32Array,
  job: number,
): number {
  const at = job >>> 2;
  const head = words[at + JOIN_HEAD]!;
  const tunnelLength = words[at + JOIN_TUNNEL_LENGTH]!;
  const headerLength = words[at + JOIN_HEADER_LENGTH]!;
  const segmentSize = words[at + JOIN_SEGMENT_SIZE]!;
  const protocol = words[at + JOIN_PROTOCOL]!;
  const countMax = words[at + JOIN_COUNT_MAX]!;
  const size = words[at + JOIN_SIZE]!;
  const isTcp = protocol === PROTOCOL_TCP;
  const pseudoSum = networkWord(protocol);
  let sequence = words[at + JOIN_SEQUENCE]!;
  let offset = words[at + JOIN_OFFSET]!;
  let rest = words[at + JOIN_LENGTH]!;
  let count = 0;
  for (; count < countMax && rest > 0; count++) {
    const length = Math.min(size, rest) - tunnelLength;
    const payloadLength = length - headerLength;
    if (payloadLength <= 0 || payloadLength > segmentSize) break;
    if (!sameBytes(view, head, offset, tunnelLength)) break;
    const layer4 = offset + tunnelLength;
    const model = head + tunnelLength;
    if (isTcp) {
      if (view.getInt32(layer4 + 4) !== sequence) break;
      if (!sameTcp(view, model, layer4, headerLength)) break;
    } else if (!sameUdp(view, model, layer4, length)) break;
    const sum = kernel.sum(layer4, length) + pseudoSum + networkWord(length);
    if (foldSum(sum) !== 0xffff) break;
    const isPushed = isTcp && (view.getUint8(layer4 + 13) & TCP_PSH) !== 0;
    if (isPushed || payloadLength < segmentSize) return count + 1;
    sequence = (sequence + payloadLength) | 0;
    offset += size;
    rest -= size;
  }
  return count;
}

/** Compares octets; the length is a multiple of 4. */
function sameBytes(view: DataView, a: number, b: number, length: number): boolean {
  for (let at = 0; at < length; at += 4) {
    if (view.getInt32(a + at) !== view.getInt32(b + at)) return false;
  }
  return true;
}

/** All but sequence number (4-7), PSH (in 13) and checksum (16-17). */
function sameTcp(view: DataView, a: number, b: number, headerLength: number): boolean {
  const differsFixed =
    (view.getInt32(a) ^ view.getInt32(b)) |
    (view.getInt32(a + 8) ^ view.getInt32(b + 8)) |
    ((view.getInt32(a + 12) ^ view.getInt32(b + 12)) & ~(TCP_PSH << 16)) |
    (view.getUint16(a + 18) ^ view.getUint16(b + 18));
  return differsFixed === 0 && sameBytes(view, a + 20, b + 20, headerLength - 20);
}

/** Both ports; a length field that is right; a checksum. `length` is at least 9. */
function sameUdp(view: DataView, a: number, b: number, length: number): boolean {
  if (view.getInt32(a) !== view.getInt32(b)) return false;
  return view.getUint16(b + 4) === length && view.getUint16(b + 6) !== 0;
}
