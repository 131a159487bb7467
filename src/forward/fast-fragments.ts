/**
 * Fragments of TCP and UDP on the fast path, both directions (spec/tunnel.md 3.2, 3.4, 4.2, 4.3).
 * Worker thread; packets lie in the worker's slab.
 *
 * A fragment is translated as the whole packet that it would be without its fragment information,
 * which goes from one header to the other beside that (native: RFC 791 3.1, RFC 8200 4.5; tunnel:
 * spec/tunnel.md 2.1, IF):
 *
 *  - A first fragment has the transport header. The length field of UDP, which is that of the whole
 *    datagram, is put aside meanwhile.
 *  - A later one has none. It passes as a UDP datagram: its first 8 octets are put aside.
 *
 * Left to the slow path: ICMP, whose checksum covers more than one fragment (4.8), fragments with a
 * part of a transport header, and everything that whole packets are handed over for.
 */

import { foldSum, networkWord, sumWords } from "../kernel/checksum-update.js";
import { PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/packet-fields.js";
import type { FastEgress } from "./fast-egress.js";
import type { FastIngress } from "./fast-ingress.js";
import {
  type FastPathMemory,
  type FastPathSettings,
  TCP_LENGTH_MIN,
  UDP_LENGTH_MIN,
} from "./fast-path.js";

/** Octets of fragment information, in the tunnel and in IPv6 alike. */
export const FRAGMENT_BYTES = 8;
/** Octet 0 of a tunnel packet (spec/tunnel.md 2.1). */
export const FLAG_FRAGMENT = 0x02;
/** Of IPv4: flags and offset in units of 8 octets (RFC 791 3.1). */
const MORE_FRAGMENTS_V4 = 0x2000;
const OFFSET_MASK_V4 = 0x1fff;
const DONT_FRAGMENT_BITS = 0xc0;
/** Of IPv6 and of the tunnel: the offset in octets, reserved bits, and "more". */
const OFFSET_MASK = 0xfff8;
const RESERVED_MASK = 0x0006;
const MORE_FRAGMENTS = 0x0001;
const NEXT_HEADER_FRAGMENT = 44;
const PACKET_BYTES_MAX = 65_535;
/** RFC 8200 5: every IPv6 path carries this. */
const IPV6_MTU_MIN = 1280;
/** Fragments from here on have no part of a TCP header without options but its checksum behind. */
const TCP_OFFSET_MIN = 24;
/** Any checksum but 0000, which means something in UDP. */
const NO_MATTER = 0x1234;

/** What both directions share: the fragment that is looked at, and the disguise. */
class Fragments {
  protected readonly memory: FastPathMemory;
  readonly #carries: boolean;
  // The fragment that is looked at.
  protected protocol = 0;
  protected offset = 0;
  protected more = 0;
  protected identification = 0;
  #savedLength = 0;
  #savedChecksum = 0;

  constructor(memory: FastPathMemory, settings: FastPathSettings) {
    this.memory = memory;
    this.#carries = settings.carriesTcp && settings.carriesUdp;
  }

  /** True when this fragment, with `length` octets of layer 4, may pass here. */
  protected isTaken(length: number): boolean {
    const { protocol, offset } = this;
    if (!this.#carries || length < UDP_LENGTH_MIN) return false;
    if (offset + length > PACKET_BYTES_MAX) return false;
    if (this.more === 0 ? offset === 0 : length % FRAGMENT_BYTES !== 0) return false;
    if (protocol === PROTOCOL_UDP) return true;
    if (protocol !== PROTOCOL_TCP) return false;
    return offset === 0 ? length >= TCP_LENGTH_MIN : offset >= TCP_OFFSET_MIN;
  }

  /** Makes layer 4 that of a whole packet; returns the protocol that it then has. */
  protected disguise(layer4: number, length: number): number {
    const { halves } = this.memory;
    const half = layer4 >>> 1;
    if (this.offset === 0 && this.protocol === PROTOCOL_TCP) return PROTOCOL_TCP;
    this.#savedLength = halves[half + 2]!;
    this.#savedChecksum = halves[half + 3]!;
    halves[half + 2] = networkWord(length);
    if (this.offset !== 0) halves[half + 3] = NO_MATTER;
    return PROTOCOL_UDP;
  }

  /** The reverse of `disguise`, but for a checksum that was translated. */
  protected reveal(layer4: number): void {
    const { halves } = this.memory;
    const half = layer4 >>> 1;
    if (this.offset === 0 && this.protocol === PROTOCOL_TCP) return;
    halves[half + 2] = this.#savedLength;
    if (this.offset !== 0) halves[half + 3] = this.#savedChecksum;
  }

  /** Reads offset and "more" of the tunnel's or of IPv6's form at `at`, and the identification. */
  protected readInformation(at: number): void {
    const { bytes } = this.memory;
    const word = (bytes[at + 2]! << 8) | bytes[at + 3]!;
    this.offset = word & OFFSET_MASK;
    this.more = word & MORE_FRAGMENTS;
    this.identification =
      (bytes[at + 4]! << 24) | (bytes[at + 5]! << 16) | (bytes[at + 6]! << 8) | bytes[at + 7]!;
  }

  /** Writes the 8 octets; `first` are the first two of them. */
  protected writeInformation(at: number, first: number): void {
    const { bytes, identification } = this;
    const word = this.offset | this.more;
    bytes[at] = first;
    bytes[at + 1] = 0;
    bytes[at + 2] = word >>> 8;
    bytes[at + 3] = word & 0xff;
    bytes[at + 4] = identification >>> 24;
    bytes[at + 5] = (identification >>> 16) & 0xff;
    bytes[at + 6] = (identification >>> 8) & 0xff;
    bytes[at + 7] = identification & 0xff;
  }

  protected get bytes(): Uint8Array {
    return this.memory.bytes;
  }
}

/** Fragments from the local network. */
export class EgressFragments extends Fragments {
  readonly #fast: FastEgress;
  readonly #isIpv4: boolean;

  constructor(memory: FastPathMemory, fast: FastEgress, settings: FastPathSettings) {
    super(memory, settings);
    this.#fast = fast;
    this.#isIpv4 = settings.localVersion === 4;
  }

  /**
   * Turns the fragment at `offset` (a multiple of 4) into a tunnel packet that ends where it ends;
   * returns its offset. 0 when the packet is no fragment or the slow path must take it, which is
   * then as it was. `addressOffset` and `port` of FastEgress tell where it goes.
   */
  translate(offset: number, length: number): number {
    return this.#isIpv4 ? this.#fromIpv4(offset, length) : this.#fromIpv6(offset, length);
  }

  #fromIpv4(offset: number, length: number): number {
    const { bytes } = this;
    if (length < 20 || bytes[offset] !== 0x45) return 0;
    const high = bytes[offset + 6]!;
    const low = bytes[offset + 7]!;
    const word = (high << 8) | low;
    if ((word & (MORE_FRAGMENTS_V4 | OFFSET_MASK_V4)) === 0) return 0;
    this.protocol = bytes[offset + 9]!;
    this.offset = (word & OFFSET_MASK_V4) * FRAGMENT_BYTES;
    this.more = (word & MORE_FRAGMENTS_V4) === 0 ? 0 : MORE_FRAGMENTS;
    this.identification = (bytes[offset + 4]! << 8) | bytes[offset + 5]!;
    if (!this.isTaken(length - 20)) return 0;
    bytes[offset + 6] = high & DONT_FRAGMENT_BITS;
    bytes[offset + 7] = 0;
    const start = this.#translate(offset, length, offset + 9, offset + 20);
    if (start !== 0) return start;
    bytes[offset + 6] = high;
    bytes[offset + 7] = low;
    return 0;
  }

  /** The fragment header goes: the IP header moves over it. */
  #fromIpv6(offset: number, length: number): number {
    const { bytes } = this;
    if (length < 48 || bytes[offset]! >>> 4 !== 6) return 0;
    if (bytes[offset + 6] !== NEXT_HEADER_FRAGMENT) return 0;
    if (((bytes[offset + 4]! << 8) | bytes[offset + 5]!) !== length - 40) return 0;
    this.protocol = bytes[offset + 40]!;
    this.readInformation(offset + 40);
    if (!this.isTaken(length - 48)) return 0;
    const reserved = bytes[offset + 41]!;
    const flags = bytes[offset + 43]!;
    const packet = offset + FRAGMENT_BYTES;
    bytes.copyWithin(packet, offset, offset + 40);
    this.memory.halves[(packet + 4) >>> 1] = networkWord(length - 48);
    const start = this.#translate(packet, length - FRAGMENT_BYTES, packet + 6, offset + 48);
    if (start !== 0) return start;
    bytes.copyWithin(offset, packet, packet + 40);
    this.memory.halves[(offset + 4) >>> 1] = networkWord(length - 40);
    bytes[offset + 6] = NEXT_HEADER_FRAGMENT;
    this.writeInformation(offset + 40, this.protocol);
    // Reserved bits, as they were.
    bytes[offset + 41] = reserved;
    bytes[offset + 43] = flags;
    return 0;
  }

  /** The packet without fragment information, and then that; `place`: its protocol number. */
  #translate(packet: number, length: number, place: number, layer4: number): number {
    const { bytes } = this;
    const { words } = this.memory;
    bytes[place] = this.disguise(layer4, packet + length - layer4);
    const whole = this.#fast.translate(packet, length, FRAGMENT_BYTES);
    this.reveal(layer4);
    if (whole === 0) {
      bytes[place] = this.protocol;
      return 0;
    }
    const start = whole - FRAGMENT_BYTES;
    words[start >>> 2] = words[whole >>> 2]! | FLAG_FRAGMENT;
    bytes[start + 3] = this.protocol;
    this.writeInformation(start + 4, 0);
    return start;
  }
}

