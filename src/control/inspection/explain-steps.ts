/** From what happened to a rehearsed packet to steps and a verdict for people. */

import { dropAdvice } from "../../base/drop-advice.js";
import { DROP_REASONS, type DropReason, dropReasonIndex } from "../../base/drop-reason.js";
import { formatIp, type IpVersion, sameAddress } from "../../base/ip.js";
import { formatIprefAddress } from "../../base/reference.js";
import type { RoutePreview } from "../../forward/remote-gateways.js";
import type { PreviewFinding } from "../../mapper/preview.js";
import type { MappingView } from "../../mapper/status.js";
import { describeNative, describeTunnel } from "./explain-describe.js";
import type {
  ExplainDrop,
  ExplainMapping,
  ExplainRoute,
  ExplainStep,
  ExplainVerdict,
} from "./explain-report.js";
import { mustWait, type Trace } from "./explain-trace.js";
import type { ForwardingFacts } from "./gateway-routes.js";

/** The versions on both sides. */
export interface Versions {
  readonly localVersion: IpVersion;
  readonly tunnelVersion: IpVersion;
}

/** A drop with what it means. */
export function explainDrop(reason: DropReason): ExplainDrop {
  const { meaning } = DROP_REASONS[dropReasonIndex(reason)]!;
  return { reason, meaning, ...dropAdvice(reason) };
}

/** One step for each mapping that was looked up. */
export function mappingSteps(findings: readonly PreviewFinding[]): ExplainStep[] {
  return findings.filter(isNews).map((finding) => ({
    title: finding.role === "ours" ? "local host" : "remote host",
    result: resultOf(finding),
    text: textOf(finding),
    rule: finding.role === "ours" ? "mapper 3.4, 3.8" : "mapper 3.5, 3.6",
  }));
}

/** False for the same mapping looked up the other way round. */
function isNews(finding: PreviewFinding, place: number, all: readonly PreviewFinding[]): boolean {
  const isSame = (other: PreviewFinding): boolean =>
    other.role === finding.role &&
    other.mapping !== undefined &&
    finding.mapping !== undefined &&
    other.mapping.reference === finding.mapping.reference &&
    sameAddress(other.mapping.address, finding.mapping.address);
  return !all.slice(0, place).some(isSame);
}

function resultOf({ outcome }: PreviewFinding): ExplainStep["result"] {
  if (outcome === "refused") return "drop";
  return outcome === "found" ? "ok" : "note";
}

function textOf(finding: PreviewFinding): string {
  const { from, outcome, mapping } = finding;
  const native = finding.native && formatIp(finding.native);
  const ipref = finding.ipref && formatIprefAddress(finding.ipref);
  const subject = (from === "native" ? native : ipref) ?? "";
  const other = (from === "native" ? ipref : native) ?? "";
  if (outcome === "created") return wouldBeCreated(finding, subject);
  if (outcome === "refused") {
    const expired =
      mapping === undefined ? "" : `; it was ${counterpart(mapping, from)} and has expired`;
    return `${subject} has no mapping${expired}`;
  }
  const tail = mapping === undefined ? "" : ` (${describeMapping(mapping)})`;
  return `${subject} is ${other}${tail}`;
}

/** The other side of a mapping that was looked up from one side. */
function counterpart({ address, context, reference }: MappingView, from: "native" | "ipref") {
  return from === "ipref" ? formatIp(address) : formatIprefAddress({ context, reference });
}

function wouldBeCreated({ role, by }: PreviewFinding, subject: string): string {
  if (by === "resolver") {
    return `${subject} has no encoded address yet: one would be created when its name is asked for`;
  }
  const wait = "would be created, and the packet would wait until it is stored";
  if (role === "ours") return `${subject} has no reference yet: one ${wait}`;
  return `${subject} has no encoded address yet: one ${wait}`;
}

/** Who made a mapping and how long it lives. */
function describeMapping({ owner, state, remainingSeconds }: MappingView): string {
  if (remainingSeconds === undefined) return `published by ${owner}`;
  const life = describeSeconds(remainingSeconds);
  if (state === "pending") return "being stored";
  if (state === "resting") return "expired; the packet would bring it back";
  if (state === "provisional") return `made by a packet, for ${life} unless a local host answers`;
  return `made by the mapper, for ${life} and longer when it is used`;
}

