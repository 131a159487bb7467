/**
 * Fast path, tunnel to local network: one datagram at a time, in place (spec/tunnel.md 7.2, 3.3,
 * 3.4, 4.2 to 4.4, format G). Worker thread; the datagram lies in the worker's slab with room for
 * an IP header in front; the IP header takes the place of the tunnel header. Only headers are read
 * and written, so what is translated may be a copy of the datagram's beginning.
 *
 * Taken: whole TCP, UDP and echo packets from a verified remote gateway on its learned port,
 * between a known remote host and an existing reference. Contexts may be zero on either side
 * (client mode behind NAT, spec/tunnel.md 7.2 steps 4 and 7). For fragments see fast-fragments.ts.
 */

import type { RandomSource } from "../base/random.js";
import { checksumWith, foldSum, networkWord, sumWords } from "../kernel/checksum-update.js";
import {
  FLAG_MULTIPLE,
  FLAG_SECONDARY,
  RECORD_LOCAL,
  WORD_LOCAL,
} from "../tables/address-table.js";
import { PEER_IN_USE, PEER_VERIFIED } from "../tables/peer-table.js";
import { IDENTIFICATION_SHIFT, IDENTIFICATIONS } from "../tables/shared-sizes.js";
import {
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from "../wire/packet-fields.js";
import {
  ECHO_REPLY,
  ECHO_REPLY_V6,
  ECHO_REQUEST,
  ECHO_REQUEST_V6,
  type FastPathMemory,
  type FastPathSettings,
  ICMP_LENGTH_MIN,
  TCP_LENGTH_MIN,
  UDP_LENGTH_MIN,
} from "./fast-path.js";

const HAND_OVER = -1;
const PEER_USABLE = PEER_IN_USE | PEER_VERIFIED;
/** Version 1, IF clear; REFL and DF vary (spec/tunnel.md 2.1). */
const FIRST_OCTET_MASK = 0xf2;
const FIRST_OCTET = 0x10;
const PACKET_BYTES_MAX = 65_535;
/** RFC 8200 5: every IPv6 path carries this. */
const IPV6_MTU_MIN = 1280;

/** Translates datagrams of one worker. */
export class FastIngress {
  readonly #memory: FastPathMemory;
  readonly #settings: FastPathSettings;
  /** Length of the IP headers that are written. */
  readonly nativeLength: 20 | 40;
  readonly #identifications: Uint16Array;
  #ttl = 0;
  #protocol = 0;
  #dontFragment = 0;
  #checksumHalf = 0;
  #lastPeer = 0;

  constructor(memory: FastPathMemory, settings: FastPathSettings, random: RandomSource) {
    this.#memory = memory;
    this.#settings = settings;
    this.nativeLength = settings.localVersion === 4 ? 20 : 40;
    const { buffer } = memory.bytes;
    const { identificationsOffset } = memory.slab;
    this.#identifications = new Uint16Array(buffer, identificationsOffset, IDENTIFICATIONS);
    memory.planTranslator(settings);
    for (let index = 0; index < IDENTIFICATIONS; index++) {
      this.#identifications[index] = random.word();
    }
  }

  /**
   * Turns the datagram at `offset` (multiple of 4), which came from the address at `sourceOffset`
   * and from `port`, into a native packet that ends where the datagram ends. Returns its offset,
   * or 0 when the slow path must take the datagram, which is then as it was.
   */
  translate(offset: number, length: number, sourceOffset: number, port: number): number {
    const { translator } = this.#memory.kernel;
    if (translator === undefined) return this.#translate(offset, length, sourceOffset, port);
    const { isPublicKnown, nowSeconds } = this.#memory;
    return translator.ingress(offset, length, sourceOffset, port, isPublicKnown, nowSeconds);
  }

  #translate(offset: number, length: number, sourceOffset: number, port: number): number {
    const headerLength = this.#readHeader(offset, length);
    if (headerLength === 0) return 0;
    if (this.#settings.decrementTtl && --this.#ttl <= 0) return 0;
    if (!this.#contextsMatch(offset, sourceOffset >>> 2)) return 0;
    const { kernel, table, referencesOffset } = this.#memory;
    this.#expandReferences(offset, headerLength);
    const local = kernel.findLocalByReference(referencesOffset + 16);
    if (local === 0) return 0;
    const localSequence = table.sequence(local);
    const remote = kernel.findRemote(sourceOffset, referencesOffset);
    if (remote === 0) return 0;
    const remoteSequence = table.sequence(remote);
    if (!this.#isExpectedReference(local, remote)) return 0;
    if (!this.#findPeer(table.hint(remote), sourceOffset >>> 2, port)) return 0;
    const layer4 = offset + headerLength;
    const layer4Length = length - headerLength;
    if (!this.#fitsLocal(layer4Length)) return 0;
    const addressSum = this.#addressSum(local, remote);
    const checksum = this.#translateLayer4(layer4, layer4Length, addressSum);
    if (checksum === HAND_OVER) return 0;
    this.#buildHeader(remote, local, layer4Length, addressSum);
    if (!table.isUnchanged(local, localSequence)) return 0;
    if (!table.isUnchanged(remote, remoteSequence)) return 0;
    return this.#commit(layer4, checksum, local, remote);
  }

  /**
   * Length of the tunnel header that begins with octet `first`, or 0 when it is not one that the
   * fast path takes.
   */
  tunnelLength(first: number): number {
    const code = (first >>> 2) & 3;
    if ((first & FIRST_OCTET_MASK) !== FIRST_OCTET || code === 3) return 0;
    return 4 * (1 + 2 * this.#memory.contextWords + (2 << code));
  }

  /**
   * Gives the IPv4 packet at `start` the first of `count` fresh identifications in a row, if it has
   * one at all. Its header checksum is then the caller's to compute.
   */
  renumber(start: number, count: number): void {
    const { bytes, halves } = this.#memory;
    if ((bytes[start + 6]! & 0x40) !== 0) return;
    const index = this.#identificationIndex((start + 12) >>> 2);
    halves[(start + 4) >>> 1] = networkWord((this.#identifications[index]! + 1) & 0xffff);
    this.#identifications[index]! += count;
  }

  /** Checks the tunnel header and reads its first word; length of the header, or 0. */
  #readHeader(offset: number, length: number): number {
    const { words, contextWords } = this.#memory;
    const first = words[offset >>> 2]!;
    const code = (first >>> 2) & 3;
    if (length < 20 || (first & FIRST_OCTET_MASK) !== FIRST_OCTET || code === 3) return 0;
    if (((first >>> 8) & 0xff) !== this.#settings.tunnelVersion << 4) return 0;
    this.#dontFragment = first & 1;
    this.#ttl = (first >>> 16) & 0xff;
    this.#protocol = first >>> 24;
    const headerLength = 4 * (1 + 2 * contextWords + (2 << code));
    return length > headerLength ? headerLength : 0;
  }

  /** spec/tunnel.md 7.2 steps 4, 5, 7 and 8. */
  #contextsMatch(offset: number, sourceWord: number): boolean {
    const memory = this.#memory;
    const { contextWords } = memory;
    const source = (offset >>> 2) + 1;
    if (!memory.sameWords(source, sourceWord, contextWords) && !this.#isZero(source)) return false;
    if (!memory.isPublicKnown) return true;
    // Only a forged datagram comes from ourselves (spec/tunnel.md 5).
    if (memory.sameWords(sourceWord, memory.publicWord, contextWords)) return false;
    const destination = source + contextWords;
    const isOurs = memory.sameWords(destination, memory.publicWord, contextWords);
    return isOurs || this.#isZero(destination);
  }

  #isZero(word: number): boolean {
    const { words, contextWords } = this.#memory;
    let bits = 0;
    for (let index = 0; index < contextWords; index++) bits |= words[word + index]!;
    return bits === 0;
  }

  /** Writes both references in their 16-octet form to the scratch area (spec/tunnel.md 1.7). */
  #expandReferences(offset: number, headerLength: number): void {
    const { words, contextWords, referencesOffset } = this.#memory;
    const first = (offset >>> 2) + 1 + 2 * contextWords;
    const groups = (headerLength / 4 - 1 - 2 * contextWords) / 2;
    const target = referencesOffset >>> 2;
    expandReference(words, target, first, groups);
    expandReference(words, target + 4, first + groups, groups);
  }

  /** A host with several references: the pair must already use this one (spec/mapper.md 3.8). */
  #isExpectedReference(local: number, remote: number): boolean {
    const { kernel, table } = this.#memory;
    if ((table.flags(local) & (FLAG_MULTIPLE | FLAG_SECONDARY)) === 0) return true;
    const pair = kernel.findPair(local + RECORD_LOCAL, remote + RECORD_LOCAL);
    if (pair === 0) return false;
    const isExpected = table.hint(pair) === table.numberOf(local);
    return isExpected && table.isUnchanged(pair, table.sequence(pair));
  }

  /** True when the outer source is a verified remote gateway on its own port. */
  #findPeer(hint: number, sourceWord: number, port: number): boolean {
    const { peers, contextWords } = this.#memory;
    let peer = hint;
    if (!peers.read(peer, PEER_USABLE, sourceWord, contextWords)) {
      peer = this.#lastPeer;
      if (!peers.read(peer, PEER_USABLE, sourceWord, contextWords)) {
        peer = peers.findAt(sourceWord, contextWords);
        if (!peers.read(peer, PEER_USABLE, sourceWord, contextWords)) return false;
      }
    }
    this.#lastPeer = peer;
    return peers.foundPort === port;
  }

  /** Lengths that one native packet can have, without fragmenting (spec/tunnel.md 7.7). */
  #fitsLocal(layer4Length: number): boolean {
    if (this.nativeLength === 20) return layer4Length + 20 <= PACKET_BYTES_MAX;
    if (this.#dontFragment === 0) return layer4Length + 40 <= IPV6_MTU_MIN;
    return layer4Length <= PACKET_BYTES_MAX;
  }

  /** Sum of the new native addresses. */
  #addressSum(local: number, remote: number): number {
    const { words, localWords } = this.#memory;
    const source = sumWords(words, (remote >>> 2) + WORD_LOCAL, localWords);
    return source + sumWords(words, (local >>> 2) + WORD_LOCAL, localWords);
  }

  /** The new checksum (for `#checksumHalf`), or HAND_OVER. */
  #translateLayer4(layer4: number, length: number, addressSum: number): number {
    const { halves } = this.#memory;
    const settings = this.#settings;
    if (this.#protocol === PROTOCOL_TCP) {
      if (!settings.carriesTcp || length < TCP_LENGTH_MIN) return HAND_OVER;
      this.#checksumHalf = (layer4 + 16) >>> 1;
      const stored = halves[this.#checksumHalf]!;
      // Zero may stand for "not adjusted" (spec/tunnel.md 4.2): needs the whole segment.
      return stored === 0 ? HAND_OVER : checksumWith(stored, addressSum);
    }
    if (this.#protocol === PROTOCOL_UDP) {
      if (!settings.carriesUdp || length < UDP_LENGTH_MIN) return HAND_OVER;
      if (halves[(layer4 + 4) >>> 1] !== networkWord(length)) return HAND_OVER;
      this.#checksumHalf = (layer4 + 6) >>> 1;
      const stored = halves[this.#checksumHalf]!;
      if (stored === 0) return this.nativeLength === 20 ? 0 : HAND_OVER;
      return checksumWith(stored, addressSum) || 0xffff;
    }
    if (this.#protocol !== PROTOCOL_ICMP || !settings.carriesIcmp) return HAND_OVER;
    return this.#translateEcho(layer4, length, addressSum);
  }

  /** As `#translateLayer4` for ICMP (spec/tunnel.md 4.4 step 6). */
  #translateEcho(layer4: number, length: number, addressSum: number): number {
    const { halves } = this.#memory;
    if (length < ICMP_LENGTH_MIN) return HAND_OVER;
    const typeAndCode = halves[layer4 >>> 1]!;
    if (typeAndCode !== ECHO_REQUEST && typeAndCode !== ECHO_REPLY) return HAND_OVER;
    this.#checksumHalf = (layer4 + 2) >>> 1;
    const stored = halves[this.#checksumHalf]!;
    // The form of a zero sum depends on the order of steps: left to the slow path.
    if (stored === 0 || stored === 0xffff) return HAND_OVER;
    if (this.nativeLength === 20) return stored;
    const pseudo = addressSum + networkWord(length) + networkWord(PROTOCOL_ICMPV6);
    const nativeType = typeAndCode === ECHO_REQUEST ? ECHO_REQUEST_V6 : ECHO_REPLY_V6;
    const checksum = checksumWith(stored, pseudo + nativeType - typeAndCode);
    return checksum === 0 ? HAND_OVER : checksum;
  }

  /** Builds the IP header in the scratch area (spec/tunnel.md 3.4). */
  #buildHeader(remote: number, local: number, layer4Length: number, addressSum: number): void {
    const memory = this.#memory;
    const { words, headerWord, localWords } = memory;
    const addresses = headerWord + (this.nativeLength >>> 2) - 2 * localWords;
    memory.copyWords(addresses, (remote >>> 2) + WORD_LOCAL, localWords);
    memory.copyWords(addresses + localWords, (local >>> 2) + WORD_LOCAL, localWords);
    if (this.nativeLength === 40) {
      const next = this.#protocol === PROTOCOL_ICMP ? PROTOCOL_ICMPV6 : this.#protocol;
      words[headerWord] = 0x60;
      words[headerWord + 1] = networkWord(layer4Length) | (next << 16) | (this.#ttl << 24);
      return;
    }
    const flags = this.#dontFragment !== 0 ? 0x40 << 16 : this.#identification(addresses);
    words[headerWord] = 0x45 | (networkWord(20 + layer4Length) << 16);
    words[headerWord + 1] = flags;
    words[headerWord + 2] = this.#ttl | (this.#protocol << 8);
    const sum = foldSum(sumWords(words, headerWord, 3) + addressSum);
    words[headerWord + 2] = this.#ttl | (this.#protocol << 8) | ((sum ^ 0xffff) << 16);
  }

  /** A fresh identification for this pair of addresses, as it lies in memory. */
  #identification(addresses: number): number {
    const index = this.#identificationIndex(addresses);
    this.#identifications[index]!++;
    return networkWord(this.#identifications[index]!);
  }

  /** Counter of a pair of IPv4 addresses. */
  #identificationIndex(addresses: number): number {
    const { words } = this.#memory;
    const hash = Math.imul(words[addresses]! ^ Math.imul(words[addresses + 1]!, 31), 0x9e3779b1);
    return hash >>> IDENTIFICATION_SHIFT;
  }

  /** Writes the packet and the stamps; returns the offset of the native packet. */
  #commit(layer4: number, checksum: number, local: number, remote: number): number {
    const memory = this.#memory;
    const start = layer4 - this.nativeLength;
    memory.halves[this.#checksumHalf] = checksum;
    if (this.nativeLength === 40 && this.#protocol === PROTOCOL_ICMP) {
      const type = memory.bytes[layer4] === ECHO_REQUEST ? ECHO_REQUEST_V6 : ECHO_REPLY_V6;
      memory.bytes[layer4] = type;
    }
    memory.copyWords(start >>> 2, memory.headerWord, this.nativeLength >>> 2);
    memory.stamp(local);
    memory.stamp(remote);
    memory.peers.stampReceived(this.#lastPeer, memory.nowSeconds);
    return start;
  }
}

/** Writes the 16-octet form of a reference of `groups` (1, 2 or 4) wire words. */
function expandReference(words: Int32Array, target: number, word: number, groups: number): void {
  const empty = 4 - groups;
  for (let group = 0; group < 4; group++) {
    words[target + group] = group < empty ? 0 : words[word + group - empty]!;
  }
  if (empty === 0) return;
  // The first wire octet is the reserved top octet of the value.
  words[target] = words[word]! & 0xff;
  words[target + empty] = words[word]! & ~0xff;
}
