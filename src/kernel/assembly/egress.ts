/** Local network to tunnel; twin of ../../forward/fast-egress.ts, which explains the steps. */

import {
  FLAG_INACTIVE,
  FLAG_MULTIPLE,
  KIND_LOCAL,
  KIND_REMOTE,
  RECORD_CONTEXT,
  RECORD_HINT,
  RECORD_LOCAL,
  RECORD_REFERENCE,
} from "../../tables/address-record";
import { PEER_IN_USE, PEER_LAST_SENT, PEER_SETTLED } from "../../tables/peer-record";
import { NARROW_BITS, TRANSLATION_BYTES } from "../../tables/shared-sizes";
import {
  DEVICE_HEADER_BYTES,
  ENTRY_LENGTH,
  ENTRY_OFFSET,
  ENTRY_PORT,
  ENTRY_RESULT,
  RESULT_HAND_OVER,
  RESULT_UNKNOWN,
} from "../translation";
import { copyWords, networkWord, sum } from "./checksum";
import { findPeer, foundBytesMax, foundPort, stampPeer } from "./peers";
import {
  addressSum,
  carriesIcmp,
  carriesTcp,
  carriesUdp,
  checksumWithout,
  contextLength,
  decrementTtl,
  ECHO_REPLY,
  ECHO_REPLY_V6,
  ECHO_REQUEST,
  ECHO_REQUEST_V6,
  HAND_OVER,
  headerRoom,
  ICMP_LENGTH_MIN,
  IPV6_MTU_MIN,
  isLocalIpv4,
  isOwnContext,
  localLength,
  narrowBits,
  nativeLength,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  publicAddress,
  TCP_LENGTH_MIN,
  tunnelVersionOctet,
  UDP_LENGTH_MIN,
} from "./plan";
import {
  findByLocal,
  findPair,
  flagsOf,
  foundSequence,
  isUnchanged,
  kindOf,
  recordOf,
  stamp,
  wordOf,
} from "./table";

/** RFC 3168 5: congestion experienced. */
const ECN_CE: u32 = 3;
const PEER_USABLE = PEER_IN_USE | PEER_SETTLED;
/** VIRTIO_NET_HDR_F_NEEDS_CSUM (linux/virtio_net.h). */
const NEEDS_CHECKSUM: u32 = 1;
/** Smallest IP header: a checksum begins behind it. */
const CHECKSUM_START_MIN: i32 = 20;

// The packet that is looked at.
let ttl: u32 = 0;
let protocol: u32 = 0;
let dontFragment: u32 = 0;
let checksumPlace: usize = 0;
let localRecord: usize = 0;
let localSequence: u32 = 0;

/** `Translator.egress`. */
export function egress(entries: usize, count: i32, hasDeviceHeader: bool, nowSeconds: u32): void {
  for (let entry = entries; count > 0; count--) {
    const offset: usize = load<u32>(entry + 4 * ENTRY_OFFSET);
    const length: i32 = load<i32>(entry + 4 * ENTRY_LENGTH);
    let result = RESULT_UNKNOWN;
    if (!hasDeviceHeader || complete(offset, length)) {
      result = <i32>translate(offset, length, nowSeconds);
    }
    store<i32>(entry + 4 * ENTRY_RESULT, result);
    store<u32>(entry + 4 * ENTRY_PORT, foundPort);
    entry += TRANSLATION_BYTES;
  }
}

/**
 * Reads the device header in front of a packet and completes its checksum; false, with nothing
 * changed, for all but good headers of ordinary packets. Twin of ../../forward/vnet-header.ts.
 */
function complete(offset: usize, length: i32): bool {
  if (length < CHECKSUM_START_MIN) return false;
  const header = offset - DEVICE_HEADER_BYTES;
  if (load<u8>(header, 1) !== 0) return false;
  if ((load<u8>(header) & NEEDS_CHECKSUM) === 0) return true;
  const start: i32 = load<u16>(header, 6);
  const place = start + <i32>load<u16>(header, 8);
  if (start < CHECKSUM_START_MIN || place + 2 > length || ((start | place) & 1) !== 0) return false;
  const folded = sum(offset + start, length - start);
  store<u16>(offset + place, folded === 0xffff ? 0xffff : folded ^ 0xffff);
  return true;
}

