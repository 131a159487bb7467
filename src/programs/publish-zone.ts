/**
 * The files behind `ipref publish`. The local zone is the only one with information of its own: an
 * address record for each published name, with its reference in a comment,
 *
 *   web 300 IN A 10.1.0.22 ; ipref 1025
 *
 * Lines without such a comment belong to the user and stay as they are. The other two files are
 * made from it: the public zone with the AA records (TXT `AA gateway + reference`), and a hosts
 * file by which the own DNS server answers published names with their local addresses.
 */

import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { formatIp, type IpAddress, parseIp } from "../base/ip.js";
import {
  formatReference,
  parseReference,
  type Reference,
  referenceSecondByte,
} from "../base/reference.js";
import { localVersion } from "../control/config/read.js";
import type { UpConfiguration } from "../control/config/settings.js";
import { readTrusted, replaceFile } from "./trusted-file.js";
import { gatewayName, pathsOf } from "./up-plan.js";

/** Time to live of records in both zones, in seconds. */
const TTL_SECONDS = 300;
/** References below are reserved by draft-augustyn-intarea-ipref-08 (spec/mapper.md 3.4). */
export const REFERENCE_MIN = 1024n;
/** Published references have a smaller second byte (spec/mapper.md 3.4). */
const PUBLISHED_SECOND_BYTE_LIMIT = 16;
/** A run changes the zone for less than this, also with as many names as a zone may have. */
const LOCK_TIMEOUT_MS = 10_000;
const LOCK_STEP_MS = 50;
/** Enough for more names than a zone may have (spec/dns-agent.md 9). */
const REFERENCE_SEARCH_MAX = 1n << 24n;

/** One published host. */
export interface PublishedName {
  /** One label, in lower case. */
  readonly label: string;
  readonly address: IpAddress;
  readonly reference: Reference;
  /** Line in the local zone, from 1. */
  readonly line: number;
}

/** The local zone as text with what is published in it. */
export interface LocalZone {
  readonly text: string;
  readonly names: readonly PublishedName[];
}

