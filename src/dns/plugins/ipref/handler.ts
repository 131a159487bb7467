/**
 * The IPREF step of a chain (spec/resolver.md 1.3, 1.4, 1.10, 1.11). A name that is known is
 * answered at once; others wait for discovery and the mapper.
 *
 *   A, AAAA        discovery → encoded addresses, NODATA, or the next plugin
 *   HTTPS, SVCB    discovery → NODATA, records without hints, or the next plugin
 *   ANY            HINFO                      PTR      table of encoded addresses
 *   TXT            the next plugin            others   the next plugin, addresses filtered
 */

import { formatIp } from "../../../base/ip.js";
import type { Name } from "../../../wire/dns/name.js";
import {
  EXTENDED_ERROR_NETWORK,
  EXTENDED_ERROR_OTHER,
  RCODE_SERVFAIL,
  TYPE_A,
  TYPE_AAAA,
  TYPE_ANY,
  TYPE_HINFO,
  TYPE_HTTPS,
  TYPE_PTR,
  TYPE_SVCB,
  TYPE_TXT,
} from "../../../wire/dns/numbers.js";
import {
  type Answer,
  answerOf,
  failure,
  negative,
  type RecordsAnswer,
  type Reply,
  unpackAnswer,
} from "../../answer.js";
import { type Handler, type Next, whenAnswered } from "../../plugin.js";
import type { Query } from "../../query.js";
import type { AaEntry, Discovery } from "./discovery.js";
import type { Deadline } from "./lookup.js";
import type { Mappings } from "./mappings.js";
import {
  type MapFailed,
  type MapFailure,
  type MapResult,
  READY_MS,
  readyAnswer,
} from "./ready-answer.js";
import { anyRecord, negativeSoa, pointerRecord } from "./records.js";
import type { IprefReport } from "./report.js";
import {
  isInside,
  isOneAddress,
  isReverseName,
  type ReverseTable,
  reversePrefix,
} from "./reverse.js";
import { type Scope, withoutUnderscoreLabels } from "./scope.js";
import {
  FALLBACK_TTL_SECONDS,
  IN_FLIGHT_MAX,
  type IprefSettings,
  NODATA_TTL_SECONDS_MAX,
  QUERY_BUDGET_MS,
} from "./settings.js";
import { specialAnswer } from "./special-names.js";
import { stripHints } from "./svcb.js";

const NAME_START = 12;
/** PTR answers name a host for at most this long (spec/resolver.md 1.11). */
const PTR_TTL_SECONDS_MAX = 300;
const UNSTORED = { isStorable: false } as const;
const OVERLOADED: Answer = {
  ...failure(RCODE_SERVFAIL, "too many queries wait for IPREF addresses"),
  ...UNSTORED,
};

const LOOP: Answer = { ...failure(RCODE_SERVFAIL, "a loop probe came back"), ...UNSTORED };

/** Extended errors of `on-failure servfail` (RFC 8914, spec/resolver.md 1.10). */
const ERROR_CODES: Readonly<Record<MapFailure, number>> = {
  upstream: EXTENDED_ERROR_NETWORK,
  unavailable: EXTENDED_ERROR_OTHER,
  refused: EXTENDED_ERROR_OTHER,
  limited: EXTENDED_ERROR_OTHER,
};
const ERROR_TEXTS: Readonly<Record<MapFailure, string>> = {
  upstream: "",
  unavailable: "mapper unavailable",
  refused: "mapping refused",
  limited: "mapping refused",
};

/** A query whose discovery has ended. */
interface Step {
  readonly query: Query;
  readonly next: Next;
  readonly entry: AaEntry;
  /** Reply of the next plugin when it was asked at the same time. */
  readonly held: Reply | undefined;
  readonly nowMs: number;
}

