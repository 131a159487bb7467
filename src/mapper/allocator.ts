/**
 * Choosing values nobody uses: references of our hosts (spec/mapper.md 3.4) and encoded addresses
 * of remote hosts (3.5, 3.6). Values chosen here have a second to last byte of 16 or more, so that
 * they never collide with published ones.
 */

import { type IpAddress, type IpPrefix, prefixOf } from "../base/ip.js";
import { type RandomSource, randomBits } from "../base/random.js";
import type { Reference } from "../base/reference.js";

/** spec/mapper.md 3.4: at least this in dynamic values, less in published ones. */
export const DYNAMIC_SECOND_BYTE_MIN = 16;
/** draft-augustyn-intarea-ipref-08: smaller references are reserved. */
const REFERENCE_MIN = 1024n;
/** Fits 8 octets on the wire (spec/mapper.md 3.4, "wire cost"). */
const REFERENCE_BITS = 56;
const RANDOM_TRIES = 16;
/** spec/mapper.md 3.5. */
export const ENCODE_HOST_BITS_MIN = 13;

/** A free random reference; undefined when all tries hit used ones. */
export function chooseReference(
  random: RandomSource,
  isUsable: (reference: Reference) => boolean,
): Reference | undefined {
  for (let tries = 0; tries < 4 * RANDOM_TRIES; tries++) {
    const reference = randomBits(random, REFERENCE_BITS);
    const second = Number((reference >> 8n) & 0xffn);
    if (reference < REFERENCE_MIN || second < DYNAMIC_SECOND_BYTE_MIN) continue;
    if (isUsable(reference)) return reference;
  }
  return undefined;
}

/** The dynamic addresses of an encode net. */
export class EncodedAddressSpace {
  readonly net: IpPrefix;
  /** Number of addresses that can be chosen; above 2^53 it is 2^53. */
  readonly size: number;
  readonly #own: IpAddress;
  readonly #random: RandomSource;
  readonly #length: number;
  /** False when no address of the net has a second to last byte of 16 or more (3.5). */
  readonly #hasSecondByteRule: boolean;

  constructor(net: IpPrefix, ownEncoded: IpAddress, random: RandomSource) {
    this.net = net;
    this.#own = ownEncoded;
    this.#random = random;
    this.#length = net.address.bytes.length;
    const hostBits = 8 * this.#length - net.bits;
    const variable = Math.min(8, Math.max(0, hostBits - 8));
    const base = net.address.bytes[this.#length - 2]!;
    const secondBytes = secondByteCount(base, variable);
    this.#hasSecondByteRule = secondBytes > 0;
    const usable = this.#hasSecondByteRule ? secondBytes : 2 ** variable;
    const lastBytes = 2 ** Math.min(8, hostBits);
    const above = 2 ** Math.max(0, hostBits - 16);
    this.size = Math.min(2 ** 53, above * usable * lastBytes - this.#excludedCount());
  }

  /** Network, broadcast and own address where they are not excluded by the second-byte rule. */
  #excludedCount(): number {
    const bits = 8 * this.#length - this.net.bits;
    const low = this.net.address.bytes;
    const high = low.map((byte, index) => byte | hostMaskByte(this.net.bits, index));
    const allowed = [low, high, this.#own.bytes].filter((bytes) => this.#passesRule(bytes, 0));
    return bits === 0 ? 0 : allowed.length;
  }

  /**
   * True when the mapper may choose the address at `offset` (spec/mapper.md 3.5, "correct
   * generator"). Borrows `bytes`.
   */
  isDynamic(bytes: Uint8Array, offset: number): boolean {
    for (let index = 0; index < this.#length; index++) {
      const net = bytes[offset + index]! & ~hostMaskByte(this.net.bits, index);
      if (net !== this.net.address.bytes[index]) return false;
    }
    return this.#isEligible(bytes, offset);
  }

  /**
   * A free address: a few random draws, then the next free one after the last draw. `isFree` gets
   * bytes it must not keep. Undefined when there is none.
   */
  choose(isFree: (bytes: Uint8Array) => boolean): IpAddress | undefined {
    const bytes = new Uint8Array(this.#length);
    for (let tries = 0; tries < RANDOM_TRIES; tries++) {
      this.#drawInto(bytes);
      if (this.#isEligible(bytes, 0) && isFree(bytes)) return this.#address(bytes);
    }
    const start = bytes.slice();
    do {
      this.#stepInto(bytes);
      if (this.#isEligible(bytes, 0) && isFree(bytes)) return this.#address(bytes);
    } while (!bytes.every((byte, index) => byte === start[index]));
    return undefined;
  }

  #address(bytes: Uint8Array): IpAddress {
    return { version: this.net.address.version, bytes: bytes.slice() };
  }

  /** Uniform over all addresses of the net. */
  #drawInto(bytes: Uint8Array): void {
    let word = 0;
    for (let index = 0; index < this.#length; index++) {
      if (index % 4 === 0) word = this.#random.word();
      const host = (word >>> (24 - 8 * (index % 4))) & hostMaskByte(this.net.bits, index);
      bytes[index] = this.net.address.bytes[index]! | host;
    }
  }

  /** The next address of the net; the first one after the last. */
  #stepInto(bytes: Uint8Array): void {
    for (let index = this.#length - 1; index >= 0; index--) {
      const mask = hostMaskByte(this.net.bits, index);
      const next = ((bytes[index]! & mask) + 1) & mask;
      bytes[index] = this.net.address.bytes[index]! | next;
      if (next !== 0) return;
    }
  }

  #isEligible(bytes: Uint8Array, offset: number): boolean {
    if (!this.#passesRule(bytes, offset)) return false;
    let isNetwork = true;
    let isBroadcast = true;
    let isOwn = true;
    for (let index = 0; index < this.#length; index++) {
      const byte = bytes[offset + index]!;
      const net = this.net.address.bytes[index]!;
      if (byte !== net) isNetwork = false;
      if (byte !== (net | hostMaskByte(this.net.bits, index))) isBroadcast = false;
      if (byte !== this.#own.bytes[index]) isOwn = false;
    }
    return !(isNetwork || isBroadcast || isOwn);
  }

  #passesRule(bytes: Uint8Array, offset: number): boolean {
    return !this.#hasSecondByteRule || bytes[offset + this.#length - 2]! >= DYNAMIC_SECOND_BYTE_MIN;
  }
}

/** The gateway's own encoded address: the network address with 1 as its last byte (3.5). */
export function ownEncodedAddress(net: IpPrefix): IpAddress {
  const bytes = prefixOf(net.address, net.bits).address.bytes.slice();
  bytes[bytes.length - 1] = 1;
  return { version: net.address.version, bytes };
}

/** How many values of the second to last byte are 16 or more; its low `variable` bits vary. */
function secondByteCount(base: number, variable: number): number {
  const last = base + 2 ** variable - 1;
  return Math.max(0, last - Math.max(base, DYNAMIC_SECOND_BYTE_MIN) + 1);
}

function hostMaskByte(prefixBits: number, index: number): number {
  const ones = Math.min(8, Math.max(0, prefixBits - 8 * index));
  return 0xff >> ones;
}
