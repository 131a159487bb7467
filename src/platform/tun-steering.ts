/**
 * Sorting packets before they are queued: a program in the kernel chooses the queue of the TUN
 * device for each packet from the local network. Main thread, at start.
 *
 * Whole TCP and UDP packets between two addresses that the gateway knows go to the queues of the
 * lanes, each flow to one of them. All others (ICMP, fragments, options, unknown addresses) go to
 * a side queue behind these: it may overflow without one packet of an established flow being lost,
 * and the worker reads from it what it has time for (forward/side-queue.ts).
 *
 * Documentation/networking/tuntap.rst; TUNSETSTEERINGEBPF in drivers/net/tun.c (since Linux 4.16).
 */

import type { IpVersion } from "../base/ip.js";
import { KNOWN_BUCKETS, KNOWN_MULTIPLIER, KNOWN_SHIFT } from "../tables/known-addresses.js";
import { PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/packet-fields.js";
import {
  BPF,
  type BpfInstruction,
  createSharedValue,
  loadPacketProgram,
  mapValueAddress,
} from "./bpf.js";
import * as libc from "./libc.js";
import { allocateMemory } from "./memory.js";
import { lastRefusal } from "./system-error.js";

// linux/if_tun.h: _IOR('T', 224, int).
const TUNSETSTEERINGEBPF = 0x800454e0;

/** Descriptor of a program, for the kernel to read. */
const descriptor = allocateMemory(4);

/** More fragments, and the offset of a fragment (RFC 791 3.1). */
const FRAGMENT_BITS = 0x3fff;
const RESULT = 0;
const CONTEXT = 1;
/** What loads of packets refer to; they spoil registers 1 to 5. */
const PACKET = 6;
const LANE_HASH = 7;
const HASH = 8;
const SCRATCH = 1;

/** Places of a packet: of its addresses, their words, and of the transport header. */
const SHAPES = {
  4: { source: 12, destination: 16, words: 1, layer4: 20 },
  6: { source: 8, destination: 24, words: 4, layer4: 40 },
} as const;

/** How to steer. */
export interface SteeringOptions {
  readonly version: IpVersion;
  /** Queues of lanes; the side queue comes behind them. */
  readonly lanes: number;
  /** Seed of the known addresses, 32 bits. */
  readonly seed: number;
}

/**
 * Attaches the program to the device with queue `fd`. Returns the buckets of the addresses that
 * the gateway knows (tables/known-addresses.ts), for the caller to fill. Throws SystemCallError.
 */
export function steerQueues(fd: number, options: SteeringOptions): Uint8Array {
  const known = createSharedValue(KNOWN_BUCKETS);
  try {
    const program = loadPacketProgram(steeringProgram(options, known.fd));
    descriptor.view.setInt32(0, program, true);
    const result = libc.ioctl(fd, TUNSETSTEERINGEBPF, descriptor.address);
    const refusal = result < 0 ? lastRefusal("steer the TUN queues", "ioctl") : undefined;
    libc.close(program);
    if (refusal !== undefined) throw refusal;
    return known.bytes;
  } finally {
    libc.close(known.fd); // the program and the mapping keep it
  }
}

type Jump = { readonly to: keyof typeof JUMPS; readonly number: number };

/** The program; `Jump`s to the side queue are resolved at the end. */
function steeringProgram(
  { version, lanes, seed }: SteeringOptions,
  mapFd: number,
): readonly BpfInstruction[] {
  const { source, destination, words, layer4 } = SHAPES[version];
  const steps: readonly (BpfInstruction | Jump)[] = [
    { code: BPF.move, target: PACKET, source: CONTEXT },
    ...(version === 4 ? plainIpv4() : plainIpv6()),
    ...known(source, words, seed, mapFd),
    { code: BPF.move32, target: LANE_HASH, source: HASH },
    ...known(destination, words, seed, mapFd),
    { code: BPF.add32, target: LANE_HASH, source: HASH },
    { code: BPF.loadWord, number: layer4 },
    { code: BPF.add32, target: LANE_HASH, source: RESULT },
    { code: BPF.multiplyNumber32, target: LANE_HASH, number: KNOWN_MULTIPLIER },
    { code: BPF.shiftRightNumber32, target: LANE_HASH, number: 16 },
    { code: BPF.remainderNumber32, target: LANE_HASH, number: lanes },
    { code: BPF.move32, target: RESULT, source: LANE_HASH },
    { code: BPF.exit },
  ];
  const side = [{ code: BPF.moveNumber32, target: RESULT, number: lanes }, { code: BPF.exit }];
  return [...steps.map((step, index) => resolve(step, steps.length - index - 1)), ...side];
}

const JUMPS = {
  "side-unless-equal": BPF.jumpIfNotEqual,
  "side-if-equal": BPF.jumpIfEqual,
  "side-if-bits": BPF.jumpIfBits,
} as const;

function resolve(step: BpfInstruction | Jump, distance: number): BpfInstruction {
  if ("code" in step) return step;
  return { code: JUMPS[step.to], target: RESULT, jump: distance, number: step.number };
}

/** Goes on with whole TCP and UDP packets without options. */
function plainIpv4(): readonly (BpfInstruction | Jump)[] {
  return [
    { code: BPF.loadByte, number: 0 },
    { to: "side-unless-equal", number: 0x45 },
    { code: BPF.loadHalf, number: 6 },
    { to: "side-if-bits", number: FRAGMENT_BITS },
    { code: BPF.loadByte, number: 9 },
    ...transport(),
  ];
}

/** Goes on with TCP and UDP packets without extension headers. */
function plainIpv6(): readonly (BpfInstruction | Jump)[] {
  return [
    { code: BPF.loadByte, number: 0 },
    { code: BPF.shiftRightNumber32, target: RESULT, number: 4 },
    { to: "side-unless-equal", number: 6 },
    { code: BPF.loadByte, number: 6 },
    ...transport(),
  ];
}

function transport(): readonly (BpfInstruction | Jump)[] {
  return [
    { code: BPF.jumpIfEqual, target: RESULT, jump: 1, number: PROTOCOL_TCP },
    { to: "side-unless-equal", number: PROTOCOL_UDP },
  ];
}

/** Goes on with a known address; leaves its hash in HASH. Twin of KnownAddresses. */
function known(
  place: number,
  words: number,
  seed: number,
  mapFd: number,
): readonly (BpfInstruction | Jump)[] {
  const steps: (BpfInstruction | Jump)[] = [{ code: BPF.moveNumber32, target: HASH, number: seed }];
  for (let word = 0; word < words; word++) {
    steps.push(
      { code: BPF.loadWord, number: place + 4 * word },
      { code: BPF.xor32, target: HASH, source: RESULT },
      { code: BPF.multiplyNumber32, target: HASH, number: KNOWN_MULTIPLIER },
      { code: BPF.move32, target: SCRATCH, source: HASH },
      { code: BPF.shiftRightNumber32, target: SCRATCH, number: KNOWN_SHIFT },
      { code: BPF.xor32, target: HASH, source: SCRATCH },
    );
  }
  return [
    ...steps,
    { code: BPF.move32, target: SCRATCH + 1, source: HASH },
    { code: BPF.andNumber32, target: SCRATCH + 1, number: KNOWN_BUCKETS - 1 },
    ...mapValueAddress(SCRATCH, mapFd),
    { code: BPF.add, target: SCRATCH, source: SCRATCH + 1 },
    { code: BPF.readByte, target: RESULT, source: SCRATCH },
    { to: "side-if-equal", number: 0 },
  ];
}
