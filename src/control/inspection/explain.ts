/**
 * `POST /explain`: the way of one packet through this gateway, step by step, to its delivery or to
 * the drop reason. Nothing is sent and nothing changes: the slow path that decides is a rehearsal
 * (explain-trace.ts). Main thread.
 */

import {
  formatIp,
  type IpAddress,
  isUnspecified,
  sameAddress,
  zeroAddress,
} from "../../base/ip.js";
import { formatIprefAddress, type IprefAddress } from "../../base/reference.js";
import type { MapperPreview, PreviewFinding } from "../../mapper/preview.js";
import { readU16 } from "../../wire/bytes.js";
import { parseIpv4 } from "../../wire/ipv4.js";
import { parseIpv6 } from "../../wire/ipv6.js";
import { parseTunnelPacket } from "../../wire/tunnel-packet.js";
import { type ControlHandler, jsonReply, refusal } from "./api.js";
import { describeNative, describeTunnel } from "./explain-describe.js";
import { FlowEnds } from "./explain-ends.js";
import { directReport, tooLargeReport, unreachableReport } from "./explain-outside.js";
import {
  layer4Length,
  nativePacketOf,
  PacketRefused,
  TCP_MSS_VALUE_OFFSET,
  tunnelPacketOf,
} from "./explain-packet.js";
import {
  type End,
  QuestionRefused,
  readEnd,
  readPacket,
  readQuestion,
} from "./explain-question.js";
import type { ExplainFlow, ExplainRaw, ExplainReport, ExplainStep } from "./explain-report.js";
import {
  clampSteps,
  deviceStep,
  explainDrop,
  mappingSteps,
  mappingsOf,
  pathOf,
  pathStep,
  routeOf,
  routeSteps,
  verdictOf,
} from "./explain-steps.js";
import {
  startPreview,
  type Trace,
  type TraceParts,
  traceLocal,
  traceTunnel,
} from "./explain-trace.js";
import type { InspectionParts } from "./gateway-routes.js";

/** Answers `POST /explain`. */
export function explainHandler(parts: InspectionParts): ControlHandler {
  return ({ body }) => {
    const { desk } = parts;
    if (desk === undefined) return refusal(409, "This gateway forwards nothing: it runs -devmode");
    try {
      const question = readQuestion(body);
      const explained = new Explanation({ ...parts, desk });
      return jsonReply("packet" in question ? explained.raw(question) : explained.flow(question));
    } catch (error) {
      const isRefused = error instanceof QuestionRefused || error instanceof PacketRefused;
      if (!isRefused) throw error;
      return refusal(400, error.message);
    }
  };
}

/** One question; used once. */
class Explanation {
  readonly #parts: TraceParts;
  readonly #findings: PreviewFinding[] = [];
  readonly #preview: MapperPreview;
  readonly #ends: FlowEnds;

  constructor(parts: TraceParts) {
    this.#parts = parts;
    this.#preview = startPreview(parts, this.#findings);
    this.#ends = new FlowEnds(parts, this.#preview);
  }

  /** A packet as it is. */
  raw(question: ExplainRaw): ExplainReport {
    return this.#named(this.#raw(question));
  }

