/**
 * Answers a question from one zone: RFC 1034 4.3.2 with RFC 4592 (wildcards), RFC 6672 (DNAME),
 * RFC 2308 (negative answers), RFC 9471 (glue); spec/resolver.md 3.3.
 */

import { type Name, replaceSuffix, wildcardKey } from "../../wire/dns/name.js";
import {
  FLAG_AA,
  RCODE_NOERROR,
  RCODE_NXDOMAIN,
  TYPE_A,
  TYPE_AAAA,
  TYPE_ANY,
  TYPE_CNAME,
  TYPE_DNAME,
  TYPE_DS,
  TYPE_MX,
  TYPE_NS,
  TYPE_SRV,
} from "../../wire/dns/numbers.js";
import { type ResourceRecord, recordOf } from "../../wire/dns/record.js";
import { type Answer, answerOf, type RecordsAnswer } from "../answer.js";
import { anyAnswer } from "../plugins/any/handler.js";
import { aliasOf, type RecordSet, type Zone, type ZoneNode } from "./zone.js";
import { nameInData } from "./zone-checks.js";

/** spec/resolver.md 3.3 step 5: CNAMEs in one answer. */
const CNAMES_MAX = 8;

/** RFC 6672 2.2: the synthesised name is too long. */
const RCODE_YXDOMAIN = 6;

/** Complete, or a chain that leaves the zone and goes on at `target`. */
export interface LookupResult {
  readonly answer: RecordsAnswer | Answer;
  readonly target: Name | undefined;
}

/** Offsets of names whose addresses come along as additional records. */
const ADDITIONAL_OFFSET = new Map([
  [TYPE_NS, 0],
  [TYPE_MX, 2],
  [TYPE_SRV, 6],
]);

/** Looks up a name within the zone. */
export function lookup(zone: Zone, name: Name, type: number): LookupResult {
  const node = zone.node(name.key);
  if (node !== undefined && node.cut === undefined && node.dname === undefined) {
    const set = node.sets.get(type);
    if (set !== undefined) return { answer: positive(zone, set), target: undefined };
  }
  return new Walk(zone, type).run(name);
}

/** The answer that consists of one set of the zone; made once. */
function positive(zone: Zone, set: RecordSet): Answer {
  set.answer ??= answerOf({
    flags: FLAG_AA,
    answer: set.records,
    additional: additionalOf(zone, set.records),
  });
  return set.answer;
}

/** In-zone addresses of the targets of NS, MX and SRV records, each once. */
function additionalOf(zone: Zone, records: readonly ResourceRecord[]): ResourceRecord[] {
  const result: ResourceRecord[] = [];
  const seen = new Set<string>();
  for (const record of records) {
    const offset = ADDITIONAL_OFFSET.get(record.type);
    if (offset === undefined) continue;
    const target = nameInData(record, offset);
    if (seen.has(target.key)) continue;
    seen.add(target.key);
    const sets = zone.node(target.key)?.sets;
    result.push(...(sets?.get(TYPE_A)?.records ?? []), ...(sets?.get(TYPE_AAAA)?.records ?? []));
  }
  return result;
}

/** One question; follows CNAMEs and DNAMEs through the zone. */
class Walk {
  readonly #zone: Zone;
  readonly #type: number;
  readonly #answer: ResourceRecord[] = [];
  readonly #seen = new Set<string>();

  constructor(zone: Zone, type: number) {
    this.#zone = zone;
    this.#type = type;
  }

  run(question: Name): LookupResult {
    let name = question;
    for (;;) {
      if (!name.isWithin(this.#zone.origin)) return this.#done(RCODE_NOERROR, {}, name);
      this.#seen.add(name.key);
      const step = this.#step(name);
      if (!("next" in step)) return step;
      if (this.#seen.has(step.next.key)) return this.#done(RCODE_NOERROR, {});
      name = step.next;
    }
  }

  /** What the zone says about one name: an end, or the name to go on with. */
  #step(name: Name): LookupResult | { readonly next: Name } {
    const zone = this.#zone;
    const node = zone.node(name.key);
    const cut = (node ?? zone.closestEncloser(name.key)).cut;
    if (cut !== undefined && !(this.#type === TYPE_DS && cut === node)) return this.#referral(cut);
    if (node !== undefined) {
      return node.dname ? this.#substitute(name, node.dname) : this.#at(node, name);
    }
    const encloser = zone.closestEncloser(name.key);
    const dname = encloser.sets.has(TYPE_DNAME) ? encloser : encloser.dname;
    if (dname !== undefined) return this.#substitute(name, dname);
    const wildcard = zone.node(wildcardKey(encloser.name.key));
    if (wildcard === undefined) return this.#negative(RCODE_NXDOMAIN);
    if (wildcard.cut !== undefined) return this.#referral(wildcard.cut);
    return this.#at(wildcard, name);
  }

  /** An existing name, or the wildcard that stands for `name`. */
  #at(node: ZoneNode, name: Name): LookupResult | { readonly next: Name } {
    if (this.#type === TYPE_ANY) return { answer: anyAnswer(name, FLAG_AA), target: undefined };
    const alias = aliasOf(node, this.#type);
    if (alias !== undefined) {
      if (this.#isTooLong()) return this.#done(RCODE_NOERROR, {});
      this.#push(alias, node, name);
      return { next: nameInData(alias.records[0]!, 0) };
    }
    const set = node.sets.get(this.#type);
    if (set === undefined) return this.#negative(RCODE_NOERROR);
    this.#push(set, node, name);
    return this.#done(RCODE_NOERROR, { additional: additionalOf(this.#zone, set.records) });
  }

  /** The names seen include the one at hand. */
  #isTooLong(): boolean {
    return this.#seen.size > CNAMES_MAX;
  }

  #push(set: RecordSet, node: ZoneNode, name: Name): void {
    const isSame = node.name.key === name.key;
    for (const record of set.records) {
      this.#answer.push(isSame ? record : { ...record, owner: name });
    }
  }

  /** DNAME and the CNAME made from it (RFC 6672 3.1). */
  #substitute(name: Name, node: ZoneNode): LookupResult | { readonly next: Name } {
    if (this.#isTooLong()) return this.#done(RCODE_NOERROR, {});
    const dname = node.sets.get(TYPE_DNAME)!.records[0]!;
    this.#answer.push(dname);
    const target = replaceSuffix(name, node.name, nameInData(dname, 0));
    if (target === undefined) return this.#done(RCODE_YXDOMAIN, {});
    const cname = recordOf(name, TYPE_CNAME, dname.ttlSeconds, target.wire);
    this.#answer.push(cname);
    if (this.#type === TYPE_CNAME) return this.#done(RCODE_NOERROR, {});
    return { next: target };
  }

  #negative(rcode: number): LookupResult {
    return this.#done(rcode, { authority: [this.#zone.negativeSoa] });
  }

  /** AA only when the question's own name was answered here, as a CNAME was. */
  #referral(cut: ZoneNode): LookupResult {
    const nameServers = cut.sets.get(TYPE_NS)!.records;
    const glue = additionalOf(this.#zone, nameServers);
    const answer = answerOf({
      flags: this.#answer.length > 0 ? FLAG_AA : 0,
      answer: this.#answer,
      authority: nameServers,
      additional: glue,
      isAdditionalNeeded: glue.length > 0,
    });
    return { answer, target: undefined };
  }

  #done(
    rcode: number,
    parts: { authority?: ResourceRecord[]; additional?: ResourceRecord[] },
    target?: Name,
  ): LookupResult {
    return { answer: answerOf({ rcode, flags: FLAG_AA, answer: this.#answer, ...parts }), target };
  }
}
