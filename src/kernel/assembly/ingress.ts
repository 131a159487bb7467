/** Tunnel to local network; twin of ../../forward/fast-ingress.ts, which explains the steps. */

import {
  FLAG_MULTIPLE,
  FLAG_SECONDARY,
  RECORD_HINT,
  RECORD_LOCAL,
} from "../../tables/address-record";
import { PEER_IN_USE, PEER_LAST_RECEIVED, PEER_VERIFIED } from "../../tables/peer-record";
import { IDENTIFICATION_SHIFT } from "../../tables/shared-sizes";
import { RESULT_HAND_OVER } from "../translation";
import { copyWords, networkWord, sameWords } from "./checksum";
import { findPeer, foundPort, stampPeer } from "./peers";
import {
  addressSum,
  carriesIcmp,
  carriesTcp,
  carriesUdp,
  checksumWith,
  contextLength,
  decrementTtl,
  ECHO_REPLY,
  ECHO_REPLY_V6,
  ECHO_REQUEST,
  ECHO_REQUEST_V6,
  foldWord,
  HAND_OVER,
  headerRoom,
  ICMP_LENGTH_MIN,
  IPV6_MTU_MIN,
  identifications,
  isLocalIpv4,
  isOwnContext,
  localLength,
  nativeLength,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  referencesRoom,
  TCP_LENGTH_MIN,
  tunnelVersionOctet,
  UDP_LENGTH_MIN,
} from "./plan";
import {
  findLocalByReference,
  findPair,
  findRemote,
  flagsOf,
  foundSequence,
  isUnchanged,
  numberOf,
  stamp,
  wordOf,
} from "./table";

const PEER_USABLE = PEER_IN_USE | PEER_VERIFIED;
/** Version 1, IF clear; REFL and DF vary (spec/tunnel.md 2.1). */
const FIRST_OCTET_MASK: u32 = 0xf2;
const FIRST_OCTET: u32 = 0x10;
const PACKET_BYTES_MAX: i32 = 65_535;

// The datagram that is looked at.
let ttl: u32 = 0;
let protocol: u32 = 0;
let dontFragment: u32 = 0;
let checksumPlace: usize = 0;

/** `Translator.ingress`. */
export function ingress(
  offset: usize,
  length: i32,
  source: usize,
  port: u32,
  isPublicKnown: bool,
  nowSeconds: u32,
): usize {
  const headerLength = readHeader(offset, length);
  if (headerLength === 0) return RESULT_HAND_OVER;
  const layer4 = offset + headerLength;
  const layer4Length = length - headerLength;
  if (decrementTtl) {
    if (ttl <= 1) return RESULT_HAND_OVER;
    ttl--;
  }
  if (!contextsMatch(offset, source, isPublicKnown)) return RESULT_HAND_OVER;
  expandReferences(offset, headerLength);
  const local = findLocalByReference(referencesRoom + 16);
  if (local === 0) return RESULT_HAND_OVER;
  const localSequence = foundSequence();
  const remote = findRemote(source, referencesRoom);
  if (remote === 0) return RESULT_HAND_OVER;
  const remoteSequence = foundSequence();
  if (!isExpectedReference(local, remote)) return RESULT_HAND_OVER;
  if (!findPeer(wordOf(remote, RECORD_HINT), PEER_USABLE, source)) return RESULT_HAND_OVER;
  if (foundPort !== port || !fitsLocal(layer4Length)) return RESULT_HAND_OVER;
  const addresses = copyAddresses(remote, local);
  const checksum = layer4Checksum(layer4, layer4Length, addresses);
  if (checksum === HAND_OVER) return RESULT_HAND_OVER;
  buildHeader(layer4Length, addresses);
  if (!isUnchanged(local, localSequence)) return RESULT_HAND_OVER;
  if (!isUnchanged(remote, remoteSequence)) return RESULT_HAND_OVER;
  store<u16>(checksumPlace, checksum);
  if (!isLocalIpv4 && protocol === PROTOCOL_ICMP) {
    store<u8>(layer4, load<u8>(layer4) === ECHO_REQUEST ? ECHO_REQUEST_V6 : ECHO_REPLY_V6);
  }
  copyWords(layer4 - nativeLength, headerRoom, nativeLength);
  stamp(local, nowSeconds);
  stamp(remote, nowSeconds);
  stampPeer(PEER_LAST_RECEIVED, nowSeconds);
  return layer4 - nativeLength;
}