/** Parts of the handler; setup.ts joins them. */
export interface IprefHandlerParts {
  readonly settings: IprefSettings;
  readonly scope: Scope;
  readonly discovery: Discovery;
  readonly mappings: Mappings;
  readonly reverse: ReverseTable;
  readonly report: IprefReport;
  readonly now: () => number;
  /** A `forward` stands behind this step. */
  readonly hasForward: boolean;
  /** Makes the upstream client; resolves with a complaint. */
  start(): Promise<string | undefined>;
  isReady(): boolean;
  /** A question of ours that came back: the upstream leads to this server (1.15). */
  isLoopProbe(query: Query): boolean;
  stop(): void;
}

export class IprefHandler implements Handler {
  readonly name = "ipref";
  readonly #parts: IprefHandlerParts;
  readonly #wanted: number;
  readonly #isParallel: boolean;
  #inFlight = 0;

  constructor(parts: IprefHandlerParts) {
    this.#parts = parts;
    this.#wanted = parts.settings.encodedVersion === 4 ? TYPE_A : TYPE_AAAA;
    this.#isParallel = parts.settings.isParallel && parts.hasForward;
  }

  start(): Promise<string | undefined> {
    return this.#parts.start();
  }

  stop(): void {
    this.#parts.stop();
  }

  isReady(): boolean {
    return this.#parts.isReady();
  }

  handle(query: Query, next: Next): Reply {
    const { type } = query;
    if (type !== TYPE_A && type !== TYPE_AAAA) return this.#other(query, next);
    const { discovery, report } = this.#parts;
    const nowMs = query.receivedAtMs;
    // Only names within the scope get into the table.
    const entry = discovery.cached(query.bytes, NAME_START, query.nameEnd, nowMs);
    if (entry !== undefined) {
      report.cacheHit(entry.state === "has" ? "aa" : entry.state);
      return this.#address({ query, next, entry, held: undefined, nowMs });
    }
    const { name } = query;
    const own = this.#own(query, name);
    if (own !== undefined) return own;
    if (!this.#parts.scope.contains(name)) return next(query);
    return this.#discover(query, next, name, (found) => this.#address(found));
  }

  /** Special and reverse names, which are answered whatever FROM says. */
  #own(query: Query, name: Name): Answer | undefined {
    const { scope, report } = this.#parts;
    if (scope.isExcepted(name)) return undefined;
    const special = specialAnswer(name, query.type);
    if (special !== undefined) {
      report.outcome("special");
      return this.#ended(query, special);
    }
    return isReverseName(name) ? this.#reverse(query, name) : undefined;
  }

  #other(query: Query, next: Next): Reply {
    const { type, name } = query;
    if (type === TYPE_HINFO && this.#parts.isLoopProbe(query)) return LOOP;
    const own = this.#own(query, name);
    if (own !== undefined) return own;
    if (type === TYPE_TXT) return next(query);
    if (type === TYPE_HTTPS || type === TYPE_SVCB) return this.#service(query, next, name);
    if (type === TYPE_ANY && this.#parts.scope.contains(name)) {
      return this.#ended(query, answerOf({ answer: [anyRecord(name)], isStorable: false }));
    }
    return whenAnswered(next(query), (answer) => this.#withoutAddresses(query, answer));
  }

  /** HTTPS and SVCB: the address hints would lead past IPREF (1.11). */
  #service(query: Query, next: Next, name: Name): Reply {
    const { settings, scope, discovery } = this.#parts;
    const owner = withoutUnderscoreLabels(name);
    if (settings.svcb === "pass" || !scope.contains(owner)) return next(query);
    const nowMs = query.receivedAtMs;
    const entry = discovery.cached(owner.wire, 0, owner.wire.length, nowMs);
    if (entry === undefined) {
      return this.#discover(query, next, owner, (found) => this.#serviceOf(found));
    }
    return this.#serviceOf({ query, next, entry, held: undefined, nowMs });
  }