function describeSeconds(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

/** A device that packets of the local network pass on their way to the gateway. */
export type Device = Pick<ForwardingFacts, "tunName" | "tunMtuBytes">;

/** What the kernel does with a packet that is larger than the device takes. */
export function deviceStep({ tunName, tunMtuBytes }: Device, mayFragment: boolean): ExplainStep {
  const device = `${tunName}, whose MTU is ${tunMtuBytes}`;
  if (!mayFragment) {
    const text = `too large for ${device}: the kernel tells the sender before the gateway sees it`;
    return { title: "device", result: "drop", text, rule: "tunnel 7.6" };
  }
  const text = `too large for ${device}: the kernel cuts it; what follows is about the whole`;
  return { title: "device", result: "note", text, rule: "tunnel 7.6" };
}

/** Where the packet goes and how large it may be. */
export function routeSteps({ route, tunnelPacket, sent }: Trace): ExplainStep[] {
  if (route === undefined || tunnelPacket === undefined) return [];
  const { context, route: found } = route;
  const steps: ExplainStep[] = [
    {
      title: "remote gateway",
      result: "ok",
      text:
        `${formatIp(context)} port ${found.port} (${describePort(found)}); the path carries tunnel ` +
        `packets of ${found.packetBytesMax} octets`,
      rule: "tunnel 7.3, 7.4",
    },
  ];
  const { length } = tunnelPacket.packet;
  const parts = sent.filter(({ isAnswer }) => !isAnswer).map(({ packet }) => packet.length);
  if (parts.length > 1) {
    const text = `${length} octets do not fit: ${parts.length} fragments of ${parts.join(", ")}`;
    steps.push({ title: "size", result: "ok", text, rule: "tunnel 7.5" });
  } else if (length > tunnelPacket.bytesMax) {
    const text = `a tunnel packet of ${length} octets does not fit and must not be fragmented`;
    steps.push({ title: "size", result: "drop", text, rule: "tunnel 7.5" });
  } else {
    const text = `a tunnel packet of ${length} octets fits`;
    steps.push({ title: "size", result: "ok", text, rule: "tunnel 2.1" });
  }
  return steps;
}

function describePort({ portFrom, isNew, isVerified }: RoutePreview): string {
  const known = {
    heard: isVerified ? "heard from there, verified" : "heard from there, not verified yet",
    remembered: "remembered from before",
    default: "the configured port; nothing heard from there yet",
  }[portFrom];
  return isNew ? `${known}; would become known by this packet` : known;
}

/** The MSS that a SYN asks for, before and behind the gateway. */
export function clampSteps(before: number | undefined, after: number | undefined): ExplainStep[] {
  if (before === undefined || after === undefined) return [];
  const isLowered = after < before;
  const text = isLowered
    ? `the MSS of the SYN is lowered from ${before} to ${after}, so that segments fit the tunnel`
    : `the MSS of the SYN, ${before}, fits the tunnel`;
  return [{ title: "MSS", result: "ok", text, rule: "tunnel 7.6" }];
}

/** Which code would take the packet. */
export function pathOf({ isFast, findings, drops }: Trace): "fast" | "slow" | "waits" {
  if (isFast) return "fast";
  if (drops.length > 0) return "slow";
  return mustWait(findings) ? "waits" : "slow";
}

/** The same for people; `hints` say why it is not the fast path, where that is known. */
export function pathStep(
  path: "fast" | "slow" | "waits",
  isDropped: boolean,
  hints: readonly string[],
): ExplainStep {
  const why = hints.length === 0 ? "" : `: ${hints.join("; ")}`;
  const texts = {
    fast: "fast path: a forwarding worker takes it",
    slow: `slow path: the main thread ${isDropped ? "drops" : "takes"} it${isDropped ? "" : why}`,
    waits:
      "slow path: the main thread keeps it until the store has the new mapping, and goes on then",
  };
  return { title: "code path", result: "note", text: texts[path], rule: "" };
}

/** How it ends, for a packet in either direction. */
export function verdictOf(trace: Trace, versions: Versions, delivered: string): ExplainVerdict {
  const [reason, ...others] = trace.drops;
  const answers = [...trace.sent, ...trace.written].filter(({ isAnswer }) => isAnswer);
  if (reason === undefined) return successOf(trace, versions, delivered);
  // The store is not tried: it refused the last changes, and may take these.
  const unless = reason === "mapping-storage" ? ", unless the store takes changes again" : "";
  return {
    kind: "dropped",
    text: `dropped: ${reason}${unless}`,
    drop: explainDrop(reason),
    told: toldOf(trace, versions, answers.length > 0, others),
  };
}

function successOf(trace: Trace, versions: Versions, delivered: string): ExplainVerdict {
  const { sent, written, findings } = trace;
  const reply = sent[0];
  if (sent.length + written.length === 0) return heldVerdict(trace);
  const isEcho = findings.length === 0 && written.length === 0 && reply !== undefined;
  if (isEcho && delivered === "") {
    const answer = describeTunnel(reply.packet, versions.tunnelVersion);
    return { kind: "answered", text: `answered by the gateway itself: ${answer}` };
  }
  if (trace.givenUp === undefined) return { kind: "delivered", text: delivered };
  const text = `${delivered}; the fragment that waited for it is dropped: ${trace.givenUp}`;
  return { kind: "delivered", text, drop: explainDrop(trace.givenUp) };
}

/** A first fragment that is kept, and the earlier one that is dropped for it. */
function heldVerdict({ givenUp }: Trace): ExplainVerdict {
  const text = "kept: the first fragment of an echo waits for the last one, 60 s at most";
  if (givenUp === undefined) return { kind: "held", text };
  const earlier = `it takes the place of an earlier one, which is dropped: ${givenUp}`;
  return { kind: "held", text: `${text}; ${earlier}`, drop: explainDrop(givenUp) };
}

/** What the sender of a dropped packet hears. */
function toldOf(
  { sent, written }: Trace,
  { localVersion, tunnelVersion }: Versions,
  isTold: boolean,
  others: readonly DropReason[],
): string {
  if (isTold && written.length > 0) {
    return `the sender is told: ${describeNative(written.at(-1)!.packet, localVersion)}`;
  }
  if (isTold) return `the sender is told: ${describeTunnel(sent.at(-1)!.packet, tunnelVersion)}`;
  const [why] = others;
  return why === undefined
    ? "the sender is not told"
    : `the sender is not told (${why}: ${explainDrop(why).meaning.toLowerCase()})`;
}

/** The mappings for programs. */
export function mappingsOf(findings: readonly PreviewFinding[]): ExplainMapping[] {
  return findings.map(({ role, native, ipref, outcome, mapping }) => ({
    role,
    address: native && formatIp(native),
    ipref: ipref && formatIprefAddress(ipref),
    owner: mapping?.owner,
    state: outcome === "created" ? "would be created" : (mapping?.state ?? "none"),
  }));
}

/** A route for programs. */
export function routeOf(gateway: string, route: RoutePreview): ExplainRoute {
  return { gateway, ...route };
}