  #raw(question: ExplainRaw): ExplainReport {
    const packet = readPacket(question);
    if (question.side === "local") return this.#outbound(packet, undefined);
    const address = this.#originOf(question, packet);
    const port = question.fromPort ?? this.#portOf(address);
    return this.#inbound(packet, { address, port }, undefined);
  }

  /** A packet named by its ends. */
  flow(question: ExplainFlow): ExplainReport {
    return this.#named(this.#flow(question));
  }

  #flow(question: ExplainFlow): ExplainReport {
    const { settings, facts } = this.#parts;
    const source = readEnd("source", question.source);
    const destination = readEnd("destination", question.destination);
    const remote = this.#ends.remoteOf(source);
    if (remote !== undefined) return this.#flowIn(question, remote, destination);
    const from = this.#ends.localOf(source);
    const target = this.#ends.targetOf(destination);
    if (target.isDirect) {
      return directReport(question, this.#findings, [from, target.address], settings.encodeNet);
    }
    this.#ends.checkVersion("source", from);
    this.#ends.checkVersion("destination", target.address);
    const packet = nativePacketOf(question, from, target.address);
    const isLarge = facts !== undefined && packet.length > facts.tunMtuBytes;
    if (isLarge && !mayBeCut(question, from))
      return tooLargeReport(packet, this.#findings, facts, settings);
    const before = isLarge ? [deviceStep(facts, true)] : [];
    return this.#outbound(packet, question, before);
  }

  // ---- local network to tunnel -------------------------------------------------------------

  #outbound(
    packet: Uint8Array,
    flow: ExplainFlow | undefined,
    before: readonly ExplainStep[] = [],
  ): ExplainReport {
    const { settings, desk } = this.#parts;
    const trace = traceLocal(this.#parts, packet, this.#preview, this.#findings);
    const text = describeNative(packet, settings.localVersion);
    const parsed = parseNativeOrNothing(packet, settings.localVersion);
    const steps = [this.#packetStep("packet", text, trace, "tunnel 3.1"), ...before];
    if (parsed !== undefined && sameAddress(parsed.source, desk.ownEncoded)) {
      steps.push(this.#gatewayHostStep());
    }
    const rest = [
      ...this.#unknownAddressStep(trace),
      ...routeSteps(trace),
      ...clampSteps(...this.#mssOut(trace, flow)),
    ];
    const hints = this.#slowHintsOut(trace);
    const delivered = trace.route === undefined ? this.#writtenText(trace) : this.#sentText(trace);
    return this.#report("outbound", { text, steps, rest, hints, delivered }, trace);
  }

  #gatewayHostStep(): ExplainStep {
    const { publicAddress: context, gatewayReference: reference } = this.#parts.settings;
    const text = `the gateway host itself, ${formatIprefAddress({ context, reference })}`;
    return { title: "local host", result: "ok", text, rule: "tunnel 5" };
  }

  /** Behind a NAT that it knows nothing of the gateway sends zeros (spec/tunnel.md 7.2). */
  #unknownAddressStep({ route }: Trace): ExplainStep[] {
    if (route === undefined || !isUnspecified(this.#parts.settings.publicAddress)) return [];
    const text =
      "the own public address is not known: the remote gateway fills in the address that the " +
      "datagram comes from";
    return [{ title: "public address", result: "note", text, rule: "tunnel 7.2" }];
  }

  #sentText(trace: Trace): string {
    const { route, tunnelPacket, sent } = trace;
    if (route === undefined || tunnelPacket === undefined) return "";
    const { tunnelVersion } = this.#parts.settings;
    const parsed = parseTunnelPacket(tunnelPacket.packet, "G", tunnelVersion);
    if (typeof parsed === "string") return "";
    const count = sent.length === 1 ? "one datagram" : `${sent.length} datagrams`;
    return (
      `delivered to the remote gateway ${formatIp(route.context)} port ${route.route.port} as ` +
      `${formatIprefAddress(parsed.source)} -> ${formatIprefAddress(parsed.destination)}, in ` +
      `${count} of ${sent.map(({ packet }) => packet.length).join(" and ")} octets`
    );
  }

  #slowHintsOut({ route, tunnelPacket }: Trace): string[] {
    const hints: string[] = [];
    if (this.#parts.settings.isTraced) hints.push("-trace shows every packet");
    if (route?.route.isNew) hints.push("nothing was sent to its remote gateway yet");
    const isLarge =
      tunnelPacket !== undefined && tunnelPacket.packet.length > tunnelPacket.bytesMax;
    if (isLarge) hints.push("it has to be fragmented");
    return hints;
  }

  /** MSS of a SYN that was made here, before and behind the gateway. */
  #mssOut(trace: Trace, flow: ExplainFlow | undefined): [number | undefined, number | undefined] {
    const sent = trace.sent[0]?.packet;
    const before = trace.tunnelPacket?.packet;
    if (flow?.syn !== true || sent === undefined || before?.length !== sent.length) return NO_MSS;
    const length = layer4Length(flow, this.#parts.settings.localVersion);
    const at = sent.length - length + TCP_MSS_VALUE_OFFSET;
    return [readU16(before, at), readU16(sent, at)];
  }

  // ---- tunnel to local network -------------------------------------------------------------

  #flowIn(flow: ExplainFlow, source: IprefAddress, destination: End): ExplainReport {
    const { settings } = this.#parts;
    this.#ends.checkTunnelVersion(source.context);
    const target = this.#ends.referenceOf(destination, source);
    if (target === undefined) {
      return unreachableReport(flow, this.#findings, source, destination);
    }
    const packet = tunnelPacketOf(flow, source, target, settings.localVersion);
    const from = { address: source.context, port: this.#portOf(source.context) };
    return this.#inbound(packet, from, flow);
  }

  #inbound(
    packet: Uint8Array,
    from: { readonly address: IpAddress; readonly port: number },
    flow: ExplainFlow | undefined,
  ): ExplainReport {
    const { settings, desk } = this.#parts;
    const trace = traceTunnel(this.#parts, packet, from, this.#preview, this.#findings);
    const { tunnelVersion } = settings;
    const origin = `from ${formatIp(from.address)} port ${from.port}`;
    const text = `${describeTunnel(packet, tunnelVersion)}, ${origin}`;
    const steps = [this.#packetStep("datagram", text, trace, "tunnel 7.2, 3.3")];
    if (desk.wouldProbe(from.address, from.port)) {
      const probe = `port ${from.port} is new: the gateway asks its owner to prove it first`;
      steps.push({ title: "remote gateway", result: "note", text: probe, rule: "tunnel 7.3" });
    }
    const [before, after] = this.#mssIn(trace, flow);
    const rest = clampSteps(before, after);
    const hints = this.#slowHintsIn(from);
    const delivered = this.#writtenText(trace);
    return this.#report("inbound", { text, steps, rest, hints, delivered }, trace);
  }

  #slowHintsIn(from: { readonly address: IpAddress; readonly port: number }): string[] {
    const route = this.#parts.desk.previewRoute(from.address);
    if (this.#parts.settings.isTraced) return ["-trace shows every packet"];
    if (route === undefined || route.isNew) return ["nothing was sent to its remote gateway yet"];
    if (!route.isVerified) return ["its remote gateway has not been answered yet"];
    if (route.port !== from.port) return [`its remote gateway is known by port ${route.port}`];
    return [];
  }

  #mssIn(trace: Trace, flow: ExplainFlow | undefined): [number | undefined, number | undefined] {
    const written = trace.written[0]?.packet;
    if (flow?.syn !== true || written === undefined || trace.drops.length > 0) return NO_MSS;
    const length = layer4Length(flow, this.#parts.settings.localVersion);
    const before = readU16(trace.packet, trace.packet.length - length + TCP_MSS_VALUE_OFFSET);
    return [before, readU16(written, written.length - length + TCP_MSS_VALUE_OFFSET)];
  }

  #writtenText({ written }: Trace): string {
    const first = written[0]?.packet;
    if (first === undefined) return "";
    const parsed = parseNativeOrNothing(first, this.#parts.settings.localVersion);
    if (parsed === undefined) return "";
    const count = written.length === 1 ? "one packet" : `${written.length} packets`;
    return (
      `delivered to the local host ${formatIp(parsed.destination)}, which sees it come from ` +
      `${formatIp(parsed.source)}, in ${count} of ` +
      `${written.map(({ packet }) => packet.length).join(" and ")} octets`
    );
  }

  /** Outer source of a raw datagram: as given, else the context in it. */
  #originOf({ from }: ExplainRaw, packet: Uint8Array): IpAddress {
    const { tunnelVersion } = this.#parts.settings;
    if (from === undefined) {
      const parsed = parseTunnelPacket(packet, "G", tunnelVersion);
      return typeof parsed === "string" ? zeroAddress(tunnelVersion) : parsed.source.context;
    }
    const end = readEnd("origin", from);
    if (end.kind !== "native")
      throw new QuestionRefused("The origin is an address without reference");
    this.#ends.checkTunnelVersion(end.address);
    return end.address;
  }

  #portOf(gateway: IpAddress): number {
    const { desk, settings } = this.#parts;
    const route = isUnspecified(gateway) ? undefined : desk.previewRoute(gateway);
    return route?.port ?? settings.remotePort;
  }

  // ---- both directions ---------------------------------------------------------------------

  /** The checks of the packet itself; it failed them when nothing was looked up before a drop. */
  #packetStep(title: string, text: string, { drops }: Trace, rule: string): ExplainStep {
    const reason = drops[0];
    if (reason === undefined || this.#findings.length > 0) {
      return { title, result: "ok", text, rule };
    }
    return { title, result: "drop", text: `${text}; ${explainDrop(reason).meaning}`, rule };
  }

  #report(
    direction: ExplainReport["direction"],
    told: {
      readonly text: string;
      readonly steps: readonly ExplainStep[];
      readonly rest: readonly ExplainStep[];
      readonly hints: readonly string[];
      readonly delivered: string;
    },
    trace: Trace,
  ): ExplainReport {
    const { settings } = this.#parts;
    const path = pathOf(trace);
    const isDropped = trace.drops.length > 0;
    const steps = [
      ...told.steps,
      ...mappingSteps(this.#findings),
      ...this.#translationStep(trace),
      ...told.rest,
      pathStep(path, isDropped, told.hints),
    ];
    const { route, sent, written } = trace;
    return {
      direction,
      packet: told.text,
      octets: trace.packet.length,
      steps,
      path,
      mappings: mappingsOf(this.#findings),
      route: route && routeOf(formatIp(route.context), route.route),
      sentBytes: sent.filter(({ isAnswer }) => !isAnswer).map(({ packet }) => packet.length),
      writtenBytes: written.filter(({ isAnswer }) => !isAnswer).map(({ packet }) => packet.length),
      verdict: verdictOf(trace, settings, told.delivered),
    };
  }

  /** A drop that no step before has told. */
  #translationStep({ drops, tunnelPacket }: Trace): ExplainStep[] {
    const reason = drops[0];
    const isTold = this.#findings.some(({ outcome }) => outcome === "refused");
    if (reason === undefined || isTold || this.#findings.length === 0) return [];
    if (tunnelPacket !== undefined) return [];
    const text = explainDrop(reason).meaning;
    return [{ title: "translation", result: "drop", text, rule: "tunnel 4" }];
  }

  /** Stand-ins become words. */
  #named(report: ExplainReport): ExplainReport {
    const stands = this.#findings
      .filter(({ outcome }) => outcome === "created")
      .map(({ role }) =>
        role === "theirs"
          ? ([formatIp(this.#preview.addressStandIn), "[new encoded address]"] as const)
          : ([this.#preview.referenceStandInText, "[new reference]"] as const),
      );
    const named = (text: string): string =>
      stands.reduce((all, [stand, word]) => all.replaceAll(stand, word), text);
    const { packet, steps, verdict } = report;
    const told = verdict.told && named(verdict.told);
    return {
      ...report,
      packet: named(packet),
      steps: steps.map((step) => ({ ...step, text: named(step.text) })),
      verdict: { ...verdict, text: named(verdict.text), told },
    };
  }
}

const NO_MSS: [undefined, undefined] = [undefined, undefined];

/** Routers fragment IPv4 packets without DF only. */
function mayBeCut({ df }: ExplainFlow, { version }: IpAddress): boolean {
  return version === 4 && !df;
}

function parseNativeOrNothing(packet: Uint8Array, version: 4 | 6) {
  const parsed = version === 4 ? parseIpv4(packet, false) : parseIpv6(packet, false);
  return typeof parsed === "string" ? undefined : parsed;
}