/** Checks the tunnel header and reads its first word; length of the header, or 0. */
function readHeader(offset: usize, length: i32): i32 {
  if (length < 20) return 0;
  const first = load<u32>(offset);
  const code = (first >> 2) & 3;
  if ((first & FIRST_OCTET_MASK) !== FIRST_OCTET || code === 3) return 0;
  if (((first >> 8) & 0xff) !== tunnelVersionOctet) return 0;
  dontFragment = first & 1;
  ttl = (first >> 16) & 0xff;
  protocol = first >> 24;
  const headerLength = 4 + 2 * contextLength + (8 << code);
  return length > headerLength ? headerLength : 0;
}

/** spec/tunnel.md 7.2 steps 4, 5, 7 and 8. */
function contextsMatch(offset: usize, source: usize, isPublicKnown: bool): bool {
  const claimed = offset + 4;
  if (!sameWords(claimed, source, contextLength) && !isZero(claimed)) return false;
  if (!isPublicKnown) return true;
  // Only a forged datagram comes from ourselves (spec/tunnel.md 5).
  if (isOwnContext(source)) return false;
  const destination = claimed + contextLength;
  return isOwnContext(destination) || isZero(destination);
}

function isZero(context: usize): bool {
  let bits: u32 = 0;
  for (let at: i32 = 0; at < contextLength; at += 4) bits |= load<u32>(context + at);
  return bits === 0;
}

/** Writes both references in their 16-octet form to the scratch area (spec/tunnel.md 1.7). */
function expandReferences(offset: usize, headerLength: i32): void {
  const first = offset + 4 + 2 * contextLength;
  const octets = (headerLength - 4 - 2 * contextLength) >> 1;
  expandReference(referencesRoom, first, octets);
  expandReference(referencesRoom + 16, first + octets, octets);
}

/** Writes the 16-octet form of a reference of 4, 8 or 16 octets. */
function expandReference(target: usize, source: usize, octets: i32): void {
  if (octets === 16) return copyWords(target, source, 16);
  store<u64>(target, 0);
  store<u64>(target, 0, 8);
  copyWords(target + 16 - octets, source, octets);
  // The first wire octet is the reserved top octet of the value.
  const word = load<u32>(source);
  store<u32>(target + 16 - octets, word & ~0xff);
  store<u32>(target, word & 0xff);
}

/** A host with several references: the pair must already use this one (spec/mapper.md 3.8). */
function isExpectedReference(local: usize, remote: usize): bool {
  if ((flagsOf(local) & (FLAG_MULTIPLE | FLAG_SECONDARY)) === 0) return true;
  const pair = findPair(local + RECORD_LOCAL, remote + RECORD_LOCAL);
  if (pair === 0) return false;
  const sequence = foundSequence();
  return wordOf(pair, RECORD_HINT) === numberOf(local) && isUnchanged(pair, sequence);
}

/** Lengths that one native packet can have, without fragmenting (spec/tunnel.md 7.7). */
function fitsLocal(layer4Length: i32): bool {
  if (isLocalIpv4) return layer4Length + 20 <= PACKET_BYTES_MAX;
  if (dontFragment === 0) return layer4Length + 40 <= IPV6_MTU_MIN;
  return layer4Length <= PACKET_BYTES_MAX;
}

/** Puts the native addresses at the end of the header in the scratch area; returns their sum. */
function copyAddresses(remote: usize, local: usize): u32 {
  const target = headerRoom + nativeLength - 2 * localLength;
  for (let at: i32 = 0; at < localLength; at += 4) {
    store<u32>(target + at, wordOf(remote, RECORD_LOCAL + at));
    store<u32>(target + localLength + at, wordOf(local, RECORD_LOCAL + at));
  }
  return addressSum(target, 2 * localLength);
}

