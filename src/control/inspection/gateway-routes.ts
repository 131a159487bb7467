/** What a running gateway answers on its control socket. Main thread. */

import type { Offloads } from "../../forward/offloads.js";
import type { Mapper } from "../../mapper/mapper.js";
import type { GatewaySettings } from "../gateway-flags.js";
import type { GatewayHealth } from "../health.js";
import type { Log } from "../log.js";
import type { MapperSocket } from "../mapper-socket.js";
import type { PacketDesk } from "../packet-desk.js";
import type { Machine } from "../ports.js";
import type { SharedState } from "../shared-state.js";
import type { ControlHandler, ControlRoutes } from "./api.js";
import { callersHandler } from "./callers.js";
import { captureRoutes } from "./capture.js";
import { explainHandler } from "./explain.js";
import { flowsHandler } from "./flows.js";
import { mapsHandler } from "./maps.js";
import { type MonitoringPages, monitoringRoutes } from "./monitoring.js";
import { peersHandler } from "./peers.js";
import type { RateSampler } from "./rates.js";
import { statusHandler } from "./status.js";
import { whoHandler } from "./who.js";

/** What a gateway has found and chosen at its start. Undefined in -devmode, where none exists. */
export interface ForwardingFacts {
  readonly tunName: string;
  readonly tunMtuBytes: number;
  readonly interfaceMtuBytes: number;
  /** In use, out of those asked for. */
  readonly offloads: Offloads;
}

/** Parts of a gateway that can be asked. */
export interface InspectionParts {
  readonly settings: GatewaySettings;
  readonly shared: SharedState;
  readonly mapper: Mapper;
  readonly desk: PacketDesk | undefined;
  readonly facts: ForwardingFacts | undefined;
  readonly log: Log;
  readonly machine: Machine;
  /** The mapper's clock. */
  readonly nowSeconds: () => number;
  /** Wall clock at the start, in milliseconds since 1970. */
  readonly startedMs: number;
  /** Rates over the last seconds. */
  readonly rates: RateSampler;
  readonly health: GatewayHealth;
  readonly mapperSocket: MapperSocket;
}

/** All questions that a gateway answers. */
export function gatewayRoutes(parts: InspectionParts, pages: MonitoringPages): ControlRoutes {
  return new Map<string, ControlHandler>([
    ["GET /status", statusHandler(parts)],
    ["GET /maps", mapsHandler(parts)],
    ["GET /peers", peersHandler(parts)],
    ["GET /flows", flowsHandler(parts)],
    ["GET /callers", callersHandler(parts)],
    ["POST /explain", explainHandler(parts)],
    ...captureRoutes(parts),
    ["GET /who", whoHandler(parts)],
    ...monitoringRoutes(pages),
  ]);
}
