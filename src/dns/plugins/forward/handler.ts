/**
 * Passes queries on to other servers (spec/resolver.md 4). The reply travels in wire form: checked,
 * its question spelled as the client spelled it, its OPT replaced when the answer is written.
 */

import { packMessage } from "../../../wire/dns/message.js";
import type { Name } from "../../../wire/dns/name.js";
import {
  EXTENDED_ERROR_NETWORK,
  FLAG_AA,
  FLAG_AD,
  FLAG_TC,
  RCODE_REFUSED,
  RCODE_SERVFAIL,
  TYPE_SOA,
} from "../../../wire/dns/numbers.js";
import { type Answer, answerOfMessage, failure, type Reply } from "../../answer.js";
import type { BuildContext, Handler, Next } from "../../plugin.js";
import type {
  Clock,
  Environment,
  UpstreamPort,
  UpstreamReply,
  UpstreamResult,
  UpstreamServer,
} from "../../ports.js";
import type { Query } from "../../query.js";
import { CONCURRENT_MAX } from "../../upstream/limits.js";
import { probeAfterStart } from "../../upstream/loop-guard.js";
import { parseResolvConf } from "../upstream-servers.js";
import type { ForwardRule } from "./setup.js";

/** spec/resolver.md 4.2: the whole of one client query. */
const BUDGET_MS = 4000;

/** Header flags of the reply that the client sees; RA, RD and CD are the server's. */
const FLAGS_RELAYED = FLAG_AA | FLAG_TC | FLAG_AD;

const TTL_UNLIMITED = 0x7fff_ffff;

/** A rule with the servers behind it; undefined until a resolv.conf was read. */
interface Route {
  readonly rule: ForwardRule;
  readonly isCatchAll: boolean;
  upstream: UpstreamPort | undefined;
}

export class ForwardHandler implements Handler {
  readonly name = "forward";
  readonly #environment: Environment;
  readonly #clock: Clock;
  readonly #routes: readonly Route[];
  /** The block has `loop`. */
  readonly #hasLoopGuard: boolean;
  readonly #cancels: (() => void)[] = [];

  constructor(rules: readonly ForwardRule[], context: BuildContext) {
    this.#environment = context.environment;
    this.#clock = context.environment.clock;
    this.#hasLoopGuard = context.settingsOf("loop") !== undefined;
    this.#routes = rules.map((rule) => ({
      rule,
      isCatchAll: rule.from.isRoot && rule.except.length === 0,
      upstream: undefined,
    }));
  }

  async start(): Promise<string | undefined> {
    for (const route of this.#routes) {
      const complaint = await this.#startRoute(route);
      if (complaint !== undefined) return complaint;
    }
    return undefined;
  }

  stop(): void {
    for (const cancel of this.#cancels) cancel();
  }

  isReady(): boolean {
    return this.#routes.every((route) => route.upstream !== undefined);
  }

  handle(query: Query, next: Next): Reply {
    const index = this.#routeIndex(query, 0);
    return index < 0 ? next(query) : this.#ask(query, index);
  }

  async #startRoute(route: Route): Promise<string | undefined> {
    const { rule } = route;
    const complaint = await this.#checkTlsFiles(rule);
    if (complaint !== undefined) return complaint;
    const servers = await this.#serversOf(rule);
    if (typeof servers === "string") return servers;
    const upstream = this.#environment.upstream(servers, rule.options);
    route.upstream = upstream;
    if (this.#hasLoopGuard) {
      this.#cancels.push(probeAfterStart(this.#environment, upstream, rule.from));
    }
    return undefined;
  }

  async #checkTlsFiles({ options }: ForwardRule): Promise<string | undefined> {
    const { tls } = options;
    for (const path of [tls?.certificatePath, tls?.keyPath, tls?.authorityPath]) {
      if (path === undefined) continue;
      const read = await this.#environment.files.read(path);
      if (!read.ok) return `Cannot read '${path}' for 'forward': ${read.error}`;
    }
    return undefined;
  }

  /** Servers in the order of the line; a text when a resolv.conf gives none. */
  async #serversOf(rule: ForwardRule): Promise<UpstreamServer[] | string> {
    const servers: UpstreamServer[] = [];
    for (const target of rule.to) {
      if (target.kind === "server") {
        servers.push(withTlsName(target.server, rule.tlsServerName));
        continue;
      }
      const read = await this.#environment.files.read(target.path);
      if (!read.ok) return `Cannot read '${target.path}' for 'forward': ${read.error}`;
      const found = parseResolvConf(textOf(read.bytes));
      if (found.length === 0)
        return `Found no nameserver in '${target.path}', expected at least one`;
      servers.push(...found);
    }
    return servers;
  }

  /** The first rule from `start` on that takes the query; -1 when none does. */
  #routeIndex(query: Query, start: number): number {
    for (let index = start; index < this.#routes.length; index++) {
      const { isCatchAll, rule } = this.#routes[index]!;
      if (isCatchAll || takes(rule, query.name)) return index;
    }
    return -1;
  }

  #ask(query: Query, index: number): Reply {
    const { rule, upstream } = this.#routes[index]!;
    if (upstream === undefined) return failure(RCODE_SERVFAIL, "forward has not started");
    const spentMs = this.#clock.monotonicMs() - query.receivedAtMs;
    const question = {
      name: query.name,
      type: query.type,
      isRecursionDesired: query.isRecursionDesired,
      isCheckingDisabled: query.isCheckingDisabled,
      isDnssecOk: query.isDnssecOk,
      isAuthenticDataWanted: (query.flags & FLAG_AD) !== 0,
      budgetMs: Math.max(0, BUDGET_MS - spentMs),
    };
    return upstream.ask(question).then((result) => this.#answer(query, index, rule, result));
  }

  #answer(query: Query, index: number, rule: ForwardRule, result: UpstreamResult): Reply {
    if (!result.ok) return failureAnswer(rule, result);
    const rcode = result.rcode ?? result.message.rcode;
    if (rule.nextRcodes.has(rcode)) {
      const other = this.#routeIndex(query, index + 1);
      if (other >= 0) return this.#ask(query, other);
    }
    return relay(query.name, result, rcode);
  }
}

