/**
 * ICMP and ICMPv6 messages between the local network and the tunnel, spec/tunnel.md 4.4 to 4.8.
 * On the wire there is one ICMP: protocol 1, laid out like ICMPv4, checksum without pseudo header.
 */

import type { DropReason } from "../base/drop-reason.js";
import { readU16, writeU16 } from "../wire/bytes.js";
import { addSums, invertSum, pseudoHeaderSum, subtractSums, sumBytes } from "../wire/checksum.js";
import {
  ICMP_CHECKSUM_OFFSET,
  ICMP_EXTENDED_QUOTE_MIN,
  ICMP_HEADER_LENGTH,
  ICMP_MTU_OFFSET,
  ICMP_QUOTE_LENGTH_OFFSET,
  ICMP_QUOTE_LENGTH_UNIT,
  ICMP_TYPE_OFFSET,
  ICMPV6_QUOTE_LENGTH_OFFSET,
  ICMPV6_QUOTE_LENGTH_UNIT,
} from "../wire/icmp.js";
import { IPV4_LENGTH_OFFSET } from "../wire/ipv4.js";
import { IPV6_HEADER_LENGTH, IPV6_LENGTH_OFFSET, IPV6_MTU_MIN } from "../wire/ipv6.js";
import {
  IP_LENGTH_MAX,
  isLaterFragment,
  isWholeDatagram,
  PROTOCOL_ICMPV6,
} from "../wire/packet-fields.js";
import {
  type IcmpMeaning,
  isErrorMeaning,
  meaningInNative,
  meaningInTunnel,
  nativeTypeAndCode,
  tunnelTypeAndCode,
} from "./icmp-types.js";
import {
  dropped,
  type Layer4Input,
  type Layer4Result,
  type TranslatedQuote,
  translated,
} from "./layer4-input.js";
import { mtuToNative, mtuToTunnel, type NativeMtu, plateauBelow } from "./path-mtu.js";

/** At most this much of a quoted packet is used; what peers can read (spec/tunnel.md 4.6). */
export const QUOTE_LENGTH_MAX = 576;

/** Octets 4 and 5: the unused upper half in front of the 16 bits of the MTU. */
const MTU_UPPER_OFFSET = 4;

/** Translates an ICMP message; the order of checks is that of spec/tunnel.md 4.4. */
export function translateIcmp(input: Layer4Input): Layer4Result {
  const { payload } = input;
  if (input.depth === 0) return dropped("icmp-nested-too-deep");
  if (isLaterFragment(input.fragment)) return translated(payload.slice());
  if (payload.length < ICMP_HEADER_LENGTH) return dropped("icmp-too-short");
  const word = readU16(payload, ICMP_TYPE_OFFSET);
  const isOutgoing = input.direction === "to-tunnel";
  const meaning = isOutgoing ? meaningInNative(word, input.localVersion) : meaningInTunnel(word);
  if (meaning === undefined) return dropped("icmp-type-not-supported");
  const newWord = isOutgoing
    ? tunnelTypeAndCode(meaning, input.format)
    : nativeTypeAndCode(meaning, input.localVersion);
  if (!isErrorMeaning(meaning)) return translateEcho(input, newWord);
  return translateError(input, meaning, newWord);
}

/** spec/tunnel.md 4.4 step 6: only type, code and checksum change. */
function translateEcho(input: Layer4Input, newWord: number): Layer4Result {
  const { payload } = input;
  let sum = invertSum(readU16(payload, ICMP_CHECKSUM_OFFSET));
  sum = subtractSums(sum, readU16(payload, ICMP_TYPE_OFFSET));
  if (input.localVersion === 6) {
    const length = echoLength(input);
    if (length === undefined) return { kind: "hold" };
    if (length > IP_LENGTH_MAX) return dropped("tunnel-native-too-long");
    const header = pseudoHeaderSum(input.addressSum, length, PROTOCOL_ICMPV6);
    sum = input.direction === "to-tunnel" ? subtractSums(sum, header) : addSums(sum, header);
  }
  const copy = payload.slice();
  writeU16(copy, ICMP_TYPE_OFFSET, newWord);
  writeU16(copy, ICMP_CHECKSUM_OFFSET, invertSum(addSums(sum, newWord)));
  return translated(copy);
}

/** Length of the whole echo: undefined for a first fragment whose last one is not known (4.8). */
function echoLength(input: Layer4Input): number | undefined {
  if (input.isQuote || isWholeDatagram(input.fragment)) return input.payloadLength;
  return input.icmpLength;
}

