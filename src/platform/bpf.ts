/**
 * Programs and maps for the kernel: bpf(2), as little of it as the gateway needs. Main thread, at
 * start. Instructions: Documentation/bpf/standardization/instruction-set.rst.
 *
 * The system call is allowed to root and with CAP_BPF; where it is not, callers do without.
 */

import * as libc from "./libc.js";
import { allocateMemory, cStringInto } from "./memory.js";
import { lastRefusal } from "./system-error.js";

// asm/unistd.h
const SYS_BPF = process.arch === "arm64" ? 280 : 321;
// linux/bpf.h, enum bpf_cmd.
const BPF_MAP_CREATE = 0;
const BPF_PROG_LOAD = 5;
const BPF_MAP_TYPE_ARRAY = 2;
const BPF_PROG_TYPE_SOCKET_FILTER = 1;
/** The values of the map can be mapped into a process (since Linux 5.5). */
const BPF_F_MMAPABLE = 1 << 10;
const ATTRIBUTE_BYTES = 128;
const ADVICE = "give the process CAP_BPF";

/** Union bpf_attr. */
const attributes = allocateMemory(ATTRIBUTE_BYTES);

// asm-generic/mman-common.h
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;

/** One instruction: 8 octets. Registers are 0 to 10. */
export interface BpfInstruction {
  readonly code: number;
  readonly target?: number;
  readonly source?: number;
  /** Instructions to jump over, counted from the next one. */
  readonly jump?: number;
  readonly number?: number;
}

/** Instruction codes; names say what they do with target (T), source (S) and number (N). */
export const BPF = {
  /** Octets N of the packet into register 0, in host order; ends the program behind the packet. */
  loadByte: 0x30,
  loadHalf: 0x28,
  loadWord: 0x20,
  /** T = octet at address S. */
  readByte: 0x71,
  move: 0xbf,
  moveNumber: 0xb7,
  add: 0x0f,
  /** On the low 32 bits; the high ones become 0. */
  move32: 0xbc,
  moveNumber32: 0xb4,
  add32: 0x0c,
  xor32: 0xac,
  multiplyNumber32: 0x24,
  shiftRightNumber32: 0x74,
  andNumber32: 0x54,
  remainderNumber32: 0x94,
  jumpIfEqual: 0x15,
  jumpIfNotEqual: 0x55,
  jumpIfBits: 0x45,
  exit: 0x95,
  /** T = address of the value of the map with descriptor N; takes two places. */
  mapValue: 0x18,
} as const;
/** Source register of `mapValue` (BPF_PSEUDO_MAP_VALUE). */
const PSEUDO_MAP_VALUE = 2;
const INSTRUCTION_BYTES = 8;

/** T = address of the value of the map with descriptor `mapFd`. */
export function mapValueAddress(target: number, mapFd: number): readonly BpfInstruction[] {
  const first = { code: BPF.mapValue, target, source: PSEUDO_MAP_VALUE, number: mapFd };
  return [first, { code: 0 }];
}

/** A map of one value that this process sees as memory. */
export interface SharedValue {
  readonly fd: number;
  readonly bytes: Uint8Array;
}

/**
 * Creates a map with one value of `lengthBytes` octets, zeroed, and maps it into this process for
 * the rest of its life. The caller closes the descriptor. Throws SystemCallError.
 */
export function createSharedValue(lengthBytes: number): SharedValue {
  const { bytes: all, view, address } = attributes;
  all.fill(0);
  view.setUint32(0, BPF_MAP_TYPE_ARRAY, true);
  view.setUint32(4, 4, true);
  view.setUint32(8, lengthBytes, true);
  view.setUint32(12, 1, true);
  view.setUint32(16, BPF_F_MMAPABLE, true);
  const fd = libc.syscall(SYS_BPF, BPF_MAP_CREATE, address, ATTRIBUTE_BYTES);
  if (fd < 0) throw lastRefusal("create a BPF map", "bpf", ADVICE);
  const bytes = libc.mapMemory(lengthBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  if (bytes !== undefined) return { fd, bytes };
  const refusal = lastRefusal("map a BPF map", "mmap");
  libc.close(fd);
  throw refusal;
}

/** Loads a program that looks at packets; its descriptor. Throws SystemCallError. */
export function loadPacketProgram(program: readonly BpfInstruction[]): number {
  const code = encode(program);
  const license = allocateMemory(8);
  cStringInto(license, 0, "GPL");
  const { bytes, view, address } = attributes;
  bytes.fill(0);
  view.setUint32(0, BPF_PROG_TYPE_SOCKET_FILTER, true);
  view.setUint32(4, program.length, true);
  view.setBigUint64(8, BigInt(code.address), true);
  view.setBigUint64(16, BigInt(license.address), true);
  const fd = libc.syscall(SYS_BPF, BPF_PROG_LOAD, address, ATTRIBUTE_BYTES);
  // The buffers stay reachable during the call.
  if (fd < 0 || code.bytes.length + license.bytes.length === 0) {
    throw lastRefusal("load a BPF program", "bpf", ADVICE);
  }
  return fd;
}

function encode(program: readonly BpfInstruction[]): ReturnType<typeof allocateMemory> {
  const memory = allocateMemory(program.length * INSTRUCTION_BYTES);
  program.forEach(({ code, target = 0, source = 0, jump = 0, number = 0 }, index) => {
    const at = index * INSTRUCTION_BYTES;
    memory.view.setUint8(at, code);
    memory.view.setUint8(at + 1, target | (source << 4));
    memory.view.setInt16(at + 2, jump, true);
    memory.view.setInt32(at + 4, number | 0, true);
  });
  return memory;
}
