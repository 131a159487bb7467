/**
 * The exact MTU of "too big", computed from the octets of a vector (spec/tunnel.md 4.7): the upper
 * end of what a gateway may announce.
 */

import type { IpVersion } from "../../base/ip.js";
import { isTooBig, mtuOffset, readU16 } from "./adopt.js";
import { dissect, type Packet } from "./dissect.js";
import { expectedSide, formOf, type Trial } from "./trial.js";
import type { Outcome } from "./vector-file.js";

/** Outer IP and UDP headers (spec/tunnel.md 7.4). */
export function outerOverhead(version: IpVersion): number {
  return version === 4 ? 28 : 48;
}

/** spec/tunnel.md 4.7: smallest MTU that is announced to a local network. */
export function lowerBound(version: IpVersion): number {
  return version === 4 ? 68 : 1280;
}

const MTU_MAX = 65_535;

/** Sizes that RFC 1191 7.1 names, as spec/tunnel.md 4.7 takes them over for MTU 0. */
const PLATEAUS = [1492, 1280, 1006, 576, 296];

/** The exact value for output `index`, or the lower bound above it; 0 when there is none. */
export async function exactMtu(trial: Trial, index: number, expected: Outcome): Promise<number> {
  const { passage } = trial;
  const input = passage.inputs[index] ?? passage.inputs[0]!;
  if (expected.verdict === "icmp") return ownMtu(trial, input);
  const form = formOf(expectedSide(passage, expected.verdict));
  const output = dissect(expected.outputs[index]!, form);
  return translatedMtu(trial, input, output?.quote);
}

/** The gateway's own error: the largest native packet that fits the tunnel path. */
async function ownMtu({ config, play }: Trial, input: Uint8Array): Promise<number> {
  if (config.tunnel_mtu === undefined) return 0;
  const whole = (await play([input], { tunnelMtu: MTU_MAX })).outputs[0];
  const tunnel = whole && dissect(whole.bytes, "tunnel");
  const native = dissect(input, "native");
  if (tunnel === undefined || native === undefined) return 0;
  const packetBytesMax = config.tunnel_mtu - outerOverhead(config.tunnel_version);
  const mtu = packetBytesMax - tunnel.headerLength + plainHeader(native);
  return Math.max(lowerBound(config.local_version), mtu);
}

/** A native header without options. */
function plainHeader(packet: Packet): number {
  return packet.version === 4 ? 20 : packet.headerLength;
}

/** A translated error; `quote` is the packet quoted by the output. */
export function translatedMtu(trial: Trial, input: Uint8Array, quote: Packet | undefined): number {
  const { passage, config } = trial;
  const isEncap = passage.direction === "encap";
  const packet = dissect(input, isEncap ? "native" : "tunnel");
  if (packet?.quote === undefined || quote === undefined || !isTooBig(input, packet)) return 0;
  const announced = readU16(input, mtuOffset(packet));
  if (isEncap) {
    const mtu = announced === 0 ? plateauBelow(readU16(input, packet.quote.start + 2)) : announced;
    return Math.min(MTU_MAX, mtu - plainHeader(packet.quote) + quote.headerLength);
  }
  const room = announced - packet.quote.headerLength;
  if (room <= 0) return 0;
  const mtu = Math.min(MTU_MAX, room + plainHeader(quote));
  return Math.max(lowerBound(config.local_version), mtu);
}

/** The next lower common size below a length; 68, the IPv4 minimum, below all of them. */
function plateauBelow(length: number): number {
  return PLATEAUS.find((plateau) => plateau < length) ?? lowerBound(4);
}
