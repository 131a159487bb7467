/** The control socket of the parts other than the gateway. */

import type { ControlRoutes } from "../control/inspection/api.js";
import { type ControlServer, startControlServer } from "../platform/control-server.js";

const NO_SERVER: ControlServer = { close: () => undefined };

/** Where a part answers questions, and who may ask. */
export interface PartControl {
  /** Undefined: nowhere. */
  readonly path: string | undefined;
  readonly group: string | undefined;
}

/** Opens the socket; a part that cannot have it does its work all the same. */
export async function servePartControl(
  { path, group }: PartControl,
  routes: ControlRoutes,
  warn: (text: string) => void,
): Promise<ControlServer> {
  if (path === undefined) return NO_SERVER;
  try {
    return await startControlServer({ path, group, routes });
  } catch (error) {
    warn(`no control socket: ${error instanceof Error ? error.message : error}`);
    return NO_SERVER;
  }
}
