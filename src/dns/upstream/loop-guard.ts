/**
 * Recognises our own loop probes when they come back as queries (spec/resolver.md 1.15, `loop`).
 * One guard for a process, since a probe may return to another block than the one it left.
 */

import type { Name } from "../../wire/dns/name.js";
import { TYPE_HINFO } from "../../wire/dns/numbers.js";
import type { Environment, UpstreamPort } from "../ports.js";
import type { Query } from "../query.js";

/** Probes are forgotten when more than this many were sent; each is seen within seconds. */
const PROBES_MAX = 1024;

/** Names on their way, with what to do when one arrives. */
export class LoopGuard {
  readonly #probes = new Map<string, () => void>();

  /** True while no probe is known, so that queries need no look. */
  get isEmpty(): boolean {
    return this.#probes.size === 0;
  }

  /** Sends one probe for a name in `zone` to every server of a group. */
  probe(upstream: UpstreamPort, zone: Name): void {
    upstream.probeLoops?.(zone, (name, found) => this.#register(name, found));
  }

  /** True when the query is a probe of ours; its server is then out of use. */
  recognise(query: Query): boolean {
    if (query.type !== TYPE_HINFO) return false;
    const found = this.#probes.get(query.name.key);
    found?.();
    return found !== undefined;
  }

  #register(name: Name, found: () => void): void {
    if (this.#probes.size >= PROBES_MAX) {
      const oldest = this.#probes.keys().next();
      if (!oldest.done) this.#probes.delete(oldest.value);
    }
    this.#probes.set(name.key, found);
  }
}

/** Listeners open right after the handlers have started. */
const PROBE_DELAY_MS = 1000;

/** Probes a group once the server listens; the returned function cancels that. */
export function probeAfterStart(
  environment: Environment,
  upstream: UpstreamPort,
  zone: Name,
): () => void {
  return environment.timers.after(PROBE_DELAY_MS, () => {
    loopGuardOf(environment).probe(upstream, zone);
  });
}

const guards = new WeakMap<Environment, LoopGuard>();

/** The guard that belongs to an environment. */
export function loopGuardOf(environment: Environment): LoopGuard {
  let guard = guards.get(environment);
  if (guard === undefined) {
    guard = new LoopGuard();
    guards.set(environment, guard);
  }
  return guard;
}
