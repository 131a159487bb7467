/**
 * IP addresses and prefixes as small immutable values: text, comparison and the address classes
 * that the protocol asks for. Cold code; packets keep addresses as bytes in place.
 *
 * Text: RFC 4291 2.2 and RFC 5952 for IPv6, dotted decimal without leading zeros for IPv4. Zones
 * and IPv4-mapped literals are refused (spec/tunnel.md 1.6).
 */

export type IpVersion = 4 | 6;

/** An address: 4 bytes for IPv4, 16 for IPv6, network order. Nobody changes `bytes`. */
export interface IpAddress {
  readonly version: IpVersion;
  readonly bytes: Uint8Array;
}

/** A network: `address` has its host bits cleared; `bits` is the prefix length. */
export interface IpPrefix {
  readonly address: IpAddress;
  readonly bits: number;
}

/** Number of bytes of an address of this version. */
export function addressLength(version: IpVersion): 4 | 16 {
  return version === 4 ? 4 : 16;
}

/** Number of bytes of the base IP header of this version (RFC 791, RFC 8200). */
export function ipHeaderLength(version: IpVersion): 20 | 40 {
  return version === 4 ? 20 : 40;
}

/** The all-zero address of a version. */
export function zeroAddress(version: IpVersion): IpAddress {
  return { version, bytes: new Uint8Array(addressLength(version)) };
}

/** Copies an address of 4 or 16 bytes out of a packet. */
export function copyAddress(bytes: Uint8Array, offset: number, version: IpVersion): IpAddress {
  return { version, bytes: bytes.slice(offset, offset + addressLength(version)) };
}

/** Same version and same bytes. */
export function sameAddress(a: IpAddress, b: IpAddress): boolean {
  return a.version === b.version && a.bytes.every((byte, index) => byte === b.bytes[index]);
}

/** Order: IPv4 before IPv6, then numerically (the order of spec/dns-agent.md 6). */
export function compareAddresses(a: IpAddress, b: IpAddress): number {
  if (a.version !== b.version) return a.version - b.version;
  for (let index = 0; index < a.bytes.length; index++) {
    const difference = a.bytes[index]! - b.bytes[index]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

/** A short text that is equal exactly for equal addresses; for use as a Map key. */
export function addressKey(address: IpAddress): string {
  return String.fromCharCode(...address.bytes);
}

/** 0.0.0.0 or ::. */
export function isUnspecified(address: IpAddress): boolean {
  return address.bytes.every((byte) => byte === 0);
}

/** 224.0.0.0/4 or ff00::/8. */
export function isMulticast(address: IpAddress): boolean {
  const first = address.bytes[0]!;
  return address.version === 4 ? first >= 224 && first < 240 : first === 0xff;
}

/** 127.0.0.0/8 or ::1. */
export function isLoopback({ version, bytes }: IpAddress): boolean {
  if (version === 4) return bytes[0] === 127;
  return bytes[15] === 1 && bytes.subarray(0, 15).every((byte) => byte === 0);
}

/** Unicast 169.254.0.0/16 or fe80::/10. */
export function isLinkLocalUnicast({ version, bytes }: IpAddress): boolean {
  if (version === 4) return bytes[0] === 169 && bytes[1] === 254;
  return bytes[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80;
}

/** 224.0.0.0/24, or ff02::/16 and ff01::/16 (interface and link scope, RFC 4291 2.7). */
export function isLinkLocalMulticast({ version, bytes }: IpAddress): boolean {
  if (version === 4) return bytes[0] === 224 && bytes[1] === 0 && bytes[2] === 0;
  const scope = bytes[1]! & 0x0f;
  return bytes[0] === 0xff && (scope === 1 || scope === 2);
}

/** 255.255.255.255. */
export function isLimitedBroadcast({ version, bytes }: IpAddress): boolean {
  return version === 4 && bytes.every((byte) => byte === 255);
}

/** ::ffff:0:0/96. */
export function isIpv4Mapped({ version, bytes }: IpAddress): boolean {
  if (version === 4) return false;
  const zeros = bytes.subarray(0, 10).every((byte) => byte === 0);
  return zeros && bytes[10] === 0xff && bytes[11] === 0xff;
}

/**
 * "Global unicast" of spec/mapper.md 1: not unspecified, limited broadcast, loopback, link-local
 * or multicast. Private, unique-local, documentation and 240.0.0.0/4 addresses count as unicast.
 */
export function isGlobalUnicast(address: IpAddress): boolean {
  return !(
    isUnspecified(address) ||
    isLimitedBroadcast(address) ||
    isLoopback(address) ||
    isLinkLocalUnicast(address) ||
    isMulticast(address)
  );
}

/**
 * Acceptable as source or context of a packet (spec/tunnel.md 3.5, new implementation): global
 * unicast and none of 0.0.0.0/8, 240.0.0.0/4, IPv4-mapped IPv6.
 */
export function isPacketUnicast(address: IpAddress): boolean {
  if (!isGlobalUnicast(address)) return false;
  if (address.version === 6) return !isIpv4Mapped(address);
  const first = address.bytes[0]!;
  return first !== 0 && first < 240;
}

/** The prefix that contains `address`, host bits cleared; `bits` within the address length. */
export function prefixOf(address: IpAddress, bits: number): IpPrefix {
  const bytes = address.bytes.map((byte, index) => byte & maskByte(bits, index));
  return { address: { version: address.version, bytes }, bits };
}

/** True when the address lies in the prefix. */
export function prefixContains(prefix: IpPrefix, address: IpAddress): boolean {
  if (prefix.address.version !== address.version) return false;
  const net = prefix.address.bytes;
  return net.every(
    (byte, index) => byte === (address.bytes[index]! & maskByte(prefix.bits, index)),
  );
}

/** True when one network contains the other. */
export function prefixesOverlap(a: IpPrefix, b: IpPrefix): boolean {
  return a.bits <= b.bits ? prefixContains(a, b.address) : prefixContains(b, a.address);
}

function maskByte(bits: number, index: number): number {
  const ones = Math.min(8, Math.max(0, bits - 8 * index));
  return (0xff << (8 - ones)) & 0xff;
}

/** Reads an IPv4 or IPv6 literal; undefined when it is none, has a zone or is IPv4-mapped. */
export function parseIp(text: string): IpAddress | undefined {
  if (!text.includes(":")) {
    const bytes = parseDotted(text);
    return bytes && { version: 4, bytes };
  }
  const bytes = parseIpv6Bytes(text);
  if (bytes === undefined) return undefined;
  const address: IpAddress = { version: 6, bytes };
  return isIpv4Mapped(address) ? undefined : address;
}

function parseDotted(text: string): Uint8Array | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  if (!parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) < 256)) {
    return undefined;
  }
  return Uint8Array.from(parts, Number);
}