/** The new checksum (for `checksumPlace`), or HAND_OVER. */
function layer4Checksum(layer4: usize, length: i32, addresses: u32): i32 {
  if (protocol === PROTOCOL_TCP) {
    if (!carriesTcp || length < TCP_LENGTH_MIN) return HAND_OVER;
    checksumPlace = layer4 + 16;
    const stored = load<u16>(checksumPlace);
    // Zero may stand for "not adjusted" (spec/tunnel.md 4.2): needs the whole segment.
    return stored === 0 ? HAND_OVER : checksumWith(stored, addresses);
  }
  if (protocol === PROTOCOL_UDP) {
    if (!carriesUdp || length < UDP_LENGTH_MIN) return HAND_OVER;
    if (load<u16>(layer4, 4) !== networkWord(length)) return HAND_OVER;
    checksumPlace = layer4 + 6;
    const stored = load<u16>(checksumPlace);
    if (stored === 0) return isLocalIpv4 ? 0 : HAND_OVER;
    const checksum = checksumWith(stored, addresses);
    return checksum === 0 ? 0xffff : checksum;
  }
  if (protocol !== PROTOCOL_ICMP || !carriesIcmp) return HAND_OVER;
  return echoChecksum(layer4, length, addresses);
}

function echoChecksum(layer4: usize, length: i32, addresses: u32): i32 {
  if (length < ICMP_LENGTH_MIN) return HAND_OVER;
  const typeAndCode: u32 = load<u16>(layer4);
  if (typeAndCode !== ECHO_REQUEST && typeAndCode !== ECHO_REPLY) return HAND_OVER;
  checksumPlace = layer4 + 2;
  const stored: u32 = load<u16>(checksumPlace);
  // The form of a zero sum depends on the order of steps: left to the slow path.
  if (stored === 0 || stored === 0xffff) return HAND_OVER;
  if (isLocalIpv4) return stored;
  const pseudo = addresses + networkWord(length) + networkWord(PROTOCOL_ICMPV6);
  const nativeType = typeAndCode === ECHO_REQUEST ? ECHO_REQUEST_V6 : ECHO_REPLY_V6;
  const checksum = checksumWith(stored, pseudo + nativeType - typeAndCode);
  return checksum === 0 ? HAND_OVER : checksum;
}

/** Builds the rest of the IP header in the scratch area (spec/tunnel.md 3.4). */
function buildHeader(layer4Length: i32, addresses: u32): void {
  if (!isLocalIpv4) {
    const next = protocol === PROTOCOL_ICMP ? PROTOCOL_ICMPV6 : protocol;
    store<u32>(headerRoom, 0x60);
    store<u32>(headerRoom, networkWord(layer4Length) | (next << 16) | (ttl << 24), 4);
    return;
  }
  const flags: u32 = dontFragment !== 0 ? 0x40 << 16 : identification();
  const ttlAndProtocol = ttl | (protocol << 8);
  store<u32>(headerRoom, 0x45 | (networkWord(20 + layer4Length) << 16));
  store<u32>(headerRoom, flags, 4);
  store<u32>(headerRoom, ttlAndProtocol, 8);
  const sum = foldWord(addressSum(headerRoom, 12) + addresses);
  store<u32>(headerRoom, ttlAndProtocol | ((sum ^ 0xffff) << 16), 8);
}

/** A fresh identification for this pair of addresses, as it lies in memory. */
function identification(): u32 {
  const source = load<u32>(headerRoom, 12);
  const destination = load<u32>(headerRoom, 16);
  const hash = (source ^ (destination * 31)) * 0x9e3779b1;
  const counter = identifications + 2 * (hash >> IDENTIFICATION_SHIFT);
  const value = (<u32>load<u16>(counter) + 1) & 0xffff;
  store<u16>(counter, value);
  return networkWord(value);
}
