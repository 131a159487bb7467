/**
 * Transaction signatures of DNS messages (RFC 8945): signing of requests and replies, and the check
 * of answers, also of answers in many messages (5.3.1).
 *
 *   MAC input = [length, MAC of the message before] message without TSIG, variables
 *
 * Variables are name, class, TTL, algorithm, time, fudge, error and other data; after the first
 * message of a stream only time and fudge.
 */

import { readU16, writeU16, writeU32 } from "../wire/bytes.js";
import { type Name, nameOf } from "../wire/dns/name.js";
import { CLASS_ANY } from "../wire/dns/numbers.js";
import { HEADER_LENGTH, WireReader } from "../wire/dns/reader.js";
import type { Hmac, HmacAlgorithm } from "./ports.js";

export const TYPE_TSIG = 250;

/** RFC 8945 10: recommended. */
export const FUDGE_SECONDS = 300;
/** RFC 8945 5.3.1: at least every hundredth message of a stream is signed. */
const UNSIGNED_MESSAGES_MAX = 99;
/** Time, fudge, length of MAC; original id, error, length of other data. */
const FIELDS_BEFORE_MAC = 10;
const FIELDS_AFTER_MAC = 6;

/** Error codes of a TSIG (RFC 8945 3). */
export const TSIG_BADSIG = 16;
export const TSIG_BADKEY = 17;
export const TSIG_BADTIME = 18;

/** A shared key. */
export interface TsigKey {
  readonly name: Name;
  readonly algorithm: HmacAlgorithm;
  readonly secret: Uint8Array;
}

const ALGORITHM_NAMES: Readonly<Record<HmacAlgorithm, Name>> = {
  sha256: nameOf("hmac-sha256."),
  sha384: nameOf("hmac-sha384."),
  sha512: nameOf("hmac-sha512."),
};

/** A TSIG record as it stands at the end of a message. */
export interface TsigRecord {
  /** Where the record begins. */
  readonly start: number;
  readonly keyName: Name;
  readonly algorithmName: Name;
  /** The 48-bit time in seconds since 1970. */
  readonly timeSeconds: number;
  readonly fudgeSeconds: number;
  readonly mac: Uint8Array;
  readonly originalId: number;
  readonly error: number;
}

/** Why a check failed, or nothing. */
export type TsigFault = string | undefined;

/** The TSIG of a message; undefined when it has none, "malformed" when it cannot be read. */
export function findTsig(message: Uint8Array): TsigRecord | "malformed" | undefined {
  if (message.length < HEADER_LENGTH) return "malformed";
  const reader = new WireReader(message, message.length);
  for (let count = readU16(message, 4); count > 0; count--) {
    reader.skipName();
    reader.u32();
  }
  const recordCount = readU16(message, 6) + readU16(message, 8) + readU16(message, 10);
  let found: TsigRecord | undefined;
  for (let index = 0; index < recordCount && reader.fault === undefined; index++) {
    const start = reader.position;
    const keyName = reader.name();
    const type = reader.u16();
    reader.u16();
    reader.u32();
    const length = reader.u16();
    const end = reader.position + length;
    if (end > message.length) return "malformed";
    if (type === TYPE_TSIG) {
      if (index !== recordCount - 1 || readU16(message, 10) === 0) return "malformed";
      found = readTsig(reader, start, keyName, end);
      if (found === undefined) return "malformed";
    }
    reader.position = end;
  }
  return reader.fault === undefined ? found : "malformed";
}

function readTsig(
  reader: WireReader,
  start: number,
  keyName: Name,
  end: number,
): TsigRecord | undefined {
  const algorithmName = reader.name();
  const timeHigh = reader.u16();
  const timeSeconds = timeHigh * 0x1_0000_0000 + reader.u32();
  const fudgeSeconds = reader.u16();
  const macLength = reader.u16();
  const macEnd = reader.position + macLength;
  if (reader.fault !== undefined || macEnd + FIELDS_AFTER_MAC > end) return undefined;
  const mac = reader.bytes.slice(reader.position, macEnd);
  reader.position = macEnd;
  const originalId = reader.u16();
  const error = reader.u16();
  return { start, keyName, algorithmName, timeSeconds, fudgeSeconds, mac, originalId, error };
}

/** A signed message and its MAC, which the answer's signature covers. */
export interface SignedMessage {
  readonly message: Uint8Array;
  readonly mac: Uint8Array;
}

/** Signs a request, or with `requestMac` the reply to one. Copies the message. */
export function signMessage(
  message: Uint8Array,
  key: TsigKey,
  hmac: Hmac,
  timeSeconds: number,
  requestMac?: Uint8Array,
): SignedMessage {
  const variables = tsigVariables(key, timeSeconds, FUDGE_SECONDS);
  const parts = [...(requestMac === undefined ? [] : macPrefix(requestMac)), message, variables];
  const mac = hmac(key.algorithm, key.secret, joined(parts));
  const record = tsigRecordBytes(key, timeSeconds, mac, readU16(message, 0));
  const signed = joined([message, record]);
  writeU16(signed, 10, readU16(signed, 10) + 1);
  return { message: signed, mac };
}

/** Checks the signature of a request such as NOTIFY. */
export function checkRequest(
  message: Uint8Array,
  tsig: TsigRecord,
  key: TsigKey,
  hmac: Hmac,
  nowSeconds: number,
): TsigFault {
  if (!isOfKey(tsig, key)) return "another key";
  const variables = tsigVariables(key, tsig.timeSeconds, tsig.fudgeSeconds);
  const mac = hmac(key.algorithm, key.secret, joined([withoutTsig(message, tsig), variables]));
  if (!sameBytes(mac, tsig.mac)) return "a wrong signature";
  return timeFault(tsig, nowSeconds);
}

