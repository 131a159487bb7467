/**
 * Reads what the kernel shows below /proc/net, proc(5): routes, addresses and listening sockets.
 * Pure: texts in, values out. A line in another form is left out.
 */

import {
  type IpAddress,
  type IpPrefix,
  isIpv4Mapped,
  isLinkLocalUnicast,
  isMulticast,
  isUnspecified,
  parseIp,
  prefixOf,
} from "../../base/ip.js";

/** One route of the main table. */
export interface Route {
  readonly prefix: IpPrefix;
  readonly interfaceName: string;
  readonly gateway: IpAddress | undefined;
  readonly metric: number;
}

/** A socket that receives: the all-zero address stands for any. */
export interface ListeningSocket {
  readonly address: IpAddress;
  readonly port: number;
}

/** linux/route.h: the route refuses packets. */
const RTF_REJECT = 0x0200;
/** linux/ipv6_route.h: an address of this machine, or an anycast one. */
const RTF_LOCAL = 0x8000_0000;
const RTF_ANYCAST = 0x0010_0000;
/** linux/if_addr.h: IFA_F_TEMPORARY and IFA_F_DEPRECATED. */
const IFA_PASSING = 0x01 | 0x20;
/** net/tcp_states.h: TCP_LISTEN. */
const TCP_LISTEN = "0A";

/** /proc/net/route: addresses as words in the order of the machine, which is little-endian. */
export function parseIpv4Routes(text: string): readonly Route[] {
  return linesOf(text).flatMap((line) => {
    const words = line.trim().split(/\s+/);
    const [interfaceName, destination, gateway, flags, , , metric, mask] = words;
    const address = wordAddress(destination ?? "");
    const bits = wordAddress(mask ?? "");
    const next = wordAddress(gateway ?? "");
    if (address === undefined || bits === undefined || next === undefined) return [];
    if ((Number.parseInt(flags!, 16) & RTF_REJECT) !== 0) return [];
    return [
      {
        prefix: prefixOf(address, countBits(bits)),
        interfaceName: interfaceName!,
        gateway: isUnspecified(next) ? undefined : next,
        metric: Number(metric),
      },
    ];
  });
}

/** /proc/net/ipv6_route, all tables; without link-local and multicast routes. */
export function parseIpv6Routes(text: string): readonly Route[] {
  return linesOf(text).flatMap((line) => {
    const [to, toBits, , , via, metric, , , flagsText, interfaceName] = line.trim().split(/\s+/);
    const address = hexAddress(to ?? "");
    const gateway = hexAddress(via ?? "");
    const flags = Number.parseInt(flagsText ?? "", 16);
    if (address === undefined || gateway === undefined || interfaceName === undefined) return [];
    if ((flags & (RTF_REJECT | RTF_LOCAL | RTF_ANYCAST)) >>> 0 !== 0) return [];
    if (isLinkLocalUnicast(address) || isMulticast(address)) return [];
    return [
      {
        prefix: prefixOf(address, Number.parseInt(toBits!, 16)),
        interfaceName,
        gateway: isUnspecified(gateway) ? undefined : gateway,
        metric: Number.parseInt(metric!, 16),
      },
    ];
  });
}

/** /proc/net/fib_trie: every IPv4 network that some routing table knows, but for broadcasts. */
export function parseFibTrie(text: string): readonly IpPrefix[] {
  const found: IpPrefix[] = [];
  let leaf: IpAddress | undefined;
  for (const line of text.split("\n")) {
    const [, address] = /\|--\s+(\S+)/.exec(line) ?? [];
    const [, bits, type] = /^\s+\/(\d+)\s+\S+\s+(\S+)/.exec(line) ?? [];
    if (address !== undefined) leaf = parseIp(address);
    else if (bits !== undefined && leaf !== undefined && type !== "BROADCAST") {
      found.push(prefixOf(leaf, Number(bits)));
    }
  }
  return found;
}

/** /proc/net/if_inet6: addresses that are temporary (RFC 8981) or deprecated. */
export function parsePassingIpv6(text: string): readonly IpAddress[] {
  return linesOf(text).flatMap((line) => {
    const [hex, , , , flags] = line.trim().split(/\s+/);
    const address = hexAddress(hex ?? "");
    if (address === undefined) return [];
    return (Number.parseInt(flags!, 16) & IFA_PASSING) !== 0 ? [address] : [];
  });
}

/** /proc/net/udp, udp6, tcp, tcp6: bound UDP sockets without a peer, listening TCP sockets. */
export function parseSockets(text: string, protocol: "udp" | "tcp"): readonly ListeningSocket[] {
  return linesOf(text).flatMap((line) => {
    const [, local, remote, state] = line.trim().split(/\s+/);
    const [hex, port] = (local ?? "").split(":");
    const address = hex?.length === 8 ? wordAddress(hex) : wordsAddress(hex ?? "");
    if (address === undefined || port === undefined) return [];
    const isOpen = protocol === "tcp" ? state === TCP_LISTEN : /^0+:0000$/.test(remote ?? "");
    return isOpen ? [{ address, port: Number.parseInt(port, 16) }] : [];
  });
}

function linesOf(text: string): readonly string[] {
  return text.split("\n").filter((line) => line !== "");
}

/** Eight hexadecimal digits of a little-endian word. */
function wordAddress(hex: string): IpAddress | undefined {
  if (!/^[0-9a-f]{8}$/i.test(hex)) return undefined;
  return { version: 4, bytes: hexBytes(hex).reverse() };
}

/** Four such words; an IPv4-mapped address becomes the IPv4 one. */
function wordsAddress(hex: string): IpAddress | undefined {
  if (!/^[0-9a-f]{32}$/i.test(hex)) return undefined;
  const words = [0, 8, 16, 24].map((at) => [...hexBytes(hex.slice(at, at + 8)).reverse()]);
  const address: IpAddress = { version: 6, bytes: Uint8Array.from(words.flat()) };
  return isIpv4Mapped(address) ? { version: 4, bytes: address.bytes.slice(12) } : address;
}

function hexAddress(hex: string): IpAddress | undefined {
  return /^[0-9a-f]{32}$/i.test(hex) ? { version: 6, bytes: hexBytes(hex) } : undefined;
}

function hexBytes(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g)!, (pair) => Number.parseInt(pair, 16));
}

function countBits({ bytes }: IpAddress): number {
  return [...bytes]
    .map((byte) => byte.toString(2).replaceAll("0", "").length)
    .reduce((a, b) => a + b);
}
