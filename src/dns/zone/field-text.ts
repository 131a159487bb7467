/**
 * Text forms of single fields in a master file: strings with escapes, numbers, times, hexadecimal,
 * base64, base32hex, type bit maps. A reader returns undefined for a text that is not one.
 */

import { fromHex } from "../../base/hex.js";
import { typeNumber } from "../../wire/dns/numbers.js";

/** Octets of a character-string's text with `\X` and `\DDD` resolved. */
export function stringOctets(text: string): number[] | undefined {
  const octets: number[] = [];
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (char !== "\\") {
      octets.push(char.charCodeAt(0));
      continue;
    }
    const next = text[at + 1];
    if (next === undefined) return undefined;
    if (!/[0-9]/.test(next)) {
      octets.push(next.charCodeAt(0));
      at++;
      continue;
    }
    const digits = text.slice(at + 1, at + 4);
    if (!/^[0-9]{3}$/.test(digits) || Number(digits) > 255) return undefined;
    octets.push(Number(digits));
    at += 3;
  }
  return octets;
}

/** A decimal number from 0 to `max`. */
export function unsignedOf(text: string, max: number): number | undefined {
  if (!/^[0-9]{1,10}$/.test(text)) return undefined;
  const value = Number(text);
  return value <= max ? value : undefined;
}

const UNIT_SECONDS: Readonly<Record<string, number>> = {
  s: 1,
  m: 60,
  h: 3600,
  d: 86_400,
  w: 604_800,
};

/** RFC 2181 8. */
const TIME_MAX_SECONDS = 0x7fff_ffff;

/** Seconds of `3600`, `1h30m`, `2W`; below 2^31. */
export function timeSeconds(text: string): number | undefined {
  if (!/^([0-9]{1,10}[smhdw]?)+$/i.test(text)) return undefined;
  let total = 0;
  for (const [, digits, unit] of text.matchAll(/([0-9]{1,10})([smhdw]?)/gi)) {
    total += Number(digits) * (UNIT_SECONDS[unit!.toLowerCase()] ?? 1);
  }
  return total <= TIME_MAX_SECONDS ? total : undefined;
}

/** Octets of hexadecimal words put together. */
export function hexOctets(words: readonly string[]): Uint8Array | undefined {
  return fromHex(words.join(""));
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE32_HEX = "0123456789ABCDEFGHIJKLMNOPQRSTUV";

/** Octets of base64 words put together (RFC 4648 4). */
export function base64Octets(words: readonly string[]): Uint8Array | undefined {
  const text = words.join("");
  if (text.length % 4 !== 0) return undefined;
  return digitsToOctets(text.replace(/={1,2}$/, ""), BASE64, 6);
}

/** Octets of base32hex without padding, any case (RFC 5155 3.3). */
export function base32HexOctets(text: string): Uint8Array | undefined {
  return digitsToOctets(text.toUpperCase(), BASE32_HEX, 5);
}

function digitsToOctets(text: string, digits: string, bits: number): Uint8Array | undefined {
  const octets: number[] = [];
  let buffer = 0;
  let have = 0;
  for (const char of text) {
    const value = digits.indexOf(char);
    if (value < 0) return undefined;
    buffer = ((buffer << bits) | value) & 0xffff;
    have += bits;
    if (have < 8) continue;
    have -= 8;
    octets.push((buffer >> have) & 0xff);
  }
  return Uint8Array.from(octets);
}

/** Type bit maps of NSEC and NSEC3 (RFC 4034 4.1.2). */
export function typeBitmap(words: readonly string[]): Uint8Array | undefined {
  const types = words.map(typeNumber);
  if (types.includes(undefined)) return undefined;
  const windows = new Map<number, Uint8Array>();
  for (const type of types as number[]) {
    const window = windows.get(type >> 8) ?? new Uint8Array(32);
    const low = type & 0xff;
    window[low >> 3] = window[low >> 3]! | (0x80 >> (low & 7));
    windows.set(type >> 8, window);
  }
  const octets: number[] = [];
  for (const [number, window] of [...windows].sort(([a], [b]) => a - b)) {
    const length = 1 + window.findLastIndex((octet) => octet !== 0);
    octets.push(number, length, ...window.subarray(0, length));
  }
  return Uint8Array.from(octets);
}

/** `YYYYMMDDHHMMSS` or seconds since 1970 (RFC 4034 3.2). */
export function signatureTime(text: string): number | undefined {
  const match = /^([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})$/.exec(text);
  if (match === null) return unsignedOf(text, 0xffff_ffff);
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number);
  return (Date.UTC(year!, month! - 1, day, hour, minute, second) / 1000) >>> 0;
}