/** Fragments from the tunnel. */
export class IngressFragments extends Fragments {
  readonly #fast: FastIngress;

  constructor(memory: FastPathMemory, fast: FastIngress, settings: FastPathSettings) {
    super(memory, settings);
    this.#fast = fast;
  }

  /**
   * Length of the tunnel header at `offset`, any alignment, without its fragment information; 0
   * when it has none or is not one that the fast path takes.
   */
  tunnelLength(offset: number): number {
    const first = this.bytes[offset]!;
    return (first & FLAG_FRAGMENT) === 0 ? 0 : this.#fast.tunnelLength(first ^ FLAG_FRAGMENT);
  }

  /**
   * Turns a fragment into a native packet. `layer4` is a multiple of 4: there its layer 4 begins,
   * of `length` octets, of which at least the transport header is there; in front of it stands the
   * tunnel header of `tunnelLength` octets, without the fragment information, which lies at
   * `information`. Returns the offset of the native packet, or 0 when the slow path must take the
   * fragment; what is there is then of no use.
   */
  translate(
    layer4: number,
    tunnelLength: number,
    length: number,
    information: number,
    sourceOffset: number,
    port: number,
  ): number {
    const { bytes } = this;
    const head = layer4 - tunnelLength;
    if (!this.#isWellFormed(information)) return 0;
    this.protocol = bytes[head + 3]!;
    this.readInformation(information);
    const isSmall = length + 40 + FRAGMENT_BYTES <= IPV6_MTU_MIN;
    const isIpv4 = this.#fast.nativeLength === 20;
    if (!this.isTaken(length) || !(isIpv4 || isSmall || (bytes[head]! & 1) !== 0)) return 0;
    bytes[head]! &= ~FLAG_FRAGMENT;
    bytes[head + 3] = this.disguise(layer4, length);
    const start = this.#fast.translate(head, tunnelLength + length, sourceOffset, port);
    this.reveal(layer4);
    if (start === 0) return 0;
    return isIpv4 ? this.#toIpv4(start) : this.#toIpv6(start, length);
  }

  /** Both reserved parts are zero (spec/tunnel.md 2.1). */
  #isWellFormed(information: number): boolean {
    const { bytes } = this;
    const reserved = bytes[information]! | bytes[information + 1]!;
    return (reserved | (bytes[information + 3]! & RESERVED_MASK)) === 0;
  }

