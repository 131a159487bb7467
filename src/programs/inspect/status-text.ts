/** The status of a system as text for people. Pure: a report in, lines out. */

import { dropAdvice } from "../../base/drop-advice.js";
import { printable } from "../../base/printable.js";
import type { AgentPartStatus, ResolverStatus } from "../../control/inspection/part-status.js";
import type { PeerEntry } from "../../control/inspection/peers.js";
import type {
  DropReport,
  GatewayStatus,
  PartStatus,
  TrafficStatus,
} from "../../control/inspection/status.js";
import { MAPPING_STATES } from "../../mapper/mapping-query.js";
import { PART_NAMES, type PartAnswer, type PartName } from "./ask.js";
import { partProblems, type SystemParts, type SystemReport } from "./status-report.js";
import { tableLines, wrapWords } from "./text-table.js";
import {
  agoText,
  bitRateText,
  bytesText,
  counted,
  countText,
  rateText,
  spanText,
} from "./units.js";

const INDENT = "  ";
const MEANING_WIDTH = 90;

/** How to start a part that does not run. */
const START: Readonly<Record<PartName, string>> = {
  gateway: "start it with: sudo ipref up",
  resolver: "ipref up starts it; alone: ipref-coredns, which answers here with -control",
  agent: "ipref up starts it; alone: ipref-dns-agent, which answers here with -control",
  up: "the parts run by themselves, or nothing runs; start all with: sudo ipref up",
};

/** How much is shown. */
export interface StatusTextOptions {
  /** With the meaning of each drop reason, its usual cause and what to do. */
  readonly isExplained: boolean;
}

/** All lines. */
export function statusText(report: SystemReport, options: StatusTextOptions): string[] {
  const { parts, peers } = report;
  const lines = partLines(parts);
  if (parts.gateway.state === "answered") {
    lines.push("", ...gatewayLines(parts.gateway.value, peers, options));
  }
  if (parts.resolver.state === "answered") lines.push("", ...resolverLines(parts.resolver.value));
  const agent = parts.agent.state === "answered" ? parts.agent.value : undefined;
  const gateway = parts.gateway.state === "answered" ? parts.gateway.value : undefined;
  const sources = sourceLines(agent, gateway);
  if (sources.length > 0) lines.push("", ...sources);
  return lines;
}

function partLines(parts: SystemParts): string[] {
  const columns = ["PART", "STATE", "PID", "RUNS FOR", "VERSION"].map((heading) => ({ heading }));
  const rows = PART_NAMES.map((name) => {
    const answer: PartAnswer<PartStatus> = parts[name];
    if (answer.state !== "answered") return [name, stateText(parts, name)];
    const { pid, uptimeSeconds, version } = answer.value;
    return [name, stateText(parts, name), String(pid), spanText(uptimeSeconds), version];
  });
  const notes = PART_NAMES.flatMap((name) => {
    const problems = partProblems(parts, name).map((text) => `${name}: ${printable(text)}`);
    if (problems.length > 0 || parts[name].state !== "not-running") return problems;
    return [`${name} is not running: ${START[name]}`];
  });
  return [...tableLines(columns, rows), ...(notes.length > 0 ? ["", ...notes] : [])];
}

function stateText(parts: SystemParts, name: PartName): string {
  const answer: PartAnswer<PartStatus> = parts[name];
  if (answer.state === "answered") return answer.value.isHealthy ? "healthy" : "problem";
  return { "not-running": "not running", denied: "not allowed", failed: "no answer" }[answer.state];
}

function gatewayLines(
  gateway: GatewayStatus,
  peers: readonly PeerEntry[],
  options: StatusTextOptions,
): string[] {
  return [
    "Gateway",
    ...tableLines([{ heading: "" }, { heading: "" }], gatewayFacts(gateway), { indent: INDENT }),
    "",
    ...trafficLines(gateway),
    "",
    "Mappings",
    ...mappingLines(gateway),
    "",
    ...peerSection(gateway, peers),
    "",
    ...dropLines(gateway.drops, options),
  ];
}

