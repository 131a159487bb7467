/** Single questions of commands to a running mapper, over its socket. */

import { MapperClient } from "../dns/mapper-client.js";
import { monotonicMs, wallClockMs } from "../platform/clock.js";
import { mapperTransport } from "../platform/mapper-connection.js";
import { systemRandom } from "../platform/random.js";
import type { Reactor } from "../platform/reactor.js";
import { systemTimers } from "./agent-world.js";

/** A client that neither logs nor counts; it connects with the first question. */
export function mapperQuestions(reactor: Reactor, socketPath: string): MapperClient {
  return new MapperClient({
    path: socketPath,
    transport: mapperTransport(reactor, socketPath),
    clock: { monotonicMs, unixMs: wallClockMs },
    timers: systemTimers,
    random: systemRandom(),
    log: { write: () => undefined, isDebug: false },
    metrics: { count: () => undefined, observe: () => undefined, gauge: () => undefined },
  });
}
