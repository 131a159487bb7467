/**
 * The HTTP endpoints of `health`, `ready` and `prometheus` (spec/resolver.md 2.6). Several blocks
 * may name one address; it is opened once and serves all their paths.
 */

import { formatIp, type IpAddress } from "../base/ip.js";
import type { Configuration } from "../dns/configuration.js";
import type { HealthSettings } from "../dns/plugins/health/setup.js";
import type { HttpAddress } from "../dns/plugins/http-address.js";
import { HttpEndpoint, type HttpReply } from "../platform/http-endpoint.js";
import { SystemCallError } from "../platform/system-error.js";

/** Where the answers come from. */
export interface EndpointSources {
  /** What the server waits for; empty when it is ready. */
  waitingFor(): readonly string[];
  metricsText(): string;
  /** Sources of spec/resolver.md 5.1. */
  isLocalSource(client: IpAddress): boolean;
}

/** Content type of the text format of Prometheus, 0.0.4. */
const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

const PATHS = { health: "/health", ready: "/ready", prometheus: "/metrics" } as const;
type Directive = keyof typeof PATHS;

interface Wanted {
  readonly listen: HttpAddress;
  readonly paths: Map<string, () => HttpReply>;
}

/** All HTTP ports of the process. */
export class DnsEndpoints {
  readonly #sources: EndpointSources;
  #open = new Map<string, HttpEndpoint>();

  constructor(sources: EndpointSources) {
    this.#sources = sources;
  }

  /** Makes the ports fit the configuration; on an error those of before stay. */
  async apply(configuration: Configuration): Promise<SystemCallError | undefined> {
    const wanted = this.#wanted(configuration);
    const opened = new Map<string, HttpEndpoint>();
    for (const [key, { listen, paths }] of wanted) {
      if (this.#open.has(key)) continue;
      const mayAsk = (client: IpAddress) => this.#sources.isLocalSource(client);
      try {
        opened.set(key, await HttpEndpoint.open(listen, paths, mayAsk));
      } catch (error) {
        for (const endpoint of opened.values()) endpoint.close();
        if (error instanceof SystemCallError) return error;
        throw error;
      }
    }
    for (const [key, endpoint] of this.#open) {
      const paths = wanted.get(key)?.paths;
      if (paths === undefined) endpoint.close();
      else opened.set(key, endpoint);
      if (paths !== undefined) endpoint.paths = paths;
    }
    this.#open = opened;
    return undefined;
  }

  #wanted(configuration: Configuration): Map<string, Wanted> {
    const wanted = new Map<string, Wanted>();
    for (const { settings } of configuration.blocks) {
      for (const directive of Object.keys(PATHS) as Directive[]) {
        const found = settings.get(directive) as { readonly listen?: HttpAddress } | undefined;
        const listen = found?.listen;
        if (listen === undefined) continue;
        const address = listen.address === undefined ? "" : formatIp(listen.address);
        const key = `${address}:${listen.port}`;
        const entry = wanted.get(key) ?? { listen, paths: new Map() };
        entry.paths.set(PATHS[directive], () => this.#answer(directive));
        wanted.set(key, entry);
      }
    }
    return wanted;
  }

  #answer(directive: Directive): HttpReply {
    if (directive === "health") return text(200, "OK");
    if (directive === "prometheus") {
      return { status: 200, contentType: METRICS_TYPE, body: this.#sources.metricsText() };
    }
    const waiting = this.#sources.waitingFor();
    return waiting.length === 0 ? text(200, "OK") : text(503, waiting.join(","));
  }

  close(): void {
    for (const endpoint of this.#open.values()) endpoint.close();
    this.#open.clear();
  }
}

/** How long to go on answering after the order to end (`lameduck`). */
export function lameduckMs(configuration: Configuration): number {
  const times = configuration.blocks.map(({ settings }) => {
    return (settings.get("health") as HealthSettings | undefined)?.lameduckMs ?? 0;
  });
  return Math.max(0, ...times);
}

function text(status: number, body: string): HttpReply {
  return { status, contentType: "text/plain; charset=utf-8", body };
}