function gatewayFacts({ addresses, forwarding }: GatewayStatus): string[][] {
  const { bind, port, reference, encodeNet, ownEncoded } = addresses;
  const facts = [
    ["IPREF address", `${addresses.public ?? "unknown"} + ${reference}`],
    ["bound to", `${bind} port ${port}`],
    ["encode net", `${encodeNet}, own address ${ownEncoded}`],
  ];
  if (forwarding === null) facts.push(["forwarding", "none (-devmode)"]);
  else {
    const { tun, tunMtuBytes, interfaceMtuBytes, kernel, lanes, offloads } = forwarding;
    facts.push(
      ["device", `${tun}, MTU ${tunMtuBytes}; public interface MTU ${interfaceMtuBytes}`],
      ["forwarding", `${kernel} kernel, ${counted(lanes, "lane")}`],
      ["offloads", offloads.join(" ") || "none"],
    );
    if (forwarding.offloadsRefused.length > 0) {
      facts.push(["refused by the system", forwarding.offloadsRefused.join(" ")]);
    }
  }
  facts.push(["mapper socket", addresses.mapperSocket]);
  facts.push(["hosts file", addresses.hostsFile ?? "none"]);
  return facts;
}

function trafficLines({ traffic }: GatewayStatus): string[] {
  const { toTunnel, fromTunnel, windowSeconds } = traffic;
  const row = (label: string, { packets, bytes, slowPackets, rate }: TrafficStatus) => [
    label,
    countText(packets),
    bytesText(bytes),
    countText(slowPackets),
    ...(rate === null
      ? ["-", "-"]
      : [rateText(rate.packetsPerSecond), bitRateText(rate.bitsPerSecond)]),
  ];
  const columns = [
    { heading: "" },
    { heading: "FAST PACKETS", isRight: true },
    { heading: "OCTETS", isRight: true },
    { heading: "SLOW PACKETS", isRight: true },
    { heading: "PACKETS NOW", isRight: true },
    { heading: "BITS NOW", isRight: true },
  ];
  const rows = [row("to tunnel", toTunnel), row("from tunnel", fromTunnel)];
  const window = windowSeconds === 0 ? "" : `, rates of the last ${spanText(windowSeconds)}`;
  return [`Traffic${window}`, ...tableLines(columns, rows, { indent: INDENT })];
}

function mappingLines({ mappings }: GatewayStatus): string[] {
  const { byKind, encodedUsed, encodedMax, records, recordsMax } = mappings;
  const headings = MAPPING_STATES.map((state) => ({ heading: state.toUpperCase(), isRight: true }));
  const columns = [{ heading: "" }, ...headings];
  const row = (label: string, kind: "remote" | "local") => [
    label,
    ...MAPPING_STATES.map((state) => countText(byKind[kind][state])),
  ];
  const rows = [row("remote hosts", "remote"), row("local hosts", "local")];
  const share = encodedMax === 0 ? 0 : (100 * encodedUsed) / encodedMax;
  const percent = share > 0 && share < 0.1 ? "less than 0.1" : share.toFixed(1);
  return [
    ...tableLines(columns, rows, { indent: INDENT }),
    `${INDENT}encode net: ${countText(encodedUsed)} of ${countText(encodedMax)} addresses ` +
      `given out (${percent} %); table: ${countText(records)} of ${countText(recordsMax)} records`,
  ];
}

function peerSection(gateway: GatewayStatus, peers: readonly PeerEntry[]): string[] {
  const { count, max } = gateway.peers;
  const heading = `Remote gateways: ${countText(count)} of at most ${countText(max)}`;
  if (peers.length === 0) return [heading];
  const rest = count - peers.length;
  const more = rest > 0 ? [`${INDENT}and ${countText(rest)} more: ipref peers`] : [];
  return [heading, ...tableLines(PEER_COLUMNS, peers.map(peerRow), { indent: INDENT }), ...more];
}

/** Columns of a table of remote gateways. */
export const PEER_COLUMNS = [
  { heading: "ADDRESS" },
  { heading: "PORT", isRight: true },
  { heading: "VERIFIED" },
  { heading: "PATH MTU", isRight: true },
  { heading: "HEARD" },
  { heading: "SENT", isRight: true },
  { heading: "RECEIVED", isRight: true },
  { heading: "OUT", isRight: true },
  { heading: "IN", isRight: true },
];

