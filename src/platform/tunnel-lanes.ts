/**
 * The sockets of several lanes on one port: SO_REUSEPORT (socket(7)). Main thread, at start.
 *
 * Packets of one inner flow must come out of one socket, or two workers would mix up their order.
 * The kernel's own choice hashes the outer addresses and ports, so all packets of one remote
 * gateway come out of one socket; several gateways spread. That is the only safe choice with
 * UDP_GRO, where one message holds packets of many inner flows. Without UDP_GRO a filter program
 * chooses by the inner flow, so that one remote gateway spreads as well.
 */

import type { IpVersion } from "../base/ip.js";
import { PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/packet-fields.js";
import * as libc from "./libc.js";
import { allocateMemory } from "./memory.js";
import { openUdpSocket, type UdpOptions, type UdpSocket } from "./udp-socket.js";

// asm-generic/socket.h
const SOL_SOCKET = 1;
const SO_ATTACH_REUSEPORT_CBPF = 51;

// linux/bpf_common.h, linux/filter.h: classic filter instructions.
const LOAD_BYTE = 0x30;
const LOAD_WORD_AT_X = 0x40;
const LOAD_NUMBER = 0x00;
const LOAD_X_MEMORY = 0x61;
const STORE = 0x02;
const ADD_X = 0x0c;
const MULTIPLY = 0x24;
const AND = 0x54;
const SHIFT_LEFT_X = 0x6c;
const SHIFT_RIGHT = 0x74;
const REMAINDER = 0x94;
const TO_X = 0x07;
const FROM_X = 0x87;
const JUMP_EQUAL = 0x15;
const JUMP_IF_BITS = 0x45;
const RETURN_NUMBER = 0x06;
const RETURN = 0x16;

/** struct sock_filter: code, jumps forward if true and if false, number. */
type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, number: number];
const INSTRUCTION_BYTES = 8;
/** struct sock_fprog: count, and behind padding the address of the instructions. */
const PROGRAM_BYTES = 16;

/** Octet 0 of format G: fragment information follows (spec/tunnel.md 2.1). */
const FLAG_FRAGMENT = 0x02;
const MEMORY_HASH = 0;
const MEMORY_REFERENCES = 1;
/** Odd multipliers spread neighbouring numbers; Knuth, volume 3, 6.4. */
const MULTIPLIER_SMALL = 31;
const MULTIPLIER = 0x9e3779b1;

/**
 * Opens a socket for each of `lanes`. Throws SystemCallError, also when another program holds the
 * port: sockets that share it would otherwise take each other's packets.
 */
export function openLaneSockets(
  options: UdpOptions,
  lanes: number,
): readonly [UdpSocket, ...UdpSocket[]] {
  const first = openUdpSocket(options);
  if (lanes === 1) return [first];
  const { port } = first;
  first.close();
  const sockets: [UdpSocket, ...UdpSocket[]] = [openShared({ ...options, port })];
  try {
    while (sockets.length < lanes) sockets.push(openShared({ ...options, port }));
  } catch (error) {
    for (const socket of sockets) socket.close();
    throw error;
  }
  if (!sockets[0].joinsDatagrams) chooseByInnerFlow(sockets[0], lanes);
  return sockets;
}

function openShared(options: UdpOptions): UdpSocket {
  return openUdpSocket({ ...options, reusePort: true });
}

/** Attaches the filter program; a kernel that refuses it keeps its own, safe choice. */
function chooseByInnerFlow(socket: UdpSocket, lanes: number): void {
  const program = innerFlowProgram(socket.version, lanes);
  const memory = allocateMemory(PROGRAM_BYTES + program.length * INSTRUCTION_BYTES);
  const { view, address } = memory;
  view.setUint16(0, program.length, true);
  view.setBigUint64(8, BigInt(address + PROGRAM_BYTES), true);
  program.forEach(([code, ifTrue, ifFalse, number], index) => {
    const at = PROGRAM_BYTES + index * INSTRUCTION_BYTES;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, ifTrue);
    view.setUint8(at + 3, ifFalse);
    view.setUint32(at + 4, number >>> 0, true);
  });
  libc.setsockopt(socket.fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, address, PROGRAM_BYTES);
}

/**
 * Number of a socket from the tunnel packet: a hash of the low words of both references and, of
 * whole TCP and UDP packets, the ports. Offsets are those of the UDP payload. Anything but format
 * G goes to socket 0, and so does a packet too short for a load.
 */
function innerFlowProgram(version: IpVersion, lanes: number): Instruction[] {
  const contexts = version === 4 ? 8 : 32;
  return [
    [LOAD_BYTE, 0, 0, 1],
    [JUMP_EQUAL, 1, 0, version << 4],
    [RETURN_NUMBER, 0, 0, 0],
    // X = length of a reference: 4 << REFL (spec/tunnel.md 2.1).
    [LOAD_BYTE, 0, 0, 0],
    [SHIFT_RIGHT, 0, 0, 2],
    [AND, 0, 0, 3],
    [TO_X, 0, 0, 0],
    [LOAD_NUMBER, 0, 0, 4],
    [SHIFT_LEFT_X, 0, 0, 0],
    [TO_X, 0, 0, 0],
    // The last word of the source reference, which ends at 4 + contexts + X.
    [LOAD_WORD_AT_X, 0, 0, contexts],
    [MULTIPLY, 0, 0, MULTIPLIER_SMALL],
    [STORE, 0, 0, MEMORY_HASH],
    [FROM_X, 0, 0, 0],
    [ADD_X, 0, 0, 0],
    [TO_X, 0, 0, 0],
    [STORE, 0, 0, MEMORY_REFERENCES],
    // The last word of the destination reference, which ends at 4 + contexts + 2X.
    [LOAD_WORD_AT_X, 0, 0, contexts],
    [LOAD_X_MEMORY, 0, 0, MEMORY_HASH],
    [ADD_X, 0, 0, 0],
    [STORE, 0, 0, MEMORY_HASH],
    // Ports, where each packet of the flow has them.
    [LOAD_BYTE, 0, 0, 0],
    [JUMP_IF_BITS, 8, 0, FLAG_FRAGMENT],
    [LOAD_BYTE, 0, 0, 3],
    [JUMP_EQUAL, 1, 0, PROTOCOL_TCP],
    [JUMP_EQUAL, 0, 5, PROTOCOL_UDP],
    [LOAD_X_MEMORY, 0, 0, MEMORY_REFERENCES],
    [LOAD_WORD_AT_X, 0, 0, 4 + contexts],
    [LOAD_X_MEMORY, 0, 0, MEMORY_HASH],
    [ADD_X, 0, 0, 0],
    [STORE, 0, 0, MEMORY_HASH],
    [LOAD_X_MEMORY, 0, 0, MEMORY_HASH],
    [FROM_X, 0, 0, 0],
    [MULTIPLY, 0, 0, MULTIPLIER],
    [SHIFT_RIGHT, 0, 0, 16],
    [REMAINDER, 0, 0, lanes],
    [RETURN, 0, 0, 0],
  ];
}
