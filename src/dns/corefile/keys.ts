/**
 * Keys of server blocks and zone arguments (spec/resolver.md 2.4): `[SCHEME://]ZONE[:PORT]`, where
 * the zone is a name or a CIDR prefix that stands for reverse zones (RFC 1035 3.5, RFC 3596 2.5).
 */

import { type IpPrefix, parsePrefix } from "../../base/ip.js";
import { type Name, nameOf, parseName } from "../../wire/dns/name.js";

export type ParsedKey =
  | { readonly ok: true; readonly zones: readonly Name[]; readonly port: number | undefined }
  | { readonly ok: false; readonly error: string };

const SCHEMES_REFUSED = ["tls", "https", "https3", "grpc", "quic"];

/** Reads one key. `error` continues a sentence: "…, expected …". */
export function parseKey(text: string): ParsedKey {
  const scheme = /^([a-z0-9]+):\/\//i.exec(text);
  const schemeName = scheme?.[1]?.toLowerCase();
  if (schemeName !== undefined && schemeName !== "dns") {
    const known = SCHEMES_REFUSED.includes(schemeName);
    const reason = known ? `serving over ${schemeName} is not supported` : "the scheme is unknown";
    return { ok: false, error: `expected dns:// or no scheme; ${reason}` };
  }
  const rest = text.slice(scheme?.[0].length ?? 0);
  const split = /^(.*):([0-9]+)$/.exec(rest);
  const port = split ? Number(split[2]) : undefined;
  if (port !== undefined && (port < 1 || port > 65_535)) {
    return { ok: false, error: "expected a port from 1 to 65535" };
  }
  const zones = parseZone(split ? split[1]! : rest);
  if (zones === undefined) return { ok: false, error: "expected a zone such as example.org or ." };
  return { ok: true, zones, port };
}

/** Reads a zone argument: a name (absolute with or without final dot) or a CIDR prefix. */
export function parseZone(text: string): readonly Name[] | undefined {
  const prefix = parsePrefix(text);
  if (prefix !== undefined) return reverseZones(prefix);
  const parsed = parseName(text);
  return parsed.ok ? [parsed.name] : undefined;
}

/** The reverse zones that cover a prefix exactly; several when it ends inside a label. */
export function reverseZones({ address, bits }: IpPrefix): readonly Name[] {
  const labelBits = address.version === 4 ? 8 : 4;
  const labelCount = Math.ceil(bits / labelBits);
  const labels: number[] = [];
  for (let index = 0; index < labelCount; index++) {
    const octet = address.bytes[Math.floor((index * labelBits) / 8)]!;
    labels.push(labelBits === 8 ? octet : index % 2 === 0 ? octet >> 4 : octet & 15);
  }
  const spread = 1 << (labelCount * labelBits - bits);
  const zones: Name[] = [];
  for (let step = 0; step < spread; step++) {
    const last = labels.length - 1;
    const own = labels.map((label, index) => (index === last ? label + step : label));
    const radix = address.version === 4 ? 10 : 16;
    const text = own.reverse().map((label) => `${label.toString(radix)}.`);
    zones.push(nameOf(`${text.join("")}${address.version === 4 ? "in-addr" : "ip6"}.arpa.`));
  }
  return zones;
}
