/** The metrics that every program has: its process and its log. Read when the page is asked for. */

import type { MetricsRegistry } from "./registry.js";

/** What the kernel and the engine tell about the process. */
export interface ProcessUsage {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly virtualBytes: number;
  readonly openFds: number;
  readonly maxFds: number;
  /** Seconds since 1970. */
  readonly startSeconds: number;
  /** Time for which the event loop was not waiting. */
  readonly activeSeconds: number;
}

/** Lines by level, and those held back. */
export interface LogCounts {
  readonly lines: Readonly<Record<string, number>>;
  readonly suppressed: number;
}

/** Where the values come from. */
export interface ProcessSources {
  readonly version: string;
  readonly nodeVersion: string;
  readonly usage: () => ProcessUsage;
  readonly log: () => LogCounts;
}

/** Adds the metrics of the process to a page. */
export function addProcessMetrics(registry: MetricsRegistry, sources: ProcessSources): void {
  const { version, nodeVersion, usage, log } = sources;
  registry.gauge("ipref_build_info", { version, node: nodeVersion }, 1);
  registry.refreshers.add(() => {
    const now = usage();
    registry.total("process_cpu_seconds_total", {}, now.cpuSeconds);
    registry.total("ipref_event_loop_active_seconds_total", {}, now.activeSeconds);
    registry.gauge("process_resident_memory_bytes", {}, now.residentBytes);
    registry.gauge("process_virtual_memory_bytes", {}, now.virtualBytes);
    registry.gauge("process_open_fds", {}, now.openFds);
    registry.gauge("process_max_fds", {}, now.maxFds);
    registry.gauge("process_start_time_seconds", {}, now.startSeconds);
    const { lines, suppressed } = log();
    for (const [level, count] of Object.entries(lines)) {
      registry.total("ipref_log_lines_total", { level }, count);
    }
    registry.total("ipref_log_lines_suppressed_total", {}, suppressed);
  });
}
