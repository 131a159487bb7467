/** Explanations of packets that the gateway never sees, or that nobody can send. */

import { formatIp, formatPrefix, type IpAddress, type IpPrefix } from "../../base/ip.js";
import { formatIprefAddress, type IprefAddress } from "../../base/reference.js";
import type { PreviewFinding } from "../../mapper/preview.js";
import { describeNative } from "./explain-describe.js";
import type { End } from "./explain-question.js";
import type { ExplainFlow, ExplainReport, ExplainStep } from "./explain-report.js";
import {
  type Device,
  deviceStep,
  explainDrop,
  mappingSteps,
  mappingsOf,
  type Versions,
} from "./explain-steps.js";

type Findings = readonly PreviewFinding[];

const NOTHING = { path: "slow", sentBytes: [], writtenBytes: [] } as const;

/** A local host talks to an address that does not lead to the gateway. */
export function directReport(
  { size }: ExplainFlow,
  findings: Findings,
  [source, destination]: readonly [IpAddress, IpAddress],
  encodeNet: IpPrefix,
): ExplainReport {
  const text =
    `${formatIp(destination)} is not in the encode net ${formatPrefix(encodeNet)}: packets to it ` +
    "do not pass this gateway";
  return {
    ...NOTHING,
    direction: "outbound",
    packet: `${formatIp(source)} -> ${formatIp(destination)}`,
    octets: size ?? 0,
    steps: [
      ...mappingSteps(findings),
      { title: "routing", result: "note", text, rule: "mapper 3.5" },
    ],
    mappings: mappingsOf(findings),
    verdict: { kind: "direct", text: "left to the routing of the local network" },
  };
}

/** A packet that the kernel of the gateway's machine refuses (spec/tunnel.md 7.6). */
export function tooLargeReport(
  packet: Uint8Array,
  findings: Findings,
  device: Device,
  { localVersion }: Versions,
): ExplainReport {
  const text = describeNative(packet, localVersion);
  const step: ExplainStep = { title: "packet", result: "ok", text, rule: "tunnel 3.1" };
  const mtu = device.tunMtuBytes;
  return {
    ...NOTHING,
    direction: "outbound",
    packet: text,
    octets: packet.length,
    steps: [step, deviceStep(device, false)],
    mappings: mappingsOf(findings),
    verdict: {
      kind: "dropped",
      text: `dropped by the kernel: packets of more than ${mtu} octets do not fit`,
      told: `the sender is told: packet too big, the path carries ${mtu} octets`,
    },
  };
}

/** A local host that no remote host can name. */
export function unreachableReport(
  { size }: ExplainFlow,
  findings: Findings,
  source: IprefAddress,
  destination: End,
): ExplainReport {
  const drop = explainDrop("tunnel-reference-unknown");
  const host = destination.kind === "native" ? formatIp(destination.address) : "the local host";
  const text = `${host} has no reference: no remote host can name it or send to it`;
  return {
    ...NOTHING,
    direction: "inbound",
    packet: `(${formatIprefAddress(source)}) -> ${host}`,
    octets: size ?? 0,
    steps: [
      ...mappingSteps(findings).filter(({ result }) => result !== "drop"),
      { title: "local host", result: "drop", text, rule: "mapper 3.4" },
    ],
    mappings: mappingsOf(findings),
    verdict: { kind: "dropped", text: `${host} cannot be reached from outside`, drop },
  };
}
