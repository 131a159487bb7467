/**
 * From candidates to host records: looks up gateways and local hosts and applies the rules that
 * need their addresses (spec/dns-agent.md 5, 8.6, 9).
 *
 * - Local addresses are stable: the previous choice stays while it is among the answers, else the
 *   numerically lowest is taken.
 * - A name that does not exist is removed at once; one that could not be looked up keeps its
 *   previous address for three intervals.
 * - When more than half of the hosts lose their local names in one step, they stay for one poll
 *   more: a local name server that restarts empty must not withdraw everybody.
 */

import {
  compareAddresses,
  formatIp,
  type IpAddress,
  type IpPrefix,
  type IpVersion,
  isGlobalUnicast,
  isUnspecified,
  prefixContains,
  sameAddress,
} from "../base/ip.js";
import type { Name } from "../wire/dns/name.js";
import { type Candidate, plainText, type ZoneOffer } from "./candidates.js";
import { type HostRecord, recordKey } from "./host-set.js";
import type { AddressAnswer, Resolver } from "./ports.js";

/** spec/dns-agent.md 5.2: e.g. 16; answers of a near server take a fraction of a millisecond. */
const LOOKUPS_AT_ONCE_MAX = 16;
/** Fewer lost hosts than this are no sign of a broken name server. */
const MASS_LOSS_MIN = 4;

/** Settings of look-ups. */
export interface LookupSettings {
  readonly localVersion: IpVersion;
  readonly gatewayVersion: IpVersion;
  /** Addresses inside stand for remote hosts and are nobody's own (spec/dns-agent.md 5.1). */
  readonly encodeNet: IpPrefix | undefined;
  /** Keep only records of this gateway; undefined: of all (spec/dns-agent.md 5.1). */
  readonly ownGateway: IpAddress | undefined;
  /** How long an address outlives look-ups that fail. */
  readonly keepMs: number;
}

/** The records of one look-up, and what was left out and why. */
export interface LookupResult {
  readonly records: readonly HostRecord[];
  readonly warnings: readonly string[];
  /** Candidates whose local name is gone were kept for this time. */
  readonly isHeld: boolean;
  /** Something could not be found out; asking again soon may help. */
  readonly hasFailures: boolean;
}

interface Remembered {
  readonly address: IpAddress;
  readonly seenAtMs: number;
}

type Found = { readonly address: IpAddress } | { readonly reason: string };

/** Looks up hosts of one source; remembers the addresses it chose. */
export class HostLookup {
  readonly #settings: LookupSettings;
  readonly #localZone: Name;
  #remembered = new Map<string, Remembered>();
  #wasHeld = false;

  constructor(settings: LookupSettings, localZone: Name) {
    this.#settings = settings;
    this.#localZone = localZone;
  }

