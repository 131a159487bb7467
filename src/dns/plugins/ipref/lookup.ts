/**
 * One question to the upstream with its CNAME chain (spec/resolver.md 1.5, 1.7): used for AA
 * strings and for addresses of gateways. It never goes through the server's own chain, where a
 * gateway's name would come back as an encoded address.
 */

import { Name, octetsOfKey } from "../../../wire/dns/name.js";
import {
  CLASS_IN,
  FLAG_AD,
  RCODE_NOERROR,
  RCODE_NXDOMAIN,
  rcodeName,
  TYPE_CNAME,
  TYPE_SOA,
} from "../../../wire/dns/numbers.js";
import type { ResourceRecord } from "../../../wire/dns/record.js";
import type { UpstreamPort } from "../../ports.js";
import { negativeTtl } from "../cache/entry.js";

/** spec/resolver.md 1.5, 5.2. */
export const CNAME_STEPS_MAX = 8;
const QUESTIONS_MAX = 4; // the first one and three for ends of chains
/** spec/resolver.md 1.13. */
export const KEPT_SECONDS_MIN = 5;
export const NONE_SECONDS_MAX = 300;

export type Lookup =
  | {
      readonly kind: "found";
      /** CNAMEs from the question name on. */
      readonly links: readonly ResourceRecord[];
      /** Records of the type, owned by the end of the chain. */
      readonly records: readonly ResourceRecord[];
      /** Smallest TTL of all of them. */
      readonly ttlSeconds: number;
      /** The upstream has validated the reply. */
      readonly isAuthentic: boolean;
    }
  | { readonly kind: "none"; readonly keptSeconds: number }
  | { readonly kind: "failed"; readonly detail: string };

/** Time that is left for a query. */
export interface Deadline {
  remainingMs(): number;
}

/** Asks for records of `type`, following CNAMEs within and across replies. */
export async function lookUp(
  upstream: UpstreamPort,
  start: Name,
  type: number,
  deadline: Deadline,
): Promise<Lookup> {
  const links: ResourceRecord[] = [];
  const seen = new Set([start.key]);
  let current = lowerCase(start);
  for (let asked = 0; asked < QUESTIONS_MAX; asked++) {
    const budgetMs = deadline.remainingMs();
    if (budgetMs <= 0) return failed("no time is left");
    const result = await upstream.ask({
      name: current,
      type,
      isRecursionDesired: true,
      isCheckingDisabled: false,
      isDnssecOk: false,
      budgetMs,
    });
    if (!result.ok) return failed(`${result.failure}: ${result.detail}`);
    const { message } = result;
    const isKnown = message.rcode === RCODE_NOERROR;
    if (!isKnown && message.rcode !== RCODE_NXDOMAIN) {
      return failed(`the upstream answered ${rcodeName(message.rcode)}`);
    }
    const end = followChain(message.answer, current, seen, links);
    if (end === undefined) return failed("the CNAME chain is a loop or too long");
    const records = message.answer.filter(
      (record) => record.type === type && record.class === CLASS_IN && record.owner.equals(end),
    );
    if (records.length > 0) {
      const ttlSeconds = smallestTtl(links, records);
      const isAuthentic = (message.flags & FLAG_AD) !== 0;
      return { kind: "found", links, records, ttlSeconds, isAuthentic };
    }
    const soa = message.authority.find((record) => record.type === TYPE_SOA);
    const isOver = !isKnown || soa !== undefined || end.equals(current);
    if (isOver) return { kind: "none", keptSeconds: keptSeconds(soa) };
    current = lowerCase(end);
  }
  return failed("the CNAME chain has no end");
}

/** Appends the CNAMEs from `start` on; the last name, or undefined at a loop or after 8 steps. */
function followChain(
  records: readonly ResourceRecord[],
  start: Name,
  seen: Set<string>,
  links: ResourceRecord[],
): Name | undefined {
  let current = start;
  for (;;) {
    const owner = current;
    const link = records.find(
      (record) =>
        record.type === TYPE_CNAME && record.class === CLASS_IN && record.owner.equals(owner),
    );
    if (link === undefined) return current;
    const target: Name = new Name(link.data);
    if (links.length >= CNAME_STEPS_MAX || seen.has(target.key)) return undefined;
    seen.add(target.key);
    links.push(link);
    current = target;
  }
}

function lowerCase(name: Name): Name {
  return new Name(octetsOfKey(name.key), name.key);
}

function smallestTtl(...lists: (readonly ResourceRecord[])[]): number {
  let least = Number.POSITIVE_INFINITY;
  for (const records of lists) {
    for (const record of records) least = Math.min(least, record.ttlSeconds);
  }
  return least;
}

/** How long it is remembered that there is nothing. */
function keptSeconds(soa: ResourceRecord | undefined): number {
  const ttlSeconds = soa === undefined ? KEPT_SECONDS_MIN : negativeTtl(soa);
  return Math.min(NONE_SECONDS_MAX, Math.max(KEPT_SECONDS_MIN, ttlSeconds));
}

function failed(detail: string): Lookup {
  return { kind: "failed", detail };
}
