/**
 * Messages of the mapper socket, dialects oldv1 and newv1 (spec/mapper.md 2.2 to 2.11).
 *
 *    0       1       2       3       4       5       6       7
 *   +-------+-------+---------------+-------+-------+---------------+
 *   | 0x11  |mode,cm| packet id     | IPVER | 0     | length, words |
 *   +-------+-------+---------------+-------+-------+---------------+
 *
 * newv1 has IPVER 0 and puts four bytes in front of each address record: version and length of ea
 * and ip, version and length of gw. Accessors borrow the message; nothing here keeps it.
 */

import type { IpVersion } from "../base/ip.js";

export const MESSAGE_SIGNATURE = 0x11;
export const OFFSET_SIGNATURE = 0;
export const OFFSET_COMMAND = 1;
export const OFFSET_ID = 2;
export const OFFSET_IPVER = 4;
export const OFFSET_RESERVED = 5;
export const OFFSET_LENGTH = 6;
export const MESSAGE_HEADER_BYTES = 8;

/** Mode: the upper two bits of byte 1. */
export const MODE_MASK = 0xc0;
export const MODE_DATA = 0x00;
export const MODE_REQUEST = 0x40;
export const MODE_ACK = 0x80;
export const MODE_NACK = 0xc0;

/** Commands used on the socket: the lower six bits of byte 1. */
export const COMMAND_NOOP = 0;
export const COMMAND_GET_EA = 7;
export const COMMAND_HOST_DATA = 14;
export const COMMAND_HOST_DATA_HASH = 15;

const STRING_TYPE = 4;
const STRING_HEADER_BYTES = 2;
const NEW_RECORD_PREFIX_BYTES = 4;
const REFERENCE_BYTES = 16;

/** MC_HOST_DATA and MC_HOST_DATA_HASH: batch id or count, then the hash, then the names. */
export const OFFSET_BATCH = 8;
export const OFFSET_HASH = 12;
export const OFFSET_NAMES = 20;
export const HASH_BYTES = 8;

export type Dialect = "oldv1" | "newv1";

/** Versions of one gateway: ea and ip, and gw. */
export interface MessageVersions {
  readonly local: IpVersion;
  readonly tunnel: IpVersion;
}

/** Why a message is not answered, in the order of the checks of spec/mapper.md 2.5. */
export type MessageFault =
  | "shorter than its header"
  | "length not a multiple of 4"
  | "wrong signature"
  | "wrong length field"
  | "wrong version of encoded addresses"
  | "wrong version of gateway addresses"
  | "reserved byte not zero"
  | "unknown command"
  | "internal command"
  | "too short for its command"
  | "malformed address record"
  | "malformed source name"
  | "truncated";

/** Where the fields of an address record lie, from the start of the record. */
export interface RecordLayout {
  readonly ea: number;
  readonly ip: number;
  readonly gw: number;
  readonly reference: number;
  readonly length: number;
}

/** Layout of the records of one dialect and pair of versions (spec/mapper.md 2.3, 2.11). */
export function recordLayout(dialect: Dialect, versions: MessageVersions): RecordLayout {
  const local = versions.local === 4 ? 4 : 16;
  const tunnel = versions.tunnel === 4 ? 4 : 16;
  const ea = dialect === "oldv1" ? 0 : NEW_RECORD_PREFIX_BYTES;
  const reference = ea + 2 * local + tunnel;
  const length = reference + REFERENCE_BYTES;
  return { ea, ip: ea + local, gw: ea + 2 * local, reference, length };
}

/** IPVER of a pair of versions in oldv1. */
export function ipverOf(versions: MessageVersions): number {
  return (versions.local << 4) | versions.tunnel;
}

/** Dialect of a message that passed `headerFault`. */
export function dialectOf(message: Uint8Array): Dialect {
  return message[OFFSET_IPVER] === 0 ? "newv1" : "oldv1";
}

/** The first of checks 1 to 7 of spec/mapper.md 2.5 that a message fails. */
export function headerFault(
  message: Uint8Array,
  length: number,
  versions: MessageVersions,
): MessageFault | undefined {
  if (length < MESSAGE_HEADER_BYTES) return "shorter than its header";
  if (length % 4 !== 0) return "length not a multiple of 4";
  if (message[OFFSET_SIGNATURE] !== MESSAGE_SIGNATURE) return "wrong signature";
  const words = (message[OFFSET_LENGTH]! << 8) | message[OFFSET_LENGTH + 1]!;
  if (4 * words !== length) return "wrong length field";
  const ipver = message[OFFSET_IPVER]!;
  if (ipver !== 0) {
    if (ipver >> 4 !== versions.local) return "wrong version of encoded addresses";
    if ((ipver & 15) !== versions.tunnel) return "wrong version of gateway addresses";
  }
  return message[OFFSET_RESERVED] === 0 ? undefined : "reserved byte not zero";
}

/**
 * True when a newv1 record prefix at `offset` names these versions with their lengths. A gateway
 * serves one pair of versions, so all its records have one size.
 */
