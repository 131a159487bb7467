/**
 * `GET /callers`: remote gateways whose packets came before any was sent to them. Each proves that
 * the way here is open: no NAT or firewall had been opened from inside.
 */

import { formatIp } from "../../base/ip.js";
import { type ControlHandler, jsonReply } from "./api.js";
import type { InspectionParts } from "./gateway-routes.js";

/** One remote gateway. */
export interface CallerEntry {
  readonly address: string;
  readonly lastCameSecondsAgo: number;
}

/** Handler of `GET /callers`. */
export function callersHandler(parts: InspectionParts): ControlHandler {
  return () => {
    const nowSeconds = parts.nowSeconds();
    const callers: CallerEntry[] = (parts.desk?.callers() ?? []).map(({ address, seconds }) => ({
      address: formatIp(address),
      lastCameSecondsAgo: Math.max(0, nowSeconds - seconds),
    }));
    return jsonReply(callers);
  };
}
