/** Random jobs for both kernels: super-packets to cut, and messages with datagrams to join. */

import assert from "node:assert/strict";
import * as jobs from "../../src/kernel/jobs.js";
import type { Kernel } from "../../src/kernel/kernel.js";
import type { Dice } from "../forward/fast-world.js";
import { makeKernels } from "./kernels.js";

type Kernels = ReturnType<typeof makeKernels>;

const PROTOCOL_TCP = 6;
const PROTOCOL_UDP = 17;
const SOURCE = 1024;
const TARGET = 128 * 1024;
const TARGET_BYTES = 64 * 1024;
const SLOT_BYTES = 192;

/** Room that a job reads or writes, as it is now. */
function snapshot({ bytes, at }: Kernels, from: number, length: number): Uint8Array {
  return bytes.slice(at + from, at + from + length);
}

/** Header length of layer 4. */
function layer4Length(dice: Dice, protocol: number): number {
  return protocol === PROTOCOL_UDP ? 8 : dice.percent(50) ? 32 : 20 + 4 * dice.below(11);
}

/** Cuts `rounds` random super-packets with both kernels. */
export function checkSegmentation(dice: Dice, rounds: number, about: string): void {
  const kernels = makeKernels();
  for (let round = 0; round < rounds; round++) {
    const where = `${about}, round ${round}`;
    const templateLength = writeSegmentation(kernels, dice);
    const before = snapshot(kernels, 0, TARGET);
    const expected = runSegmentation(kernels, kernels.ts);
    const actual = runSegmentation(kernels, kernels.wasm);
    assert.equal(actual.count, expected.count, where);
    assert.ok(Buffer.compare(actual.target, expected.target) === 0, `${where}: other headers`);
    assert.ok(Buffer.compare(snapshot(kernels, 0, TARGET), before) === 0, `${where}: changed`);
    checkSegmentSums(kernels, templateLength, expected.count, where);
  }
}

function runSegmentation(kernels: Kernels, kernel: Kernel) {
  kernels.bytes.fill(0xa5, kernels.at + TARGET, kernels.at + TARGET + TARGET_BYTES);
  const count = kernel.segmentInto(kernels.at);
  return { count, target: snapshot(kernels, TARGET, TARGET_BYTES) };
}

/** Writes a job at `at` and what it names; returns the length of the template. */
function writeSegmentation({ bytes, buffer, at }: Kernels, dice: Dice): number {
  const words = new Int32Array(buffer, at, jobs.SEGMENT_JOB_BYTES / 4);
  const protocol = dice.pick([PROTOCOL_TCP, PROTOCOL_TCP, PROTOCOL_UDP]);
  const templateLength = 4 * dice.below(18);
  const size = dice.percent(20) ? 1 + dice.below(40) : 1 + dice.below(1500);
  const length = 1 + dice.below(Math.min(60_000, size * (1 + dice.below(64))));
  const first = dice.percent(70) ? 0 : dice.below(5);
  const header = layer4Length(dice, protocol);
  bytes.set(dice.bytes(200), at + 64);
  const chunk = dice.percent(5) ? new Uint8Array(512).fill(dice.pick([0, 0xff])) : dice.bytes(512);
  for (let place = 0; place < header + length; place += 512) {
    bytes.set(chunk, at + SOURCE + place);
    chunk[place & 0xff]! ^= place;
  }
  words[jobs.SEGMENT_TEMPLATE] = at + 64 + 4 * dice.below(8);
  words[jobs.SEGMENT_TEMPLATE_LENGTH] = templateLength;
  words[jobs.SEGMENT_LAYER4] = at + SOURCE;
  words[jobs.SEGMENT_HEADER_LENGTH] = header;
  words[jobs.SEGMENT_PAYLOAD_LENGTH] = length;
  words[jobs.SEGMENT_SIZE] = size;
  words[jobs.SEGMENT_FIRST] = first;
  words[jobs.SEGMENT_COUNT_MAX] = dice.percent(70) ? 64 : dice.below(70);
  words[jobs.SEGMENT_TARGET] = at + TARGET;
  words[jobs.SEGMENT_DISTANCE] = SLOT_BYTES;
  words[jobs.SEGMENT_PROTOCOL] = protocol;
  words[jobs.SEGMENT_PSEUDO_SUM] = (protocol << 8) + (dice.percent(50) ? dice.below(0x80000) : 0);
  return templateLength;
}

