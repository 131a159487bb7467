/** `GET /status` of the DNS server. */

import type { ResolverStatus, UpstreamReport } from "../control/inspection/part-status.js";
import type { Chain } from "../dns/chain.js";
import { CacheHandler } from "../dns/plugins/cache/handler.js";
import { programVersion } from "../platform/version.js";
import { describeEndpoint } from "./dns-listening.js";
import type { ServiceFacts } from "./dns-service.js";

/** The whole answer. */
export function resolverStatus(facts: ServiceFacts): ResolverStatus {
  const upstreams = upstreamReports(facts);
  const problems = problemsOf(facts, upstreams);
  return {
    part: "resolver",
    version: programVersion(),
    pid: process.pid,
    uptimeSeconds: Math.round(process.uptime()),
    isHealthy: problems.length === 0,
    problems,
    listening: facts.endpoints.map(describeEndpoint).sort(),
    blocks: facts.chains.map(({ configuration }) => ({
      zones: configuration.zones.map(({ zone, port }) => `${zone}:${port}`),
      plugins: [...configuration.settings.keys()],
    })),
    upstreams,
    cacheEntries: facts.chains.reduce((sum, chain) => sum + cacheEntries(chain), 0),
    queriesInFlight: facts.queriesInFlight,
    tcpConnections: facts.tcpConnections,
    mappers: facts.mappers,
  };
}

function cacheEntries({ handlers }: Chain): number {
  const caches = handlers.filter((handler) => handler instanceof CacheHandler);
  return caches.reduce((sum, cache) => sum + cache.entryCount, 0);
}

/** A server that several groups ask is told once: down when all of them have given it up. */
function upstreamReports({ upstreams }: ServiceFacts): UpstreamReport[] {
  const byServer = new Map<string, UpstreamReport>();
  for (const { label, isDown, isLooping, failCount } of upstreams) {
    const known = byServer.get(label);
    byServer.set(label, {
      server: label,
      isDown: isDown && known?.isDown !== false,
      isLooping: isLooping || known?.isLooping === true,
      failedChecks: Math.max(failCount, known?.failedChecks ?? 0),
    });
  }
  return [...byServer.values()];
}

function problemsOf(facts: ServiceFacts, upstreams: readonly UpstreamReport[]): string[] {
  const problems: string[] = [];
  const { waitingFor, mappers, endpoints } = facts;
  if (waitingFor.length > 0) problems.push(`Not ready: waits for ${waitingFor.join(", ")}`);
  if (endpoints.length === 0) problems.push("Listens nowhere");
  for (const { socket, isReady } of mappers) {
    if (!isReady) problems.push(`The gateway's mapper at ${socket} does not answer`);
  }
  const useless = upstreams.filter(({ isDown, isLooping }) => isDown || isLooping);
  if (upstreams.length > 0 && useless.length === upstreams.length) {
    problems.push(`No server answers: ${useless.map(({ server }) => server).join(", ")}`);
  }
  for (const { server, isLooping } of upstreams) {
    if (isLooping) problems.push(`The server ${server} leads back to this one`);
  }
  return problems;
}
