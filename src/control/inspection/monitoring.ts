/**
 * The pages for monitoring: /metrics, /healthz, /readyz. The same on the control socket of a part
 * and on an HTTP port. 200 or 503, and a body that says why.
 */

import type { HealthReport } from "../health.js";
import { METRICS_TYPE } from "../metrics/registry.js";
import type { ControlHandler } from "./api.js";

/** Where the pages come from. */
export interface MonitoringPages {
  metrics(): string | Promise<string>;
  /** Works; a failing part should be started again. */
  live(): HealthReport | Promise<HealthReport>;
  /** Can serve. */
  ready(): HealthReport | Promise<HealthReport>;
}

/** Paths, the only ones that an HTTP port for monitoring answers. */
const MONITORING_PATHS = ["/metrics", "/healthz", "/readyz"] as const;
export type MonitoringPath = (typeof MONITORING_PATHS)[number];

/**
 * The page of an HTTP port is made anew after this time, never twice at once: asking often costs
 * nothing, even when a part takes long to answer.
 */
export const PAGE_LIFE_MS = 250;

/** One page as it is answered. */
export interface MonitoringReply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** One page. */
async function monitoringReply(
  pages: MonitoringPages,
  path: MonitoringPath,
): Promise<MonitoringReply> {
  if (path === "/metrics") {
    return { status: 200, contentType: METRICS_TYPE, body: await pages.metrics() };
  }
  const report = await (path === "/healthz" ? pages.live() : pages.ready());
  return {
    status: report.state === "failing" ? 503 : 200,
    contentType: "application/json",
    body: `${JSON.stringify(report)}\n`,
  };
}

/** The pages as answers of a control socket. */
export function monitoringRoutes(pages: MonitoringPages): (readonly [string, ControlHandler])[] {
  return MONITORING_PATHS.map(
    (path) => [`GET ${path}`, () => monitoringReply(pages, path)] as const,
  );
}

/** The pages as answers of an HTTP port, whose callers nobody knows. */
export function monitoringPaths(
  pages: MonitoringPages,
  monotonicMs: () => number,
): ReadonlyMap<string, () => Promise<MonitoringReply>> {
  return new Map(MONITORING_PATHS.map((path) => [path, remembered(pages, path, monotonicMs)]));
}

function remembered(pages: MonitoringPages, path: MonitoringPath, monotonicMs: () => number) {
  let madeMs = Number.NEGATIVE_INFINITY;
  let last: Promise<MonitoringReply> | undefined;
  let isBeingMade = false;
  return (): Promise<MonitoringReply> => {
    const nowMs = monotonicMs();
    if (last !== undefined && (isBeingMade || nowMs - madeMs < PAGE_LIFE_MS)) return last;
    madeMs = nowMs;
    isBeingMade = true;
    last = monitoringReply(pages, path).finally(() => {
      isBeingMade = false;
    });
    return last;
  };
}
