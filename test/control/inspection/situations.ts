/** Packets that are dropped because of what came before: limits, held fragments, full tables. */

import type { DropReason } from "../../../src/base/drop-reason.js";
import { parseIp } from "../../../src/base/ip.js";
import { nativePacketOf, tunnelPacketOf } from "../../../src/control/inspection/explain-packet.js";
import type { ExplainFlow } from "../../../src/control/inspection/explain-report.js";
import { settle } from "../fake-machine.js";
import { type ExplainWorld, flow, PUBLIC_ADDRESS, REMOTE_GATEWAY } from "./explain-world.js";

export const HOST = "10.1.0.22";
export const REMOTE = "10.240.0.22";

/** A packet of the local network. */
export function native(
  source: string,
  destination: string,
  more: Partial<ExplainFlow>,
): Uint8Array {
  const [from, to] = [parseIp(source)!, parseIp(destination)!];
  return nativePacketOf(flow(source, destination, { syn: false, ...more }), from, to);
}

/** A tunnel packet from a host behind the remote gateway. */
export function datagram(reference: number, to: bigint, more: Partial<ExplainFlow>): Uint8Array {
  const source = { context: parseIp(REMOTE_GATEWAY)!, reference: BigInt(reference) };
  const destination = { context: parseIp(PUBLIC_ADDRESS)!, reference: to };
  return tunnelPacketOf(flow("", "", { syn: false, ...more }), source, destination, 4);
}

/** IPv4 as a fragment at an offset in octets; its header checksum is nobody's concern. */
function fragment(packet: Uint8Array, offset: number, hasMore: boolean): Uint8Array {
  const part = packet.slice();
  part.set([(hasMore ? 0x20 : 0) | (offset >> 11), (offset >> 3) & 0xff], 6);
  return part;
}

/** A gateway, and a packet that it drops. */
export interface Situation {
  readonly reason: DropReason;
  readonly about: string;
  readonly flags?: readonly string[];
  readonly version?: 4 | 6;
  /** Largest packet on the way to the remote gateway. */
  readonly pathMtu?: number;
  readonly before?: (world: ExplainWorld) => void | Promise<void>;
  readonly side: "local" | "tunnel";
  readonly packet: () => Uint8Array;
  readonly from?: string;
  /** It is the second reason, about the answer. */
  readonly isAboutAnswer?: boolean;
}

const ECHO = { protocol: 1 };
export const UDP = { protocol: 17 };

/** First fragment of an ICMPv6 echo, with the identification `id`. */
export function firstOfEcho(id: number): Uint8Array {
  const whole = native("2001:db8:1::22", "fd00:240::22", { protocol: 1, size: 80 });
  const part = new Uint8Array(whole.length + 8);
  part.set(whole.subarray(0, 40));
  part.set([0, 48], 4);
  part[6] = 44;
  part.set([58, 0, 0, 1, 0, 0, id >> 8, id & 0xff], 40);
  part.set(whole.subarray(40), 48);
  return part;
}

/** The last fragment of the same message, with 24 octets. */
export function lastOfEcho(id: number): Uint8Array {
  const part = firstOfEcho(id).slice(0, 72);
  part.set([0, 32], 4);
  part.set([0, 40], 42);
  return part;
}

/** An echo request to the gateway's own reference as an echo reply; the checksum follows. */
function replyToGateway(): Uint8Array {
  const packet = datagram(1025, 1n, ECHO);
  const icmp = packet.length - 64;
  packet[icmp] = 0;
  // 0x0800 less in the sum is 0x0800 more in the checksum (RFC 1624); it does not overflow here.
  packet[icmp + 2] = packet[icmp + 2]! + 8;
  return packet;
}