/** spec/tunnel.md 4.4 step 7: the quote is translated too, the checksum made from scratch. */
function translateError(input: Layer4Input, meaning: IcmpMeaning, newWord: number): Layer4Result {
  if (input.fragment !== undefined) return dropped("icmp-error-fragment");
  const quote = input.translateQuote(quotedBytes(input));
  if (typeof quote === "string") return dropped(quote);
  const mtu = meaning === "too-big" ? translateMtu(input, quote) : NO_MTU;
  if (typeof mtu === "string") return dropped(mtu);
  const message = new Uint8Array(ICMP_HEADER_LENGTH + quote.packet.length);
  writeU16(message, ICMP_TYPE_OFFSET, newWord);
  writeU16(message, ICMP_MTU_OFFSET, mtu.announced);
  message.set(quote.packet, ICMP_HEADER_LENGTH);
  writeIcmpChecksum(message, isIcmpv6Made(input) ? input.addressSum : undefined);
  const isNarrow = isIcmpv6Made(input) && meaning === "too-big" && mtu.exact < IPV6_MTU_MIN;
  if (!isNarrow) return translated(message);
  return { kind: "translated", payload: message, narrow: quote.nativeDestination };
}

const NO_MTU: NativeMtu = { exact: 0, announced: 0 };

function isIcmpv6Made(input: Layer4Input): boolean {
  return input.direction === "to-native" && input.localVersion === 6;
}

/**
 * Computes and stores the checksum of a whole message. ICMPv6 has a pseudo header: `addressSum` is
 * the sum of its addresses; undefined for ICMP and for the tunnel. Fills two octets of `message`.
 */
export function writeIcmpChecksum(message: Uint8Array, addressSum: number | undefined): void {
  writeU16(message, ICMP_CHECKSUM_OFFSET, 0);
  const header =
    addressSum === undefined ? 0 : pseudoHeaderSum(addressSum, message.length, PROTOCOL_ICMPV6);
  const sum = sumBytes(message, 0, message.length, header);
  writeU16(message, ICMP_CHECKSUM_OFFSET, invertSum(sum));
}

/** The quoted packet: at most 576 octets, without RFC 4884 padding and extension (4.5, 4.6). */
function quotedBytes(input: Layer4Input): Uint8Array {
  const { payload } = input;
  const end = input.direction === "to-tunnel" ? quoteEnd(input) : payload.length;
  return payload.subarray(ICMP_HEADER_LENGTH, Math.min(end, ICMP_HEADER_LENGTH + QUOTE_LENGTH_MAX));
}

/**
 * End of the quote of a native error. A length that RFC 4884 does not allow is no length but one
 * of the unused octets, which some hosts do not clear.
 */
function quoteEnd({ payload, localVersion }: Layer4Input): number {
  const quoteLength =
    localVersion === 4
      ? payload[ICMP_QUOTE_LENGTH_OFFSET]! * ICMP_QUOTE_LENGTH_UNIT
      : payload[ICMPV6_QUOTE_LENGTH_OFFSET]! * ICMPV6_QUOTE_LENGTH_UNIT;
  const end = ICMP_HEADER_LENGTH + quoteLength;
  if (quoteLength < ICMP_EXTENDED_QUOTE_MIN || end > payload.length) return payload.length;
  const announced =
    localVersion === 4
      ? readU16(payload, ICMP_HEADER_LENGTH + IPV4_LENGTH_OFFSET)
      : readU16(payload, ICMP_HEADER_LENGTH + IPV6_LENGTH_OFFSET) + IPV6_HEADER_LENGTH;
  return Math.min(end, ICMP_HEADER_LENGTH + announced);
}

/** spec/tunnel.md 4.7. */
function translateMtu(input: Layer4Input, quote: TranslatedQuote): NativeMtu | DropReason {
  const { payload, localVersion: version, format } = input;
  const mtu = readU16(payload, ICMP_MTU_OFFSET);
  if (input.direction === "to-native") {
    return mtuToNative(mtu, version, format, quote) ?? "icmp-bad-mtu";
  }
  if (version === 6 && readU16(payload, MTU_UPPER_OFFSET) !== 0) return "icmp-bad-mtu";
  const native = version === 4 && mtu === 0 ? plateauBelow(quote.nativeLength) : mtu;
  const exact = mtuToTunnel(native, version, format, quote);
  return exact === undefined ? "icmp-bad-mtu" : { exact, announced: exact };
}
