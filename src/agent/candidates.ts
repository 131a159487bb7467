/**
 * From the zone to candidates: AA values with their names, after all rules that need no look-up
 * (spec/dns-agent.md 4, 5.1, 5.2, 8.6). The vote of servers is about these.
 */

import {
  formatIp,
  type IpAddress,
  type IpVersion,
  isGlobalUnicast,
  isUnspecified,
} from "../base/ip.js";
import { formatReference, type Reference, referenceSecondByte } from "../base/reference.js";
import { formatName, type Name } from "../wire/dns/name.js";
import { TYPE_A, TYPE_AAAA } from "../wire/dns/numbers.js";
import type { ResourceRecord } from "../wire/dns/record.js";
import { characterStrings, parseAaText } from "./aa-text.js";
import { textRecords } from "./transfer.js";
import type { ZoneCopy } from "./zone-copy.js";

/** spec/mapper.md 3.4: bits 8 to 15 of a published reference are below this. */
const PUBLISHED_SECOND_BYTE_LIMIT = 16;

/** An AA value that may become a host record. */
export interface Candidate {
  /** Owner of the record, as text without final dot. */
  readonly owner: string;
  /** First label of the owner: the host's name in the local domain. */
  readonly label: string;
  /** An address, or a name to look up. */
  readonly gateway: IpAddress | string;
  readonly reference: Reference;
}

/** What a zone offers; `warnings` name the record and say why it is left out. */
export interface ZoneOffer {
  readonly candidates: readonly Candidate[];
  /** Addresses in the zone itself, by name without final dot (spec/dns-agent.md 5.1). */
  readonly ownAddresses: ReadonlyMap<string, readonly IpAddress[]>;
  readonly warnings: readonly string[];
  /** Equal exactly for zones that offer the same. */
  readonly fingerprint: string;
}

/** Reads a zone; `publicZone` is its apex. */
export function readOffer(copy: ZoneCopy, publicZone: Name, gatewayVersion: IpVersion): ZoneOffer {
  const warnings: string[] = [];
  const candidates: Candidate[] = [];
  for (const record of textRecords(copy)) {
    for (const text of characterStrings(record.data)) {
      const candidate = candidateOf(record, text, publicZone, gatewayVersion, warnings);
      if (candidate !== undefined) candidates.push(candidate);
    }
  }
  const ownAddresses = addressesOf(copy, gatewayVersion, candidates);
  return {
    candidates,
    ownAddresses,
    warnings,
    fingerprint: fingerprintOf(candidates, ownAddresses),
  };
}

function candidateOf(
  record: ResourceRecord,
  text: string,
  publicZone: Name,
  gatewayVersion: IpVersion,
  warnings: string[],
): Candidate | undefined {
  const parsed = parseAaText(text);
  if (parsed.kind === "none") return undefined;
  const owner = plainText(record.owner);
  const warn = (reason: string) => {
    warnings.push(`${owner} '${printable(text)}': ${reason}`);
    return undefined;
  };
  if (parsed.kind === "bad") return warn(parsed.reason);
  const depth = record.owner.labelCount - publicZone.labelCount;
  if (depth > 1) return warn("not published: more than one label below the zone");
  const { gateway, reference } = parsed;
  const refusal = referenceRefusal(reference) ?? literalRefusal(gateway, gatewayVersion);
  if (refusal !== undefined) return warn(`not published: ${refusal}`);
  const label = firstLabel(record.owner);
  return { owner, label, gateway, reference };
}

/** Why deployed gateways refuse a published reference (spec/mapper.md 3.4). */
export function referenceRefusal(reference: Reference): string | undefined {
  if (reference === 0n) return "reference 0 is reserved";
  if (referenceSecondByte(reference) < PUBLISHED_SECOND_BYTE_LIMIT) return undefined;
  return (
    `reference ${formatReference(reference)} is in the range that gateways allocate themselves; ` +
    "its second byte from the end must be below 16, e.g. 1 to 4095"
  );
}

/** Literals only; names are looked up later. All-zero stands for the gateway's own address. */
function literalRefusal(gateway: IpAddress | string, version: IpVersion): string | undefined {
  if (typeof gateway === "string") return undefined;
  if (gateway.version !== version) {
    return `gateway ${formatIp(gateway)} is not an IPv${version} address`;
  }
  if (isUnspecified(gateway) || isGlobalUnicast(gateway)) return undefined;
  return `gateway ${formatIp(gateway)} is not a unicast address`;
}

/** Addresses of the gateways whose names lie in the zone. */
function addressesOf(
  copy: ZoneCopy,
  version: IpVersion,
  candidates: readonly Candidate[],
): ReadonlyMap<string, readonly IpAddress[]> {
  const wanted = new Set(candidates.map(({ gateway }) => gateway));
  const found = new Map<string, IpAddress[]>();
  for (const { owner, type, data } of copy.records.values()) {
    if (type !== (version === 4 ? TYPE_A : TYPE_AAAA)) continue;
    const name = plainText(owner);
    if (!wanted.has(name)) continue;
    const list = found.get(name);
    if (list === undefined) found.set(name, [{ version, bytes: data }]);
    else list.push({ version, bytes: data });
  }
  return found;
}

function fingerprintOf(
  candidates: readonly Candidate[],
  ownAddresses: ReadonlyMap<string, readonly IpAddress[]>,
): string {
  const lines = candidates.map(({ owner, gateway, reference }) => {
    const gatewayText = typeof gateway === "string" ? gateway : formatIp(gateway);
    return `${owner} ${gatewayText} ${reference}`;
  });
  for (const [name, addresses] of ownAddresses) {
    lines.push(`${name} = ${addresses.map(formatIp).sort().join(" ")}`);
  }
  return lines.sort().join("\n");
}

/** Lower-case text of a name without final dot. */
export function plainText(name: Name): string {
  return formatName(name).toLowerCase().replace(/\.$/, "");
}

function firstLabel(name: Name): string {
  const text = plainText(name);
  return /^(?:\\.|[^.\\])*/.exec(text)![0];
}

/** Text for a log line. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").slice(0, 120);
}
