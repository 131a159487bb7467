/** Segmentation of one super-packet in TypeScript, for `Kernel.segmentInto`. */

import { PROTOCOL_TCP } from "../wire/packet-fields.js";
import { foldSum, networkWord } from "./checksum-update.js";
import {
  SEGMENT_COUNT_MAX,
  SEGMENT_DISTANCE,
  SEGMENT_FIRST,
  SEGMENT_HEADER_LENGTH,
  SEGMENT_LAYER4,
  SEGMENT_PAYLOAD_LENGTH,
  SEGMENT_PROTOCOL,
  SEGMENT_PSEUDO_SUM,
  SEGMENT_SIZE,
  SEGMENT_TARGET,
  SEGMENT_TEMPLATE,
  SEGMENT_TEMPLATE_LENGTH,
  TCP_CWR,
  TCP_FIN,
  TCP_PSH,
} from "./jobs.js";
import type { Kernel } from "./kernel.js";

const TCP_FLAGS_OFFSET = 13;
const TCP_CHECKSUM_OFFSET = 16;
const UDP_CHECKSUM_OFFSET = 6;

/** Builds the headers of segments; `view` and `words` show the memory of the job. */
export function segmentInto(
  kernel: Pick<Kernel, "sum">,
  view: DataView,
  words: Int32Array,
  job: number,
): number {
  const at = job >>> 2;
  const size = words[at + SEGMENT_SIZE]!;
  const payloadLength = words[at + SEGMENT_PAYLOAD_LENGTH]!;
  const total = Math.ceil(payloadLength / size);
  const first = words[at + SEGMENT_FIRST]!;
  const end = Math.min(total, first + words[at + SEGMENT_COUNT_MAX]!);
  const templateLength = words[at + SEGMENT_TEMPLATE_LENGTH]!;
  const headerLength = words[at + SEGMENT_HEADER_LENGTH]!;
  const template = words[at + SEGMENT_TEMPLATE]!;
  const layer4 = words[at + SEGMENT_LAYER4]!;
  const payload = layer4 + headerLength;
  const isTcp = words[at + SEGMENT_PROTOCOL] === PROTOCOL_TCP;
  const pseudoSum = words[at + SEGMENT_PSEUDO_SUM]!;
  let target = words[at + SEGMENT_TARGET]!;
  for (let index = first; index < end; index++) {
    const length = Math.min(size, payloadLength - index * size);
    copyWords(words, target, template, templateLength);
    const header = target + templateLength;
    copyWords(words, header, layer4, headerLength);
    if (isTcp) editTcp(view, header, index * size, index === 0, index === total - 1);
    else view.setUint16(header + 4, headerLength + length);
    const checksum = header + (isTcp ? TCP_CHECKSUM_OFFSET : UDP_CHECKSUM_OFFSET);
    view.setUint16(checksum, 0);
    const sum =
      pseudoSum +
      networkWord(headerLength + length) +
      kernel.sum(header, headerLength) +
      kernel.sum(payload + index * size, length);
    // The sum is not zero, for the protocol is not; so it folds to 0001 to ffff.
    const folded = foldSum(sum);
    view.setUint16(checksum, folded === 0xffff ? 0xffff : folded ^ 0xffff, true);
    target += words[at + SEGMENT_DISTANCE]!;
  }
  return Math.max(0, end - first);
}

function copyWords(words: Int32Array, target: number, source: number, length: number): void {
  const to = target >>> 2;
  const from = source >>> 2;
  for (let word = 0; word < length >>> 2; word++) words[to + word] = words[from + word]!;
}

function editTcp(
  view: DataView,
  header: number,
  octetsBefore: number,
  isFirst: boolean,
  isLast: boolean,
): void {
  view.setUint32(header + 4, view.getUint32(header + 4) + octetsBefore);
  let flags = view.getUint8(header + TCP_FLAGS_OFFSET);
  if (!isLast) flags &= ~(TCP_FIN | TCP_PSH);
  if (!isFirst) flags &= ~TCP_CWR;
  view.setUint8(header + TCP_FLAGS_OFFSET, flags);
}
