/** Opens the HTTP port for monitoring of a part. A part that cannot have it works all the same. */

import type { EventId } from "../base/event.js";
import { type MonitoringPages, monitoringPaths } from "./inspection/monitoring.js";
import {
  exposureWarning,
  formatListenAddress,
  type ListenAddress,
} from "./metrics/listen-address.js";
import type { Closable, Machine } from "./ports.js";

/** What is needed of the part. */
export interface MonitoringPortParts {
  /** Undefined: no port. */
  readonly where: ListenAddress | undefined;
  readonly pages: MonitoringPages;
  readonly machine: Pick<Machine, "serveHttp" | "monotonicMs">;
  readonly log: {
    info(text: string, event: EventId): void;
    warning(text: string, event: EventId): void;
  };
}

const NOTHING: Closable = { close: () => undefined };

/** Opens the port; the result closes it. */
export async function openMonitoring(parts: MonitoringPortParts): Promise<Closable> {
  const { where, pages, machine, log } = parts;
  if (where === undefined) return NOTHING;
  const paths = monitoringPaths(pages, () => machine.monotonicMs());
  try {
    const port = await machine.serveHttp(where, paths);
    log.info(`metrics at http://${formatListenAddress(where)}/metrics`, "metrics-port");
    const warning = exposureWarning(where);
    if (warning !== undefined) log.warning(warning, "metrics-exposed");
    return port;
  } catch (error) {
    const reason = error instanceof Error ? error.message : error;
    log.warning(`no port for metrics: ${reason}`, "metrics-refused");
    return NOTHING;
  }
}
