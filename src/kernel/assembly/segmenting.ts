/** Segmentation of one super-packet; twin of ../segmenting.ts. */

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
} from "../jobs";
import { copyWords, fold, networkWord, rawSum } from "./checksum";

const PROTOCOL_TCP: u32 = 6;

/** Word `index` of the job at `job`. */
export function argument(job: usize, index: i32): i32 {
  return load<i32>(job + 4 * index);
}

/** `Kernel.segmentInto`. */
export function segmentInto(job: usize): i32 {
  const size = argument(job, SEGMENT_SIZE);
  const payloadLength = argument(job, SEGMENT_PAYLOAD_LENGTH);
  const total = (payloadLength + size - 1) / size;
  const first = argument(job, SEGMENT_FIRST);
  const end = min(total, first + argument(job, SEGMENT_COUNT_MAX));
  const templateLength = argument(job, SEGMENT_TEMPLATE_LENGTH);
  const headerLength = argument(job, SEGMENT_HEADER_LENGTH);
  const template: usize = argument(job, SEGMENT_TEMPLATE);
  const layer4: usize = argument(job, SEGMENT_LAYER4);
  const distance: usize = argument(job, SEGMENT_DISTANCE);
  const payload = layer4 + headerLength;
  const isTcp = argument(job, SEGMENT_PROTOCOL) === PROTOCOL_TCP;
  const pseudoSum: u64 = <u32>argument(job, SEGMENT_PSEUDO_SUM);
  let target: usize = argument(job, SEGMENT_TARGET);
  for (let index = first; index < end; index++) {
    const before = index * size;
    const length = min(size, payloadLength - before);
    copyWords(target, template, templateLength);
    const header = target + templateLength;
    copyWords(header, layer4, headerLength);
    if (isTcp) editTcp(header, before, index === 0, index === total - 1);
    else store<u16>(header, networkWord(headerLength + length), 4);
    const checksum = header + (isTcp ? 16 : 6);
    store<u16>(checksum, 0);
    const sum =
      pseudoSum +
      networkWord(headerLength + length) +
      rawSum(header, headerLength) +
      rawSum(payload + before, length);
    // The sum is not zero, for the protocol is not; so it folds to 0001 to ffff.
    const folded = fold(sum);
    store<u16>(checksum, folded === 0xffff ? 0xffff : folded ^ 0xffff);
    target += distance;
  }
  return max(0, end - first);
}

function editTcp(header: usize, octetsBefore: u32, isFirst: bool, isLast: bool): void {
  const sequence = bswap<u32>(load<u32>(header, 4)) + octetsBefore;
  store<u32>(header, bswap<u32>(sequence), 4);
  let flags: u32 = load<u8>(header, 13);
  if (!isLast) flags &= ~(TCP_FIN | TCP_PSH);
  if (!isFirst) flags &= ~TCP_CWR;
  store<u8>(header, flags, 13);
}
