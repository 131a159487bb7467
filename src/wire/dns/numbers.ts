/**
 * Numbers of the domain name system: types, classes, opcodes, response codes, header flags.
 *
 * Sources: RFC 1035 3.2 and 4.1.1, RFC 6891 (EDNS), RFC 8914 (extended errors) and the IANA
 * registry "Domain Name System (DNS) Parameters".
 */

export const TYPE_A = 1;
export const TYPE_NS = 2;
export const TYPE_CNAME = 5;
export const TYPE_SOA = 6;
export const TYPE_PTR = 12;
export const TYPE_HINFO = 13;
export const TYPE_MX = 15;
export const TYPE_TXT = 16;
export const TYPE_AAAA = 28;
export const TYPE_SRV = 33;
export const TYPE_NAPTR = 35;
export const TYPE_DNAME = 39;
export const TYPE_OPT = 41;
export const TYPE_DS = 43;
export const TYPE_SSHFP = 44;
export const TYPE_RRSIG = 46;
export const TYPE_NSEC = 47;
export const TYPE_DNSKEY = 48;
export const TYPE_NSEC3 = 50;
export const TYPE_NSEC3PARAM = 51;
export const TYPE_TLSA = 52;
export const TYPE_SVCB = 64;
export const TYPE_HTTPS = 65;
export const TYPE_SPF = 99;
export const TYPE_IXFR = 251;
export const TYPE_AXFR = 252;
export const TYPE_ANY = 255;
export const TYPE_CAA = 257;

export const CLASS_IN = 1;
export const CLASS_ANY = 255;

export const OPCODE_QUERY = 0;
export const OPCODE_NOTIFY = 4;

export const RCODE_NOERROR = 0;
export const RCODE_FORMERR = 1;
export const RCODE_SERVFAIL = 2;
export const RCODE_NXDOMAIN = 3;
export const RCODE_NOTIMP = 4;
export const RCODE_REFUSED = 5;
export const RCODE_NOTAUTH = 9;
export const RCODE_BADVERS = 16;

/** Header flags as they stand in the 16-bit flags field (RFC 1035 4.1.1, RFC 4035 3.1.6). */
export const FLAG_QR = 0x8000;
export const FLAG_AA = 0x0400;
export const FLAG_TC = 0x0200;
export const FLAG_RD = 0x0100;
export const FLAG_RA = 0x0080;
export const FLAG_Z = 0x0040;
export const FLAG_AD = 0x0020;
export const FLAG_CD = 0x0010;
export const FLAG_RCODE_MASK = 0x000f;
export const FLAG_OPCODE_SHIFT = 11;

/** Extended DNS errors, RFC 8914 4. */
export const EXTENDED_ERROR_OTHER = 0;
export const EXTENDED_ERROR_NETWORK = 23;

/** RFC 1035 2.3.4: the size every resolver accepts over UDP. */
export const UDP_SIZE_MIN_BYTES = 512;
/** Largest message: the length prefix over TCP has 16 bits (RFC 1035 4.2.2). */
export const MESSAGE_MAX_BYTES = 65_535;
/** spec/resolver.md 8: EDNS size announced by servers and sent to upstreams. */
export const EDNS_SIZE_BYTES = 1232;

const TYPE_NAME_LIST: readonly (readonly [number, string])[] = [
  [TYPE_A, "A"],
  [TYPE_NS, "NS"],
  [3, "MD"],
  [4, "MF"],
  [TYPE_CNAME, "CNAME"],
  [TYPE_SOA, "SOA"],
  [7, "MB"],
  [8, "MG"],
  [9, "MR"],
  [10, "NULL"],
  [11, "WKS"],
  [TYPE_PTR, "PTR"],
  [TYPE_HINFO, "HINFO"],
  [14, "MINFO"],
  [TYPE_MX, "MX"],
  [TYPE_TXT, "TXT"],
  [17, "RP"],
  [18, "AFSDB"],
  [24, "SIG"],
  [25, "KEY"],
  [TYPE_AAAA, "AAAA"],
  [29, "LOC"],
  [TYPE_SRV, "SRV"],
  [TYPE_NAPTR, "NAPTR"],
  [36, "KX"],
  [37, "CERT"],
  [TYPE_DNAME, "DNAME"],
  [TYPE_OPT, "OPT"],
  [TYPE_DS, "DS"],
  [TYPE_SSHFP, "SSHFP"],
  [TYPE_RRSIG, "RRSIG"],
  [TYPE_NSEC, "NSEC"],
  [TYPE_DNSKEY, "DNSKEY"],
  [49, "DHCID"],
  [TYPE_NSEC3, "NSEC3"],
  [TYPE_NSEC3PARAM, "NSEC3PARAM"],
  [TYPE_TLSA, "TLSA"],
  [53, "SMIMEA"],
  [59, "CDS"],
  [60, "CDNSKEY"],
  [61, "OPENPGPKEY"],
  [TYPE_SVCB, "SVCB"],
  [TYPE_HTTPS, "HTTPS"],
  [TYPE_SPF, "SPF"],
  [249, "TKEY"],
  [250, "TSIG"],
  [TYPE_IXFR, "IXFR"],
  [TYPE_AXFR, "AXFR"],
  [TYPE_ANY, "ANY"],
  [256, "URI"],
  [TYPE_CAA, "CAA"],
];

const NAME_BY_TYPE = new Map(TYPE_NAME_LIST);
const TYPE_BY_NAME = new Map(TYPE_NAME_LIST.map(([type, name]) => [name, type]));

/** Mnemonic of a type, or `TYPEnnn` (RFC 3597 5). */
export function typeName(type: number): string {
  return NAME_BY_TYPE.get(type) ?? `TYPE${type}`;
}

/** Number of a mnemonic or `TYPEnnn`, any case; undefined when it is neither. */
export function typeNumber(text: string): number | undefined {
  const upper = text.toUpperCase();
  const known = TYPE_BY_NAME.get(upper);
  if (known !== undefined) return known;
  const match = /^TYPE(0|[1-9][0-9]{0,4})$/.exec(upper);
  const type = match ? Number(match[1]) : 65_536;
  return type < 65_536 ? type : undefined;
}

const CLASS_NAMES = new Map([
  [1, "IN"],
  [2, "CS"],
  [3, "CH"],
  [4, "HS"],
  [254, "NONE"],
  [255, "ANY"],
]);

/** Mnemonic of a class, or `CLASSnnn` (RFC 3597 5). */
export function className(value: number): string {
  return CLASS_NAMES.get(value) ?? `CLASS${value}`;
}

const RCODE_NAMES = new Map([
  [0, "NOERROR"],
  [1, "FORMERR"],
  [2, "SERVFAIL"],
  [3, "NXDOMAIN"],
  [4, "NOTIMP"],
  [5, "REFUSED"],
  [6, "YXDOMAIN"],
  [7, "YXRRSET"],
  [8, "NXRRSET"],
  [9, "NOTAUTH"],
  [10, "NOTZONE"],
  [16, "BADVERS"],
  [17, "BADKEY"],
  [18, "BADTIME"],
  [23, "BADCOOKIE"],
]);

/** Mnemonic of a response code, or `RCODEnnn`. */
export function rcodeName(rcode: number): string {
  return RCODE_NAMES.get(rcode) ?? `RCODE${rcode}`;
}

/** Number of a response code's mnemonic, any case. */
export function rcodeNumber(text: string): number | undefined {
  const upper = text.toUpperCase();
  for (const [rcode, name] of RCODE_NAMES) if (name === upper) return rcode;
  return undefined;
}
