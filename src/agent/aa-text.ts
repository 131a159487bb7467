/**
 * AA values in TXT records (spec/dns-agent.md 4):
 *
 *   aa = "AA" SP gw-text "+" ref-text
 *
 * Each character string is examined on its own. "AA" is upper case and followed by exactly one
 * mandatory blank; further blanks are trimmed with the gateway's text.
 */

import { type IpAddress, parseIp } from "../base/ip.js";
import { parseReference, type Reference } from "../base/reference.js";
import { parseName } from "../wire/dns/name.js";

const MARK = "AA ";

export type AaText =
  /** Some other text. */
  | { readonly kind: "none" }
  | { readonly kind: "bad"; readonly reason: string }
  | {
      readonly kind: "aa";
      /** An address, or a name in lower case without final dot. */
      readonly gateway: IpAddress | string;
      readonly reference: Reference;
    };

const NONE: AaText = { kind: "none" };

/** Reads one character string; `text` has one character an octet. */
export function parseAaText(text: string): AaText {
  if (!text.startsWith(MARK)) return NONE;
  const parts = text.slice(MARK.length).split("+");
  if (parts.length !== 2) {
    return bad(`invalid IPREF address: found ${parts.length - 1} '+', expected one`);
  }
  const gatewayText = parts[0]!.trim();
  const reference = parseReference(parts[1]!.trim());
  if (!reference.ok) return bad("invalid IPREF reference");
  const gateway = parseIp(gatewayText) ?? gatewayName(gatewayText);
  if (gateway === undefined) return bad("invalid IPREF address: no gateway name or address");
  return { kind: "aa", gateway, reference: reference.value };
}

function bad(reason: string): AaText {
  return { kind: "bad", reason };
}

function gatewayName(text: string): string | undefined {
  const name = text.replace(/\.$/, "").toLowerCase();
  if (!/^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(name) || /^[0-9.]+$/.test(name)) return undefined;
  return parseName(`${name}.`).ok ? name : undefined;
}

/** The character strings of TXT data (RFC 1035 3.3.14), one character an octet. */
export function characterStrings(data: Uint8Array): string[] {
  const strings: string[] = [];
  for (let at = 0; at < data.length; at += 1 + data[at]!) {
    strings.push(String.fromCharCode(...data.subarray(at + 1, at + 1 + data[at]!)));
  }
  return strings;
}
