/**
 * Looks through an LMDB file before LMDB maps it, because LMDB itself answers a damaged page with
 * an aborted process. Every page that can be reached, every key's order and every value's checksum
 * is checked. Main thread, at start; 64 MB take about a tenth of a second.
 *
 * File format of lmdb-js 3.5 (data version 2), pages of 4096 bytes, little-endian:
 *
 *   page   number 8 | transaction 8 | pad 2 | flags 2 | lower 2 | upper 2 | pointers ... | nodes
 *   node   low 2 | high 2 | flags 2 | key size 2 | key | data        (at 24 + pointer)
 *   meta   magic 4 | version 4 | address 8 | map size 8 | free tree 48 | main tree 48 |
 *          last page 8 | transaction 8                               (pages 0 and 1, at 24)
 *   tree   pad 4 | flags 2 | depth 2 | branches 8 | leaves 8 | overflows 8 | entries 8 | root 8
 */

import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { crc32 } from "node:zlib";
import * as lmdb from "lmdb";

export const PAGE_BYTES = 4096;
/** In front of each value of the main tree: CRC-32 4, key 8. */
export const GUARD_BYTES = 12;
const GUARD_KEY = 4;

const PAGE_TRANSACTION = 8;
const PAGE_FLAGS = 18;
const PAGE_LOWER = 20;
const PAGE_UPPER = 22;
const PAGE_HEADER_BYTES = 24;
const FLAG_BRANCH = 0x01;
const FLAG_LEAF = 0x02;
const FLAG_OVERFLOW = 0x04;

const META_MAGIC = 24;
const META_VERSION = 28;
const META_FREE_TREE = 48;
const META_MAIN_TREE = 96;
const META_LAST_PAGE = 144;
const META_TRANSACTION = 152;
const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;

const TREE_DEPTH = 6;
const TREE_ENTRIES = 32;
const TREE_ROOT = 40;
const NO_PAGE = 0xffff_ffff_ffff_ffffn;

const NODE_FLAGS = 4;
const NODE_KEY_SIZE = 6;
const NODE_HEADER_BYTES = 8;
const NODE_BIG_DATA = 0x01;

/** Decodes a stored key; exported by lmdb-js, but missing from its declarations. */
const { bufferToKeyValue } = lmdb as unknown as { bufferToKeyValue(key: Buffer): unknown };

/** The file is not what this program wrote. */
export class DamagedStore extends Error {
  override readonly name = "DamagedStore";
}

function need(condition: boolean, what: string): asserts condition {
  if (!condition) throw new DamagedStore(what);
}

