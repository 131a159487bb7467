/** Clients for other DNS servers, for one site. */

import type {
  Clock,
  Log,
  Metrics,
  Timers,
  UpstreamOptions,
  UpstreamPort,
  UpstreamServer,
} from "../dns/ports.js";
import type { SystemRandom } from "../platform/random.js";
import type { Reactor } from "../platform/reactor.js";

export interface UpstreamParts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: SystemRandom;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** The clients of one site. */
export interface UpstreamClients {
  open(servers: readonly UpstreamServer[], options: UpstreamOptions): UpstreamPort;
  close(): void;
}

export function upstreamClients(_reactor: Reactor, _parts: UpstreamParts): UpstreamClients {
  return {
    open: () => ({
      ask: async () => ({ ok: false, failure: "network", detail: "no upstream client" }),
    }),
    close: () => {},
  };
}
