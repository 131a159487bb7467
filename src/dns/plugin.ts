/**
 * The interfaces that the DNS server is built from (spec/resolver.md 1.1).
 *
 *   receive → accept → source filter, rate limit → EDNS → choose block → chain → finish → send
 *   chain:  errors log acl any cache transfer hosts file auto ipref loop forward whoami
 *
 * Life of a directive
 * 1. corefile/ turns the text into blocks of directives; words keep their places.
 * 2. `Plugin.parse` reads all occurrences of its directive in one block into settings. It touches
 *    nothing outside and reports every problem, so `-check` is this step alone.
 * 3. `Plugin.build` turns settings and the environment into a `Handler`, a link of the chain.
 *    Directives that only change the block (`bind`, `debug`, `root`) have no `build`.
 * 4. `Handler.start` loads what the handler serves; the sockets open afterwards.
 *
 * Life of a query
 * - `Handler.handle(query, next)` returns an answer, a promise of one, or `next(query)`.
 * - **The fast path is synchronous.** Whoever can answer from memory returns the answer itself;
 *   a promise is made only by handlers that wait for somebody outside. A handler that looks at the
 *   answer of `next` treats the plain answer without a promise; `whenAnswered` does both.
 * - Until `handle` returns, the query borrows the receive buffer; the server copies it when a
 *   promise comes back. Handlers may therefore always use the query later.
 * - Answers are immutable and may be shared between clients.
 * - AXFR and IXFR run through `errors log acl transfer` only.
 *
 * Each plugin has a folder plugins/<name>/ with README.md, setup.ts (parse, build) and handler.ts;
 * registry.ts lists them in chain order. The code is pure: time, chance, files and sockets come
 * from `Environment` (ports.ts).
 */

import type { Name } from "../wire/dns/name.js";
import type { Answer, Reply } from "./answer.js";
import type { BlockKey, Directive, Position } from "./corefile/structure.js";
import type { Environment } from "./ports.js";
import type { Query } from "./query.js";
import type { ZoneSource } from "./zone/source.js";

/** The rest of the chain. */
export type Next = (query: Query) => Reply;

/** What became of a query; for `log`, `errors` and metrics. */
export interface Outcome {
  readonly answer: Answer;
  /** As written, after truncation. */
  readonly rcode: number;
  /** Header flags of the reply. */
  readonly flags: number;
  /** Octets of the reply; 0 when none was sent. */
  readonly replyBytes: number;
  readonly durationMs: number;
}

/** One link of a chain. */
export interface Handler {
  readonly name: string;
  handle(query: Query, next: Next): Reply;
  /** Called after the reply of each query that entered the chain was written. */
  finished?(query: Query, outcome: Outcome): void;
  /** Loads what is served; resolves with a complaint when the server must not start. */
  start?(): Promise<string | undefined>;
  /** Ends timers; the handler is not used afterwards. */
  stop?(): void;
  /** False while the handler waits for something (`ready`). */
  isReady?(): boolean;
  /** Looks for changed files now (SIGHUP, SIGUSR1). */
  reload?(): Promise<void>;
  /** Zones that this handler serves, for `transfer`. */
  readonly zoneSource?: ZoneSource;
}

/** Complaints collector of one configuration. */
export interface Complaints {
  error(position: Position, message: string): void;
  warning(position: Position, message: string): void;
}

/** What `parse` knows about its block. */
export interface ParseContext extends Complaints {
  readonly keys: readonly BlockKey[];
  /** All zones of the block's keys. */
  readonly zones: readonly Name[];
}

/** Other links and services of the block under construction. */
export interface BuildContext {
  readonly environment: Environment;
  /** Zones of the block. */
  readonly zones: readonly Name[];
  /** `dns://ZONE:PORT` of the first key, the label `server` of CoreDNS's metrics. */
  readonly serverLabel: string;
  /** Path with `root` applied. */
  resolvePath(path: string): string;
  /** Settings of another directive of the block; undefined when it is absent. */
  settingsOf(plugin: string): unknown;
  /** Every zone of this block's handlers, known when queries arrive; longest match by caller. */
  zoneSources(): readonly ZoneSource[];
  /**
   * Asks the server itself on behalf of `query` (spec/resolver.md 3.3 step 5). Gives SERVFAIL
   * beyond `RESOLVE_DEPTH_MAX`, undefined when no block serves the name.
   */
  resolve(query: Query, name: Name, type: number): Reply | undefined;
}

/** A directive that the server knows. */
export interface Plugin<Settings = unknown> {
  readonly name: string;
  /** The directive may stand only once in a block. */
  readonly isOnce: boolean;
  /** Reads all occurrences in one block, in order; undefined when errors were reported. */
  parse(occurrences: readonly Directive[], context: ParseContext): Settings | undefined;
  /** Makes the link of the chain; undefined when these settings need none. */
  build?(settings: Settings, context: BuildContext): Handler | undefined;
}

/** Forgets the settings type, which only the plugin itself needs to know. */
export function definePlugin<Settings>(plugin: Plugin<Settings>): Plugin {
  const { build } = plugin;
  return {
    name: plugin.name,
    isOnce: plugin.isOnce,
    parse: (occurrences, context) => plugin.parse(occurrences, context),
    ...(build && { build: (settings, context) => build(settings as Settings, context) }),
  };
}

/** Applies `change` to an answer now or when it comes; makes no promise of its own for the first. */
export function whenAnswered(reply: Reply, change: (answer: Answer) => Answer): Reply {
  return reply instanceof Promise ? reply.then(change) : change(reply);
}