/** Every segment has a right checksum. */
function checkSegmentSums(kernels: Kernels, templateLength: number, count: number, about: string) {
  const { buffer, at, ts } = kernels;
  const words = new Int32Array(buffer, at, jobs.SEGMENT_JOB_BYTES / 4);
  const header = words[jobs.SEGMENT_HEADER_LENGTH]!;
  const size = words[jobs.SEGMENT_SIZE]!;
  for (let slot = 0; slot < count; slot++) {
    const offset = (words[jobs.SEGMENT_FIRST]! + slot) * size;
    const length = Math.min(size, words[jobs.SEGMENT_PAYLOAD_LENGTH]! - offset);
    const covered = header + length;
    let sum = words[jobs.SEGMENT_PSEUDO_SUM]! + ((covered & 0xff) << 8) + (covered >> 8);
    sum += ts.sum(at + TARGET + slot * SLOT_BYTES + templateLength, header);
    sum += ts.sum(at + SOURCE + header + offset, length);
    assert.equal(sum % 0xffff, 0, `${about}: segment ${slot}`);
  }
}

const MESSAGE = 4096;

/** Looks for datagrams that can be joined in `rounds` random messages with both kernels. */
export function checkJoining(dice: Dice, rounds: number, about: string): void {
  const kernels = makeKernels();
  let total = 0;
  for (let round = 0; round < rounds; round++) {
    writeJoining(kernels, dice);
    const before = snapshot(kernels, 0, TARGET);
    const expected = kernels.ts.joinable(kernels.at);
    assert.equal(kernels.wasm.joinable(kernels.at), expected, `${about}, round ${round}`);
    const isSame = Buffer.compare(snapshot(kernels, 0, TARGET), before) === 0;
    assert.ok(isSame, `${about}, round ${round}: changed`);
    total += expected;
  }
  assert.ok(total > rounds, `${about}: only ${total} datagrams in ${rounds} messages`);
}

/** Writes a job at `at`, a head and a message of datagrams that mostly follow one another. */
function writeJoining({ bytes, buffer, at, ts }: Kernels, dice: Dice): void {
  const words = new Int32Array(buffer, at, jobs.JOIN_JOB_BYTES / 4);
  const view = new DataView(buffer);
  const protocol = dice.pick([PROTOCOL_TCP, PROTOCOL_TCP, PROTOCOL_UDP]);
  const tunnel = 4 * (4 + dice.below(14));
  const header = layer4Length(dice, protocol);
  const segment = 1 + dice.below(dice.percent(50) ? 1400 : 50);
  const size = tunnel + header + segment;
  const head = dice.bytes(tunnel + header);
  const isTcp = protocol === PROTOCOL_TCP;
  if (isTcp) head[tunnel + 13]! &= ~jobs.TCP_PSH;
  const headAt = at + 512 + dice.below(4);
  bytes.set(head, headAt);
  const count = 1 + dice.below(12);
  const start = at + MESSAGE + dice.below(4);
  const first = dice.below(2 ** 32);
  for (let index = 0; index < count; index++) {
    const isLast = index === count - 1;
    const payload = isLast && dice.percent(60) ? dice.below(segment + 1) : segment;
    const layer4 = start + index * size + tunnel;
    bytes.set(head, start + index * size);
    bytes.set(dice.bytes(payload), layer4 + header);
    if (isTcp) view.setUint32(layer4 + 4, (first + index * segment) % 2 ** 32);
    else view.setUint16(layer4 + 4, header + payload);
    if (isTcp && dice.percent(5)) bytes[layer4 + 13]! |= jobs.TCP_PSH;
    if (isLast) words[jobs.JOIN_LENGTH] = index * size + tunnel + header + payload;
    if (dice.percent(2))
      bytes[layer4 - tunnel + dice.below(tunnel + header)]! ^= 1 << dice.below(8);
    complete(view, ts, layer4, header + payload, protocol);
    if (dice.percent(3)) bytes[layer4 + dice.below(header + payload)]! ^= 1 << dice.below(8);
    if (dice.percent(1)) view.setUint16(layer4 + (isTcp ? 16 : 6), 0);
  }
  words[jobs.JOIN_HEAD] = headAt;
  words[jobs.JOIN_OFFSET] = start;
  words[jobs.JOIN_SIZE] = size;
  words[jobs.JOIN_TUNNEL_LENGTH] = tunnel;
  words[jobs.JOIN_HEADER_LENGTH] = header;
  words[jobs.JOIN_SEGMENT_SIZE] = dice.percent(90) ? segment : 1 + dice.below(segment + 5);
  words[jobs.JOIN_SEQUENCE] = dice.percent(98) ? first : first + 1;
  words[jobs.JOIN_COUNT_MAX] = dice.percent(90) ? 64 : dice.below(10);
  words[jobs.JOIN_PROTOCOL] = protocol;
}

/** Writes the checksum of one datagram. */
function complete(view: DataView, kernel: Kernel, at: number, length: number, protocol: number) {
  const checksum = at + (protocol === PROTOCOL_TCP ? 16 : 6);
  view.setUint16(checksum, 0);
  let sum = kernel.sum(at, length) + (protocol << 8) + ((length & 0xff) << 8) + (length >> 8);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(checksum, sum === 0xffff ? sum : sum ^ 0xffff, true);
}
