/** What a process uses of the machine: proc(5), process.cpuUsage, the event loop's own times. */

import { readdirSync, readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import type { ProcessUsage } from "../control/metrics/process.js";

const PAGE_BYTES = 4096;

/** Reads everything; what /proc does not tell is 0. */
export function processUsage(): ProcessUsage {
  const { user, system } = process.cpuUsage();
  const [virtualPages = 0] = numbers(readText("/proc/self/statm"));
  return {
    cpuSeconds: (user + system) / 1e6,
    residentBytes: process.memoryUsage.rss(),
    virtualBytes: virtualPages * PAGE_BYTES,
    openFds: openDescriptors(),
    maxFds: maxDescriptors(),
    startSeconds: performance.timeOrigin / 1000,
    activeSeconds: performance.eventLoopUtilization().active / 1000,
  };
}

function openDescriptors(): number {
  try {
    return readdirSync("/proc/self/fd").length - 1; // one of them is this reading itself
  } catch {
    return 0;
  }
}

function maxDescriptors(): number {
  return Number(/^Max open files +([0-9]+)/m.exec(readText("/proc/self/limits"))?.[1] ?? 0);
}

function numbers(text: string): number[] {
  return text.trim().split(/\s+/).map(Number);
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
