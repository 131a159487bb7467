/**
 * One running configuration: all blocks with their chains. On reload a new site is built and
 * started beside the old one, takes over the listeners, and the old one is stopped.
 */

import type { Name } from "../wire/dns/name.js";
import { RCODE_SERVFAIL } from "../wire/dns/numbers.js";
import { failure, type Reply, unpackAnswer } from "./answer.js";
import { buildChain, type Chain } from "./chain.js";
import type { Configuration } from "./configuration.js";
import { whenAnswered } from "./plugin.js";
import type { Environment } from "./ports.js";
import { type Query, RESOLVE_DEPTH_MAX } from "./query.js";
import { Routes } from "./server/routes.js";
import type { SourceFilter } from "./server/source-filter.js";

export class Site {
  readonly configuration: Configuration;
  readonly chains: readonly Chain[];
  readonly #filter: SourceFilter;
  /** Routes by port, for questions that the server asks itself. */
  readonly #routes = new Map<number, Routes>();

  /** The configuration must be free of errors. */
  constructor(configuration: Configuration, environment: Environment, filter: SourceFilter) {
    this.configuration = configuration;
    this.#filter = filter;
    this.chains = configuration.blocks.map((block) =>
      buildChain(block, environment, (query, name, type) => this.#resolve(query, name, type)),
    );
    for (const chain of this.chains) {
      for (const { zone, port } of chain.configuration.zones) {
        const routes = this.#routes.get(port) ?? new Routes();
        routes.add(zone.key, chain);
        this.#routes.set(port, routes);
      }
    }
  }

  /** Loads everything that is served; returns the complaints that must stop the start. */
  async start(): Promise<readonly string[]> {
    const handlers = this.chains.flatMap((chain) => chain.handlers);
    const complaints = await Promise.all(handlers.map((handler) => handler.start?.()));
    return complaints.filter((complaint) => complaint !== undefined);
  }

  stop(): void {
    for (const chain of this.chains) for (const handler of chain.handlers) handler.stop?.();
  }

  /** Looks for changed zones and hosts now. */
  async reload(): Promise<void> {
    const handlers = this.chains.flatMap((chain) => chain.handlers);
    await Promise.all(handlers.map((handler) => handler.reload?.()));
  }

  /** Names of handlers that wait for something (`ready`). */
  waitingFor(): readonly string[] {
    const handlers = this.chains.flatMap((chain) => chain.handlers);
    const waiting = handlers.filter((handler) => handler.isReady?.() === false);
    return [...new Set(waiting.map((handler) => handler.name))].sort();
  }

  /**
   * spec/resolver.md 3.3 step 5: blocks on the port that the client asked. A CNAME must not open a
   * block to sources that may not ask it.
   */
  #resolve(query: Query, name: Name, type: number): Reply | undefined {
    if (query.depth >= RESOLVE_DEPTH_MAX) return failure(RCODE_SERVFAIL, "CNAME chain too long");
    const routes = this.#routes.get(query.origin.local.port);
    const chain = routes?.select(name.key, type);
    if (chain === undefined) return undefined;
    if (!this.#filter.isAllowed(chain.configuration, query.client.address)) return undefined;
    const inner = query.derive(name, type);
    return whenAnswered(chain.ask(inner), (answer) =>
      answer.kind === "packed" ? unpackAnswer(answer, inner) : answer,
    );
  }
}
