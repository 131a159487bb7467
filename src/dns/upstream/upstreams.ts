/**
 * All groups of servers of a process. Blocks with equal servers and options share one group and so
 * its health state and connections.
 */

import type { UpstreamOptions, UpstreamPort, UpstreamServer } from "../ports.js";
import { UpstreamGroup, type UpstreamWorld } from "./group.js";
import { serverLabel } from "./server-state.js";

/** State of one server of a group, for status displays. */
export interface ServerReport {
  readonly label: string;
  readonly isDown: boolean;
  readonly isLooping: boolean;
  readonly failCount: number;
}

/** Makes and keeps groups. */
export class Upstreams {
  readonly #world: UpstreamWorld;
  readonly #groups = new Map<string, UpstreamGroup>();

  constructor(world: UpstreamWorld) {
    this.#world = world;
  }

  /** The group for these servers (at least one); what `Environment.upstream` calls. */
  group(servers: readonly UpstreamServer[], options: UpstreamOptions): UpstreamPort {
    const key = groupKey(servers, options);
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = new UpstreamGroup(servers, options, this.#world);
      this.#groups.set(key, group);
    }
    return group;
  }

  /** State of all servers, group by group. */
  report(): ServerReport[] {
    return [...this.#groups.values()].flatMap((group) =>
      group.servers.map((server) => ({
        label: server.label,
        isDown: group.isDown(server),
        isLooping: server.isLooping,
        failCount: server.failCount,
      })),
    );
  }

  /** Ends all groups and what they have in flight. */
  stop(): void {
    for (const group of this.#groups.values()) group.stop();
    this.#groups.clear();
  }
}

function groupKey(servers: readonly UpstreamServer[], options: UpstreamOptions): string {
  const { healthCheckName, ...rest } = options;
  const names = servers.map((server) => [serverLabel(server), server.tlsServerName]);
  return JSON.stringify([names, healthCheckName.key, rest]);
}
