/**
 * Fast path, local network to tunnel: one native packet at a time, in place (spec/tunnel.md 3.1,
 * 3.2, 4.2 to 4.4, format G). Worker thread; the packet lies in the worker's slab with
 * SLOT_HEADROOM_BYTES in front; the tunnel header takes the place of the IP header. Of a
 * super-packet only the tunnel header is made here, once for all of its segments.
 *
 * Taken: whole TCP, UDP and echo packets without options or extension headers, from a host with a
 * reference to an encoded address in use, to a settled remote gateway, that fit its path. Not
 * taken, among others: CE marks (spec/tunnel.md 3.6), packets to ourselves (5). For fragments see
 * fast-fragments.ts.
 */

import { checksumWithout, networkWord, sumWords } from "../kernel/checksum-update.js";
import {
  SEGMENT_HEADER_LENGTH,
  SEGMENT_LAYER4,
  SEGMENT_PAYLOAD_LENGTH,
  SEGMENT_PROTOCOL,
  SEGMENT_PSEUDO_SUM,
  SEGMENT_SIZE,
  SEGMENT_TEMPLATE,
  SEGMENT_TEMPLATE_LENGTH,
} from "../kernel/jobs.js";
import { ENTRY_LENGTH, ENTRY_OFFSET, ENTRY_PORT, ENTRY_RESULT } from "../kernel/translation.js";
import {
  FLAG_INACTIVE,
  FLAG_MULTIPLE,
  KIND_LOCAL,
  KIND_REMOTE,
  RECORD_CONTEXT,
  WORD_CONTEXT,
  WORD_LOCAL,
  WORD_REFERENCE,
} from "../tables/address-table.js";
import { PEER_IN_USE, PEER_SETTLED } from "../tables/peer-table.js";
import { TRANSLATION_BYTES } from "../tables/shared-sizes.js";
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
import type { PacketBatch } from "./ports.js";
import type { VnetReader } from "./vnet-header.js";

const HAND_OVER = -1;
/** RFC 8200 5: every IPv6 path carries this. */
const IPV6_MTU_MIN = 1280;
/** RFC 3168 5: congestion experienced. */
const ECN_CE = 3;
const PEER_USABLE = PEER_IN_USE | PEER_SETTLED;

/** Translates packets of one worker. */
export class FastEgress {
  /** Of the last packet taken: where its destination context lies, and the port to send to. */
  addressOffset = 0;
  port = 0;
  readonly #memory: FastPathMemory;
  readonly #settings: FastPathSettings;
  readonly #headerLength: 20 | 40;
  #ttl = 0;
  #protocol = 0;
  #dontFragment = 0;
  #checksumHalf = 0;
  #lastPeer = 0;
  /** Records of the packet, as they were when it was looked at. */
  #local = 0;
  #localSequence = 0;
  #remote = 0;
  #remoteSequence = 0;

  constructor(memory: FastPathMemory, settings: FastPathSettings) {
    this.#memory = memory;
    this.#settings = settings;
    this.#headerLength = settings.localVersion === 4 ? 20 : 40;
    memory.planTranslator(settings);
  }

  /**
   * Translates all packets of a batch at once where the kernel can do that; false where it cannot.
   * `resultOf` and `portOf` then tell about each packet.
   */
  translateBatch(batch: PacketBatch, hasDeviceHeader: boolean): boolean {
    const { words, slab, kernel, nowSeconds } = this.#memory;
    const { translator } = kernel;
    if (translator === undefined) return false;
    let entry = slab.translationsOffset >>> 2;
    for (let index = 0; index < batch.count; index++) {
      words[entry + ENTRY_OFFSET] = batch.offsets[index]!;
      words[entry + ENTRY_LENGTH] = batch.lengths[index]!;
      entry += TRANSLATION_BYTES >>> 2;
    }
    translator.egress(slab.translationsOffset, batch.count, hasDeviceHeader, nowSeconds);
    return true;
  }

  /** Of packet `index` of a translated batch: offset of its tunnel packet, or RESULT_…. */
  resultOf(index: number): number {
    const { words, slab } = this.#memory;
    return words[(slab.translationsOffset + TRANSLATION_BYTES * index) / 4 + ENTRY_RESULT]!;
  }

  /** UDP port to send packet `index` of a translated batch to. */
  portOf(index: number): number {
    const { words, slab } = this.#memory;
    return words[(slab.translationsOffset + TRANSLATION_BYTES * index) / 4 + ENTRY_PORT]!;
  }

