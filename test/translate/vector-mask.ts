/**
 * Clears the octets in which a correct gateway may differ from the recorded one: vectors/README.md
 * "Packet vectors" (two forms of zero) and "Intended differences" (identifications, MTU values,
 * unused octets of errors).
 */

type PacketKind = "tunnel" | "ipv4" | "ipv6";

/** A copy of a packet with the octets that may differ in one common form. */
export function maskDifferences(packet: Uint8Array, kind: PacketKind): Uint8Array {
  const copy = packet.slice();
  maskPacket(copy, kind, true);
  return copy;
}

function word(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 8) | bytes[offset + 1]!;
}

interface Layer4 {
  readonly start: number;
  readonly protocol: number;
  readonly fragmentOffset: number;
}

function maskPacket(packet: Uint8Array, kind: PacketKind, isOutermost: boolean): void {
  const layer4 = findLayer4(packet, kind, isOutermost);
  if (layer4 === undefined) return;
  const data = packet.subarray(layer4.start);
  const isIcmp = layer4.protocol === 1 || layer4.protocol === 58;
  if (isIcmp && layer4.fragmentOffset === 0) maskIcmp(data, kind);
  if (layer4.protocol === 6) oneZero(data, 16 - layer4.fragmentOffset);
}

function findLayer4(
  packet: Uint8Array,
  kind: PacketKind,
  isOutermost: boolean,
): Layer4 | undefined {
  if (kind === "ipv4") {
    if (packet.length < 20) return undefined;
    const flags = word(packet, 6);
    if (isOutermost && (flags & 0x7fff) === 0) {
      packet.fill(0, 4, 6);
      packet.fill(0, 10, 12);
    }
    return { start: 20, protocol: packet[9]!, fragmentOffset: (flags & 0x1fff) * 8 };
  }
  if (kind === "ipv6") {
    if (packet.length < 40) return undefined;
    if (packet[6] !== 44) return { start: 40, protocol: packet[6]!, fragmentOffset: 0 };
    return { start: 48, protocol: packet[40]!, fragmentOffset: word(packet, 42) & 0xfff8 };
  }
  if (packet.length < 20) return undefined;
  const context = packet[1] === 0x40 ? 4 : 16;
  const reference = 4 << ((packet[0]! >> 2) & 3);
  const hasFragment = (packet[0]! & 2) !== 0;
  const start = (hasFragment ? 12 : 4) + 2 * context + 2 * reference;
  const fragmentOffset = hasFragment ? word(packet, 6) & 0xfff8 : 0;
  return { start, protocol: packet[3]!, fragmentOffset };
}

/** The checksum of an error follows from octets that may differ, so it is cleared. */
function maskIcmp(message: Uint8Array, kind: PacketKind): void {
  if (message.length < 8) return;
  oneZero(message, 2);
  const type = message[0]!;
  const isError = kind === "ipv6" ? type < 128 : type === 3 || type === 11;
  if (!isError) return;
  message.fill(0, 2, 8);
  maskPacket(message.subarray(8), kind, false);
}

/** 0000 and ffff mean the same in TCP and ICMP. */
function oneZero(bytes: Uint8Array, offset: number): void {
  if (offset < 0 || offset + 2 > bytes.length) return;
  if (word(bytes, offset) === 0xffff) bytes.fill(0, offset, offset + 2);
}
