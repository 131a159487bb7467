/**
 * `forward FROM TO... { … }` (spec/resolver.md 4.1). May repeat; the first one in file order whose
 * FROM matches takes the query.
 */

import { type Name, nameOf } from "../../../wire/dns/name.js";
import { rcodeNumber } from "../../../wire/dns/numbers.js";
import type { Directive, Word } from "../../corefile/structure.js";
import {
  choiceOf,
  durationOf,
  expectCount,
  numberOf,
  type PropertyReader,
  readProperties,
  zoneListOf,
  zonesOf,
} from "../../corefile/words.js";
import { definePlugin, type ParseContext } from "../../plugin.js";
import type { UpstreamOptions } from "../../ports.js";
import { CONCURRENT_MAX } from "../../upstream/limits.js";
import { type UpstreamTarget, upstreamsOf } from "../upstream-servers.js";
import { ForwardHandler } from "./handler.js";

/** One `forward` line. */
export interface ForwardRule {
  readonly from: Name;
  readonly except: readonly Name[];
  readonly to: readonly UpstreamTarget[];
  readonly tlsServerName: string | undefined;
  /** Response codes that pass the query to the next `forward`. */
  readonly nextRcodes: ReadonlySet<number>;
  readonly options: UpstreamOptions;
}

export type ForwardSettings = readonly ForwardRule[];

/** spec/resolver.md 4.1. */
const SERVERS_MAX = 15;
/** Options without any property; also those of `ipref` upstreams. */
export const UPSTREAM_DEFAULTS: UpstreamOptions = {
  policy: "random",
  isTcpForced: false,
  maxFails: 2,
  expireMs: 10_000,
  healthCheckMs: 500,
  healthCheckName: nameOf("."),
  isHealthCheckRecursive: true,
  concurrentMax: CONCURRENT_MAX,
  isFailfast: false,
  isRefusalRetried: false,
  tls: undefined,
};

type Draft<Settings> = { -readonly [Field in keyof Settings]: Settings[Field] };

interface RuleDraft {
  readonly options: Draft<UpstreamOptions>;
  readonly except: Name[];
  readonly nextRcodes: Set<number>;
  tlsServerName: string | undefined;
}

export const forwardPlugin = definePlugin<ForwardSettings>({
  name: "forward",
  isOnce: false,
  parse(occurrences, context) {
    const rules = occurrences.flatMap((directive) => readRule(directive, context) ?? []);
    const last = occurrences.at(-1);
    const next = last?.lines.find((line) => line.words[0]!.text === "next");
    if (next !== undefined) {
      const { position } = next.words[0]!;
      context.error(position, "Found 'next' in the last 'forward', expected another one behind it");
    }
    return rules;
  },
  build: (rules, context) => new ForwardHandler(rules, context),
});

function readRule(directive: Directive, context: ParseContext): ForwardRule | undefined {
  const { args, name } = directive;
  if (!expectCount(args, name, 2, SERVERS_MAX + 1, context)) return undefined;
  const zones = zonesOf(args[0]!, context);
  const to = upstreamsOf(args.slice(1), context);
  const draft: RuleDraft = {
    options: { ...UPSTREAM_DEFAULTS },
    except: [],
    nextRcodes: new Set(),
    tlsServerName: undefined,
  };
  readProperties(directive.lines, ruleReaders(draft, context), context);
  if (zones === undefined || to.length === 0) return undefined;
  if (zones.length > 1) {
    const { text, position } = args[0]!;
    const several = `Found the prefix '${text}', which covers several zones`;
    context.warning(position, `${several}; only ${zones[0]} is forwarded`);
  }
  return { from: zones[0]!, to, ...draft };
}

function ruleReaders(draft: RuleDraft, context: ParseContext): Record<string, PropertyReader> {
  const { options } = draft;
  /** A property with exactly one argument. */
  const one =
    (read: (word: Word) => void): PropertyReader =>
    (args, name) => {
      if (expectCount(args, name, 1, 1, context)) read(args[0]!);
    };
  const flag =
    (set: () => void): PropertyReader =>
    (args, name) => {
      if (expectCount(args, name, 0, 0, context)) set();
    };
  return {
    except: (args, name) => {
      expectCount(args, name, 1, Number.POSITIVE_INFINITY, context);
      draft.except.push(...zoneListOf(args, [], context));
    },
    force_tcp: flag(() => {
      options.isTcpForced = true;
    }),
    // UDP comes first anyway (spec/resolver.md 4.2).
    prefer_udp: flag(() => {}),
    failfast_all_unhealthy_upstreams: flag(() => {
      options.isFailfast = true;
    }),
    expire: one((word) => {
      options.expireMs = durationOf(word, context, 1) ?? options.expireMs;
    }),
    max_fails: one((word) => {
      options.maxFails = numberOf(word, 0, 1_000_000, context) ?? options.maxFails;
    }),
    max_concurrent: one((word) => {
      const limit = numberOf(word, 0, 1_000_000, context) ?? 0;
      options.concurrentMax = limit === 0 ? CONCURRENT_MAX : Math.min(limit, CONCURRENT_MAX);
    }),
    policy: one((word) => {
      const choices = ["random", "round_robin", "sequential"] as const;
      options.policy = choiceOf(word, choices, context) ?? options.policy;
    }),
    tls_servername: one((word) => {
      draft.tlsServerName = word.text;
    }),
    tls: (args, name) => {
      if (expectCount(args, name, 0, 3, context)) readTls(args, options);
    },
    health_check: (args, name) => {
      if (expectCount(args, name, 1, 4, context)) readHealthCheck(args, options, context);
    },
    next: (args, name) => {
      expectCount(args, name, 1, Number.POSITIVE_INFINITY, context);
      for (const word of args) readNext(word, draft, context);
    },
  };
}

/** `tls`, `tls CA`, `tls CERT KEY`, `tls CERT KEY CA`. */
function readTls(args: readonly Word[], options: Draft<UpstreamOptions>): void {
  const texts = args.map((word) => word.text);
  const [certificatePath, keyPath] = texts.length > 1 ? texts : [];
  const authorityPath = texts.length === 1 ? texts[0] : texts[2];
  options.tls = { certificatePath, keyPath, authorityPath };
}

/** `health_check DUR [no_rec] [domain NAME]`. */
function readHealthCheck(
  args: readonly Word[],
  options: Draft<UpstreamOptions>,
  context: ParseContext,
): void {
  options.healthCheckMs = durationOf(args[0]!, context, 1) ?? options.healthCheckMs;
  for (let index = 1; index < args.length; index++) {
    const word = args[index]!;
    const choice = choiceOf(word, ["no_rec", "domain"], context);
    if (choice === "no_rec") options.isHealthCheckRecursive = false;
    if (choice !== "domain") continue;
    const target = args[++index];
    if (target === undefined) expectCount([], word, 1, 1, context);
    else options.healthCheckName = zonesOf(target, context)?.[0] ?? options.healthCheckName;
  }
}

function readNext(word: Word, draft: RuleDraft, context: ParseContext): void {
  const rcode = rcodeNumber(word.text);
  if (rcode !== undefined) draft.nextRcodes.add(rcode);
  else {
    context.error(word.position, `Found '${word.text}', expected a response code such as NXDOMAIN`);
  }
}
