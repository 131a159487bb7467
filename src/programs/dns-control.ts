/** What the DNS server answers on its control socket. */

import { type ControlHandler, type ControlRoutes, jsonReply } from "../control/inspection/api.js";
import type { DnsService } from "./dns-service.js";
import { resolverStatus } from "./dns-status.js";

/** All questions that a DNS server answers. */
export function resolverRoutes(service: DnsService): ControlRoutes {
  return new Map<string, ControlHandler>([
    ["GET /status", () => jsonReply(resolverStatus(service.facts()))],
  ]);
}
