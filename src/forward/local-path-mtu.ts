/**
 * Path MTUs inside an IPv6 local network (spec/tunnel.md 7.7) and remote paths below the IPv6
 * minimum (4.7). Routers do not fragment IPv6, so the gateway does it for packets that may be
 * fragmented, with the MTU that "packet too big" messages have reported for the host.
 */

import { addressKey, copyAddress, type IpAddress } from "../base/ip.js";
import { LruMap } from "../base/limits.js";
import { readU16, readU32 } from "../wire/bytes.js";
import { PROTOCOL_ICMPV6 } from "../wire/packet-fields.js";

/** spec/tunnel.md 7.7 and 4.7: what was learned is forgotten after 10 minutes. */
const LEARNED_LIFE_MS = 600_000;
/** RFC 8200 5. */
const IPV6_MINIMUM_MTU = 1280;
const IPV6_HEADER_BYTES = 40;
const ICMPV6_PACKET_TOO_BIG = 2;

interface Learned {
  readonly mtu: number;
  readonly learnedMs: number;
}

/** Local address to MTU in octets; at most `hostsMax` hosts. */
export class LocalPathMtu {
  readonly #hostsMax: number;
  #hosts: LruMap<string, Learned>;

  constructor(hostsMax: number) {
    this.#hostsMax = hostsMax;
    this.#hosts = new LruMap(Math.max(1, hostsMax));
  }

  /** Another table with the same knowledge. */
  copy(): LocalPathMtu {
    const copy = new LocalPathMtu(this.#hostsMax);
    copy.#hosts = this.#hosts.copy();
    return copy;
  }

  /** MTU known for a host, in octets. */
  get(host: IpAddress, nowMs: number): number | undefined {
    const key = addressKey(host);
    const learned = this.#hosts.get(key);
    if (learned === undefined) return undefined;
    if (nowMs - learned.learnedMs < LEARNED_LIFE_MS) return learned.mtu;
    this.#hosts.delete(key);
    return undefined;
  }

  /**
   * Looks at a packet read from the local network: a "packet too big" teaches the MTU towards the
   * host that its quote was meant for, a packet longer than the known value raises it.
   * `isEncoded` tells whether the quoted source is an encoded address in use.
   */
  observe(packet: Uint8Array, isEncoded: (source: IpAddress) => boolean, nowMs: number): void {
    if (packet.length < IPV6_HEADER_BYTES || packet[0]! >> 4 !== 6) return;
    const source = addressKey(copyAddress(packet, 8, 6));
    const known = this.#hosts.peek(source);
    if (known !== undefined && packet.length > known.mtu) {
      this.#hosts.set(source, { mtu: packet.length, learnedMs: nowMs });
    }
    const mtu = reportedMtu(packet);
    if (mtu === undefined || !isEncoded(copyAddress(packet, QUOTE + 8, 6))) return;
    const host = copyAddress(packet, QUOTE + 24, 6);
    this.#hosts.set(addressKey(host), { mtu, learnedMs: nowMs });
  }
}

const QUOTE = IPV6_HEADER_BYTES + 8;

/** The MTU in an ICMPv6 "packet too big" directly behind the IPv6 header, else undefined. */
function reportedMtu(packet: Uint8Array): number | undefined {
  if (packet[6] !== PROTOCOL_ICMPV6 || packet.length < QUOTE + IPV6_HEADER_BYTES) return undefined;
  if (readU16(packet, 4) !== packet.length - IPV6_HEADER_BYTES) return undefined;
  if (packet[IPV6_HEADER_BYTES] !== ICMPV6_PACKET_TOO_BIG) return undefined;
  if (packet[IPV6_HEADER_BYTES + 1] !== 0) return undefined;
  const mtu = readU32(packet, IPV6_HEADER_BYTES + 4);
  return mtu >= IPV6_MINIMUM_MTU && mtu <= 65_535 ? mtu : undefined;
}

/**
 * Encoded addresses behind a path that cannot carry 1280-octet IPv6 packets: packets to them are
 * sent so that the far side may fragment them (spec/tunnel.md 4.7).
 */
export class NarrowPaths {
  #destinations = new LruMap<string, { encoded: IpAddress; notedMs: number }>(1024);
  readonly #onChange: (destinations: readonly IpAddress[]) => void;

  /** `onChange` is told all destinations whenever there is another one or one less. */
  constructor(onChange: (destinations: readonly IpAddress[]) => void) {
    this.#onChange = onChange;
  }

  /** Another table with the same knowledge, which tells nobody. */
  copy(): NarrowPaths {
    const copy = new NarrowPaths(() => {});
    copy.#destinations = this.#destinations.copy();
    return copy;
  }

  /** A remote "too big" announced less than 1280 for this encoded address. */
  note(encoded: IpAddress, nowMs: number): void {
    const key = addressKey(encoded);
    const isNew = this.#destinations.peek(key) === undefined;
    this.#destinations.set(key, { encoded, notedMs: nowMs });
    if (isNew) this.#tell();
  }

  has(encoded: IpAddress, nowMs: number): boolean {
    const noted = this.#destinations.peek(addressKey(encoded));
    return noted !== undefined && nowMs - noted.notedMs < LEARNED_LIFE_MS;
  }

  /** Forgets what was learned too long ago; entries are in the order in which they were noted. */
  expire(nowMs: number): void {
    const sizeBefore = this.#destinations.size;
    for (const [key, { notedMs }] of this.#destinations.entries()) {
      if (nowMs - notedMs < LEARNED_LIFE_MS) break;
      this.#destinations.delete(key);
    }
    if (this.#destinations.size !== sizeBefore) this.#tell();
  }

  #tell(): void {
    this.#onChange(Array.from(this.#destinations.entries(), ([, { encoded }]) => encoded));
  }
}