/** The row of a remote gateway. */
export function peerRow(peer: PeerEntry): string[] {
  const { sent, received } = peer;
  return [
    peer.address,
    String(peer.port),
    peer.isVerified ? "yes" : "no",
    String(peer.pathMtuBytes),
    agoText(peer.lastReceivedSecondsAgo),
    bytesText(sent.bytes),
    bytesText(received.bytes),
    sent.rate === null ? "-" : bitRateText(sent.rate.bitsPerSecond),
    received.rate === null ? "-" : bitRateText(received.rate.bitsPerSecond),
  ];
}

function dropLines(drops: readonly DropReport[], { isExplained }: StatusTextOptions): string[] {
  if (drops.length === 0) return ["Dropped packets: none"];
  const total = drops.reduce((sum, { count }) => sum + count, 0);
  const columns = [
    { heading: "REASON" },
    { heading: "PACKETS", isRight: true },
    { heading: "NOW", isRight: true },
  ];
  const rows = drops.map(({ reason, count, perSecond }) => [
    reason,
    countText(count),
    perSecond === null ? "-" : rateText(perSecond),
  ]);
  const [heading = "", ...table] = tableLines(columns, rows, { indent: INDENT });
  const body = table.flatMap((line, index) =>
    isExplained ? [line, ...explanation(drops[index]!)] : [line],
  );
  const hint = isExplained ? "" : " (ipref status --explain tells why)";
  return [`Dropped packets: ${countText(total)}${hint}`, heading, ...body];
}

/** Meaning, usual cause and remedy of a drop reason. */
function explanation({ reason, meaning }: DropReport): string[] {
  const { causes, fix } = dropAdvice(reason);
  const indent = INDENT + INDENT;
  return [`${meaning}.`, `Usually: ${causes}.`, `To do: ${fix}.`].flatMap((text) =>
    wrapWords(text, MEANING_WIDTH).map((line) => indent + line),
  );
}

function resolverLines(resolver: ResolverStatus): string[] {
  const { listening, blocks, upstreams, cacheEntries, mappers } = resolver;
  const facts = [
    ["listens on", listening.join(", ") || "nothing"],
    ...blocks.map(({ zones, plugins }, index) => [
      index === 0 ? "serves" : "",
      `${zones.join(" ")}: ${plugins.join(" ")}`,
    ]),
    ...upstreams.map(({ server, isDown, isLooping, failedChecks }, index) => {
      const failed = failedChecks > 0 ? `, ${counted(failedChecks, "failed check")}` : "";
      const state = isLooping ? "leads back here" : isDown ? "down" : "up";
      return [index === 0 ? "asks" : "", `${server}: ${state}${failed}`];
    }),
    ["cache", counted(cacheEntries, "entry", "entries")],
    ...mappers.map(({ socket, isReady }) => [
      "mapper",
      `${socket}: ${isReady ? "connected" : "no answer"}`,
    ]),
  ];
  const columns = [{ heading: "" }, { heading: "" }];
  return ["DNS server", ...tableLines(columns, facts, { indent: INDENT })];
}

/** Sources as agent and gateway know them, one line for each place that is read. */
function sourceLines(agent?: AgentPartStatus, gateway?: GatewayStatus): string[] {
  const reports = new Map((gateway?.sources ?? []).map((source) => [source.name, source]));
  const columns = ["SOURCE", "READ FROM", "SERIAL", "HOSTS", "LAST SYNC", "STATE"];
  const rows: string[][] = [];
  for (const { name, hostCount, isDelivered, places } of agent?.sources ?? []) {
    reports.delete(name);
    const state = isDelivered ? "in force" : hostCount === null ? "waiting" : "being delivered";
    for (const { label, serial, lastSyncSecondsAgo, failure } of places) {
      const hosts = hostCount === null ? "-" : countText(hostCount);
      const sync = agoText(lastSyncSecondsAgo);
      rows.push([name, label, String(serial ?? "-"), hosts, sync, failure ?? state]);
    }
  }
  for (const { name, recordCount, isStale, isLoading, lastHeardSecondsAgo } of reports.values()) {
    const state = isStale ? "silent" : isLoading ? "loading" : "in force";
    rows.push([name, "-", "-", countText(recordCount), agoText(lastHeardSecondsAgo), state]);
  }
  if (rows.length === 0) return [];
  const headings = columns.map((heading) => ({ heading, isRight: heading === "HOSTS" }));
  return ["DNS sources", ...tableLines(headings, rows, { indent: INDENT })];
}
