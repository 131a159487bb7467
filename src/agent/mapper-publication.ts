/**
 * MC_HOST_DATA and MC_HOST_DATA_HASH as their sender sees them, dialect oldv1 (spec/mapper.md 2.2
 * to 2.8, spec/dns-agent.md 8.2).
 *
 *   data  header  batch  hash  LOCAL  PUBLIC  records     ACK: without the records
 *   hash  header  count  hash  LOCAL  PUBLIC              ACK, NACK: echo
 */

import { writeReferenceInto } from "../base/reference.js";
import { writeU32 } from "../wire/bytes.js";
import {
  COMMAND_HOST_DATA,
  COMMAND_HOST_DATA_HASH,
  ipverOf,
  MESSAGE_HEADER_BYTES,
  MESSAGE_SIGNATURE,
  type MessageVersions,
  MODE_ACK,
  MODE_NACK,
  MODE_REQUEST,
  messageBatch,
  messageHash,
  OFFSET_BATCH,
  OFFSET_COMMAND,
  OFFSET_HASH,
  OFFSET_LENGTH,
  OFFSET_NAMES,
  OFFSET_SIGNATURE,
  readSourceNames,
  recordLayout,
  stringItemBytes,
  writeHeaderInto,
  writeStringItemInto,
} from "../wire/mapper-message.js";
import type { HostRecord } from "./host-set.js";

/** spec/dns-agent.md 8.2: the reference gateway's receive buffer shrinks with its MTU. */
export const PAYLOAD_BYTES_MAX = 1200;
/** Item headers and padding of both names, at most (spec/dns-agent.md 8.2). */
const NAMES_EXTRA_BYTES = 10;

/** Who publishes, in which IP versions. */
export interface Publisher {
  readonly local: string;
  readonly public: string;
  readonly versions: MessageVersions;
}

/** Records that fit a message of `payloadBytesMax`; at least 1. */
export function recordsPerMessage(publisher: Publisher, payloadBytesMax: number): number {
  const sourceBytes = publisher.local.length + 1 + publisher.public.length;
  const room = payloadBytesMax - OFFSET_NAMES - (sourceBytes + NAMES_EXTRA_BYTES);
  return Math.max(1, Math.floor(room / recordLayout("oldv1", publisher.versions).length));
}

/** MC_HOST_DATA; `records` may be empty, which starts an empty generation. */
export function buildHostData(
  publisher: Publisher,
  id: number,
  batch: number,
  hash: Uint8Array,
  records: readonly HostRecord[],
): Uint8Array {
  const layout = recordLayout("oldv1", publisher.versions);
  const extraBytes = records.length * layout.length;
  const message = withNames(publisher, COMMAND_HOST_DATA, id, batch, hash, extraBytes);
  let at = message.length - extraBytes;
  for (const { ip, gateway, reference } of records) {
    message.set(ip.bytes, at + layout.ip);
    message.set(gateway.bytes, at + layout.gw);
    writeReferenceInto(message, at + layout.reference, reference);
    at += layout.length;
  }
  return message;
}

/** MC_HOST_DATA_HASH for a set of `count` records. */
export function buildHostHash(
  publisher: Publisher,
  id: number,
  count: number,
  hash: Uint8Array,
): Uint8Array {
  return withNames(publisher, COMMAND_HOST_DATA_HASH, id, count, hash, 0);
}

function withNames(
  publisher: Publisher,
  command: number,
  id: number,
  batchOrCount: number,
  hash: Uint8Array,
  extraBytes: number,
): Uint8Array {
  const { local, public: publicName, versions } = publisher;
  const namesBytes = stringItemBytes(local.length) + stringItemBytes(publicName.length);
  const length = OFFSET_NAMES + namesBytes + extraBytes;
  const message = new Uint8Array(length);
  writeHeaderInto(message, MODE_REQUEST | command, id, ipverOf(versions), length);
  writeU32(message, OFFSET_BATCH, batchOrCount);
  message.set(hash, OFFSET_HASH);
  const end = writeStringItemInto(message, OFFSET_NAMES, local);
  writeStringItemInto(message, end, publicName);
  return message;
}

/** What the mapper says to the agent. */
export interface MapperReply {
  readonly kind: "data-ack" | "hash-ack" | "hash-nack";
  /** `LOCAL:PUBLIC`. */
  readonly source: string;
  /** Batch of the data, count of the hash. */
  readonly batch: number;
  /** Eight characters, one a byte. */
  readonly hash: string;
}

const KINDS: Readonly<Record<number, MapperReply["kind"]>> = {
  [MODE_ACK | COMMAND_HOST_DATA]: "data-ack",
  [MODE_ACK | COMMAND_HOST_DATA_HASH]: "hash-ack",
  [MODE_NACK | COMMAND_HOST_DATA_HASH]: "hash-nack",
};

/**
 * Reads a reply (spec/dns-agent.md 8.1: length, signature, alignment, length field; IPVER is not
 * looked at). Undefined: malformed. "other": nothing for the agent, such as a NOOP.
 */
export function readReply(message: Uint8Array): MapperReply | "other" | undefined {
  const { length } = message;
  if (length < MESSAGE_HEADER_BYTES || length % 4 !== 0) return undefined;
  if (message[OFFSET_SIGNATURE] !== MESSAGE_SIGNATURE) return undefined;
  const words = (message[OFFSET_LENGTH]! << 8) | message[OFFSET_LENGTH + 1]!;
  if (4 * words !== length) return undefined;
  const kind = KINDS[message[OFFSET_COMMAND]!];
  if (kind === undefined) return "other";
  if (length < OFFSET_NAMES) return undefined;
  const names = readSourceNames(message, length);
  if (names === undefined) return undefined;
  return { kind, source: names.joined, batch: messageBatch(message), hash: messageHash(message) };
}

/** The hash of a set in the form of `MapperReply.hash`. */
export function hashText(hash: Uint8Array): string {
  return String.fromCharCode(...hash);
}
