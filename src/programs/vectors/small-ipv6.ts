/**
 * Tunnel fragments put together again: the proof that an IPv6 packet of at most 1280 octets, too
 * large for the tunnel path, was sent in fragments that hold the whole packet (spec/tunnel.md 4.7,
 * 7.5).
 */

import { hexOf, readU16 } from "./adopt.js";
import { dissect, type Packet } from "./dissect.js";
import { outerOverhead } from "./exact-mtu.js";
import type { Trial } from "./trial.js";

const MTU_MAX = 65_535;

/** True when the outputs are tunnel fragments of what the input gives on a wide path. */
export async function joinsToWholePacket(trial: Trial, input: Uint8Array): Promise<boolean> {
  const { config, played, play } = trial;
  if (config.tunnel_mtu === undefined || played.outputs.length < 2) return false;
  const wide = (await play([input], { tunnelMtu: MTU_MAX })).outputs;
  const whole = wide.length === 1 ? dissect(wide[0]!.bytes, "tunnel") : undefined;
  if (whole === undefined || wide[0]!.side !== "tunnel") return false;
  const packetBytesMax = config.tunnel_mtu - outerOverhead(config.tunnel_version);
  const parts: { bytes: Uint8Array; packet: Packet }[] = [];
  for (const output of played.outputs) {
    const packet = dissect(output.bytes, "tunnel");
    if (output.side !== "tunnel" || packet === undefined) return false;
    if (output.bytes.length > packetBytesMax || output.port !== wide[0]!.port) return false;
    parts.push({ bytes: output.bytes, packet });
  }
  return isSamePacket(wide[0]!.bytes, whole, parts);
}

function isSamePacket(
  wide: Uint8Array,
  whole: Packet,
  parts: readonly { bytes: Uint8Array; packet: Packet }[],
): boolean {
  const identification = hexOf(parts[0]!.bytes.subarray(8, 12));
  if (whole.isFragment && hexOf(wide.subarray(8, 12)) !== identification) return false;
  let offset = whole.fragmentOffset;
  const data: number[] = [];
  for (const [index, { bytes, packet }] of parts.entries()) {
    const isLast = index === parts.length - 1;
    const length = bytes.length - packet.headerLength;
    const hasMore = isLast ? whole.hasMoreFragments : true;
    if (!packet.isFragment || packet.mayNotFragment || packet.fragmentOffset !== offset)
      return false;
    if (packet.hasMoreFragments !== hasMore || (!isLast && length % 8 !== 0)) return false;
    if (hexOf(bytes.subarray(8, 12)) !== identification || length === 0) return false;
    if (readU16(bytes, 4) !== 0 || (bytes[7]! & 6) !== 0) return false; // reserved
    if (steadyPart(bytes, packet) !== steadyPart(wide, whole)) return false;
    data.push(...bytes.subarray(packet.headerLength));
    offset += length;
  }
  return hexOf(Uint8Array.from(data)) === hexOf(wide.subarray(whole.headerLength));
}

/** What all fragments share: reference length, contexts, TTL, protocol, references. */
function steadyPart(bytes: Uint8Array, packet: Packet): string {
  const behind = bytes.subarray(packet.source.offset, packet.headerLength);
  return `${bytes[0]! & 0xfc}/${readU16(bytes, 1)}/${bytes[3]}/${hexOf(behind)}`;
}
