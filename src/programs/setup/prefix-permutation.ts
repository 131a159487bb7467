/**
 * Maps addresses to other addresses so that those which share a prefix still share one of the same
 * length. The scheme is that of Crypto-PAn with HMAC-SHA-256 in place of AES (Xu, Fan, Ammar, Moon:
 * "Prefix-preserving IP address anonymization", 2002, section 3). The kind of an address stays: a
 * private one becomes a private one. One key gives one permutation; it is thrown away, so that
 * nobody goes back.
 */

import { createHmac } from "node:crypto";
import {
  addressKey,
  type IpAddress,
  type IpPrefix,
  isLoopback,
  isMulticast,
  isUnspecified,
  parsePrefix,
  prefixContains,
  prefixOf,
} from "../../base/ip.js";

/** Ranges whose first bits tell the kind of an address, and stay. */
const KINDS = prefixes(
  ...["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"],
  ...["fd00::/8", "fe80::/10", "64:ff9b::/96"],
);
/** Public IPv6 unicast, RFC 4291. */
const IPV6_PUBLIC = parsePrefix("2000::/3")!;
/** First octets of public IPv4 addresses only; they change places among themselves. */
const MIXED_OCTETS = [0, 10, 100, 127, 169, 172, 192, 198, 203];
const MULTICAST_OCTET = 224;
const PUBLIC_OCTETS = Array.from({ length: MULTICAST_OCTET }, (_, octet) => octet).filter(
  (octet) => !MIXED_OCTETS.includes(octet),
);
/** Ranges for documentation (RFC 5737, RFC 3849), netmasks and broadcast: nobody's addresses. */
const NOBODY = prefixes(
  ...["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "0.0.0.0/8", "240.0.0.0/4"],
  "2001:db8::/32",
);

function prefixes(...texts: readonly string[]): readonly IpPrefix[] {
  return texts.map((text) => parsePrefix(text)!);
}

/** One permutation of all addresses. */
export class PrefixPermutation {
  readonly #key: Uint8Array;
  readonly #kept: readonly IpPrefix[];
  /** New first octet of public IPv4 addresses, by the old one. */
  readonly #octets: ReadonlyMap<number, number>;
  /** Results by address, for speed. */
  readonly #known = new Map<string, IpAddress>();

  /** `kept` are further networks whose addresses stay: the encode net. */
  constructor(key: Uint8Array, kept: readonly IpPrefix[]) {
    this.#key = key;
    this.#kept = [...NOBODY, ...kept];
    const drawn = PUBLIC_OCTETS.map((octet) => ({ octet, lot: this.#digest(`octet ${octet}`) }));
    drawn.sort((a, b) => Buffer.compare(a.lot, b.lot));
    this.#octets = new Map(PUBLIC_OCTETS.map((octet, index) => [octet, drawn[index]!.octet]));
  }

  /** True when the address says nothing about its owner and stays as it is. */
  isKept(address: IpAddress): boolean {
    return (
      isLoopback(address) ||
      isMulticast(address) ||
      isUnspecified(address) ||
      this.#kept.some((prefix) => prefixContains(prefix, address))
    );
  }

  /** The address in the place of another one. */
  map(address: IpAddress): IpAddress {
    if (this.isKept(address)) return address;
    const key = addressKey(address);
    let found = this.#known.get(key);
    if (found === undefined) {
      found = this.#permute(address);
      this.#known.set(key, found);
    }
    return found;
  }

  /** Each bit is flipped or not, as a function of the bits in front of it. */
  #permute({ version, bytes }: IpAddress): IpAddress {
    const result = Uint8Array.from(bytes);
    const octet = version === 4 ? this.#octets.get(bytes[0]!) : undefined;
    if (octet !== undefined) result[0] = octet;
    for (let bit = firstBit({ version, bytes }); bit < 8 * bytes.length; bit++) {
      const { address } = prefixOf({ version, bytes }, bit);
      const flip = this.#digest(`${version}/${bit}`, address.bytes)[0]! & 1;
      result[bit >> 3]! ^= flip << (7 - (bit % 8));
    }
    return { version, bytes: result };
  }

  #digest(text: string, bytes: Uint8Array = new Uint8Array()): Buffer {
    return createHmac("sha256", this.#key).update(bytes).update(text).digest();
  }
}

/** The first bit that may change; the bits in front are the kind of the address. */
function firstBit(address: IpAddress): number {
  const kind = [...KINDS, IPV6_PUBLIC].find((prefix) => prefixContains(prefix, address));
  return kind?.bits ?? (address.version === 4 ? 8 : 3);
}
