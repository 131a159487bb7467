/** Parameters of SVCB and HTTPS records in text form (RFC 9460 2.1, 7, 14.3.2). */

import { parseIp } from "../../base/ip.js";
import { base64Octets, stringOctets, unsignedOf } from "./field-text.js";

const KEYS: readonly string[] = [
  "mandatory",
  "alpn",
  "no-default-alpn",
  "port",
  "ipv4hint",
  "ech",
  "ipv6hint",
  "dohpath",
  "ohttp",
];

/** Number of a key: a name above or `keyNNNNN`. */
function keyNumber(text: string): number | undefined {
  const index = KEYS.indexOf(text);
  if (index >= 0) return index;
  return /^key[0-9]{1,5}$/.test(text) ? unsignedOf(text.slice(3), 65_534) : undefined;
}

/** Wire form of all parameters in ascending key order; a string says what is wrong. */
export function serviceParameters(words: readonly string[]): number[] | string {
  const parameters = new Map<number, readonly number[]>();
  for (const word of words) {
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    const key = keyNumber(name);
    if (key === undefined) return `expected a service parameter such as port=443`;
    if (parameters.has(key)) return `expected the parameter '${name}' once`;
    const value = parameterValue(key, equals < 0 ? undefined : word.slice(equals + 1));
    if (value === undefined) return `expected a valid value for '${name}'`;
    parameters.set(key, value);
  }
  return [...parameters]
    .sort(([a], [b]) => a - b)
    .flatMap(([key, value]) => [...u16(key), ...u16(value.length), ...value]);
}

function u16(value: number): [number, number] {
  return [value >> 8, value & 0xff];
}

function parameterValue(key: number, text: string | undefined): readonly number[] | undefined {
  if (text === undefined) return key === 2 || key > 7 ? [] : undefined;
  switch (key) {
    case 0:
      return mandatoryKeys(text);
    case 1:
      return protocolIds(text);
    case 2:
      return undefined;
    case 3: {
      const port = unsignedOf(text, 65_535);
      return port === undefined ? undefined : u16(port);
    }
    case 4:
      return addresses(text, 4);
    case 5: {
      const octets = base64Octets([text]);
      return octets && [...octets];
    }
    case 6:
      return addresses(text, 6);
    default:
      return stringOctets(text);
  }
}

function mandatoryKeys(text: string): readonly number[] | undefined {
  const keys = text.split(",").map(keyNumber);
  if (keys.some((key) => key === undefined || key === 0)) return undefined;
  return (keys as number[]).sort((a, b) => a - b).flatMap(u16);
}

/** A comma-separated list, in which `\,` and `\\` (doubly escaped in text) protect (A.1). */
function protocolIds(text: string): readonly number[] | undefined {
  const octets = stringOctets(text);
  if (octets === undefined) return undefined;
  const ids: number[][] = [[]];
  for (let at = 0; at < octets.length; at++) {
    const octet = octets[at]!;
    if (octet === 0x2c) ids.push([]);
    else ids.at(-1)!.push(octet === 0x5c ? octets[++at]! : octet);
  }
  if (ids.some((id) => id.length === 0 || id.length > 255)) return undefined;
  return ids.flatMap((id) => [id.length, ...id]);
}

function addresses(text: string, version: 4 | 6): readonly number[] | undefined {
  const parsed = text.split(",").map(parseIp);
  if (parsed.some((address) => address?.version !== version)) return undefined;
  return parsed.flatMap((address) => [...address!.bytes]);
}
