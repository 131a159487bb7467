/** The machine that the DNS agent runs on: joins the platform layer to the ports of the agent. */

import { createHmac } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { AgentFiles, AgentLog, AgentWorld, Timers } from "../agent/ports.js";
import { type ResolverServer, serverResolver, systemResolver } from "../platform/agent-resolver.js";
import { tcpStreams } from "../platform/agent-streams.js";
import { monotonicMs, wallClockMs } from "../platform/clock.js";
import { FileWatch } from "../platform/file-watch.js";
import { mapperTransport } from "../platform/mapper-connection.js";
import { systemRandom } from "../platform/random.js";
import type { Reactor } from "../platform/reactor.js";

/** Pause after the last change of a zone file before it is read. */
const FILE_DEBOUNCE_MS = 500;

/** What the real world of an agent is made of. */
export interface AgentMachine {
  readonly reactor: Reactor;
  readonly mapperPath: string;
  /** Empty: the system's. */
  readonly resolvers: readonly ResolverServer[];
  readonly localResolvers: readonly ResolverServer[];
  readonly log: AgentLog;
}

/** The real world. `reactor` dispatches the mapper's socket and stays owned by the caller. */
export function systemAgentWorld(machine: AgentMachine): AgentWorld {
  const { reactor, mapperPath, resolvers, localResolvers, log } = machine;
  return {
    clock: { monotonicMs, unixSeconds: () => Math.floor(wallClockMs() / 1000) },
    timers: systemTimers,
    random: systemRandom(),
    log,
    publicResolver: resolvers.length > 0 ? serverResolver(resolvers) : systemResolver(),
    localResolver: localResolvers.length > 0 ? serverResolver(localResolvers) : systemResolver(),
    streams: tcpStreams,
    hmac: (algorithm, key, data) => createHmac(algorithm, key).update(data).digest(),
    files,
    mapper: mapperTransport(reactor, mapperPath),
  };
}

/** Timers of the event loop. */
export const systemTimers: Timers = {
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
};

const files: AgentFiles = {
  async read(path) {
    try {
      return { bytes: await readFile(path) };
    } catch (error) {
      return { error: `cannot read ${path}: ${(error as NodeJS.ErrnoException).code}` };
    }
  },
  watch(path, onChange) {
    const watch = new FileWatch(path, onChange, { debounceMs: FILE_DEBOUNCE_MS });
    return () => watch.close();
  },
};
