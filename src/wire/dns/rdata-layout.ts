/**
 * Layout of the data of every known record type: which fields, which of them are names, and which
 * names may be compressed. Reading, writing and the text form all follow this one table; a type
 * without a row is opaque (RFC 3597).
 *
 * Sources: RFC 1035 3.3, 1183 (RP, AFSDB), 2163 (PX), 2230 (KX), 2782 (SRV), 3403 (NAPTR), 3596
 * (AAAA), 4034 (DNSSEC), 4255 (SSHFP), 5155 (NSEC3), 6672 (DNAME), 6698 (TLSA), 8659 (CAA), 9460
 * (SVCB). Names that may be compressed on sending: RFC 3597 4.
 */

import * as n from "./numbers.js";

/**
 * One field: `cname` a name that may be compressed, `name` one that is written in full, `string` a
 * character-string, `strings` one or more of them up to the end, `rest` octets up to the end.
 */
export type RdataField =
  | "cname"
  | "name"
  | "u8"
  | "u16"
  | "u32"
  | "ipv4"
  | "ipv6"
  | "string"
  | "strings"
  | "rest";

export type RdataLayout = readonly RdataField[];

const LAYOUTS: readonly (readonly [number, RdataLayout])[] = [
  [n.TYPE_A, ["ipv4"]],
  [n.TYPE_NS, ["cname"]],
  [3, ["cname"]],
  [4, ["cname"]],
  [n.TYPE_CNAME, ["cname"]],
  [n.TYPE_SOA, ["cname", "cname", "u32", "u32", "u32", "u32", "u32"]],
  [7, ["cname"]],
  [8, ["cname"]],
  [9, ["cname"]],
  [n.TYPE_PTR, ["cname"]],
  [n.TYPE_HINFO, ["string", "string"]],
  [14, ["cname", "cname"]],
  [n.TYPE_MX, ["u16", "cname"]],
  [n.TYPE_TXT, ["strings"]],
  [17, ["name", "name"]],
  [18, ["u16", "name"]],
  [n.TYPE_AAAA, ["ipv6"]],
  [n.TYPE_SRV, ["u16", "u16", "u16", "name"]],
  [n.TYPE_NAPTR, ["u16", "u16", "string", "string", "string", "name"]],
  [36, ["u16", "name"]],
  [n.TYPE_DNAME, ["name"]],
  [n.TYPE_DS, ["u16", "u8", "u8", "rest"]],
  [n.TYPE_SSHFP, ["u8", "u8", "rest"]],
  [n.TYPE_RRSIG, ["u16", "u8", "u8", "u32", "u32", "u32", "u16", "name", "rest"]],
  [n.TYPE_NSEC, ["name", "rest"]],
  [n.TYPE_DNSKEY, ["u16", "u8", "u8", "rest"]],
  [n.TYPE_NSEC3, ["u8", "u8", "u16", "string", "string", "rest"]],
  [n.TYPE_NSEC3PARAM, ["u8", "u8", "u16", "string"]],
  [n.TYPE_TLSA, ["u8", "u8", "u8", "rest"]],
  [n.TYPE_SVCB, ["u16", "name", "rest"]],
  [n.TYPE_HTTPS, ["u16", "name", "rest"]],
  [n.TYPE_SPF, ["strings"]],
  [n.TYPE_CAA, ["u8", "string", "rest"]],
];

const OPAQUE: RdataLayout = ["rest"];
const LAYOUT_BY_TYPE = new Map<number, RdataLayout>(LAYOUTS);

/** Fields of a type; `["rest"]` for one that is not known. */
export function rdataLayout(type: number): RdataLayout {
  return LAYOUT_BY_TYPE.get(type) ?? OPAQUE;
}

const TYPES_WITH_NAMES = new Set(
  LAYOUTS.filter(([, layout]) => layout.includes("cname") || layout.includes("name")).map(
    ([type]) => type,
  ),
);
const TYPES_COMPRESSED = new Set(
  LAYOUTS.filter(([, layout]) => layout.includes("cname")).map(([type]) => type),
);

/** True when the data of this type contains names. */
export function hasNames(type: number): boolean {
  return TYPES_WITH_NAMES.has(type);
}

/** True when names in the data of this type may be compressed on sending. */
export function hasCompressibleNames(type: number): boolean {
  return TYPES_COMPRESSED.has(type);
}

/** Octets of the fixed fields. */
export function fixedFieldLength(field: RdataField): number {
  switch (field) {
    case "u8":
      return 1;
    case "u16":
      return 2;
    case "u32":
    case "ipv4":
      return 4;
    case "ipv6":
      return 16;
    default:
      return 0;
  }
}
