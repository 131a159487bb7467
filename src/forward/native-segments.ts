/**
 * Cuts a super-packet of the local network into the ordinary packets that it stands for, for the
 * slow path: each with its own IP header, transport header and complete checksum. Worker thread;
 * rare. The packets are put together one after the other in the assembly area of the slab.
 *
 * IPv4 identifications count upwards from that of the super-packet (RFC 6864 4.1: they matter
 * only where DF is clear), as the kernel numbers the segments of its own super-packets.
 */

import { foldSum, networkWord, sumWords } from "../kernel/checksum-update.js";
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
} from "../kernel/jobs.js";
import type { FastPathMemory } from "./fast-path.js";
import type { VnetReader } from "./vnet-header.js";

/** Calls back with each packet (borrowed: it lies in the assembly area). */
export function eachNativeSegment(
  memory: FastPathMemory,
  offset: number,
  segmentSize: number,
  reader: Pick<VnetReader, "protocol" | "layer4" | "layer4HeaderLength" | "payloadLength">,
  take: (offset: number, length: number) => void,
): void {
  const { words, kernel, segmentJob, slab } = memory;
  const { layer4, layer4HeaderLength, payloadLength } = reader;
  const target = slab.assemblyOffset;
  const ipLength = layer4 - offset;
  const headerLength = ipLength + layer4HeaderLength;
  prepare(memory, offset, segmentSize, reader);
  for (let index = 0; index * segmentSize < payloadLength; index++) {
    words[(segmentJob >>> 2) + SEGMENT_FIRST] = index;
    kernel.segmentInto(segmentJob);
    const start = index * segmentSize;
    const length = Math.min(segmentSize, payloadLength - start);
    kernel.copy(target + headerLength, layer4 + layer4HeaderLength + start, length);
    finishIpHeader(memory, target, ipLength, headerLength + length, index);
    take(target, headerLength + length);
  }
}

function prepare(
  memory: FastPathMemory,
  offset: number,
  segmentSize: number,
  reader: Pick<VnetReader, "protocol" | "layer4" | "layer4HeaderLength" | "payloadLength">,
): void {
  const { words, segmentJob, slab } = memory;
  const { protocol, layer4 } = reader;
  const isIpv4 = memory.bytes[offset]! >>> 4 === 4;
  const addresses = (offset + (isIpv4 ? 12 : 8)) >>> 2;
  const job = segmentJob >>> 2;
  words[job + SEGMENT_TEMPLATE] = offset;
  words[job + SEGMENT_TEMPLATE_LENGTH] = layer4 - offset;
  words[job + SEGMENT_LAYER4] = layer4;
  words[job + SEGMENT_HEADER_LENGTH] = reader.layer4HeaderLength;
  words[job + SEGMENT_PAYLOAD_LENGTH] = reader.payloadLength;
  words[job + SEGMENT_SIZE] = segmentSize;
  words[job + SEGMENT_COUNT_MAX] = 1;
  words[job + SEGMENT_TARGET] = slab.assemblyOffset;
  words[job + SEGMENT_DISTANCE] = 0;
  words[job + SEGMENT_PROTOCOL] = protocol;
  const addressSum = foldSum(sumWords(words, addresses, isIpv4 ? 2 : 8));
  words[job + SEGMENT_PSEUDO_SUM] = addressSum + networkWord(protocol);
}

/** Length, and for IPv4 identification and header checksum, of segment `index`. */
function finishIpHeader(
  memory: FastPathMemory,
  at: number,
  ipLength: number,
  totalLength: number,
  index: number,
): void {
  const { bytes, halves, kernel } = memory;
  if (bytes[at]! >>> 4 === 6) {
    halves[(at + 4) >>> 1] = networkWord(totalLength - ipLength);
    return;
  }
  const identification = (bytes[at + 4]! << 8) | bytes[at + 5]!;
  halves[(at + 2) >>> 1] = networkWord(totalLength);
  halves[(at + 4) >>> 1] = networkWord((identification + index) & 0xffff);
  halves[(at + 10) >>> 1] = 0;
  halves[(at + 10) >>> 1] = kernel.sum(at, ipLength) ^ 0xffff;
}