function parseIpv6Bytes(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1]!, true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

/** Groups of one side of "::"; a dotted quad may end the text (`mayEndDotted`). */
function parseGroups(text: string, mayEndDotted: boolean): number[] | undefined {
  if (text === "") return [];
  const words = text.split(":");
  const groups: number[] = [];
  for (const [index, word] of words.entries()) {
    if (mayEndDotted && index === words.length - 1 && word.includes(".")) {
      const quad = parseDotted(word);
      if (quad === undefined) return undefined;
      groups.push((quad[0]! << 8) | quad[1]!, (quad[2]! << 8) | quad[3]!);
    } else if (/^[0-9a-f]{1,4}$/i.test(word)) groups.push(Number.parseInt(word, 16));
    else return undefined;
  }
  return groups;
}

/** Text form: dotted decimal, or RFC 5952. */
export function formatIp({ version, bytes }: IpAddress): string {
  if (version === 4) return bytes.join(".");
  const groups: number[] = [];
  for (let index = 0; index < 16; index += 2) groups.push((bytes[index]! << 8) | bytes[index + 1]!);
  const run = longestZeroRun(groups);
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(":");
  if (run.length < 2) return hex(groups);
  return `${hex(groups.slice(0, run.start))}::${hex(groups.slice(run.start + run.length))}`;
}

/** RFC 5952 4.2: the longest run of zero groups, the first one of equals. */
function longestZeroRun(groups: number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
    start += length;
  }
  return best;
}

/** Reads `address/bits` with host bits masked off; undefined when malformed. */
export function parsePrefix(text: string): IpPrefix | undefined {
  const match = /^([^/]+)\/(0|[1-9][0-9]{0,2})$/.exec(text);
  const address = match && parseIp(match[1]!);
  if (!address) return undefined;
  const bits = Number(match[2]);
  return bits <= 8 * address.bytes.length ? prefixOf(address, bits) : undefined;
}

/** Text form `address/bits`. */
export function formatPrefix(prefix: IpPrefix): string {
  return `${formatIp(prefix.address)}/${prefix.bits}`;
}
