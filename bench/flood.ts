// Child process of the forwarding benchmarks: sends packets that take the slow path, as fast as it
// can, for a number of seconds.
//
//   node flood.js KIND ADDRESS SECONDS          prints the number of packets it sent
//
//   unknown     datagrams to addresses around ADDRESS that stand for nobody
//   first       datagrams to ADDRESS, each from another sender (IPv4)
//   fragments   datagrams of 3,000 octets to ADDRESS, which the sender's kernel cuts
//   echo        echo requests of 56 octets to ADDRESS (IPv4)
//   echo-large  echo requests of 3,000 octets, which the sender's kernel cuts (IPv4)

import { performance } from "node:perf_hooks";
import { formatIp, type IpAddress, parseIp } from "../src/base/ip.js";
import * as libc from "../src/platform/libc.js";
import { allocateMemory } from "../src/platform/memory.js";
import { encodeSockaddrInto, SOCKADDR_IN6_LENGTH } from "../src/platform/sockaddr.js";

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const IPPROTO_ICMP = 1;
/** The sender writes the IP header; the kernel completes lengths and checksum (raw(7)). */
const IPPROTO_RAW = 255;
/** Discard protocol (RFC 863). */
const PORT = 9;
const PER_CHECK = 256;
const ECHO_DATA = 0x1234;
/** Unknown addresses tried in turn. */
const ADDRESSES = 250;
/** Senders of `first` are 10.64.0.0 and up. */
const SENDERS = 1 << 20;

/** Floods; also the argument of the program. */
export const FLOOD_KINDS = ["unknown", "first", "fragments", "echo", "echo-large"] as const;
export type FloodKind = (typeof FLOOD_KINDS)[number];

/** One kind: the socket, the octets of a packet, and what is in them. */
interface Shape {
  readonly type: number;
  readonly protocol: number;
  readonly bytes: number;
  /** Fills the packet, whose octets are zero. */
  readonly fill?: (packet: DataView, to: IpAddress) => void;
  /** Changes packet number `count` before it leaves; `lastOctet` is that of the target. */
  readonly vary?: (packet: DataView, address: Uint8Array, lastOctet: number, count: number) => void;
}

const DATAGRAMS = { type: SOCK_DGRAM, protocol: 0 };
const ECHOES = { type: SOCK_RAW, protocol: IPPROTO_ICMP };

const SHAPES: Readonly<Record<FloodKind, Shape>> = {
  unknown: {
    ...DATAGRAMS,
    bytes: 64,
    vary: (_packet, sockaddr, lastOctet, count) => {
      sockaddr[lastOctet] = 2 + (count % ADDRESSES);
    },
  },
  first: {
    type: SOCK_RAW,
    protocol: IPPROTO_RAW,
    bytes: 20 + 8 + 64,
    fill: fillDatagram,
    vary: (packet, _sockaddr, _lastOctet, count) => {
      packet.setUint32(12, 0x0a400000 + (count % SENDERS));
    },
  },
  fragments: { ...DATAGRAMS, bytes: 3_000 },
  echo: { ...ECHOES, bytes: 8 + 56, fill: fillEcho },
  "echo-large": { ...ECHOES, bytes: 8 + 3_000, fill: fillEcho },
};

/** An IPv4 header (RFC 791 3.1) and a UDP header without checksum. */
function fillDatagram(packet: DataView, to: IpAddress): void {
  packet.setUint8(0, 0x45);
  packet.setUint8(8, 64);
  packet.setUint8(9, 17);
  to.bytes.forEach((octet, index) => {
    packet.setUint8(16 + index, octet);
  });
  packet.setUint16(20, PORT);
  packet.setUint16(22, PORT);
  packet.setUint16(24, packet.byteLength - 20);
}

/** An echo request (RFC 792) with one word of data, so that no checksum is special. */
function fillEcho(packet: DataView): void {
  packet.setUint8(0, 8);
  packet.setUint16(8, ECHO_DATA);
  packet.setUint16(2, 0xffff - 0x0800 - ECHO_DATA);
}

function flood(kind: FloodKind, text: string, seconds: number): number {
  const address = parseIp(text);
  if (address === undefined) throw new Error(`not an address: ${text}`);
  const { type, protocol, bytes, fill, vary } = SHAPES[kind];
  const body = SOCKADDR_IN6_LENGTH + 4;
  const memory = allocateMemory(body + bytes);
  const end = encodeSockaddrInto(memory.view, 0, address, type === SOCK_RAW ? 0 : PORT);
  const last = address.version === 6 ? end - 5 : 7;
  const packet = new DataView(memory.buffer, memory.bytes.byteOffset + body, bytes);
  fill?.(packet, address);
  const fd = libc.socket(address.version === 4 ? AF_INET : AF_INET6, type, protocol);
  if (fd < 0) throw new Error(`no socket for ${formatIp(address)}`);
  const endMs = performance.now() + 1_000 * seconds;
  let sent = 0;
  while (performance.now() < endMs) {
    for (let count = 0; count < PER_CHECK; count++) {
      vary?.(packet, memory.bytes, last, sent);
      const start = memory.address + body;
      if (libc.sendto(fd, start, bytes, 0, memory.address, end) >= 0) sent++;
    }
  }
  libc.close(fd);
  return sent;
}

const [kind, target, seconds] = process.argv.slice(2);
if (FLOOD_KINDS.some((known) => known === kind)) {
  console.log(flood(kind as FloodKind, target!, Number(seconds)));
}
