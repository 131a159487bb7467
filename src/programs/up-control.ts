/** What the supervisor answers on its control socket. */

import type { ControlHandler, ControlRoutes } from "../control/inspection/api.js";
import type { UpSystem } from "./up-system.js";

/** All questions that `ipref up` answers. */
export function supervisorRoutes(_system: UpSystem): ControlRoutes {
  return new Map<string, ControlHandler>();
}
