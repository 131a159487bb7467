/**
 * Is the gateway alive, and is it ready? Asked over HTTP and by the service manager's watchdog;
 * nobody asks: nothing is done. Main thread.
 *
 * Alive means that a restart would not help: every worker answers a nudge, and the main thread runs
 * its ticks. A store that refuses is not among the reasons to restart, since known mappings are
 * forwarded without it: the gateway is then degraded, and not ready.
 */

import type { WorkerHealth } from "./ports.js";

/** Time for a worker to answer. It may wait 100 ms for a full queue of the device. */
const PROBE_TIMEOUT_MS = 1000;
/** Answers are given again for this time, so that nobody can keep the workers busy by asking. */
const REPORT_LIFE_MS = 500;
/** The main thread is behind when it ticks this much later than it should. */
const LATENESS_MAX_MS = 5000;
/** Ticks of which the greatest lateness is told. */
const TICKS_KEPT = 60;

/** One thing that was looked at. */
export interface HealthCheck {
  readonly name: string;
  /** `degraded`: worse than it should be, and no reason to restart. */
  readonly state: "ok" | "degraded" | "failing";
  /** What was found, one phrase. */
  readonly detail: string;
}

/** What was found; the worst of the checks is the state. */
export interface HealthReport {
  readonly state: "ok" | "degraded" | "failing";
  readonly checks: readonly HealthCheck[];
}

/** What a gateway is asked through. */
export interface HealthSources {
  /** Undefined in -devmode, where there are no workers. */
  readonly probe: ((timeoutMs: number) => Promise<readonly WorkerHealth[]>) | undefined;
  readonly monotonicMs: () => number;
  readonly tickMs: number;
  /** What has to be there before the gateway is ready, and what was found. */
  readonly readiness: () => readonly HealthCheck[];
}

/** The worst state decides. */
export function reportOf(checks: readonly HealthCheck[]): HealthReport {
  const states = new Set(checks.map(({ state }) => state));
  const state = (["failing", "degraded"] as const).find((worse) => states.has(worse));
  return { state: state ?? "ok", checks };
}

/** The checks of a report that another process sent; undefined when it is none. */
export function readChecks(value: unknown): readonly HealthCheck[] | undefined {
  const { checks } = (value ?? {}) as { readonly checks?: unknown };
  return Array.isArray(checks) && checks.every(isCheck) ? checks : undefined;
}

function isCheck(value: unknown): value is HealthCheck {
  const { name, state, detail } = (value ?? {}) as Readonly<Record<string, unknown>>;
  const isState = state === "ok" || state === "degraded" || state === "failing";
  return isState && typeof name === "string" && typeof detail === "string";
}

/** Health of one gateway. */
export class GatewayHealth {
  readonly #sources: HealthSources;
  #lastTickMs: number;
  readonly #latenessMs: number[] = [];
  #storeFault: string | undefined;
  #workers: readonly WorkerHealth[] = [];
  #report: Promise<HealthReport> | undefined;
  #reportedMs = 0;

  constructor(sources: HealthSources) {
    this.#sources = sources;
    this.#lastTickMs = sources.monotonicMs();
  }

  /** Called by each tick of the main thread. */
  noteTick(): void {
    const { monotonicMs, tickMs } = this.#sources;
    const nowMs = monotonicMs();
    this.#latenessMs.push(Math.max(0, nowMs - this.#lastTickMs - tickMs));
    if (this.#latenessMs.length > TICKS_KEPT) this.#latenessMs.shift();
    this.#lastTickMs = nowMs;
  }

  /** Whether the store has refused the last changes. */
  get isStoreFailing(): boolean {
    return this.#storeFault !== undefined;
  }

  /** A batch of changes was stored or refused. */
  noteStored(isStored: boolean): void {
    this.#storeFault = isStored ? undefined : "the last changes could not be stored";
  }

  /** Greatest delay of the last ticks. */
  get tickLatenessMs(): number {
    return Math.max(0, ...this.#latenessMs);
  }

  /** What the workers answered when they were asked last. */
  get workers(): readonly WorkerHealth[] {
    return this.#workers;
  }

  /** Whether the gateway works. Everybody who asks at the same time gets the same answer. */
  live(): Promise<HealthReport> {
    const nowMs = this.#sources.monotonicMs();
    if (this.#report === undefined || nowMs - this.#reportedMs >= REPORT_LIFE_MS) {
      this.#reportedMs = nowMs;
      this.#report = this.#look();
    }
    return this.#report;
  }

  /** Whether it can serve. */
  ready(): HealthReport {
    return reportOf([...this.#sources.readiness(), this.#store("failing")]);
  }

  async #look(): Promise<HealthReport> {
    const { probe } = this.#sources;
    const overdueMs = this.#overdueMs();
    this.#workers = probe === undefined ? [] : await probe(PROBE_TIMEOUT_MS);
    const workers = this.#workers.map(({ name, answerMs }): HealthCheck => {
      if (answerMs !== undefined) return okCheck(`worker ${name}`, "answers");
      const detail = `does not answer within ${PROBE_TIMEOUT_MS} ms`;
      return { name: `worker ${name}`, state: "failing", detail };
    });
    const isLate = overdueMs > LATENESS_MAX_MS;
    const detail = `${Math.round(overdueMs)} ms late`;
    const main: HealthCheck = { name: "main thread", state: isLate ? "failing" : "ok", detail };
    return reportOf([...workers, main, this.#store("degraded")]);
  }

  /** How much later the next tick comes than it should, or the last one came. */
  #overdueMs(): number {
    const { monotonicMs, tickMs } = this.#sources;
    const pendingMs = monotonicMs() - this.#lastTickMs - tickMs;
    return Math.max(0, pendingMs, this.#latenessMs.at(-1) ?? 0);
  }

  #store(state: "degraded" | "failing"): HealthCheck {
    const fault = this.#storeFault;
    return fault === undefined
      ? okCheck("store", "takes changes")
      : { name: "store", state, detail: fault };
  }
}

/** A check that has passed. */
export function okCheck(name: string, detail: string): HealthCheck {
  return { name, state: "ok", detail };
}
