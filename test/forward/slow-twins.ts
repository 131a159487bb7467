/** The judges of the fast path: what the slow path makes of one packet, over the same mappings. */

import { toHex } from "../../src/base/hex.js";
import { sameAddress } from "../../src/base/ip.js";
import { decapsulate } from "../../src/translate/decapsulate.js";
import { encapsulate } from "../../src/translate/encapsulate.js";
import { acceptDatagram } from "../../src/translate/receive.js";
import type { FastWorld, TestDatagram } from "./fast-world.js";

/** Slow path: the tunnel packet, or why there is none. */
export function slowEgress(world: FastWorld, packet: Uint8Array): string {
  const result = encapsulate(packet, {
    settings: world.settings,
    publicAddress: world.publicAddress,
    lookup: world.lookup(),
    format: "G",
    identification: () => 0,
  });
  if (result.kind !== "packet") return result.kind;
  const peer = world.peers.find((each) => sameAddress(each.address, result.destination.context));
  const fits = peer?.isVerified === true && result.packet.length <= peer.bytesMax;
  return fits ? toHex(result.packet) : "no fitting peer";
}

/** Slow path: the native packet, or why there is none. */
export function slowIngress(world: FastWorld, { packet, source, port }: TestDatagram): string {
  const accepted = acceptDatagram(packet, {
    outerSource: source,
    outerSourcePort: port,
    publicAddress: world.publicAddress,
    tunnelPort: 1045,
    tunnelVersion: world.options.tunnelVersion,
  });
  if (accepted.kind === "drop") return accepted.reason;
  const result = decapsulate(accepted.packet, {
    settings: world.settings,
    publicAddress: world.publicAddress,
    lookup: world.lookup(),
    format: accepted.format,
    outerSource: source,
    hints: accepted.hints,
    nextIdentification: () => 0,
    roles: "remote",
  });
  return result.kind === "packet" ? maskedHex(result.packet) : result.kind;
}

/**
 * Hex without what may differ: identification and header checksum of whole IPv4 packets with DF
 * clear.
 */
export function maskedHex(packet: Uint8Array): string {
  const copy = packet.slice();
  if (copy[0] === 0x45 && (copy[6]! & 0x7f) === 0 && copy[7] === 0) {
    copy.fill(0, 4, 6);
    copy.fill(0, 10, 12);
  }
  return toHex(copy);
}
