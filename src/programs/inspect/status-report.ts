/** Collects what all parts say about themselves, and judges the whole. */

import type {
  AgentPartStatus,
  ResolverStatus,
  SupervisorStatus,
} from "../../control/inspection/part-status.js";
import type { PeerEntry } from "../../control/inspection/peers.js";
import type { GatewayStatus, PartStatus } from "../../control/inspection/status.js";
import {
  EXIT_FOUND_PROBLEMS,
  EXIT_NO_PERMISSION,
  EXIT_NOT_RUNNING,
  EXIT_OK,
} from "../exit-status.js";
import { askEntries, PART_NAMES, type PartAnswer, type PartName, tryPart } from "./ask.js";

/** Remote gateways that a status shows; `ipref peers` shows all. */
const PEERS_SHOWN_MAX = 20;
const PEERS_TIME_MS = 10_000;
const STATUS = { path: "/status" } as const;

/** The parts of one system. */
export interface SystemParts {
  readonly gateway: PartAnswer<GatewayStatus>;
  readonly resolver: PartAnswer<ResolverStatus>;
  readonly agent: PartAnswer<AgentPartStatus>;
  readonly up: PartAnswer<SupervisorStatus>;
}

/** The whole system. */
export interface SystemReport {
  readonly runFolder: string;
  readonly parts: SystemParts;
  /** The first remote gateways. */
  readonly peers: readonly PeerEntry[];
}

/** Asks all parts at once. */
export async function collectReport(runFolder: string): Promise<SystemReport> {
  const [gateway, resolver, agent, up, peers] = await Promise.all([
    tryPart<GatewayStatus>(runFolder, "gateway", STATUS),
    tryPart<ResolverStatus>(runFolder, "resolver", STATUS),
    tryPart<AgentPartStatus>(runFolder, "agent", STATUS),
    tryPart<SupervisorStatus>(runFolder, "up", STATUS),
    collectPeers(runFolder),
  ]);
  return { runFolder, parts: { gateway, resolver, agent, up }, peers };
}

/** Remote gateways; none when the gateway does not answer: its status says why. */
async function collectPeers(runFolder: string): Promise<PeerEntry[]> {
  try {
    const signal = AbortSignal.timeout(PEERS_TIME_MS);
    return await askEntries(runFolder, "gateway", { path: "/peers", signal }, PEERS_SHOWN_MAX);
  } catch {
    return [];
  }
}

/** What is wrong with a part that ought to be in order; empty when nothing is. */
export function partProblems(parts: SystemParts, name: PartName): readonly string[] {
  const answer: PartAnswer<PartStatus> = parts[name];
  if (answer.state === "answered") return answer.value.problems;
  if (answer.state === "not-running") return isExpected(parts, name) ? ["It does not answer"] : [];
  return [answer.message];
}

/** A part that `ipref up` keeps running is expected to answer. */
function isExpected({ up }: SystemParts, name: PartName): boolean {
  return up.state === "answered" && up.value.supervised.some((part) => part.name === name);
}

/** Exit status: 0 all well, 3 something is not, 4 nothing runs, 77 not allowed to ask. */
export function reportStatus({ parts }: SystemReport): number {
  const states = PART_NAMES.map((name) => parts[name].state);
  if (states.includes("denied")) return EXIT_NO_PERMISSION;
  if (states.every((state) => state === "not-running")) return EXIT_NOT_RUNNING;
  const isHealthy = PART_NAMES.every((name) => partProblems(parts, name).length === 0);
  return isHealthy ? EXIT_OK : EXIT_FOUND_PROBLEMS;
}

/** The report as a plain value, for programs. */
export function reportJson(report: SystemReport): unknown {
  const { runFolder, parts, peers } = report;
  const plain = (name: PartName) => {
    const answer = parts[name];
    if (answer.state === "answered") return { state: "running", ...answer.value };
    return { state: answer.state, problems: partProblems(parts, name), message: answer.message };
  };
  return {
    runFolder,
    isHealthy: reportStatus(report) === EXIT_OK,
    parts: Object.fromEntries(PART_NAMES.map((name) => [name, plain(name)])),
    peers,
  };
}
