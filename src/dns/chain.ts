/**
 * The chain of one block: its handlers in the fixed order, joined once when the block is built, so
 * that a query costs no closure. Also what the server knows about the block.
 */

import type { Name } from "../wire/dns/name.js";
import { EDNS_SIZE_BYTES, FLAG_RA, TYPE_AXFR, TYPE_IXFR } from "../wire/dns/numbers.js";
import { NO_HANDLER, REFUSED, type Reply } from "./answer.js";
import type { BlockConfiguration } from "./configuration.js";
import type { BuildContext, Handler, Next, Outcome } from "./plugin.js";
import { underRoot } from "./plugins/root/setup.js";
import type { Environment } from "./ports.js";
import type { Query } from "./query.js";
import { CHAIN_PLUGINS, TRANSFER_CHAIN } from "./registry.js";
import type { ZoneSource } from "./zone/source.js";

/** Directives that make the server resolve for others: RA is set, the source is filtered. */
const RECURSIVE_PLUGINS = ["ipref", "forward"];

/** A running block. */
export class Chain {
  readonly configuration: BlockConfiguration;
  /** `dns://ZONE:PORT`, label of metrics. */
  readonly label: string;
  readonly handlers: readonly Handler[];
  /** Handlers that look at outcomes. */
  readonly #observers: readonly Handler[];
  readonly #first: Next;
  readonly #firstForTransfer: Next;
  /** Largest UDP reply (`bufsize`). */
  readonly sizeBytes: number;
  /** Header flags of every reply: RA in blocks with `ipref` or `forward` (spec/resolver.md 1.9). */
  readonly replyFlags: number;

  constructor(configuration: BlockConfiguration, handlers: readonly Handler[]) {
    this.configuration = configuration;
    this.label = labelOf(configuration);
    this.handlers = handlers;
    this.#observers = handlers.filter((handler) => handler.finished !== undefined);
    const end: Next = handlers.length === 0 ? () => REFUSED : () => NO_HANDLER;
    this.#first = join(handlers, end);
    const forTransfer = handlers.filter((handler) => TRANSFER_CHAIN.has(handler.name));
    this.#firstForTransfer = join(forTransfer, () => REFUSED);
    this.sizeBytes = (configuration.settings.get("bufsize") as number) ?? EDNS_SIZE_BYTES;
    const isRecursive = RECURSIVE_PLUGINS.some((name) => configuration.settings.has(name));
    this.replyFlags = isRecursive ? FLAG_RA : 0;
  }

  /** Asks the chain; may throw what a handler throws. */
  ask(query: Query): Reply {
    const isTransfer = query.type === TYPE_AXFR || query.type === TYPE_IXFR;
    return isTransfer ? this.#firstForTransfer(query) : this.#first(query);
  }

  get hasObservers(): boolean {
    return this.#observers.length > 0;
  }

  /** Tells `log`, `errors` and others. */
  finished(query: Query, outcome: Outcome): void {
    for (const handler of this.#observers) handler.finished!(query, outcome);
  }

  zoneSources(): readonly ZoneSource[] {
    return this.handlers.flatMap((handler) => handler.zoneSource ?? []);
  }
}

/** From the last handler to the first: each gets the rest as `next`. */
function join(handlers: readonly Handler[], end: Next): Next {
  return handlers.reduceRight<Next>((next, handler) => (query) => handler.handle(query, next), end);
}

function labelOf({ zones }: BlockConfiguration): string {
  const first = zones[0];
  return first === undefined ? "dns://" : `dns://${first.zone}:${first.port}`;
}

/** Asks the server again for a name (spec/resolver.md 3.3 step 5). */
export type Resolve = (query: Query, name: Name, type: number) => Reply | undefined;

/** Builds the handlers of a block; its settings must be free of errors. */
export function buildChain(
  configuration: BlockConfiguration,
  environment: Environment,
  resolve: Resolve,
): Chain {
  const { settings, zones } = configuration;
  const sources: ZoneSource[] = [];
  const context: BuildContext = {
    environment,
    zones: zones.map(({ zone }) => zone),
    serverLabel: labelOf(configuration),
    resolvePath: (path) => underRoot(settings.get("root") as string | undefined, path),
    settingsOf: (plugin) => settings.get(plugin),
    zoneSources: () => sources,
    resolve,
  };
  const handlers: Handler[] = [];
  for (const plugin of CHAIN_PLUGINS) {
    if (!settings.has(plugin.name)) continue;
    const handler = plugin.build?.(settings.get(plugin.name), context);
    if (handler !== undefined) handlers.push(handler);
  }
  sources.push(...handlers.flatMap((handler) => handler.zoneSource ?? []));
  return new Chain(configuration, handlers);
}