/** Checks the messages that answer one signed request, in their order. */
export class TsigStream {
  readonly #key: TsigKey;
  readonly #hmac: Hmac;
  #lastMac: Uint8Array;
  #isFirst = true;
  #unsigned: Uint8Array[] = [];

  constructor(key: TsigKey, hmac: Hmac, requestMac: Uint8Array) {
    this.#key = key;
    this.#hmac = hmac;
    this.#lastMac = requestMac;
  }

  /** True when everything so far is covered by a signature; must hold at the end. */
  get isSigned(): boolean {
    return !this.#isFirst && this.#unsigned.length === 0;
  }

  /** Checks the next message; the reason when it is not acceptable. */
  check(message: Uint8Array, nowSeconds: number): TsigFault {
    const tsig = findTsig(message);
    if (tsig === "malformed") return "the signature is malformed";
    if (tsig === undefined) return this.#takeUnsigned(message);
    if (tsig.error !== 0) return errorText(tsig.error);
    if (!isOfKey(tsig, this.#key)) return "the answer is signed with another key";
    const variables = this.#isFirst
      ? tsigVariables(this.#key, tsig.timeSeconds, tsig.fudgeSeconds)
      : timeFields(tsig.timeSeconds, tsig.fudgeSeconds);
    const before = [...macPrefix(this.#lastMac), ...this.#unsigned];
    const input = joined([...before, withoutTsig(message, tsig), variables]);
    const mac = this.#hmac(this.#key.algorithm, this.#key.secret, input);
    if (!sameBytes(mac, tsig.mac)) return "the signature is wrong";
    this.#lastMac = mac;
    this.#isFirst = false;
    this.#unsigned = [];
    return timeFault(tsig, nowSeconds);
  }

  #takeUnsigned(message: Uint8Array): TsigFault {
    if (this.#isFirst) return "the answer is not signed";
    if (this.#unsigned.length >= UNSIGNED_MESSAGES_MAX)
      return "too many messages without signature";
    this.#unsigned.push(message);
    return undefined;
  }
}

function errorText(error: number): string {
  if (error === TSIG_BADKEY) return "the server does not know the key (BADKEY)";
  if (error === TSIG_BADSIG) return "the server has another secret for the key (BADSIG)";
  if (error === TSIG_BADTIME) return "the clocks of server and agent differ too much (BADTIME)";
  return `the server refuses the signature with error ${error}`;
}

function timeFault(tsig: TsigRecord, nowSeconds: number): TsigFault {
  const isNear = Math.abs(nowSeconds - tsig.timeSeconds) <= tsig.fudgeSeconds;
  return isNear ? undefined : "the clocks of server and agent differ too much";
}

function isOfKey(tsig: TsigRecord, key: TsigKey): boolean {
  return tsig.keyName.equals(key.name) && tsig.algorithmName.equals(ALGORITHM_NAMES[key.algorithm]);
}

/** The message as it was before it was signed: original id, one additional record less. */
function withoutTsig(message: Uint8Array, tsig: TsigRecord): Uint8Array {
  const bare = message.slice(0, tsig.start);
  writeU16(bare, 0, tsig.originalId);
  writeU16(bare, 10, readU16(bare, 10) - 1);
  return bare;
}

function macPrefix(mac: Uint8Array): Uint8Array[] {
  const length = new Uint8Array(2);
  writeU16(length, 0, mac.length);
  return [length, mac];
}

function timeFields(timeSeconds: number, fudgeSeconds: number): Uint8Array {
  const fields = new Uint8Array(8);
  writeU16(fields, 0, Math.floor(timeSeconds / 0x1_0000_0000));
  writeU32(fields, 2, timeSeconds % 0x1_0000_0000);
  writeU16(fields, 6, fudgeSeconds);
  return fields;
}

/** RFC 8945 4.3.3, with error and other data empty. */
function tsigVariables(key: TsigKey, timeSeconds: number, fudgeSeconds: number): Uint8Array {
  const classAndTtl = new Uint8Array(6);
  writeU16(classAndTtl, 0, CLASS_ANY);
  return joined([
    lowerWire(key.name),
    classAndTtl,
    ALGORITHM_NAMES[key.algorithm].wire,
    timeFields(timeSeconds, fudgeSeconds),
    new Uint8Array(4),
  ]);
}

function tsigRecordBytes(
  key: TsigKey,
  timeSeconds: number,
  mac: Uint8Array,
  originalId: number,
): Uint8Array {
  const algorithm = ALGORITHM_NAMES[key.algorithm].wire;
  const head = new Uint8Array(10);
  writeU16(head, 0, TYPE_TSIG);
  writeU16(head, 2, CLASS_ANY);
  const dataLength = algorithm.length + FIELDS_BEFORE_MAC + mac.length + FIELDS_AFTER_MAC;
  writeU16(head, 8, dataLength);
  const [macLength] = macPrefix(mac);
  const tail = new Uint8Array(FIELDS_AFTER_MAC);
  writeU16(tail, 0, originalId);
  const time = timeFields(timeSeconds, FUDGE_SECONDS);
  return joined([key.name.wire, head, algorithm, time, macLength!, mac, tail]);
}

/** Canonical wire form (RFC 4034 6.2). */
function lowerWire(name: Name): Uint8Array {
  return Uint8Array.from(name.key, (char) => char.charCodeAt(0));
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Compares without telling by its time where the difference is. */
function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let index = 0; index < a.length; index++) difference |= a[index]! ^ b[index]!;
  return difference === 0;
}
