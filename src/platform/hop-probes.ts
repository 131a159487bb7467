/**
 * The routers on the way to an address: UDP datagrams with increasing TTL, each from a socket of
 * its own, whose error queue tells which router gave up (ip(7), IP_RECVERR; RFC 792, RFC 4443 3.3).
 * The datagrams are empty, so that a tunnel port drops them unread. Main thread.
 */

import type { IpAddress } from "../base/ip.js";
import { monotonicMs } from "./clock.js";
import * as libc from "./libc.js";
import { allocateMemory } from "./memory.js";
import type { Reactor } from "./reactor.js";
import { encodeSockaddrInto, SOCKADDR_IN6_LENGTH, sockaddrLength } from "./sockaddr.js";
import { readErrorQueue } from "./udp-errors.js";
import { openUdpSocket, SOL_IP, SOL_IPV6, type UdpSocket } from "./udp-socket.js";

// linux/in.h, linux/in6.h
const IP_TTL = 2;
const IPV6_UNICAST_HOPS = 16;
const BUFFER_BYTES = 4096;

/** A router that answered. */
export interface Hop {
  readonly ttl: number;
  readonly address: IpAddress;
  readonly roundTripMs: number;
  /** It was not on the way but at its end: the destination itself refused the datagram. */
  readonly isEnd: boolean;
}

/** What to probe. */
export interface HopProbes {
  /** Address to send from; unspecified for any. */
  readonly bind: IpAddress;
  readonly destination: IpAddress;
  readonly port: number;
  readonly hopsMax: number;
  readonly waitMs: number;
}

/** Sends all probes at once and collects answers for `waitMs`; throws SystemCallError. */
export async function probeHops(reactor: Reactor, probes: HopProbes): Promise<Hop[]> {
  const hops: Hop[] = [];
  const sockets: UdpSocket[] = [];
  try {
    for (let ttl = 1; ttl <= probes.hopsMax; ttl++) {
      const { bind: address } = probes;
      const socket = openUdpSocket({ address, port: 0, bufferBytes: BUFFER_BYTES });
      sockets.push(socket);
      const sentMs = monotonicMs();
      reactor.add(socket.fd, 0, () => takeErrors(socket, ttl, sentMs, hops));
      sendProbe(socket, probes, ttl);
    }
    await new Promise((resolve) => setTimeout(resolve, probes.waitMs));
  } finally {
    for (const socket of sockets) {
      reactor.remove(socket.fd);
      socket.close();
    }
  }
  return hops.sort((a, b) => a.ttl - b.ttl);
}

/** A refusal by the kernel shows as a hop that does not answer. */
function sendProbe(socket: UdpSocket, { destination, port }: HopProbes, ttl: number): void {
  const memory = allocateMemory(SOCKADDR_IN6_LENGTH);
  const isIpv4 = socket.version === 4;
  memory.view.setInt32(0, ttl, true);
  const name = isIpv4 ? IP_TTL : IPV6_UNICAST_HOPS;
  libc.setsockopt(socket.fd, isIpv4 ? SOL_IP : SOL_IPV6, name, memory.address, 4);
  encodeSockaddrInto(memory.view, 0, destination, port);
  libc.sendto(socket.fd, memory.address, 0, 0, memory.address, sockaddrLength(socket.version));
}

function takeErrors(socket: UdpSocket, ttl: number, sentMs: number, hops: Hop[]): void {
  for (const { offender, kind } of readErrorQueue(socket.fd)) {
    if (offender === undefined || hops.some((hop) => hop.ttl === ttl)) continue;
    const roundTripMs = monotonicMs() - sentMs;
    hops.push({ ttl, address: offender, roundTripMs, isEnd: kind === "refused" });
  }
}
