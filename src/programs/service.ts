/**
 * A program as a service: tells the service manager of its start, reload and end, and feeds its
 * watchdog while a look at the program's own health finds nothing wrong. Main thread. Without a
 * service manager nothing happens, and without a watchdog there is no timer.
 */

import type { HealthReport } from "../control/health.js";
import type { ServiceManager } from "../platform/service-manager.js";

/** Looks in one watchdog time: two may fail or come late before the service is ended. */
const LOOKS_PER_WATCHDOG = 3;

/** What is wrong, in one phrase; undefined when all is well. */
export type HealthLook = () => Promise<string | undefined>;

/** The failing checks of a report; undefined when there are none. */
export function faultOf({ checks }: HealthReport): string | undefined {
  const failing = checks.filter(({ state }) => state === "failing");
  if (failing.length === 0) return undefined;
  return failing.map(({ name, detail }) => `${name} ${detail}`).join(", ");
}

/** One program under the service manager. */
export class Service {
  readonly #manager: ServiceManager;
  readonly #look: HealthLook;
  #status = "";
  #fault: string | undefined;
  #isLooking = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(manager: ServiceManager, look: HealthLook = async () => undefined) {
    this.#manager = manager;
    this.#look = look;
  }

  /** The program serves; `status` is what `systemctl status` shows of it from now on. */
  ready(status: string): void {
    this.#status = status;
    this.#manager.ready(status);
    const { watchdogMs } = this.#manager;
    if (watchdogMs === undefined || this.#timer !== undefined) return;
    this.#manager.feedWatchdog();
    this.#timer = setInterval(() => void this.#watch(), watchdogMs / LOOKS_PER_WATCHDOG);
    this.#timer.unref();
  }

  /** Tells of the start of a reload, does it, and tells of its end. */
  async reload(work: () => Promise<void> | void): Promise<void> {
    this.#manager.reloading("reading the configuration again");
    await work();
    this.ready(this.#status);
  }

  /** The program begins to end; nothing feeds the watchdog any more. */
  stopping(): void {
    clearInterval(this.#timer);
    this.#manager.stopping("ending");
  }

  /** A look that has not come back feeds nothing. */
  async #watch(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    const fault = await this.#look().catch((error: unknown) => String(error));
    this.#isLooking = false;
    if (fault === undefined) this.#manager.feedWatchdog();
    if (fault !== this.#fault) {
      this.#manager.status(fault === undefined ? this.#status : `unhealthy: ${fault}`);
    }
    this.#fault = fault;
  }
}