/** Checks the whole file; an absent or empty one is in order. Throws DamagedStore. */
export function inspectStoreFile(path: string): void {
  let fd: number;
  try {
    fd = openSync(path, "r+");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  try {
    if (fstatSync(fd).size > 0) new Inspection(fd).run();
  } finally {
    closeSync(fd);
  }
}

/** One pass over one file. */
class Inspection {
  private readonly fd: number;
  private readonly meta: DataView;
  private readonly lastPage: number;
  private readonly transaction: bigint;
  private readonly visited: Uint8Array;
  private readonly levels: DataView[] = [];
  private entryCount = 0;
  private lastKey: Buffer | undefined;
  private floor: Buffer | undefined;

  constructor(fd: number) {
    this.fd = fd;
    this.meta = newestMeta(fd);
    const lastPage = this.meta.getBigUint64(META_LAST_PAGE, true);
    const sizePages = Math.ceil(fstatSync(fd).size / PAGE_BYTES);
    need(lastPage < BigInt(sizePages), `it has ${sizePages} pages of ${lastPage + 1n}`);
    this.lastPage = Number(lastPage);
    this.transaction = this.meta.getBigUint64(META_TRANSACTION, true);
    this.visited = new Uint8Array(this.lastPage + 1);
  }

  run(): void {
    this.walkTree(META_FREE_TREE, false);
    this.walkTree(META_MAIN_TREE, true);
  }

  private walkTree(tree: number, isMain: boolean): void {
    const root = this.meta.getBigUint64(tree + TREE_ROOT, true);
    const depth = this.meta.getUint16(tree + TREE_DEPTH, true);
    this.entryCount = 0;
    if (root !== NO_PAGE) {
      need(depth >= 1 && depth <= 32, "impossible depth of a tree");
      this.walkPage(Number(root), depth, isMain);
    }
    const entries = this.meta.getBigUint64(tree + TREE_ENTRIES, true);
    need(BigInt(this.entryCount) === entries, `${this.entryCount} entries of ${entries}`);
  }

  private walkPage(number: number, depth: number, isMain: boolean): void {
    const page = this.readPage(number, depth);
    const flags = page.getUint16(PAGE_FLAGS, true);
    const isLeaf = depth === 1;
    need((flags & (isLeaf ? FLAG_LEAF : FLAG_BRANCH)) !== 0, `page ${number} has a wrong type`);
    const lower = page.getUint16(PAGE_LOWER, true);
    const upper = page.getUint16(PAGE_UPPER, true);
    need(lower <= upper && upper <= PAGE_BYTES - PAGE_HEADER_BYTES, `page ${number} is malformed`);
    for (let index = 0; index < lower >> 1; index++) {
      const node = nodeOffset(page, index);
      need(node + NODE_HEADER_BYTES + keySize(page, node) <= PAGE_BYTES, "a node leaves its page");
      if (isMain) this.checkOrder(keyOf(page, node), isLeaf, index);
      if (isLeaf) this.checkLeafNode(page, node, isMain);
      else this.walkPage(childPage(page, node), depth - 1, isMain);
    }
  }

  /**
   * Keys ascend through all leaves; the key of a branch lies above all leaves before it and not
   * above those after it. The first key of a branch page is empty and stands for "less than all".
   */
  private checkOrder(key: Buffer, isLeaf: boolean, index: number): void {
    if (!isLeaf && index === 0) return;
    const isAbove = this.lastKey === undefined || Buffer.compare(this.lastKey, key) < 0;
    need(isAbove, "keys are out of order");
    if (!isLeaf) {
      this.floor = Buffer.from(key);
      return;
    }
    need(this.floor === undefined || Buffer.compare(this.floor, key) <= 0, "keys are misplaced");
    this.floor = undefined;
    this.lastKey = Buffer.from(key);
  }

  private checkLeafNode(page: DataView, node: number, isMain: boolean): void {
    this.entryCount++;
    const lengthBytes = page.getUint16(node, true) + page.getUint16(node + 2, true) * 0x1_0000;
    const data = node + NODE_HEADER_BYTES + keySize(page, node);
    const isBig = (page.getUint16(node + NODE_FLAGS, true) & NODE_BIG_DATA) !== 0;
    need(data + (isBig ? 8 : lengthBytes) <= PAGE_BYTES, "a value leaves its page");
    const value = isBig
      ? this.readOverflow(Number(page.getBigUint64(data, true)), lengthBytes)
      : new Uint8Array(page.buffer, page.byteOffset + data, lengthBytes);
    if (isMain) need(isIntact(value, keyOf(page, node)), "a value has a wrong checksum");
  }

  private readPage(number: number, depth: number): DataView {
    this.levels[depth] ??= new DataView(new ArrayBuffer(PAGE_BYTES));
    const page = this.levels[depth];
    this.visit(number);
    readFully(this.fd, viewBytes(page), number * PAGE_BYTES);
    this.checkOrigin(page, number);
    return page;
  }

  private readOverflow(number: number, lengthBytes: number): Uint8Array {
    this.visit(number);
    need(lengthBytes <= (this.lastPage + 1 - number) * PAGE_BYTES, "a value leaves the file");
    const bytes = new Uint8Array(PAGE_HEADER_BYTES + lengthBytes);
    readFully(this.fd, bytes, number * PAGE_BYTES);
    const view = new DataView(bytes.buffer);
    this.checkOrigin(view, number);
    need((view.getUint16(PAGE_FLAGS, true) & FLAG_OVERFLOW) !== 0, `page ${number} is no overflow`);
    return bytes.subarray(PAGE_HEADER_BYTES);
  }

  /** A page knows its number and the transaction that wrote it. */
  private checkOrigin(page: DataView, number: number): void {
    need(page.getBigUint64(0, true) === BigInt(number), `page ${number} has a wrong number`);
    const transaction = page.getBigUint64(PAGE_TRANSACTION, true);
    need(transaction <= this.transaction, `page ${number} is of a later transaction`);
  }

  private visit(number: number): void {
    need(number >= 2 && number <= this.lastPage, `page ${number} does not exist`);
    need(this.visited[number] === 0, `page ${number} is used twice`);
    this.visited[number] = 1;
  }
}

/** The meta page of the last transaction. */
function newestMeta(fd: number): DataView {
  const head = new DataView(new ArrayBuffer(2 * PAGE_BYTES));
  readFully(fd, viewBytes(head), 0);
  let newest: DataView | undefined;
  for (const start of [0, PAGE_BYTES]) {
    const meta = new DataView(head.buffer, start, PAGE_BYTES);
    if (meta.getUint32(META_MAGIC, true) !== MAGIC) continue;
    const version = meta.getUint32(META_VERSION, true);
    need(version === DATA_VERSION, `data version ${version}, expected ${DATA_VERSION}`);
    const transaction = meta.getBigUint64(META_TRANSACTION, true);
    if (newest === undefined || transaction > newest.getBigUint64(META_TRANSACTION, true)) {
      newest = meta;
    }
  }
  need(newest !== undefined, "it has no meta page");
  return newest;
}

function nodeOffset(page: DataView, index: number): number {
  const node = PAGE_HEADER_BYTES + page.getUint16(PAGE_HEADER_BYTES + 2 * index, true);
  need(node + NODE_HEADER_BYTES <= PAGE_BYTES, "a node leaves its page");
  return node;
}

function keySize(page: DataView, node: number): number {
  return page.getUint16(node + NODE_KEY_SIZE, true);
}

/** Number of the page under a branch node: 48 bits in low, high and flags. */
function childPage(page: DataView, node: number): number {
  const low = page.getUint16(node, true) + page.getUint16(node + 2, true) * 0x1_0000;
  return low + page.getUint16(node + NODE_FLAGS, true) * 0x1_0000_0000;
}

function keyOf(page: DataView, node: number): Buffer {
  return Buffer.from(page.buffer, page.byteOffset + node + NODE_HEADER_BYTES, keySize(page, node));
}

function isIntact(value: Uint8Array, key: Buffer): boolean {
  if (value.length <= GUARD_BYTES) return false;
  const view = new DataView(value.buffer, value.byteOffset);
  if (view.getUint32(0, true) !== crc32(value.subarray(GUARD_KEY))) return false;
  return view.getFloat64(GUARD_KEY, true) === bufferToKeyValue(key);
}

/** A value as it is stored: in front its CRC-32 and its key, which the CRC covers. */
export function guardValue(key: number, value: Uint8Array): Uint8Array {
  const bytes = Buffer.allocUnsafe(GUARD_BYTES + value.length);
  bytes.writeDoubleLE(key, GUARD_KEY);
  bytes.set(value, GUARD_BYTES);
  bytes.writeUInt32LE(crc32(bytes.subarray(GUARD_KEY)), 0);
  return bytes;
}

function viewBytes(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** Reads as much as there is; what lies beyond the end of the file is zero. */
function readFully(fd: number, bytes: Uint8Array, position: number): void {
  let got = 0;
  while (got < bytes.length) {
    const count = readSync(fd, bytes, got, bytes.length - got, position + got);
    if (count === 0) break;
    got += count;
  }
  bytes.fill(0, got);
}
