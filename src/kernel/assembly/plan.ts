/** What a translator knows of the gateway; twin of ../translator.ts, TranslatorPlan. */

import { sameWords } from "./checksum";

export const PROTOCOL_ICMP: u32 = 1;
export const PROTOCOL_TCP: u32 = 6;
export const PROTOCOL_UDP: u32 = 17;
export const PROTOCOL_ICMPV6: u32 = 58;
export const ECHO_REQUEST: u32 = 8;
export const ECHO_REPLY: u32 = 0;
export const ECHO_REQUEST_V6: u32 = 128;
export const ECHO_REPLY_V6: u32 = 129;
export const TCP_LENGTH_MIN: i32 = 20;
export const UDP_LENGTH_MIN: i32 = 8;
export const ICMP_LENGTH_MIN: i32 = 8;
/** RFC 8200 5: every IPv6 path carries this. */
export const IPV6_MTU_MIN: i32 = 1280;
/** What a layer-4 function says of a packet that the slow path must take. */
export const HAND_OVER: i32 = -1;

export let isLocalIpv4: bool = true;
export let nativeLength: i32 = 20;
/** Octets of a native address, and of a context. */
export let localLength: i32 = 4;
export let contextLength: i32 = 4;
/** Second octet of tunnel headers. */
export let tunnelVersionOctet: u32 = 0x40;
export let decrementTtl: bool = false;
export let carriesTcp: bool = false;
export let carriesUdp: bool = false;
export let carriesIcmp: bool = false;
export let publicAddress: usize = 0;
export let headerRoom: usize = 0;
export let referencesRoom: usize = 0;
export let narrowBits: usize = 0;
export let identifications: usize = 0;

/** Fixed for the life of the instance. */
export function planTranslation(
  localVersion: i32,
  tunnelVersion: i32,
  decrements: bool,
  takesTcp: bool,
  takesUdp: bool,
  takesIcmp: bool,
): void {
  isLocalIpv4 = localVersion === 4;
  nativeLength = isLocalIpv4 ? 20 : 40;
  localLength = isLocalIpv4 ? 4 : 16;
  contextLength = tunnelVersion === 4 ? 4 : 16;
  tunnelVersionOctet = tunnelVersion << 4;
  decrementTtl = decrements;
  carriesTcp = takesTcp;
  carriesUdp = takesUdp;
  carriesIcmp = takesIcmp;
}

/** Where things lie, fixed as well. */
export function planPlaces(
  publicOffset: usize,
  headerOffset: usize,
  referencesOffset: usize,
  narrowOffset: usize,
  identificationsOffset: usize,
): void {
  publicAddress = publicOffset;
  headerRoom = headerOffset;
  referencesRoom = referencesOffset;
  narrowBits = narrowOffset;
  identifications = identificationsOffset;
}

/** True for the own public address. */
export function isOwnContext(context: usize): bool {
  return sameWords(context, publicAddress, contextLength);
}

/** Sum of 16-bit words, not folded; the length is a multiple of 4 and at most 40. */
export function addressSum(at: usize, length: i32): u32 {
  let sum: u32 = 0;
  for (let end = at + length; at < end; at += 4) {
    const value = load<u32>(at);
    sum += (value & 0xffff) + (value >> 16);
  }
  return sum;
}

/** Folds a sum of 32 bits to 16 with end-around carry. */
export function foldWord(sum: u32): u32 {
  const once = (sum & 0xffff) + (sum >> 16);
  return (once & 0xffff) + (once >> 16);
}

/** More than any sum that is subtracted; see ../checksum-update.ts. */
const BORROW: u32 = 32 * 0xffff;

/** Stored checksum after `removed` was subtracted; twin of ../checksum-update.ts. */
export function checksumWithout(stored: u32, removed: u32): u32 {
  return 0xffff - (((stored ^ 0xffff) + BORROW - removed) % 0xffff);
}

/** Stored checksum after `added`, not zero, was added; twin of ../checksum-update.ts. */
export function checksumWith(stored: u32, added: u32): u32 {
  return foldWord((stored ^ 0xffff) + added) ^ 0xffff;
}
