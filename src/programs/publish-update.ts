/**
 * DNS UPDATE of published records (RFC 2136), signed (RFC 8945): TCP, one message for all changes,
 * exact records only, so that other TXT records of a name stay.
 *
 *   header  opcode 5, zones 1, prerequisites 0, updates N, additional 1
 *   zone    PUBLIC SOA IN
 *   update  NAME TXT NONE ttl 0    removes this record (2.5.4)
 *           NAME TXT IN ttl        adds this record (2.5.1)
 */

import { createHmac, randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { type KeyRing, parseKeyFile } from "../agent/key-file.js";
import { parseServer } from "../agent/source-spec.js";
import { signMessage, type TsigKey, TsigStream } from "../agent/tsig.js";
import { formatIp } from "../base/ip.js";
import { tcpStreams } from "../platform/agent-streams.js";
import { readU16, writeU16, writeU32 } from "../wire/bytes.js";
import { type Name, nameOf } from "../wire/dns/name.js";

const OPCODE_UPDATE = 5 << 11;
const TYPE_SOA = 6;
const TYPE_TXT = 16;
const CLASS_IN = 1;
const CLASS_NONE = 254;
const HEADER_BYTES = 12;
const TIMEOUT_MS = 5000;
/** Octets of one message; TCP carries 65,535, the signature needs some of them. */
const MESSAGE_BYTES_MAX = 60_000;
const RCODES: Readonly<Record<number, string>> = {
  1: "it cannot read the update (FORMERR)",
  2: "it has failed (SERVFAIL)",
  4: "it takes no updates (NOTIMP)",
  5: "it refuses this update (REFUSED); the key may need the right to update this zone",
  9: "it is not responsible for the zone, or does not accept the signature (NOTAUTH)",
  10: "the name is outside of the zone (NOTZONE)",
};

/** One change of a published record. */
export interface RecordChange {
  readonly kind: "add" | "remove";
  /** Absolute, with final dot. */
  readonly name: string;
  readonly text: string;
  readonly ttlSeconds: number;
}

/** Where updates go. */
export interface UpdateTarget {
  readonly server: string;
  readonly keyFile: string;
  /** Zone without final dot. */
  readonly zone: string;
}

/** Sends changes; the reason when they were not taken. */
export async function sendUpdate(
  target: UpdateTarget,
  changes: readonly RecordChange[],
): Promise<string | undefined> {
  const key = readKey(target);
  if (typeof key === "string") return key;
  for (const part of messageParts(target.zone, changes)) {
    const refused = await exchange(target, key, part);
    if (refused !== undefined) return `${target.server}: ${refused}`;
  }
  return undefined;
}

function readKey({ keyFile, server }: UpdateTarget): TsigKey | string {
  let text: string;
  try {
    text = readFileSync(keyFile, "utf8");
  } catch (error) {
    return `cannot read the key file ${keyFile}: ${(error as NodeJS.ErrnoException).code}`;
  }
  const parsed = parseKeyFile(text);
  if (!parsed.ok) return `cannot use the key file: ${keyFile}:${parsed.line}: ${parsed.error}`;
  return keyOf(parsed.keys, server) ?? `the key file ${keyFile} has no key for ${server}`;
}

function keyOf({ common, byServer }: KeyRing, server: string): TsigKey | undefined {
  const spec = parseServer(server);
  if (typeof spec === "string") return common;
  const host = typeof spec.host === "string" ? spec.host : formatIp(spec.host);
  return byServer.get(host) ?? common;
}

async function exchange(
  { server }: UpdateTarget,
  key: TsigKey,
  message: Uint8Array,
): Promise<string | undefined> {
  const spec = parseServer(server);
  if (typeof spec === "string" || typeof spec.host === "string") return "expected an IP address";
  const opened = await tcpStreams.open(spec.host, spec.port, TIMEOUT_MS);
  if (!opened.ok) return opened.reason;
  const nowSeconds = () => Math.floor(Date.now() / 1000);
  const hmac = (algorithm: string, secret: Uint8Array, data: Uint8Array): Uint8Array =>
    createHmac(algorithm, secret).update(data).digest();
  const signed = signMessage(message, key, hmac, nowSeconds());
  try {
    opened.stream.send(signed.message);
    const received = await opened.stream.receive(TIMEOUT_MS);
    if (!received.ok) return received.reason;
    const reply = received.message;
    if (reply.length < HEADER_BYTES || readU16(reply, 0) !== readU16(message, 0)) {
      return "the answer belongs to another question";
    }
    const rcode = readU16(reply, 2) & 15;
    if (rcode !== 0) return RCODES[rcode] ?? `it answers with code ${rcode}`;
    return new TsigStream(key, hmac, signed.mac).check(reply, nowSeconds());
  } finally {
    opened.stream.close();
  }
}

/** The messages for all changes. */
export function messageParts(zone: string, changes: readonly RecordChange[]): Uint8Array[] {
  const zoneName = nameOf(`${zone}.`);
  const parts: Uint8Array[] = [];
  let records: Uint8Array[] = [];
  let bytes = 0;
  const flush = (): void => {
    if (records.length > 0) parts.push(updateMessage(zoneName, records));
    records = [];
    bytes = 0;
  };
  for (const change of changes) {
    const record = updateRecord(change);
    if (bytes + record.length > MESSAGE_BYTES_MAX) flush();
    records.push(record);
    bytes += record.length;
  }
  flush();
  return parts;
}

function updateMessage(zone: Name, records: readonly Uint8Array[]): Uint8Array {
  const head = new Uint8Array(HEADER_BYTES + zone.wire.length + 4);
  writeU16(head, 0, randomInt(65_536));
  writeU16(head, 2, OPCODE_UPDATE);
  writeU16(head, 4, 1);
  writeU16(head, 8, records.length);
  head.set(zone.wire, HEADER_BYTES);
  writeU16(head, head.length - 4, TYPE_SOA);
  writeU16(head, head.length - 2, CLASS_IN);
  return Buffer.concat([head, ...records]);
}

function updateRecord({ kind, name, text, ttlSeconds }: RecordChange): Uint8Array {
  const owner = nameOf(name).wire;
  const isAdded = kind === "add";
  const fields = new Uint8Array(11);
  writeU16(fields, 0, TYPE_TXT);
  writeU16(fields, 2, isAdded ? CLASS_IN : CLASS_NONE);
  writeU32(fields, 4, isAdded ? ttlSeconds : 0);
  writeU16(fields, 8, text.length + 1);
  fields[10] = text.length;
  return Buffer.concat([owner, fields, Buffer.from(text, "latin1")]);
}