  /**
   * Turns the native packet at `offset` (multiple of 4) into a tunnel packet that ends where the
   * native one ends. Returns its offset, or 0 when the slow path must take the packet, which is
   * then as it was. The path must have room for `spareBytes` more.
   */
  translate(offset: number, length: number, spareBytes = 0): number {
    const bytesMax = length - this.#headerLength + spareBytes;
    const headerLength = this.#decide(offset, length, bytesMax);
    if (headerLength === 0) return 0;
    const { words, localWords } = this.#memory;
    const layer4 = offset + this.#headerLength;
    const addressSum = sumWords(words, (layer4 - 8 * localWords) >>> 2, 2 * localWords);
    const checksum = this.#translateLayer4(layer4, length - this.#headerLength, addressSum);
    if (checksum === HAND_OVER || !this.#isUnchanged()) return 0;
    return this.#commit(layer4, headerLength, checksum);
  }

  /**
   * Makes the segmentation job of the super-packet at `offset` that `reader` has just read. False
   * when the slow path must take it. `addressOffset` is the caller's to set.
   */
  prepareSegments(
    offset: number,
    length: number,
    segmentSize: number,
    reader: Pick<VnetReader, "protocol" | "layer4" | "layer4HeaderLength" | "payloadLength">,
  ): boolean {
    const { carriesTcp, carriesUdp } = this.#settings;
    const { protocol, layer4, layer4HeaderLength, payloadLength } = reader;
    if (!(protocol === PROTOCOL_TCP ? carriesTcp : carriesUdp)) return false;
    const templateLength = this.#decide(offset, length, layer4HeaderLength + segmentSize);
    if (templateLength === 0 || !this.#isUnchanged()) return false;
    const { words, segmentJob, headerWord } = this.#memory;
    const job = segmentJob >>> 2;
    words[job + SEGMENT_TEMPLATE] = headerWord << 2;
    words[job + SEGMENT_TEMPLATE_LENGTH] = templateLength;
    words[job + SEGMENT_LAYER4] = layer4;
    words[job + SEGMENT_HEADER_LENGTH] = layer4HeaderLength;
    words[job + SEGMENT_PAYLOAD_LENGTH] = payloadLength;
    words[job + SEGMENT_SIZE] = segmentSize;
    words[job + SEGMENT_PROTOCOL] = protocol;
    words[job + SEGMENT_PSEUDO_SUM] = networkWord(protocol);
    this.#stamp();
    return true;
  }

  /**
   * Everything but layer 4: looks up both ends and builds the tunnel header in the scratch area.
   * `layer4LengthMax` is that of the packet or of its largest segment. Length of the header, or 0
   * when the slow path must take the packet.
   */
  #decide(offset: number, length: number, layer4LengthMax: number): number {
    const isIpv4 = this.#headerLength === 20;
    if (!(isIpv4 ? this.#readIpv4(offset, length) : this.#readIpv6(offset, length))) return 0;
    if (this.#settings.decrementTtl && --this.#ttl <= 0) return 0;
    const { kernel, table, localWords } = this.#memory;
    const source = offset + this.#headerLength - 8 * localWords;
    const destination = source + 4 * localWords;
    const remote = kernel.findByLocal(destination);
    if (remote === 0 || table.kind(remote) !== KIND_REMOTE) return 0;
    const isSuperPacket = length - this.#headerLength > layer4LengthMax;
    if ((isSuperPacket || length <= IPV6_MTU_MIN) && this.#isNarrow(destination)) return 0;
    this.#remote = remote;
    this.#remoteSequence = table.sequence(remote);
    const local = this.#findSender(source, destination);
    if (local === 0) return 0;
    this.#local = local;
    this.#localSequence = table.sequence(local);
    const headerLength = this.#buildHeader(local, remote);
    return this.#findPeer(remote, headerLength + layer4LengthMax) ? headerLength : 0;
  }

  #isUnchanged(): boolean {
    const { table } = this.#memory;
    const isLocalSame = table.isUnchanged(this.#local, this.#localSequence);
    return isLocalSame && table.isUnchanged(this.#remote, this.#remoteSequence);
  }

  /** An IPv6 destination whose small packets must be fragmentable (spec/tunnel.md 4.7). */
  #isNarrow(destination: number): boolean {
    const { control, words, localWords } = this.#memory;
    return localWords === 4 && control.mayBeNarrow(words, destination >>> 2);
  }

  /** Reads an IPv4 header; false when it is not a plain one (spec/tunnel.md 3.1 steps 1-4). */
  #readIpv4(offset: number, length: number): boolean {
    const { bytes } = this.#memory;
    if (length < 20 || bytes[offset] !== 0x45) return false;
    if (((bytes[offset + 2]! << 8) | bytes[offset + 3]!) !== length) return false;
    if ((bytes[offset + 1]! & ECN_CE) === ECN_CE) return false;
    const flags = bytes[offset + 6]!;
    if ((flags & 0x3f) !== 0 || bytes[offset + 7] !== 0) return false;
    this.#dontFragment = (flags >>> 6) & 1;
    this.#ttl = bytes[offset + 8]!;
    this.#protocol = bytes[offset + 9]!;
    return true;
  }

  /** Reads an IPv6 header; false when the lengths disagree (spec/tunnel.md 3.1 steps 1-6). */
  #readIpv6(offset: number, length: number): boolean {
    const { bytes } = this.#memory;
    if (length <= 40 || bytes[offset]! >>> 4 !== 6) return false;
    if (((bytes[offset + 4]! << 8) | bytes[offset + 5]!) !== length - 40) return false;
    if (((bytes[offset + 1]! >>> 4) & ECN_CE) === ECN_CE) return false;
    this.#dontFragment = 1;
    this.#protocol = bytes[offset + 6]!;
    this.#ttl = bytes[offset + 7]!;
    return true;
  }

  /** LOCAL record with the reference that this peer knows the host by; 0 when there is none. */
  #findSender(source: number, destination: number): number {
    const { kernel, table } = this.#memory;
    const primary = kernel.findByLocal(source);
    if (primary === 0 || table.kind(primary) !== KIND_LOCAL) return 0;
    if ((table.flags(primary) & FLAG_MULTIPLE) === 0) return primary;
    const pair = kernel.findPair(source, destination);
    if (pair === 0) return primary;
    const number = table.hint(pair);
    if (!table.isUnchanged(pair, table.sequence(pair))) return 0;
    return number === 0 ? 0 : this.#checkSender(table.offsetOf(number), source);
  }

  /** The record if it is an active one of the host at `source`, else 0. */
  #checkSender(record: number, source: number): number {
    const { table } = this.#memory;
    const sequence = table.sequence(record);
    if (table.kind(record) !== KIND_LOCAL) return 0;
    if ((table.flags(record) & FLAG_INACTIVE) !== 0) return 0;
    const { localWords } = this.#memory;
    const isSame = this.#memory.sameWords((record >>> 2) + WORD_LOCAL, source >>> 2, localWords);
    return isSame && table.isUnchanged(record, sequence) ? record : 0;
  }

  /** Builds the tunnel header in the scratch area (spec/tunnel.md 2.1); returns its length. */
  #buildHeader(local: number, remote: number): number {
    const memory = this.#memory;
    const { words, headerWord, contextWords, publicWord } = memory;
    const from = (local >>> 2) + WORD_REFERENCE;
    const to = (remote >>> 2) + WORD_REFERENCE;
    const code = Math.max(referenceCode(words, from), referenceCode(words, to));
    const first = 0x10 | (code << 2) | this.#dontFragment;
    const version = this.#settings.tunnelVersion << 4;
    const isIcmp = this.#protocol === PROTOCOL_ICMPV6;
    const protocol = isIcmp ? PROTOCOL_ICMP : this.#protocol;
    words[headerWord] = first | (version << 8) | (this.#ttl << 16) | (protocol << 24);
    memory.copyWords(headerWord + 1, publicWord, contextWords);
    const context = headerWord + 1 + contextWords;
    memory.copyWords(context, (remote >>> 2) + WORD_CONTEXT, contextWords);
    const references = context + contextWords;
    referenceInto(words, references, from, code);
    referenceInto(words, references + (1 << code), to, code);
    return 4 * (1 + 2 * contextWords + (2 << code));
  }

  /** Finds the remote gateway; false when it is not settled, is ourselves, or the path too small. */
  #findPeer(remote: number, tunnelLength: number): boolean {
    const memory = this.#memory;
    const { peers, table, contextWords } = memory;
    const context = (remote + RECORD_CONTEXT) >>> 2;
    if (memory.sameWords(context, memory.publicWord, contextWords)) return false;
    let peer = table.hint(remote);
    if (!peers.read(peer, PEER_USABLE, context, contextWords)) {
      peer = this.#lastPeer;
      if (!peers.read(peer, PEER_USABLE, context, contextWords)) {
        peer = peers.findAt(context, contextWords);
        if (!peers.read(peer, PEER_USABLE, context, contextWords)) return false;
      }
    }
    this.#lastPeer = peer;
    this.port = peers.foundPort;
    return tunnelLength <= peers.foundBytesMax;
  }

