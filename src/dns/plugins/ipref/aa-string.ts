/**
 * AA strings: IPREF addresses as character-strings of TXT records (spec/resolver.md 1.6).
 *
 *   aa      = "AA" SP rest                    octet 0, upper case, one space
 *   rest    = *WS gateway *WS "+" *WS ref *WS
 *   gateway = IPv4 / IPv6 / domain-name
 *   ref     = 1*39DIGIT / groups / groups "--" / groups "--" groups     not zero
 */

import { type IpAddress, parseIp } from "../../../base/ip.js";
import { parseReference, type Reference } from "../../../base/reference.js";
import { type Name, parseName } from "../../../wire/dns/name.js";

/** The gateway part: an address, or a name that is absolute with and without final dot. */
export type AaGateway =
  | { readonly kind: "address"; readonly address: IpAddress }
  | { readonly kind: "name"; readonly name: Name };

/** One valid AA string. */
export interface AaAddress {
  readonly gateway: AaGateway;
  readonly reference: Reference;
}

/** Why a string that begins with `AA ` is none; labels of a counter. */
export type AaFault = "plus" | "gateway" | "reference" | "reference-zero";

export type ParsedAa =
  | { readonly kind: "valid"; readonly aa: AaAddress }
  | { readonly kind: "invalid"; readonly reason: AaFault }
  /** Not an AA string. */
  | { readonly kind: "other" };

const OTHER: ParsedAa = { kind: "other" };
const SPACE = 0x20;
const LETTER_A = 0x41;
const PREFIX_BYTES = 3;
const DECIMAL_DIGITS_MAX = 39;

/** White space of ASCII, which is what other octets of a character-string never are. */
const WHITE_ENDS = /^[\t-\r ]+|[\t-\r ]+$/g;
/** Letters, digits, hyphens, underscores, dots; the last label is not all digits. */
const NAME_TEXT = /^(?:[a-z0-9_-]+\.)*(?=[a-z0-9_-]*[a-z_-])[a-z0-9_-]+\.?$/i;

/** Reads one character-string: octets without the length octet. */
export function parseAaString(octets: Uint8Array): ParsedAa {
  if (octets[0] !== LETTER_A || octets[1] !== LETTER_A || octets[2] !== SPACE) return OTHER;
  let rest = "";
  for (const octet of octets.subarray(PREFIX_BYTES)) rest += String.fromCharCode(octet);
  const parts = rest.split("+");
  if (parts.length !== 2) return invalid("plus");
  const gateway = parseGateway(parts[0]!.replace(WHITE_ENDS, ""));
  if (gateway === undefined) return invalid("gateway");
  const text = parts[1]!.replace(WHITE_ENDS, "");
  if (!text.includes("-") && text.length > DECIMAL_DIGITS_MAX) return invalid("reference");
  const reference = parseReference(text);
  if (!reference.ok) return invalid("reference");
  if (reference.value === 0n) return invalid("reference-zero");
  return { kind: "valid", aa: { gateway, reference: reference.value } };
}

function invalid(reason: AaFault): ParsedAa {
  return { kind: "invalid", reason };
}

function parseGateway(text: string): AaGateway | undefined {
  const address = parseIp(text);
  if (address !== undefined) return { kind: "address", address };
  if (!NAME_TEXT.test(text)) return undefined;
  const parsed = parseName(text);
  return parsed.ok ? { kind: "name", name: parsed.name } : undefined;
}

/** The string in printable form, for the log. */
export function escapeString(octets: Uint8Array): string {
  let text = "";
  for (const octet of octets) {
    const isPlain = octet >= 0x20 && octet < 0x7f && octet !== 0x22 && octet !== 0x5c;
    text += isPlain ? String.fromCharCode(octet) : `\\${octet.toString().padStart(3, "0")}`;
  }
  return text;
}
