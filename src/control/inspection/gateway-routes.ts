/** What a running gateway answers on its control socket. Main thread. */

import type { Offloads } from "../../forward/offloads.js";
import type { Mapper } from "../../mapper/mapper.js";
import type { GatewaySettings } from "../gateway-flags.js";
import type { Log } from "../log.js";
import type { PacketDesk } from "../packet-desk.js";
import type { Machine } from "../ports.js";
import type { SharedState } from "../shared-state.js";
import type { ControlHandler, ControlRoutes } from "./api.js";
import { mapsHandler } from "./maps.js";
import { peersHandler } from "./peers.js";
import type { RateSampler } from "./rates.js";
import { statusHandler } from "./status.js";

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
}

/** All questions that a gateway answers. */
export function gatewayRoutes(parts: InspectionParts): ControlRoutes {
  return new Map<string, ControlHandler>([
    ["GET /status", statusHandler(parts)],
    ["GET /maps", mapsHandler(parts)],
    ["GET /peers", peersHandler(parts)],
  ]);
}