/** For each reason of state one. */
export const SITUATIONS: readonly Situation[] = [
  {
    reason: "ttl-expired",
    about: "a packet with TTL 1 where gateways count",
    flags: ["-dec-ttl"],
    side: "local",
    packet: () => native(HOST, REMOTE, UDP).map((octet, index) => (index === 8 ? 1 : octet)),
  },
  {
    reason: "tunnel-echo-limited",
    about: "one echo request too many to the gateway",
    before: (world) => {
      for (let count = 0; count < 20; count++) world.fromTunnel(datagram(1025, 1n, ECHO));
    },
    side: "tunnel",
    packet: () => datagram(1025, 1n, ECHO),
  },
  {
    reason: "tunnel-echo-reply-unknown",
    about: "an answer that nobody waits for",
    side: "tunnel",
    packet: replyToGateway,
  },
  {
    reason: "tunnel-bad-echo",
    about: "an echo request with a wrong checksum",
    side: "tunnel",
    packet: () => {
      const packet = datagram(1025, 1n, ECHO);
      packet[packet.length - 1]! ^= 1;
      return packet;
    },
  },
  {
    reason: "tunnel-to-gateway",
    about: "UDP to the gateway itself",
    side: "tunnel",
    packet: () => datagram(1025, 1n, UDP),
  },
  {
    reason: "tunnel-reference-unknown",
    about: "a reference that nobody has",
    side: "tunnel",
    packet: () => datagram(1025, 4321n, UDP),
  },
  {
    reason: "tunnel-source-own",
    about: "a datagram that bears the own address",
    side: "tunnel",
    packet: () => datagram(1025, 1025n, UDP),
    from: PUBLIC_ADDRESS,
  },
  {
    reason: "local-destination-unknown",
    about: "an encoded address that stands for nobody",
    side: "local",
    packet: () => native(HOST, "10.240.0.99", UDP),
  },
  {
    reason: "packet-too-big",
    about: "a packet that must not be fragmented and does not fit",
    side: "local",
    packet: () => native(HOST, REMOTE, { ...UDP, size: 1500 }),
    pathMtu: 1400,
  },
  {
    reason: "fragment-no-room",
    about: "a path that has no room for a fragment",
    side: "local",
    packet: () => native(HOST, REMOTE, { ...UDP, size: 400, df: false }),
    pathMtu: 60,
  },
  {
    reason: "icmp-limited",
    about: "the error after too many errors",
    before: (world) => {
      for (let count = 0; count < 20; count++) world.fromLocal(native(HOST, "10.240.0.99", UDP));
    },
    side: "local",
    packet: () => native(HOST, "10.240.0.99", UDP),
    isAboutAnswer: true,
  },
  {
    reason: "icmp-fragment-refused",
    about: "the rest of a message whose beginning was refused",
    before: (world) => {
      const first = fragment(native(HOST, REMOTE, { ...ECHO, df: false, size: 44 }), 0, true);
      first[20] = 13;
      world.fromLocal(first);
    },
    side: "local",
    packet: () => fragment(native(HOST, REMOTE, { ...ECHO, df: false, size: 44 }), 24, false),
  },
  {
    reason: "icmp-fragment-held-full",
    about: "one first fragment too many of one host",
    version: 6,
    before: (world) => {
      for (let id = 1; id <= 16; id++) world.fromLocal(firstOfEcho(id));
    },
    side: "local",
    packet: () => firstOfEcho(17),
  },
  {
    reason: "icmp-fragment-expired",
    about: "a first fragment that takes the place of another",
    version: 6,
    before: (world) => world.fromLocal(firstOfEcho(1)),
    side: "local",
    packet: () => firstOfEcho(1),
  },
  {
    reason: "mapping-rate",
    about: "one new remote host too many in a second",
    before: (world) => {
      for (let host = 0; host < 50; host++) world.fromTunnel(datagram(5000 + host, 1025n, UDP));
    },
    side: "tunnel",
    packet: () => datagram(6000, 1025n, UDP),
  },
  {
    reason: "mapping-quota",
    about: "more remote hosts than the share of one gateway",
    flags: ["-encode-net", "10.240.0.0/19"],
    before: async (world) => {
      for (let host = 0; host < 1024; host++) {
        if (host % 40 === 0) world.machine.pass(1);
        world.fromTunnel(datagram(5000 + host, 1025n, UDP));
        if (host % 40 === 0) await settle();
      }
      await settle();
      world.machine.pass(1);
    },
    side: "tunnel",
    packet: () => datagram(9000, 1025n, UDP),
  },
  {
    reason: "mapping-pending-full",
    about: "more first packets than can wait",
    before: (world) => {
      for (let host = 0; host < 1024; host++) {
        world.fromLocal(native(`10.1.${1 + (host >> 8)}.${host & 255}`, REMOTE, UDP));
      }
    },
    side: "local",
    packet: () => native("10.1.9.9", REMOTE, UDP),
  },
];
