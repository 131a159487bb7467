/** `ipref up` as a service: its health is that of the gateway that it keeps running. */

import type { HealthReport } from "../control/health.js";
import { ControlUnavailable, callControl } from "../platform/control-client.js";
import { EXIT_NOT_RUNNING } from "./exit-status.js";
import { faultOf, type HealthLook } from "./service.js";

/** The gateway asks its workers for at most a second. */
const ANSWER_TIME_MS = 5000;

/**
 * Asks the gateway. One that does not run is no fault of the supervisor, which starts it again;
 * one that runs and does not answer, or whose workers do not, is.
 */
export function gatewayLook(socketPath: string): HealthLook {
  return async () => {
    try {
      const signal = AbortSignal.timeout(ANSWER_TIME_MS);
      const answer = await callControl(socketPath, { path: "/healthz", signal });
      return faultOf((await answer.json()) as HealthReport);
    } catch (error) {
      const isEnded = error instanceof ControlUnavailable && error.exitStatus === EXIT_NOT_RUNNING;
      return isEnded ? undefined : `the gateway: ${(error as Error).message}`;
    }
  };
}
