/**
 * Types and codes of ICMP messages in the tunnel, in IPv4 and in IPv6 (spec/tunnel.md 4.5).
 */

import type { IpVersion } from "../base/ip.js";
import type { TunnelFormat } from "../wire/packet-fields.js";

/** Messages that the tunnel carries. */
export type IcmpMeaning =
  | "echo-reply"
  | "echo-request"
  | "network-unreachable"
  | "host-unreachable"
  | "port-unreachable"
  | "too-big"
  | "prohibited"
  | "time-exceeded"
  | "reassembly-time-exceeded";

/** Type in the upper, code in the lower octet: the first word of the message. */
type TypeAndCode = number;

interface IcmpRow {
  readonly meaning: IcmpMeaning;
  readonly tunnel: TypeAndCode;
  readonly ipv4: TypeAndCode;
  readonly ipv6: TypeAndCode;
}

function word(type: number, code: number): TypeAndCode {
  return (type << 8) | code;
}

/** Wire code of port unreachable in format D; format G has 2 (spec/tunnel.md 4.5). */
const DRAFT_PORT_UNREACHABLE = word(3, 3);

/** spec/tunnel.md 4.5; the tunnel column is that of format G. */
const ROWS: readonly IcmpRow[] = [
  { meaning: "echo-reply", tunnel: word(0, 0), ipv4: word(0, 0), ipv6: word(129, 0) },
  { meaning: "echo-request", tunnel: word(8, 0), ipv4: word(8, 0), ipv6: word(128, 0) },
  { meaning: "network-unreachable", tunnel: word(3, 0), ipv4: word(3, 0), ipv6: word(1, 0) },
  { meaning: "host-unreachable", tunnel: word(3, 1), ipv4: word(3, 1), ipv6: word(1, 3) },
  { meaning: "port-unreachable", tunnel: word(3, 2), ipv4: word(3, 3), ipv6: word(1, 4) },
  { meaning: "too-big", tunnel: word(3, 4), ipv4: word(3, 4), ipv6: word(2, 0) },
  { meaning: "prohibited", tunnel: word(3, 13), ipv4: word(3, 13), ipv6: word(1, 1) },
  { meaning: "time-exceeded", tunnel: word(11, 0), ipv4: word(11, 0), ipv6: word(3, 0) },
  { meaning: "reassembly-time-exceeded", tunnel: word(11, 1), ipv4: word(11, 1), ipv6: word(3, 1) },
];

/** spec/tunnel.md 4.5, optional additions: native codes sent as a near one. */
const NEAR_IPV4: readonly (readonly [TypeAndCode, IcmpMeaning])[] = [
  [word(3, 2), "port-unreachable"],
  [word(3, 5), "network-unreachable"],
  [word(3, 6), "network-unreachable"],
  [word(3, 7), "host-unreachable"],
  [word(3, 8), "network-unreachable"],
  [word(3, 9), "prohibited"],
  [word(3, 10), "prohibited"],
  [word(3, 11), "network-unreachable"],
  [word(3, 12), "host-unreachable"],
  [word(3, 15), "prohibited"],
];
const NEAR_IPV6: readonly (readonly [TypeAndCode, IcmpMeaning])[] = [
  [word(1, 2), "host-unreachable"],
  [word(1, 5), "prohibited"],
  [word(1, 6), "prohibited"],
];

const ROW_BY_MEANING = new Map(ROWS.map((row) => [row.meaning, row]));

/** Both numbers mean port unreachable, whatever the format (spec/tunnel.md 4.5, 10 no. 2). */
const MEANING_BY_TUNNEL = new Map([
  ...ROWS.map((row) => [row.tunnel, row.meaning] as const),
  [DRAFT_PORT_UNREACHABLE, "port-unreachable"] as const,
]);
const MEANING_BY_IPV4 = new Map([
  ...ROWS.map((row) => [row.ipv4, row.meaning] as const),
  ...NEAR_IPV4,
]);
const MEANING_BY_IPV6 = new Map([
  ...ROWS.map((row) => [row.ipv6, row.meaning] as const),
  ...NEAR_IPV6,
]);

/** Meaning of a type and code in the tunnel; undefined: not carried. */
export function meaningInTunnel(typeAndCode: number): IcmpMeaning | undefined {
  return MEANING_BY_TUNNEL.get(typeAndCode);
}

/** Meaning of a native type and code; undefined: not carried. */
export function meaningInNative(typeAndCode: number, version: IpVersion): IcmpMeaning | undefined {
  return (version === 4 ? MEANING_BY_IPV4 : MEANING_BY_IPV6).get(typeAndCode);
}

/** Type and code for the tunnel. */
export function tunnelTypeAndCode(meaning: IcmpMeaning, format: TunnelFormat): number {
  if (meaning === "port-unreachable" && format === "D") return DRAFT_PORT_UNREACHABLE;
  return ROW_BY_MEANING.get(meaning)!.tunnel;
}

/** Type and code for a native packet. */
export function nativeTypeAndCode(meaning: IcmpMeaning, version: IpVersion): number {
  const row = ROW_BY_MEANING.get(meaning)!;
  return version === 4 ? row.ipv4 : row.ipv6;
}

/** True for messages that quote a packet. */
export function isErrorMeaning(meaning: IcmpMeaning): boolean {
  return meaning !== "echo-reply" && meaning !== "echo-request";
}