  #serviceOf(step: Step): Reply {
    const { query, next, entry, held } = step;
    if (entry.state === "failed") return this.#upstreamFailed(step);
    if (entry.state === "has" && this.#parts.settings.svcb === "suppress") {
      return this.#nodata(step);
    }
    const isStripped = entry.state === "has";
    if (!isStripped) this.#parts.report.outcome("none");
    return whenAnswered(held ?? next(query), (answer) =>
      isStripped ? this.#withoutHints(query, answer) : this.#withoutAddresses(query, answer),
    );
  }

  /** Starts discovery and, when it may save time, the ordinary question as well (1.14). */
  #discover(query: Query, next: Next, name: Name, use: (step: Step) => Reply): Reply {
    if (this.#inFlight >= IN_FLIGHT_MAX) return this.#ended(query, OVERLOADED);
    this.#inFlight++;
    const question = this.#parts.discovery.ask(name, this.#deadline(query));
    const held = this.#isParallel ? next(query) : undefined;
    // Nobody may be left to hear of a failure of the ordinary question.
    if (held instanceof Promise) held.catch(() => undefined);
    return question
      .then((entry) => use({ query, next, entry, held, nowMs: this.#parts.now() }))
      .finally(() => {
        this.#inFlight--;
      });
  }

  #deadline(query: Query): Deadline {
    const endsAtMs = query.receivedAtMs + QUERY_BUDGET_MS;
    return { remainingMs: () => endsAtMs - this.#parts.now() };
  }

  /** A or AAAA of a name of which everything is known that the upstream can tell (1.4). */
  #address(step: Step): Reply {
    const { query, next, entry, held } = step;
    if (entry.state === "none") {
      this.#parts.report.outcome("none");
      return held ?? next(query);
    }
    if (entry.state === "failed") return this.#upstreamFailed(step);
    return query.type === this.#wanted ? this.#mapped(step) : this.#nodata(step);
  }

  #mapped(step: Step): Reply {
    const { query, entry, nowMs } = step;
    const { mappings, report } = this.#parts;
    const { mapped } = entry;
    if (mapped !== undefined && mapped.validUntilMs > nowMs) {
      if (mapped.generation === mappings.generation) {
        report.outcome("mapped");
        return this.#ended(query, mapped.answer, nowMs);
      }
    }
    const ready = mappings.fromMemory(entry, nowMs);
    if (ready !== undefined) return this.#deliver(step, ready);
    if (this.#inFlight >= IN_FLIGHT_MAX) return this.#ended(query, OVERLOADED, nowMs);
    this.#inFlight++;
    entry.mapping ??= mappings
      .ask(entry, query.client.address, this.#deadline(query))
      .finally(() => {
        entry.mapping = undefined;
      });
    return entry.mapping
      .then((result) => this.#deliver({ ...step, nowMs: this.#parts.now() }, result))
      .finally(() => {
        this.#inFlight--;
      });
  }

  #deliver(step: Step, result: MapResult): Reply {
    if (result.kind === "failed") return this.#mapFailed(step, result);
    step.entry.mapped = result;
    this.#parts.report.outcome("mapped");
    return this.#ended(step.query, result.answer, step.nowMs);
  }

  /** The name has IPREF addresses, but not of this type: never the next plugin (1.4). */
  #nodata({ query, entry, nowMs }: Step): Answer {
    this.#parts.report.outcome("nodata");
    const isOwn = query.nameEnd - NAME_START === entry.name.wire.length;
    const known = entry.nodata;
    if (isOwn && known !== undefined && known.validUntilMs > nowMs) {
      return this.#ended(query, known.answer, nowMs);
    }
    const ttlSeconds = Math.min(entry.ttlSecondsAt(nowMs), this.#parts.settings.ttlSecondsMax);
    const soa = negativeSoa(query.name, ttlSeconds);
    const answer = readyAnswer(query.name, query.type, [], [soa]);
    const validUntilMs = Math.min(nowMs + READY_MS, entry.expiresAtMs);
    if (isOwn) entry.nodata = { answer, validUntilMs };
    return this.#ended(query, answer, nowMs);
  }

  #upstreamFailed(step: Step): Reply {
    this.#parts.report.outcome("upstream_failed");
    return this.#fallBack(step, "upstream", step.entry.detail);
  }

  #mapFailed(step: Step, { cause, detail }: MapFailed): Reply {
    const { report } = this.#parts;
    if (cause === "limited") {
      const client = formatIp(step.query.client.address);
      report.outcome("limited");
      report.warn("limited-client", `${step.query.name}, asked by ${client}: ${detail}`);
    } else report.outcome(cause === "upstream" ? "upstream_failed" : "map_failed");
    return this.#fallBack(step, cause, detail);
  }

  /** The name may have IPREF addresses, but they were not obtained (1.10). */
  #fallBack({ query, next, held, nowMs }: Step, cause: MapFailure, detail: string): Reply {
    const { settings, report } = this.#parts;
    const isNext = settings.onFailure === "next";
    const action = isNext ? "the query goes on without IPREF" : "answered SERVFAIL";
    report.warn(cause, `${query.name}: ${detail}; ${action}`);
    if (!isNext) {
      const error = { code: ERROR_CODES[cause], text: ERROR_TEXTS[cause] };
      return this.#ended(query, { ...failure(RCODE_SERVFAIL, detail, error), ...UNSTORED }, nowMs);
    }
    return whenAnswered(held ?? next(query), (answer) => ({
      ...answer,
      isStorable: false,
      ttlSecondsMax: Math.min(answer.ttlSecondsMax, FALLBACK_TTL_SECONDS),
    }));
  }

  /** PTR of encoded addresses, and everything else about the encoding network (1.11). */
  #reverse(query: Query, name: Name): Answer | undefined {
    const prefix = reversePrefix(name);
    if (prefix === undefined) return undefined;
    const { settings, reverse, report } = this.#parts;
    const isOurs = isInside(settings.encodeNet, prefix);
    const isPointer = query.type === TYPE_PTR;
    if (!isOneAddress(prefix)) return isOurs ? this.#denied(query, name, true) : undefined;
    if (!isPointer && !isOurs) return undefined;
    const known = reverse.find(prefix.address, query.receivedAtMs);
    if (known === undefined) return isOurs ? this.#denied(query, name, false) : undefined;
    if (!isPointer) return this.#denied(query, name, true);
    report.outcome("ptr");
    const ttlSeconds = Math.min(PTR_TTL_SECONDS_MAX, Math.floor(known.leftMs / 1000));
    const record = pointerRecord(name, ttlSeconds, known.name);
    return this.#ended(query, answerOf({ answer: [record], isStorable: false }));
  }

  #denied(query: Query, name: Name, isNameKnown: boolean): Answer {
    this.#parts.report.outcome("ptr");
    const soa = negativeSoa(name, NODATA_TTL_SECONDS_MAX);
    return this.#ended(query, { ...negative(soa, isNameKnown, 0), isStorable: false });
  }

  #ended(query: Query, answer: Answer, nowMs = query.receivedAtMs): Answer {
    this.#parts.report.response(answer.rcode, nowMs - query.receivedAtMs);
    return answer;
  }

  /** Native addresses of IPREF names must not come along with MX, SRV and others (1.11). */
  #withoutAddresses(query: Query, answer: Answer): Answer {
    if (answer.kind === "packed" && answer.sections.additionalCount === 0) return answer;
    if (answer.kind === "records" && answer.additional.length === 0) return answer;
    const records = recordsOf(query, answer);
    if (records === undefined) return answer;
    const { scope } = this.#parts;
    const additional = records.additional.filter(
      ({ type, owner }) => (type !== TYPE_A && type !== TYPE_AAAA) || !scope.contains(owner),
    );
    return additional.length === records.additional.length ? answer : { ...records, additional };
  }

  #withoutHints(query: Query, answer: Answer): Answer {
    const records = recordsOf(query, answer);
    if (records === undefined) return answer;
    const stripped = { ...records, answer: stripHints(records.answer), isStorable: false };
    return this.#withoutAddresses(query, stripped);
  }
}

function recordsOf(query: Query, answer: Answer): RecordsAnswer | undefined {
  if (answer.kind === "records") return answer;
  return answer.kind === "packed" ? unpackAnswer(answer, query) : undefined;
}