const RECORD = /^(\S+)\s+(?:\d+\s+)?(?:IN\s+)?(?:A|AAAA)\s+(\S+)\s*;\s*ipref\s+(\S+)\s*$/i;
const SERIAL = /(\bSOA\s+\S+\s+\S+\s+\(?\s*(?:;[^\n]*\n\s*)?)(\d+)/i;

/** A zone without any host. */
function emptyZone(zone: string): string {
  return `; Local zone of ipref publish, which manages the lines with "; ipref REFERENCE".
$ORIGIN ${zone}.
$TTL ${TTL_SECONDS}
@ IN SOA ns.${zone}. admin.${zone}. ( 1 3600 600 604800 60 )
@ IN NS ns.${zone}.
ns IN A 127.0.0.1
`;
}

/** Creates the local zone unless it exists or nothing is published. */
export function prepareLocalZone(configuration: UpConfiguration): void {
  const { domain, local } = configuration.publish;
  const { localZone } = pathsOf(configuration);
  if (domain !== "" && !existsSync(localZone)) replaceFile(localZone, emptyZone(local));
}

/** Keeps other runs from changing the local zone; the result lets them. */
export async function lockZone(configuration: UpConfiguration): Promise<() => void> {
  const path = `${pathsOf(configuration).localZone}.lock`;
  mkdirSync(dirname(path), { recursive: true });
  const deadline = Date.now() + LOCK_TIMEOUT_MS;
  for (;;) {
    try {
      writeFileSync(path, String(process.pid), { flag: "wx" });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    // The owner of a lock that lasts has been ended by force.
    if (Date.now() > deadline) rmSync(path, { force: true });
    await new Promise((resolve) => setTimeout(resolve, LOCK_STEP_MS));
  }
}

/** Reads the local zone, or an empty one. */
export function readLocalZone(configuration: UpConfiguration): LocalZone {
  const { localZone } = pathsOf(configuration);
  const text = existsSync(localZone)
    ? readTrusted(localZone)
    : emptyZone(configuration.publish.local);
  const names = text.split("\n").flatMap((line, index) => {
    const match = RECORD.exec(line);
    const address = parseIp(match?.[2] ?? "");
    const reference = parseReference(match?.[3] ?? "");
    if (match === null || address === undefined || !reference.ok) return [];
    const label = match[1]!.toLowerCase();
    return [{ label, address, reference: reference.value, line: index + 1 }];
  });
  return { text, names };
}

/** Replaces the published names; other lines stay, the serial grows by one. */
export function writeLocalZone(
  configuration: UpConfiguration,
  names: readonly Omit<PublishedName, "line">[],
): void {
  const { text } = readLocalZone(configuration);
  const others = text.split("\n").filter((line) => !RECORD.test(line));
  while (others.at(-1) === "") others.pop();
  const records = names.map(({ label, address, reference }) => {
    const type = address.version === 4 ? "A" : "AAAA";
    return `${label} ${TTL_SECONDS} IN ${type} ${formatIp(address)} ; ipref ${formatReference(reference)}`;
  });
  const body = `${[...others, ...records].join("\n")}\n`;
  const next = body.replace(SERIAL, (_, before: string, serial: string) => {
    return `${before}${(Number(serial) + 1) >>> 0}`;
  });
  replaceFile(pathsOf(configuration).localZone, next);
}

/** Serial of a zone's text; 0 without. */
export function serialOf(text: string): number {
  return Number(SERIAL.exec(text)?.[2] ?? 0);
}

/** Writes the hosts file of the own names when it differs. */
export function writeOwnNames(configuration: UpConfiguration): void {
  const { domain } = configuration.publish;
  if (domain === "") return;
  const { names } = readLocalZone(configuration);
  const hosts = names.map(({ label, address }) => `${formatIp(address)} ${label}.${domain}\n`);
  replaceWhenChanged(pathsOf(configuration).ownNames, hosts.join(""));
}

/**
 * Writes the public zone when it differs; returns warnings that name records. The agent reads it
 * and then asks the DNS server for local addresses, which has to know the local zone by then.
 */
export function writePublicZone(configuration: UpConfiguration): readonly string[] {
  if (configuration.publish.domain === "") return [];
  const zone = readLocalZone(configuration);
  const { publicZone } = pathsOf(configuration);
  replaceWhenChanged(publicZone, publicZoneText(configuration, zone));
  return warningsOf(configuration, zone.names);
}

function publicZoneText(configuration: UpConfiguration, { text, names }: LocalZone): string {
  const { domain } = configuration.publish;
  return [
    "; Made by ipref publish from the local zone.",
    `$ORIGIN ${domain}.`,
    `$TTL ${TTL_SECONDS}`,
    `@ IN SOA ns.${domain}. admin.${domain}. ( ${serialOf(text)} 3600 600 604800 60 )`,
    `@ IN NS ns.${domain}.`,
    ...names.map(({ label, reference }) => aaRecord(configuration, label, reference)),
    "",
  ].join("\n");
}

/** The published value (spec/dns-agent.md 4). */
export function aaText(configuration: UpConfiguration, reference: Reference): string {
  return `AA ${gatewayName(configuration)} + ${formatReference(reference)}`;
}

/** The record in the form of a zone file. */
export function aaRecord(
  configuration: UpConfiguration,
  label: string,
  reference: Reference,
): string {
  const owner = `${label}.${configuration.publish.domain}.`;
  return `${owner} ${TTL_SECONDS} IN TXT "${aaText(configuration, reference)}"`;
}

/** What may keep others from reaching a published name; each sentence names the record. */
export function warningsOf(
  configuration: UpConfiguration,
  names: readonly PublishedName[],
): readonly string[] {
  const byReference = new Map<Reference, string>();
  const labels = new Set<string>();
  const { localZone } = pathsOf(configuration);
  return names.flatMap(({ label, address, reference, line }) => {
    const place = `${localZone}:${line}: ${label}`;
    const found: string[] = [];
    const refusal = referenceRefusal(configuration, reference);
    if (refusal !== undefined) found.push(`${place}: ${refusal}`);
    const other = byReference.get(reference);
    if (other !== undefined && other !== label) {
      found.push(`${place}: reference ${formatReference(reference)} is that of ${other} as well`);
    }
    if (labels.has(label)) found.push(`${place}: this name is published twice`);
    if (address.version !== localVersion(configuration)) {
      found.push(`${place}: ${formatIp(address)} is not of the encode net's IP version`);
    }
    byReference.set(reference, label);
    labels.add(label);
    return found;
  });
}

/** Why gateways refuse this reference for a published host, or nothing. */
export function referenceRefusal(
  { gateway }: UpConfiguration,
  reference: Reference,
): string | undefined {
  const text = formatReference(reference);
  if (reference === 0n) return "reference 0 is not allowed";
  const own = parseReference(gateway.reference);
  if (own.ok && own.value === reference) return `reference ${text} is that of the gateway itself`;
  if (referenceSecondByte(reference) < PUBLISHED_SECOND_BYTE_LIMIT) return undefined;
  return (
    `gateways refuse reference ${text}: its second byte is ${referenceSecondByte(reference)}, ` +
    "and 16 and above are kept for references they choose; choose one from 1024 to 4095"
  );
}

/** The lowest reference from `first` on that gateways accept and nobody has. */
export function freeReference(
  configuration: UpConfiguration,
  taken: { has(reference: Reference): boolean },
  first: Reference = REFERENCE_MIN,
): Reference | undefined {
  for (let reference = first; reference < REFERENCE_SEARCH_MAX; reference++) {
    if (referenceSecondByte(reference) >= PUBLISHED_SECOND_BYTE_LIMIT) {
      reference |= 0xffffn; // the loop goes on at the next multiple of 65536
      continue;
    }
    if (!taken.has(reference) && referenceRefusal(configuration, reference) === undefined) {
      return reference;
    }
  }
  return undefined;
}

function replaceWhenChanged(path: string, text: string): void {
  if (existsSync(path) && readTrusted(path) === text) return;
  replaceFile(path, text);
}
