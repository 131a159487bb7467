/** What the DNS server answers on its control socket. */

import type { ControlHandler, ControlRoutes } from "../control/inspection/api.js";
import type { DnsService } from "./dns-service.js";

/** All questions that a DNS server answers. */
export function resolverRoutes(_service: DnsService): ControlRoutes {
  return new Map<string, ControlHandler>();
}
