/**
 * The IPREF step of a chain (spec/resolver.md 1.3, 1.4, 1.10, 1.11). A name that is known is
 * answered at once; others wait for discovery and the mapper.
 *
 *   A, AAAA        discovery → encoded addresses, NODATA, or the next plugin
 *   HTTPS, SVCB    discovery → NODATA, records without hints, or the next plugin
 *   ANY            HINFO                      PTR      table of encoded addresses
 *   TXT            the next plugin            others   the next plugin, addresses filtered
 */

import {
  EXTENDED_ERROR_NETWORK,
  EXTENDED_ERROR_OTHER,
  RCODE_NOERROR,
  RCODE_SERVFAIL,
  TYPE_A,
  TYPE_AAAA,
  TYPE_ANY,
  TYPE_HTTPS,
  TYPE_PTR,
  TYPE_SVCB,
  TYPE_TXT,
} from "../../../wire/dns/numbers.js";
import { type Name, octetsOfKey } from "../../../wire/dns/name.js";
import type { ResourceRecord } from "../../../wire/dns/record.js";
import { type Answer, answerOf, failure, negative, type Reply } from "../../answer.js";
import { type Handler, type Next, whenAnswered } from "../../plugin.js";
import type { Query } from "../../query.js";
import { unpackAnswer } from "../cache/pack.js";
import type { AaEntry, Discovery } from "./discovery.js";
import type { Deadline } from "./lookup.js";
import type { Mappings } from "./mappings.js";
import { type MapFailure, READY_MS, type ReadyAnswer, readyAnswer } from "./ready-answer.js";
import { anyRecord, negativeSoa, pointerRecord } from "./records.js";
import type { IprefOutcome, IprefReport } from "./report.js";
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
const OVERLOADED = failure(RCODE_SERVFAIL, "too many queries wait for IPREF addresses");

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
}

/** Answers ready for use, with the state of the mapper they come from. */
interface Generations {
  generation: number;
}

export class IprefHandler implements Handler {
  readonly name = "ipref";
  readonly #parts: IprefHandlerParts;
  readonly #wanted: number;
  readonly #isParallel: boolean;
  readonly #valid: Generations = { generation: 0 };
  #inFlight = 0;

  constructor(parts: IprefHandlerParts) {
    this.#parts = parts;
    this.#wanted = parts.settings.encodedVersion === 4 ? TYPE_A : TYPE_AAAA;
    this.#isParallel = parts.settings.isParallel && parts.hasForward;
  }

  start(): Promise<string | undefined> {
    return this.#parts.start();
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
      return this.#address(query, next, entry, undefined);
    }
    const { name } = query;
    const own = this.#own(query, name);
    if (own !== undefined) return own;
    if (!this.#parts.scope.contains(name)) return next(query);
    return this.#discover(query, next, name, (found, held) =>
      this.#address(query, next, found, held),
    );
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
    const { settings, scope } = this.#parts;
    const own = this.#own(query, name);
    if (own !== undefined) return own;
    if (type === TYPE_TXT) return next(query);
    if (type === TYPE_HTTPS || type === TYPE_SVCB) return this.#service(query, next, name);
    if (type === TYPE_ANY && scope.contains(name)) {
      return this.#ended(query, answerOf({ answer: [anyRecord(name)], isStorable: false }));
    }
    if (type === TYPE_ANY || settings.from.length === 0) return next(query);
    return whenAnswered(next(query), (answer) => this.#withoutAddresses(query, answer));
  }

  /** Starts discovery and, when it may save time, the ordinary question. */
  #discover(
    query: Query,
    next: Next,
    name: Name,
    use: (entry: AaEntry, held: Reply | undefined) => Reply,
  ): Reply {
    if (this.#inFlight >= IN_FLIGHT_MAX) return this.#ended(query, OVERLOADED);
    this.#inFlight++;
    const question = this.#parts.discovery.ask(name, this.#deadline(query));
    const held = this.#isParallel ? next(query) : undefined;
    // Nobody may be left to hear of a failure of the ordinary question.
    if (held instanceof Promise) held.catch(() => undefined);
    return question
      .then((entry) => use(entry, held))
      .finally(() => {
        this.#inFlight--;
      });
  }

  #deadline(query: Query): Deadline {
    const endsAtMs = query.receivedAtMs + QUERY_BUDGET_MS;
    return { remainingMs: () => endsAtMs - this.#parts.now() };
  }

  /** A or AAAA of a name of which everything is known that DNS can tell (1.4). */
  #address(query: Query, next: Next, entry: AaEntry, held: Reply | undefined): Reply {
    const { report } = this.#parts;
    if (entry.state === "none") {
      report.outcome("none");
      return held ?? next(query);
    }
    if (entry.state === "failed") return this.#upstreamFailed(query, next, entry, held);
    if (query.type !== this.#wanted) return this.#nodata(query, entry);
    return this.#mapped(query, next, entry, held);
  }

  #mapped(query: Query, next: Next, entry: AaEntry, held: Reply | undefined): Reply {
    const { mappings, report } = this.#parts;
    const nowMs = query.receivedAtMs;
    this.#checkGeneration();
    const old = entry.mapped;
    if (old?.kind === "answer" && old.validUntilMs > nowMs && this.#isCurrent(entry)) {
      report.outcome("mapped");
      return this.#ended(query, old.answer);
    }
    const ready = mappings.now(entry, nowMs);
    if (ready !== undefined) return this.#deliver(query, next, entry, held, ready);
    if (this.#inFlight >= IN_FLIGHT_MAX) return this.#ended(query, OVERLOADED);
    this.#inFlight++;
    entry.mapping ??= mappings
      .later(entry, query.client.address, this.#deadline(query))
      .finally(() => {
        entry.mapping = undefined;
      });
    return entry.mapping
      .then((result) => this.#deliver(query, next, entry, held, result))
      .finally(() => {
        this.#inFlight--;
      });
  }

  #checkGeneration(): void {
    this.#valid.generation = this.#parts.mappings.generation;
  }

  #isCurrent(entry: AaEntry): boolean {
    return entry.mappedGeneration === this.#valid.generation;
  }

  #deliver(
    query: Query,
    next: Next,
    entry: AaEntry,
    held: Reply | undefined,
    ready: ReadyAnswer,
  ): Reply {
    const { report, mappings } = this.#parts;
    if (ready.kind === "failed") return this.#mapFailed(query, next, held, entry, ready);
    entry.mapped = ready;
    entry.mappedGeneration = mappings.generation;
    report.outcome("mapped");
    return this.#ended(query, ready.answer);
  }
}
