/**
 * The journal in front of the mapping store: groups of changes, durable after one write each.
 * Main thread. Writes run on the libuv thread pool, but for small groups on a quick disk: there the
 * way to another thread and back takes as long as the write itself.
 *
 * Why it exists: an LMDB commit costs two synchronous writes and a walk of the tree; one O_DSYNC
 * write into a preallocated file costs less than one append with fdatasync (10,000 against 7,300
 * a second on the same disk, November 2026). LMDB takes the changes over in checkpoints.
 *
 * File: two halves of equal size. A half holds the groups of one epoch, in order from its start;
 * epoch n lies in half n modulo 2. A half is written again only after a checkpoint has made its
 * epoch durable in LMDB. Group, little-endian:
 *
 *   magic 4 | CRC-32 of all that follows 4 | epoch 4 | sequence 4 | payload length 4 | changes
 *
 * Change: shelf 1, removed 1, value length 2, key 6, value. Reading ends at the first group with a
 * wrong magic, CRC, epoch or sequence: a torn write, or what an older epoch left there.
 */

import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  openSync,
  readSync,
  renameSync,
  write,
  writeFileSync,
  writeSync,
} from "node:fs";
import { performance } from "node:perf_hooks";
import { crc32 } from "node:zlib";
import { STORE_SHELVES, type StoreChange } from "../mapper/store.js";

const GROUP_MAGIC = 0x314a5049; // "IPJ1"
const GROUP_CRC = 4;
const GROUP_EPOCH = 8;
const GROUP_SEQUENCE = 12;
const GROUP_PAYLOAD_LENGTH = 16;
export const GROUP_HEADER_BYTES = 20;

const CHANGE_REMOVED = 1;
const CHANGE_VALUE_LENGTH = 2;
const CHANGE_KEY_LOW = 4;
const CHANGE_KEY_HIGH = 8;
const CHANGE_HEADER_BYTES = 10;

/** About 2,200 commits of one page each between two checkpoints. */
export const JOURNAL_HALF_BYTES = 2 << 20;

/** A group of up to four pages of mappings may be written on the main thread. */
const SMALL_GROUP_BYTES = 4096;
/** The main thread waits for a disk only while its writes take less than this. */
const QUICK_WRITE_MS = 1;

/** Bytes that the changes take in a group. */
export function changesLength(changes: readonly StoreChange[]): number {
  let lengthBytes = 0;
  for (const { value } of changes) lengthBytes += CHANGE_HEADER_BYTES + (value?.length ?? 0);
  return lengthBytes;
}

/** Builds one group from several batches of changes. */
export function buildGroup(
  epoch: number,
  sequence: number,
  batches: readonly (readonly StoreChange[])[],
): Uint8Array {
  const payloadBytes = batches.reduce((sum, batch) => sum + changesLength(batch), 0);
  const group = new Uint8Array(GROUP_HEADER_BYTES + payloadBytes);
  const view = new DataView(group.buffer);
  view.setUint32(0, GROUP_MAGIC, true);
  view.setUint32(GROUP_EPOCH, epoch, true);
  view.setUint32(GROUP_SEQUENCE, sequence, true);
  view.setUint32(GROUP_PAYLOAD_LENGTH, payloadBytes, true);
  let offset = GROUP_HEADER_BYTES;
  for (const batch of batches) {
    for (const change of batch) offset = changeInto(view, group, offset, change);
  }
  view.setUint32(GROUP_CRC, crc32(group.subarray(GROUP_EPOCH)), true);
  return group;
}

function changeInto(view: DataView, group: Uint8Array, at: number, change: StoreChange): number {
  const { shelf, key, value } = change;
  view.setUint8(at, STORE_SHELVES.indexOf(shelf));
  view.setUint8(at + CHANGE_REMOVED, value === undefined ? 1 : 0);
  view.setUint16(at + CHANGE_VALUE_LENGTH, value?.length ?? 0, true);
  view.setUint32(at + CHANGE_KEY_LOW, key >>> 0, true);
  view.setUint16(at + CHANGE_KEY_HIGH, Math.floor(key / 0x1_0000_0000), true);
  if (value !== undefined) group.set(value, at + CHANGE_HEADER_BYTES);
  return at + CHANGE_HEADER_BYTES + (value?.length ?? 0);
}

/** The groups that one half holds. */
export interface JournalEpoch {
  readonly epoch: number;
  readonly changes: StoreChange[];
}

/** Reads the groups of a half; undefined when it begins with none. */
export function parseHalf(half: Uint8Array): JournalEpoch | undefined {
  const view = new DataView(half.buffer, half.byteOffset, half.byteLength);
  const epoch = half.length < GROUP_HEADER_BYTES ? 0 : view.getUint32(GROUP_EPOCH, true);
  const changes: StoreChange[] = [];
  let sequence = 0;
  let offset = 0;
  for (;;) {
    const end = groupEnd(view, half, offset, epoch, sequence);
    if (end === undefined) break;
    parseChanges(view, half, offset + GROUP_HEADER_BYTES, end, changes);
    sequence++;
    offset = end;
  }
  return sequence === 0 ? undefined : { epoch, changes };
}