  /** The new checksum (for `#checksumHalf`), or HAND_OVER. */
  #translateLayer4(layer4: number, length: number, addressSum: number): number {
    const { halves } = this.#memory;
    const settings = this.#settings;
    if (this.#protocol === PROTOCOL_TCP) {
      if (!settings.carriesTcp || length < TCP_LENGTH_MIN) return HAND_OVER;
      this.#checksumHalf = (layer4 + 16) >>> 1;
      return checksumWithout(halves[this.#checksumHalf]!, addressSum);
    }
    if (this.#protocol === PROTOCOL_UDP) {
      if (!settings.carriesUdp || length < UDP_LENGTH_MIN) return HAND_OVER;
      if (halves[(layer4 + 4) >>> 1] !== networkWord(length)) return HAND_OVER;
      this.#checksumHalf = (layer4 + 6) >>> 1;
      const stored = halves[this.#checksumHalf]!;
      return stored === 0 ? 0 : checksumWithout(stored, addressSum);
    }
    return settings.carriesIcmp ? this.#translateEcho(layer4, length, addressSum) : HAND_OVER;
  }

  /** As `#translateLayer4` for ICMP and ICMPv6 (spec/tunnel.md 4.4 step 6). */
  #translateEcho(layer4: number, length: number, addressSum: number): number {
    const { halves } = this.#memory;
    if (length < ICMP_LENGTH_MIN) return HAND_OVER;
    const typeAndCode = halves[layer4 >>> 1]!;
    this.#checksumHalf = (layer4 + 2) >>> 1;
    const stored = halves[this.#checksumHalf]!;
    // The form of a zero sum depends on the order of steps: left to the slow path.
    if (stored === 0 || stored === 0xffff) return HAND_OVER;
    if (this.#headerLength === 20) {
      const isEcho = typeAndCode === ECHO_REQUEST || typeAndCode === ECHO_REPLY;
      return isEcho && this.#protocol === PROTOCOL_ICMP ? stored : HAND_OVER;
    }
    if (this.#protocol !== PROTOCOL_ICMPV6) return HAND_OVER;
    if (typeAndCode !== ECHO_REQUEST_V6 && typeAndCode !== ECHO_REPLY_V6) return HAND_OVER;
    const pseudo = addressSum + networkWord(length) + networkWord(PROTOCOL_ICMPV6);
    const wireType = typeAndCode === ECHO_REQUEST_V6 ? ECHO_REQUEST : ECHO_REPLY;
    const checksum = checksumWithout(stored, pseudo + typeAndCode - wireType);
    return checksum === 0xffff ? HAND_OVER : checksum;
  }

  /** Writes the packet and the stamps; returns the offset of the tunnel packet. */
  #commit(layer4: number, header: number, checksum: number): number {
    const memory = this.#memory;
    const start = layer4 - header;
    memory.halves[this.#checksumHalf] = checksum;
    if (this.#protocol === PROTOCOL_ICMPV6) {
      const type = memory.bytes[layer4] === ECHO_REQUEST_V6 ? ECHO_REQUEST : ECHO_REPLY;
      memory.bytes[layer4] = type;
    }
    memory.copyWords(start >>> 2, memory.headerWord, header >>> 2);
    this.addressOffset = start + this.contextOffset;
    this.#stamp();
    return start;
  }

  /** Where the destination context lies in a tunnel header. */
  get contextOffset(): number {
    return 4 + 4 * this.#memory.contextWords;
  }

  #stamp(): void {
    const memory = this.#memory;
    memory.stamp(this.#local);
    memory.stamp(this.#remote);
    memory.peers.stampSent(this.#lastPeer, memory.nowSeconds);
  }
}

/** REFL of the smallest form of a reference (spec/tunnel.md 1.7): 0, 1 or 2. */
function referenceCode(words: Int32Array, word: number): 0 | 1 | 2 {
  // Byte 0 of each 32-bit group is the low byte of its little-endian word.
  if ((words[word]! & ~0xff) !== 0 || words[word + 1] !== 0) return 2;
  if (words[word + 2] === 0 && (words[word + 3]! & 0xff) === 0) return 0;
  return (words[word + 2]! & 0xff) === 0 ? 1 : 2;
}

/** Writes the wire form of a reference: the top octet, then the low bits of the value. */
function referenceInto(words: Int32Array, target: number, word: number, code: number): void {
  const first = 4 - (1 << code);
  for (let group = first; group < 4; group++) {
    words[target + group - first] = words[word + group]!;
  }
  if (first > 0) words[target] = (words[word + first]! & ~0xff) | (words[word]! & 0xff);
}
