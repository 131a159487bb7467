/**
 * The world of one site: joins the platform to the ports of the DNS server. The mapper connections
 * outlive the site, because there is one for each path in the process (spec/resolver.md 1.8).
 */

import type { MetricsRegistry } from "../control/metrics/registry.js";
import { MapperClient } from "../dns/mapper-client.js";
import type { Clock, Environment, MapperPort, Timers } from "../dns/ports.js";
import type { ServerReport } from "../dns/upstream/upstreams.js";
import { monotonicMs, wallClockMs } from "../platform/clock.js";
import { systemDatagrams } from "../platform/dns-server-datagrams.js";
import { systemFiles } from "../platform/dns-server-files.js";
import { mapperTransport } from "../platform/mapper-connection.js";
import { systemRandom } from "../platform/random.js";
import type { Reactor } from "../platform/reactor.js";
import type { ProgramLog } from "./dns-log.js";
import { UpstreamClients } from "./dns-upstreams.js";

const clock: Clock = { monotonicMs, unixMs: wallClockMs };

const timers: Timers = {
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
};

/** What all sites share. */
export class DnsWorld {
  readonly log: ProgramLog;
  readonly metrics: MetricsRegistry;
  readonly random = systemRandom();
  readonly clock = clock;
  readonly #reactor: Reactor;
  readonly #mappers = new Map<string, SharedMapper>();

  constructor(reactor: Reactor, log: ProgramLog, metrics: MetricsRegistry) {
    this.#reactor = reactor;
    this.log = log;
    this.metrics = metrics;
  }

  /** An environment for one site, what is known of its upstream servers, and its end. */
  environment(): {
    readonly environment: Environment;
    upstreams(): readonly ServerReport[];
    close(): void;
  } {
    const { log, metrics, random } = this;
    const upstreams = new UpstreamClients(this.#reactor, {
      clock,
      timers,
      random,
      log,
      metrics,
    });
    const leases: SharedMapper[] = [];
    const listeners = new Set<() => void>();
    const environment: Environment = {
      clock,
      timers,
      random,
      log,
      files: systemFiles,
      datagrams: systemDatagrams,
      metrics,
      upstream: (servers, options) => upstreams.groups.group(servers, options),
      mapper: (path) => {
        const shared = this.#mapper(path);
        leases.push(shared);
        return shared.lease(listeners);
      },
    };
    const close = (): void => {
      upstreams.close();
      for (const shared of leases) shared.forget(listeners);
    };
    return { environment, upstreams: () => upstreams.groups.report(), close };
  }

  /** The mapper connections of the process. */
  mappers(): { readonly socket: string; readonly isReady: boolean }[] {
    return [...this.#mappers].map(([socket, { isReady }]) => ({ socket, isReady }));
  }

  #mapper(path: string): SharedMapper {
    let shared = this.#mappers.get(path);
    if (shared === undefined) {
      const transport = mapperTransport(this.#reactor, path);
      const { log, metrics, random } = this;
      const client = new MapperClient({ path, transport, clock, timers, random, log, metrics });
      client.start();
      shared = new SharedMapper(client);
      this.#mappers.set(path, shared);
    }
    return shared;
  }

  close(): void {
    for (const shared of this.#mappers.values()) shared.close();
    this.#mappers.clear();
  }
}

/** One mapper connection; sites come and go. */
class SharedMapper {
  readonly #client: MapperClient;
  readonly #sites = new Set<Set<() => void>>();

  constructor(client: MapperClient) {
    this.#client = client;
    client.onLost(() => {
      for (const listeners of this.#sites) for (const listener of listeners) listener();
    });
  }

  get isReady(): boolean {
    return this.#client.isReady;
  }

  /** The mapper as one site sees it. */
  lease(listeners: Set<() => void>): MapperPort {
    this.#sites.add(listeners);
    const client = this.#client;
    return {
      getEncodedAddress: (context, reference, name, version) =>
        client.getEncodedAddress(context, reference, name, version),
      get isReady() {
        return client.isReady;
      },
      onLost: (listener) => void listeners.add(listener),
    };
  }

  forget(listeners: Set<() => void>): void {
    this.#sites.delete(listeners);
  }

  close(): void {
    this.#client.close();
  }
}