  /** Looks up everything that the offer names. */
  async run(
    offer: ZoneOffer,
    publicResolver: Resolver,
    localResolver: Resolver,
    nowMs: number,
  ): Promise<LookupResult> {
    const { localVersion, gatewayVersion } = this.#settings;
    const labels = [...new Set(offer.candidates.map(({ label }) => label))];
    const gatewayNames = namesOf(offer.candidates);
    const [locals, gateways] = await Promise.all([
      askAll(labels, (label) => localResolver.addresses(this.#localName(label), localVersion)),
      askAll(gatewayNames, (name) => this.#askGateway(name, offer, publicResolver, gatewayVersion)),
    ]);
    const gatewayOf = new Map([...gateways].map(([name, answer]) => [name, this.#gateway(answer)]));
    const isHeld = this.#isMassLoss(locals) && !this.#wasHeld;
    this.#wasHeld = isHeld;
    const hostOf = new Map<string, Found>();
    for (const [label, answer] of locals)
      hostOf.set(label, this.#host(label, answer, nowMs, isHeld));
    this.#remember(hostOf, locals, nowMs);
    const result = this.#join(offer.candidates, gatewayOf, hostOf);
    if (isHeld) {
      const note = "most local names are gone; they stay published until the next poll";
      result.warnings.push(note);
    }
    const hasFailures = [...locals.values(), ...gateways.values()].some(
      ({ kind }) => kind === "failed",
    );
    return { ...result, isHeld, hasFailures };
  }

  #localName(label: string): string {
    return `${label}.${plainText(this.#localZone)}`;
  }

  async #askGateway(
    name: string,
    offer: ZoneOffer,
    resolver: Resolver,
    version: IpVersion,
  ): Promise<AddressAnswer> {
    const addresses = offer.ownAddresses.get(name);
    if (addresses !== undefined) return { kind: "found", addresses };
    return await resolver.addresses(name, version);
  }

  #gateway(answer: AddressAnswer): Found {
    if (answer.kind !== "found") return { reason: answer.reason };
    const usable = answer.addresses.filter((address) => this.#refusal(address) === undefined);
    const first = usable[0];
    if (first !== undefined) return { address: first };
    const refused = answer.addresses[0];
    return { reason: refused === undefined ? "no address" : this.#refusal(refused)! };
  }

  #host(label: string, answer: AddressAnswer, nowMs: number, isHeld: boolean): Found {
    const previous = this.#remembered.get(label);
    if (answer.kind === "found") {
      const usable = answer.addresses.filter((address) => this.#refusal(address) === undefined);
      const kept = usable.find((address) => previous && sameAddress(address, previous.address));
      const chosen = kept ?? usable.sort(compareAddresses)[0];
      if (chosen !== undefined) return { address: chosen };
      const refused = answer.addresses[0];
      return { reason: refused === undefined ? "no address" : this.#refusal(refused)! };
    }
    const isRecent = previous !== undefined && nowMs - previous.seenAtMs <= this.#settings.keepMs;
    const isKept = answer.kind === "failed" ? isRecent : isHeld && previous !== undefined;
    return isKept ? { address: previous!.address } : { reason: answer.reason };
  }

  /** Why an address cannot be a gateway's or a host's (spec/dns-agent.md 5.1, 5.2). */
  #refusal(address: IpAddress): string | undefined {
    const text = formatIp(address);
    if (!isGlobalUnicast(address)) return `${text} is not a unicast address of a host`;
    const { encodeNet } = this.#settings;
    if (encodeNet === undefined || !prefixContains(encodeNet, address)) return undefined;
    return `${text} is an encoded address, so the resolver that was asked translates; see -resolver`;
  }

  #isMassLoss(locals: ReadonlyMap<string, AddressAnswer>): boolean {
    let known = 0;
    let lost = 0;
    for (const [label, answer] of locals) {
      if (!this.#remembered.has(label)) continue;
      known++;
      if (answer.kind === "absent") lost++;
    }
    return lost >= MASS_LOSS_MIN && 2 * lost > known;
  }

  #remember(
    hosts: ReadonlyMap<string, Found>,
    locals: ReadonlyMap<string, AddressAnswer>,
    nowMs: number,
  ): void {
    const next = new Map<string, Remembered>();
    for (const [label, host] of hosts) {
      if (!("address" in host)) continue;
      const isSeen = locals.get(label)!.kind === "found";
      const seenAtMs = isSeen ? nowMs : this.#remembered.get(label)!.seenAtMs;
      next.set(label, { address: host.address, seenAtMs });
    }
    this.#remembered = next;
  }

  #join(
    candidates: readonly Candidate[],
    gateways: ReadonlyMap<string, Found>,
    hosts: ReadonlyMap<string, Found>,
  ): { readonly records: HostRecord[]; readonly warnings: string[] } {
    const records = new Map<string, HostRecord>();
    const warnings: string[] = [];
    for (const { owner, label, gateway, reference } of candidates) {
      const at = typeof gateway === "string" ? gateways.get(gateway)! : { address: gateway };
      if (!("address" in at)) {
        warnings.push(`${owner}: not published: gateway ${String(gateway)}: ${at.reason}`);
        continue;
      }
      const foreign = this.#foreignReason(at.address);
      const host = hosts.get(label)!;
      if (foreign !== undefined) warnings.push(`${owner}: not published: ${foreign}`);
      else if (!("address" in host)) {
        const local = this.#localName(label);
        warnings.push(`${owner}: not published: local name ${local}: ${host.reason}`);
      } else {
        const record = { gateway: at.address, reference, ip: host.address, label };
        addRecord(records, record, owner, warnings);
      }
    }
    return { records: [...records.values()], warnings };
  }

  #foreignReason(gateway: IpAddress): string | undefined {
    const own = this.#settings.ownGateway;
    if (own === undefined || isUnspecified(gateway) || sameAddress(own, gateway)) return undefined;
    return `gateway ${formatIp(gateway)} is not this one, ${formatIp(own)}`;
  }
}

/** The first of two records with one IPREF address stays (spec/dns-agent.md 5.2). */
function addRecord(
  records: Map<string, HostRecord>,
  record: HostRecord,
  owner: string,
  warnings: string[],
): void {
  const key = recordKey(record);
  const other = records.get(key);
  if (other === undefined) records.set(key, record);
  else {
    const first = `${other.label} (${formatIp(other.ip)})`;
    warnings.push(`${owner}: duplicate ipref address ${key}: it belongs to ${first} already`);
  }
}

function namesOf(candidates: readonly Candidate[]): string[] {
  const names = new Set<string>();
  for (const { gateway } of candidates) if (typeof gateway === "string") names.add(gateway);
  return [...names];
}

/** Asks for each word, some at once. */
async function askAll(
  words: readonly string[],
  ask: (word: string) => Promise<AddressAnswer>,
): Promise<Map<string, AddressAnswer>> {
  const answers = new Map<string, AddressAnswer>();
  let next = 0;
  const lane = async () => {
    while (next < words.length) {
      const word = words[next++]!;
      answers.set(word, await ask(word));
    }
  };
  await Promise.all(Array.from({ length: LOOKUPS_AT_ONCE_MAX }, lane));
  return answers;
}