/** As FastEgress.translate. */
function translate(offset: usize, length: i32, nowSeconds: u32): usize {
  if (!(isLocalIpv4 ? readIpv4(offset, length) : readIpv6(offset, length))) return RESULT_HAND_OVER;
  if (decrementTtl) {
    if (ttl <= 1) return RESULT_HAND_OVER;
    ttl--;
  }
  const layer4 = offset + nativeLength;
  const source = layer4 - 2 * localLength;
  const destination = layer4 - localLength;
  const remote = findByLocal(destination);
  if (remote === 0 || kindOf(remote) !== KIND_REMOTE) return RESULT_HAND_OVER;
  const remoteSequence = foundSequence();
  if (!isLocalIpv4 && length <= IPV6_MTU_MIN && mayBeNarrow(destination)) return RESULT_HAND_OVER;
  if (!findSender(source, destination)) return RESULT_HAND_OVER;
  const local = localRecord;
  const layer4Length = length - nativeLength;
  const headerLength = buildHeader(local, remote);
  if (!findRemoteGateway(remote, headerLength + layer4Length)) return RESULT_HAND_OVER;
  const checksum = layer4Checksum(layer4, layer4Length, addressSum(source, 2 * localLength));
  if (checksum === HAND_OVER) return RESULT_HAND_OVER;
  if (!isUnchanged(local, localSequence)) return RESULT_HAND_OVER;
  if (!isUnchanged(remote, remoteSequence)) return RESULT_HAND_OVER;
  store<u16>(checksumPlace, checksum);
  if (protocol === PROTOCOL_ICMPV6) {
    store<u8>(layer4, load<u8>(layer4) === ECHO_REQUEST_V6 ? ECHO_REQUEST : ECHO_REPLY);
  }
  copyWords(layer4 - headerLength, headerRoom, headerLength);
  stamp(local, nowSeconds);
  stamp(remote, nowSeconds);
  stampPeer(PEER_LAST_SENT, nowSeconds);
  return layer4 - headerLength;
}

function readIpv4(offset: usize, length: i32): bool {
  if (length < 20 || load<u8>(offset) !== 0x45) return false;
  if (load<u16>(offset, 2) !== networkWord(length) || length > 0xffff) return false;
  if ((load<u8>(offset, 1) & ECN_CE) === ECN_CE) return false;
  const flags = load<u16>(offset, 6);
  if ((flags & 0xff3f) !== 0) return false;
  dontFragment = (flags >> 6) & 1;
  ttl = load<u8>(offset, 8);
  protocol = load<u8>(offset, 9);
  return true;
}

function readIpv6(offset: usize, length: i32): bool {
  if (length <= 40 || load<u8>(offset) >> 4 !== 6) return false;
  if (load<u16>(offset, 4) !== networkWord(length - 40) || length > 40 + 0xffff) return false;
  if (((load<u8>(offset, 1) >> 4) & ECN_CE) === ECN_CE) return false;
  dontFragment = 1;
  protocol = load<u8>(offset, 6);
  ttl = load<u8>(offset, 7);
  return true;
}

/** Twin of ../../tables/control-block.ts, mayBeNarrow. */
function mayBeNarrow(address: usize): bool {
  let hash: u32 = 0;
  for (let at: usize = 0; at < 16; at += 4) {
    const word = load<u32>(address + at);
    const product = (hash ^ word ^ (word >> 16)) * 0x9e3779b1;
    hash = product ^ (product >> 15);
  }
  const bit = hash % NARROW_BITS;
  return ((atomic.load<u32>(narrowBits + 4 * (bit >> 5)) >> (bit & 31)) & 1) !== 0;
}

/** Fills `localRecord` and `localSequence`. */
function findSender(source: usize, destination: usize): bool {
  const primary = findByLocal(source);
  if (primary === 0 || kindOf(primary) !== KIND_LOCAL) return false;
  localRecord = primary;
  localSequence = foundSequence();
  if ((flagsOf(primary) & FLAG_MULTIPLE) === 0) return true;
  const pair = findPair(source, destination);
  if (pair === 0) return true;
  const pairSequence = foundSequence();
  const number = wordOf(pair, RECORD_HINT);
  if (!isUnchanged(pair, pairSequence) || number === 0) return false;
  localRecord = recordOf(number);
  localSequence = atomic.load<u32>(localRecord);
  return isSender(source);
}

/** True when `localRecord` is an active one of the host at `source`. */
function isSender(source: usize): bool {
  if (kindOf(localRecord) !== KIND_LOCAL) return false;
  if ((flagsOf(localRecord) & FLAG_INACTIVE) !== 0) return false;
  for (let at: i32 = 0; at < localLength; at += 4) {
    if (wordOf(localRecord, RECORD_LOCAL + at) !== load<u32>(source + at)) return false;
  }
  return isUnchanged(localRecord, localSequence);
}

