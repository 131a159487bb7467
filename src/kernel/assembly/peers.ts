/** Reading the peer table; twin of ../../tables/peer-table.ts, PeerTableReader. */

import {
  PEER_ADDRESS,
  PEER_BYTES,
  PEER_FLAGS,
  PEER_PACKET_BYTES_MAX,
  PEER_PORT,
} from "../../tables/peer-record";
import { contextLength } from "./plan";

let entries: usize = 0;
let slots: usize = 0;
let entriesMax: u32 = 0;
let slotMask: u32 = 0;
/** The last entry that was of use: most packets go to one remote gateway. */
let lastPeer: u32 = 0;
/** Found by the last successful `findPeer`. */
export let foundPort: u32 = 0;
export let foundBytesMax: i32 = 0;

/** Tells where the table is. */
export function planPeers(base: usize, firstSlot: usize, peersMax: u32, slotCount: u32): void {
  entries = base;
  slots = firstSlot;
  entriesMax = peersMax;
  slotMask = slotCount - 1;
}

/**
 * Finds the entry of an address that has all the flags, by a hint, by the last find, or by the
 * index; fills `foundPort` and `foundBytesMax`.
 */
export function findPeer(hint: u32, flags: u32, address: usize): bool {
  if (read(hint, flags, address) || read(lastPeer, flags, address)) return true;
  return read(findEntry(address), flags, address);
}

/** Notes the time in a field of the entry that was found last; a clean cache line stays clean. */
export function stampPeer(field: usize, nowSeconds: u32): void {
  const at = entryAt(lastPeer) + field;
  if (load<u32>(at) !== nowSeconds) store<u32>(at, nowSeconds);
}

function entryAt(number: u32): usize {
  return entries + PEER_BYTES * number;
}

function read(number: u32, flags: u32, address: usize): bool {
  if (number < 1 || number > entriesMax) return false;
  const at = entryAt(number);
  const sequence = atomic.load<u32>(at);
  if ((sequence & 1) !== 0) return false;
  if ((atomic.load<u32>(at + PEER_FLAGS) & flags) !== flags) return false;
  if (!hasAddress(at, address)) return false;
  const port = atomic.load<u32>(at + PEER_PORT);
  const bytesMax = atomic.load<u32>(at + PEER_PACKET_BYTES_MAX);
  if (atomic.load<u32>(at) !== sequence) return false;
  lastPeer = number;
  foundPort = port;
  foundBytesMax = bytesMax;
  return true;
}

function hasAddress(entry: usize, address: usize): bool {
  for (let at: i32 = 0; at < contextLength; at += 4) {
    if (atomic.load<u32>(entry + PEER_ADDRESS + at) !== load<u32>(address + at)) return false;
  }
  return true;
}

function findEntry(address: usize): u32 {
  let slot = hashOf(address) & slotMask;
  for (let probes: u32 = 0; probes <= slotMask; probes++) {
    const number = atomic.load<u32>(slots + 4 * slot);
    if (number === 0) return 0;
    if (hasAddress(entryAt(number), address)) return number;
    slot = (slot + 1) & slotMask;
  }
  return 0;
}

function hashOf(address: usize): u32 {
  let hash: u32 = 0x2c1b3c6d;
  for (let at: i32 = 0; at < contextLength; at += 4) {
    hash = (hash ^ load<u32>(address + at)) * 0x9e3779b1;
    hash ^= hash >> 15;
  }
  return hash;
}
