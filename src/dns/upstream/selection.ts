/** In which order the servers of a group are asked (spec/resolver.md 4.1, 4.2). */

import { type RandomSource, randomBelow } from "../../base/random.js";
import type { UpstreamOptions } from "../ports.js";
import type { ServerState } from "./server-state.js";

/** Chooses by policy and health. */
export class ServerSelection {
  readonly #servers: readonly ServerState[];
  readonly #options: UpstreamOptions;
  readonly #random: RandomSource;
  #turn = 0;

  constructor(servers: readonly ServerState[], options: UpstreamOptions, random: RandomSource) {
    this.#servers = servers;
    this.#options = options;
    this.#random = random;
  }

  /**
   * Servers for one question, the first to be asked first. When all are down: one at random, since
   * the checks may be what is broken, or none with `failfast_all_unhealthy_upstreams`.
   */
  order(): readonly ServerState[] {
    const usable = this.#servers.filter((server) => !server.isLooping);
    if (usable.length <= 1 && !this.#options.isFailfast) return usable;
    const healthy = usable.filter((server) => !this.isDown(server));
    if (healthy.length > 0) return this.#arrange(healthy);
    if (this.#options.isFailfast || usable.length === 0) return [];
    return [usable[randomBelow(this.#random, usable.length)]!];
  }

  /** `max_fails 0` never takes a server out. */
  isDown(server: ServerState): boolean {
    const { maxFails } = this.#options;
    return maxFails > 0 && server.failCount > maxFails;
  }

  #arrange(servers: readonly ServerState[]): readonly ServerState[] {
    if (servers.length === 1 || this.#options.policy === "sequential") return servers;
    if (this.#options.policy === "random") return shuffled(servers, this.#random);
    const start = this.#turn++ % servers.length;
    return [...servers.slice(start), ...servers.slice(0, start)];
  }
}

/** Fisher and Yates. */
function shuffled(servers: readonly ServerState[], random: RandomSource): ServerState[] {
  const order = [...servers];
  for (let last = order.length - 1; last > 0; last--) {
    const other = randomBelow(random, last + 1);
    const moved = order[last]!;
    order[last] = order[other]!;
    order[other] = moved;
  }
  return order;
}