/** End of the group at `offset` if it is whole and the expected one. */
function groupEnd(
  view: DataView,
  half: Uint8Array,
  offset: number,
  epoch: number,
  sequence: number,
): number | undefined {
  if (offset + GROUP_HEADER_BYTES > half.length) return undefined;
  if (view.getUint32(offset, true) !== GROUP_MAGIC) return undefined;
  if (view.getUint32(offset + GROUP_EPOCH, true) !== epoch) return undefined;
  if (view.getUint32(offset + GROUP_SEQUENCE, true) !== sequence) return undefined;
  const end = offset + GROUP_HEADER_BYTES + view.getUint32(offset + GROUP_PAYLOAD_LENGTH, true);
  if (end > half.length) return undefined;
  const sum = crc32(half.subarray(offset + GROUP_EPOCH, end));
  return sum === view.getUint32(offset + GROUP_CRC, true) ? end : undefined;
}

function parseChanges(
  view: DataView,
  half: Uint8Array,
  start: number,
  end: number,
  changes: StoreChange[],
): void {
  for (let at = start; at < end; ) {
    const valueLength = view.getUint16(at + CHANGE_VALUE_LENGTH, true);
    const valueStart = at + CHANGE_HEADER_BYTES;
    const isRemoved = view.getUint8(at + CHANGE_REMOVED) === 1;
    const high = view.getUint16(at + CHANGE_KEY_HIGH, true);
    changes.push({
      shelf: STORE_SHELVES[view.getUint8(at)]!,
      key: high * 0x1_0000_0000 + view.getUint32(at + CHANGE_KEY_LOW, true),
      value: isRemoved ? undefined : half.slice(valueStart, valueStart + valueLength),
    });
    at = valueStart + valueLength;
  }
}

/** The open journal file. */
export class JournalFile {
  /** Size of a half: that of the existing file, or the one asked for. */
  readonly halfBytes: number;
  private readonly fd: number;
  private epoch = 0;
  private sequence = 0;
  private offset = 0;
  /** Duration of the last write; not known before the first one. */
  private lastWriteMs = Number.POSITIVE_INFINITY;

  /** Opens the file, or creates it at its full size. Throws Node's file errors. */
  constructor(path: string, halfBytes: number) {
    if (!existsSync(path)) preallocate(path, 2 * halfBytes);
    this.fd = openSync(path, constants.O_RDWR | constants.O_DSYNC);
    this.halfBytes = Math.floor(fstatSync(this.fd).size / 2);
  }

  /** What both halves hold, older epoch first. */
  readEpochs(): JournalEpoch[] {
    const halves = [0, 1].map((index) => this.readRange(index * this.halfBytes, this.halfBytes));
    const found = halves.map(parseHalf).filter((epoch) => epoch !== undefined);
    return found.sort((a, b) => a.epoch - b.epoch);
  }

  /** Begins an epoch at the start of its half, which must not be needed any more. */
  begin(epoch: number): void {
    this.epoch = epoch;
    this.sequence = 0;
    this.offset = 0;
  }

  /** Bytes left for the payload of one more group. */
  get roomBytes(): number {
    return this.halfBytes - this.offset - GROUP_HEADER_BYTES;
  }

  /** Appends one group; durable when the promise resolves. A failed write is overwritten later. */
  async append(batches: readonly (readonly StoreChange[])[]): Promise<void> {
    const group = buildGroup(this.epoch, this.sequence, batches);
    const start = (this.epoch % 2) * this.halfBytes + this.offset;
    const isAtOnce = group.length <= SMALL_GROUP_BYTES && this.lastWriteMs < QUICK_WRITE_MS;
    const startMs = performance.now();
    for (let done = 0; done < group.length; ) {
      done += isAtOnce
        ? writeSync(this.fd, group, done, group.length - done, start + done)
        : await writeSome(this.fd, group.subarray(done), start + done);
    }
    this.lastWriteMs = performance.now() - startMs;
    this.sequence++;
    this.offset += group.length;
  }

  close(): void {
    closeSync(this.fd);
  }

  private readRange(start: number, lengthBytes: number): Uint8Array {
    const bytes = new Uint8Array(lengthBytes);
    let got = 0;
    while (got < lengthBytes) {
      const count = readSync(this.fd, bytes, got, lengthBytes - got, start + got);
      if (count === 0) break;
      got += count;
    }
    return bytes.subarray(0, got);
  }
}

/**
 * Creates the file under its name only when all its zeros are on the disk: later writes then change
 * no file metadata and need no space.
 */
function preallocate(path: string, lengthBytes: number): void {
  const temporary = `${path}.new`;
  writeFileSync(temporary, new Uint8Array(lengthBytes), { mode: 0o660, flush: true });
  renameSync(temporary, path);
}

function writeSome(fd: number, bytes: Uint8Array, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, bytes, 0, bytes.length, position, (error, count) => {
      if (error) reject(error);
      else resolve(count);
    });
  });
}