  #toIpv4(start: number): number {
    const { bytes } = this;
    const { halves, words } = this.memory;
    const more = this.more === 0 ? 0 : MORE_FRAGMENTS_V4;
    const word = more | (this.offset / FRAGMENT_BYTES);
    bytes[start + 4] = (this.identification >>> 8) & 0xff;
    bytes[start + 5] = this.identification & 0xff;
    bytes[start + 6] = (bytes[start + 6]! & DONT_FRAGMENT_BITS) | (word >>> 8);
    bytes[start + 7] = word & 0xff;
    bytes[start + 9] = this.protocol;
    halves[(start + 10) >>> 1] = 0;
    halves[(start + 10) >>> 1] = foldSum(sumWords(words, start >>> 2, 5)) ^ 0xffff;
    return start;
  }

  /** The IP header moves to make room for a fragment header. */
  #toIpv6(whole: number, length: number): number {
    const { bytes } = this;
    const start = whole - FRAGMENT_BYTES;
    bytes.copyWithin(start, whole, whole + 40);
    this.memory.halves[(start + 4) >>> 1] = networkWord(length + FRAGMENT_BYTES);
    bytes[start + 6] = NEXT_HEADER_FRAGMENT;
    this.writeInformation(start + 40, this.protocol);
    return start;
  }
}
