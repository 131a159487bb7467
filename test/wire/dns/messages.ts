/** Hand-written messages for the codec tests; the octets are in the order of RFC 1035 4.1. */

import { fromHex } from "../../../src/base/hex.js";

/** Octets from hex with spaces, and `'text'` for ASCII. */
export function octets(...parts: string[]): Uint8Array {
  const bytes: number[] = [];
  for (const part of parts) {
    for (const piece of part.match(/'[^']*'|[0-9a-f]+/gi) ?? []) {
      if (piece.startsWith("'"))
        for (const char of piece.slice(1, -1)) bytes.push(char.charCodeAt(0));
      else bytes.push(...fromHex(piece)!);
    }
  }
  return Uint8Array.from(bytes);
}

export const HEADER_QUERY = "1234 0100 0001 0000 0000 0000";
export const QUESTION_A = "03'www'07'example'03'com'00 0001 0001";
export const OPT_1232_DO = "00 0029 04d0 00 00 8000 0000";

/** www.example.com. A, RD, with OPT of size 1232 and DO. */
export const QUERY = octets("1234 0100 0001 0000 0000 0001", QUESTION_A, OPT_1232_DO);

/** CNAME, two A, SOA in authority, OPT: every section and compressed data. */
export const REPLY = octets(
  "1234 8180 0001 0003 0001 0001",
  QUESTION_A,
  "c00c 0005 0001 0000012c 0006 03'web'c010",
  "c02d 0001 0001 0000003c 0004 c0000201",
  "c02d 0001 0001 0000003c 0004 c0000202",
  "c010 0006 0001 00000e10 0020 02'ns'c010 04'root'c010 00000001 00000e10 00000384 00093a80 0000003c",
  OPT_1232_DO,
);