function takes(rule: ForwardRule, name: Name): boolean {
  return name.isWithin(rule.from) && !rule.except.some((zone) => name.isWithin(zone));
}

function withTlsName(server: UpstreamServer, tlsServerName: string | undefined): UpstreamServer {
  if (server.transport !== "tls" || server.tlsServerName !== undefined) return server;
  return { ...server, tlsServerName };
}

/** Bytes of a file as characters; what is not ASCII cannot match an address. */
function textOf(bytes: Uint8Array): string {
  let text = "";
  for (const octet of bytes) text += String.fromCharCode(octet);
  return text;
}

/** A reply as the client gets it. */
export function relay(name: Name, reply: UpstreamReply, rcode: number): Answer {
  const flags = (reply.flags ?? reply.message.flags) & FLAGS_RELAYED;
  const sections =
    "sections" in reply ? reply.sections : packMessage(reply.bytes, reply.bytes.length);
  if (sections === undefined) {
    const answer = answerOfMessage(reply.message, flags);
    return { ...answer, isStorable: isStorable(name, reply) };
  }
  const isNegative = sections.answerCount === 0 && sections.authorityCount > 0;
  return {
    kind: "packed",
    rcode,
    flags,
    isStorable: (flags & FLAG_TC) === 0 && (!isNegative || isStorable(name, reply)),
    ttlSecondsMax: TTL_UNLIMITED,
    extendedError: undefined,
    cause: undefined,
    sections,
    ageSeconds: 0,
  };
}

/** A negative answer needs an SOA from above the name (spec/resolver.md 4.4). */
function isStorable(name: Name, { message }: UpstreamReply): boolean {
  if (message.answer.length > 0) return true;
  return message.authority.every(({ type, owner }) => type !== TYPE_SOA || name.isWithin(owner));
}

function failureAnswer(rule: ForwardRule, result: UpstreamResult & { ok: false }): Answer {
  const cause = `${result.failure}: ${result.detail}`;
  if (result.failure === "overload") {
    // spec/resolver.md 4.2 for a limit that the Corefile sets, 1.14 for the built-in one.
    const isOwnLimit = rule.options.concurrentMax < CONCURRENT_MAX;
    const rcode = isOwnLimit ? RCODE_REFUSED : RCODE_SERVFAIL;
    return { ...failure(rcode, cause), isStorable: false };
  }
  return failure(RCODE_SERVFAIL, cause, { code: EXTENDED_ERROR_NETWORK, text: "" });
}