export function isRecordPrefix(
  message: Uint8Array,
  offset: number,
  versions: MessageVersions,
): boolean {
  return (
    message[offset] === versions.local &&
    message[offset + 1] === (versions.local === 4 ? 4 : 16) &&
    message[offset + 2] === versions.tunnel &&
    message[offset + 3] === (versions.tunnel === 4 ? 4 : 16)
  );
}

/** Writes the newv1 record prefix; returns the end offset. */
export function writeRecordPrefixInto(
  target: Uint8Array,
  offset: number,
  versions: MessageVersions,
): number {
  target[offset] = versions.local;
  target[offset + 1] = versions.local === 4 ? 4 : 16;
  target[offset + 2] = versions.tunnel;
  target[offset + 3] = versions.tunnel === 4 ? 4 : 16;
  return offset + NEW_RECORD_PREFIX_BYTES;
}

/** Text of a string item, one character a byte, and the offset after the item. */
export interface StringItem {
  readonly text: string;
  readonly end: number;
}

/**
 * Reads the string item at `offset` of a message of `length` bytes (spec/mapper.md 2.4, receiver's
 * side of a new implementation): undefined when it is no string, empty, or runs over the end.
 */
export function readStringItem(
  message: Uint8Array,
  length: number,
  offset: number,
): StringItem | undefined {
  const rest = length - offset;
  if (rest < 4 || message[offset] !== STRING_TYPE) return undefined;
  const count = message[offset + 1]!;
  const end = offset + stringItemBytes(count);
  if (count === 0 || end > length) return undefined;
  let text = "";
  const start = offset + STRING_HEADER_BYTES;
  for (let index = start; index < start + count; index++) {
    text += String.fromCharCode(message[index]!);
  }
  return { text, end };
}

/** Encoded size of a string item of `count` bytes. */
export function stringItemBytes(count: number): number {
  return (count + 5) & ~3;
}

/** Writes a string item with zero padding; one byte a character. Returns the end offset. */
export function writeStringItemInto(target: Uint8Array, offset: number, text: string): number {
  const end = offset + stringItemBytes(text.length);
  target.fill(0, offset, end);
  target[offset] = STRING_TYPE;
  target[offset + 1] = text.length;
  for (let index = 0; index < text.length; index++) {
    target[offset + STRING_HEADER_BYTES + index] = text.charCodeAt(index);
  }
  return end;
}

/** Writes a header for a message of `length` bytes; returns the end offset. */
export function writeHeaderInto(
  target: Uint8Array,
  command: number,
  id: number,
  ipver: number,
  length: number,
): number {
  target[OFFSET_SIGNATURE] = MESSAGE_SIGNATURE;
  target[OFFSET_COMMAND] = command;
  target[OFFSET_ID] = id >> 8;
  target[OFFSET_ID + 1] = id & 0xff;
  target[OFFSET_IPVER] = ipver;
  target[OFFSET_RESERVED] = 0;
  setMessageLength(target, length);
  return MESSAGE_HEADER_BYTES;
}

/** Rewrites the length field; `length` is a multiple of 4. */
export function setMessageLength(target: Uint8Array, length: number): void {
  target[OFFSET_LENGTH] = length >> 10;
  target[OFFSET_LENGTH + 1] = (length >> 2) & 0xff;
}

/** Rewrites the mode, keeping the command. */
export function setMessageMode(target: Uint8Array, mode: number): void {
  target[OFFSET_COMMAND] = (target[OFFSET_COMMAND]! & ~MODE_MASK) | mode;
}

/** Batch id (MC_HOST_DATA) or count of hosts (MC_HOST_DATA_HASH). */
export function messageBatch(message: Uint8Array): number {
  const high = (message[OFFSET_BATCH]! << 8) | message[OFFSET_BATCH + 1]!;
  return high * 65_536 + ((message[OFFSET_BATCH + 2]! << 8) | message[OFFSET_BATCH + 3]!);
}

/** The 64-bit hash as a string of eight characters, one a byte. */
export function messageHash(message: Uint8Array): string {
  return String.fromCharCode(...message.subarray(OFFSET_HASH, OFFSET_HASH + HASH_BYTES));
}

/** The two names of the MC_HOST_DATA family, their joined form, and the end of the second item. */
export interface SourceNames {
  readonly local: string;
  readonly public: string;
  /** `LOCAL:PUBLIC` (spec/mapper.md 2.4). */
  readonly joined: string;
  readonly end: number;
}

/** spec/mapper.md 1: names of owners are at most this long. */
const SOURCE_NAME_BYTES_MAX = 255;

/** Reads both names; undefined when one is malformed, has a colon, or both are too long. */
export function readSourceNames(message: Uint8Array, length: number): SourceNames | undefined {
  const local = readStringItem(message, length, OFFSET_NAMES);
  if (local === undefined) return undefined;
  const publicItem = readStringItem(message, length, local.end);
  if (publicItem === undefined) return undefined;
  if (local.text.includes(":") || publicItem.text.includes(":")) return undefined;
  const joined = `${local.text}:${publicItem.text}`;
  if (joined.length > SOURCE_NAME_BYTES_MAX) return undefined;
  return { local: local.text, public: publicItem.text, joined, end: publicItem.end };
}