/** Builds the tunnel header in the scratch area; returns its length. */
function buildHeader(local: usize, remote: usize): i32 {
  const code = max(referenceCode(local), referenceCode(remote));
  const wireProtocol = protocol === PROTOCOL_ICMPV6 ? PROTOCOL_ICMP : protocol;
  const first = 0x10 | (code << 2) | dontFragment;
  store<u32>(headerRoom, first | (tunnelVersionOctet << 8) | (ttl << 16) | (wireProtocol << 24));
  copyWords(headerRoom + 4, publicAddress, contextLength);
  const context = headerRoom + 4 + contextLength;
  for (let at: i32 = 0; at < contextLength; at += 4) {
    store<u32>(context + at, wordOf(remote, RECORD_CONTEXT + at));
  }
  const references = context + contextLength;
  referenceInto(references, local, code);
  referenceInto(references + (4 << code), remote, code);
  return 4 + 2 * contextLength + (8 << code);
}

/** REFL of the smallest form of a record's reference (spec/tunnel.md 1.7): 0, 1 or 2. */
function referenceCode(record: usize): u32 {
  if ((wordOf(record, RECORD_REFERENCE) & ~0xff) !== 0) return 2;
  if (wordOf(record, RECORD_REFERENCE + 4) !== 0) return 2;
  const third = wordOf(record, RECORD_REFERENCE + 8);
  const fourth = wordOf(record, RECORD_REFERENCE + 12);
  if (third === 0 && (fourth & 0xff) === 0) return 0;
  return (third & 0xff) === 0 ? 1 : 2;
}

/** Writes the wire form of a reference: the top octet, then the low bits of the value. */
function referenceInto(target: usize, record: usize, code: u32): void {
  const first = 16 - (4 << code);
  for (let at = first; at < 16; at += 4) {
    store<u32>(target + at - first, wordOf(record, RECORD_REFERENCE + at));
  }
  if (first === 0) return;
  const top = wordOf(record, RECORD_REFERENCE) & 0xff;
  store<u32>(target, (wordOf(record, RECORD_REFERENCE + first) & ~0xff) | top);
}

/** False when the remote gateway is not settled, is ourselves, or the path too small. */
function findRemoteGateway(remote: usize, tunnelLength: i32): bool {
  const context = remote + RECORD_CONTEXT;
  if (isOwnContext(context)) return false;
  if (!findPeer(wordOf(remote, RECORD_HINT), PEER_USABLE, context)) return false;
  return tunnelLength <= foundBytesMax;
}

/** The new checksum (for `checksumPlace`), or HAND_OVER. */
function layer4Checksum(layer4: usize, length: i32, addresses: u32): i32 {
  if (protocol === PROTOCOL_TCP) {
    if (!carriesTcp || length < TCP_LENGTH_MIN) return HAND_OVER;
    checksumPlace = layer4 + 16;
    return checksumWithout(load<u16>(checksumPlace), addresses);
  }
  if (protocol === PROTOCOL_UDP) {
    if (!carriesUdp || length < UDP_LENGTH_MIN) return HAND_OVER;
    if (load<u16>(layer4, 4) !== networkWord(length)) return HAND_OVER;
    checksumPlace = layer4 + 6;
    const stored = load<u16>(checksumPlace);
    return stored === 0 ? 0 : checksumWithout(stored, addresses);
  }
  return carriesIcmp ? echoChecksum(layer4, length, addresses) : HAND_OVER;
}

function echoChecksum(layer4: usize, length: i32, addresses: u32): i32 {
  if (length < ICMP_LENGTH_MIN) return HAND_OVER;
  const typeAndCode: u32 = load<u16>(layer4);
  checksumPlace = layer4 + 2;
  const stored: u32 = load<u16>(checksumPlace);
  // The form of a zero sum depends on the order of steps: left to the slow path.
  if (stored === 0 || stored === 0xffff) return HAND_OVER;
  if (isLocalIpv4) {
    const isEcho = typeAndCode === ECHO_REQUEST || typeAndCode === ECHO_REPLY;
    return isEcho && protocol === PROTOCOL_ICMP ? stored : HAND_OVER;
  }
  if (protocol !== PROTOCOL_ICMPV6) return HAND_OVER;
  if (typeAndCode !== ECHO_REQUEST_V6 && typeAndCode !== ECHO_REPLY_V6) return HAND_OVER;
  const pseudo = addresses + networkWord(length) + networkWord(PROTOCOL_ICMPV6);
  const wireType = typeAndCode === ECHO_REQUEST_V6 ? ECHO_REQUEST : ECHO_REPLY;
  const checksum = checksumWithout(stored, pseudo + typeAndCode - wireType);
  return checksum === 0xffff ? HAND_OVER : checksum;
}
