/**
 * Packets of a pcapng file with their comments (draft-ietf-opsawg-pcapng-03, 4.3). Little-endian;
 * written apart from src/capture, so that no mistake can hide in both.
 */

import assert from "node:assert/strict";

const TYPE_SECTION = 0x0a0d0d0a;
const TYPE_ENHANCED_PACKET = 6;
const OPTION_COMMENT = 1;
const DATA_OFFSET = 28;

/** An enhanced packet block. */
export interface PacketOfFile {
  /** Number of the interface, from 0. */
  readonly on: number;
  readonly packet: Uint8Array;
  /** Octets of the packet before it was cut. */
  readonly length: number;
  readonly comment: string;
}

/** All packets of a file. */
export function packetsOfFile(file: Buffer): PacketOfFile[] {
  assert.equal(file.readUInt32LE(0), TYPE_SECTION);
  const packets: PacketOfFile[] = [];
  for (let at = 0; at < file.length; ) {
    const total = file.readUInt32LE(at + 4);
    assert.equal(file.readUInt32LE(at + total - 4), total, "a block has its length at both ends");
    const block = file.subarray(at, at + total);
    if (block.readUInt32LE(0) === TYPE_ENHANCED_PACKET) packets.push(readPacket(block));
    at += total;
  }
  return packets;
}

function readPacket(block: Buffer): PacketOfFile {
  const kept = block.readUInt32LE(20);
  const packet = Uint8Array.from(block.subarray(DATA_OFFSET, DATA_OFFSET + kept));
  const comment = readComment(block, DATA_OFFSET + Math.ceil(kept / 4) * 4);
  return { on: block.readUInt32LE(8), packet, length: block.readUInt32LE(24), comment };
}

function readComment(block: Buffer, start: number): string {
  for (let at = start; at + 4 < block.length; ) {
    const [code, length] = [block.readUInt16LE(at), block.readUInt16LE(at + 2)];
    if (code === OPTION_COMMENT) return block.toString("utf8", at + 4, at + 4 + length);
    at += 4 + Math.ceil(length / 4) * 4;
  }
  return "";
}
