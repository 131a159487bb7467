/**
 * Rules that hold for every output whatever a vector says, checked with plain sums: headers and
 * ICMP errors have right checksums, and a checksum that was right stays right, one that was wrong
 * stays wrong (spec/tunnel.md 4.1 to 4.4). The last line of defence against a difference that was
 * accepted too easily.
 */

import { errorStart, readU16 } from "./adopt.js";
import { dissect, ICMP, type Packet, TCP } from "./dissect.js";
import { type CheckedSum, checksumsOf } from "./naive-checksum.js";
import type { Finding, Output } from "./played.js";
import { formOf, type Trial } from "./trial.js";

/** Checksums of the outputs that are not as they must be. */
export function recheck(trial: Trial): Finding[] {
  return trial.played.outputs.flatMap((output, index) =>
    recheckOutput(trial, output).map((finding) => ({ output: index, ...finding })),
  );
}

function recheckOutput(trial: Trial, output: Output): Finding[] {
  const packet = dissect(output.bytes, formOf(output.side));
  if (packet === undefined) {
    return [{ field: "packet", expected: "a readable header", got: "none" }];
  }
  const findings: Finding[] = [];
  for (const sum of checksumsOf(output.bytes, packet)) {
    const must = requiredState(trial, packet, sum);
    if (must === undefined || must === sum.state) continue;
    findings.push({ field: sum.name, offset: sum.offset, expected: must, got: sum.state });
  }
  return findings;
}

/** What the state of a checksum must be; undefined: nothing is known about it. */
function requiredState(trial: Trial, packet: Packet, sum: CheckedSum): string | undefined {
  if (sum.state === "unknown" || sum.state === "absent") return undefined;
  const isHeader = sum.name.endsWith("header checksum");
  // Headers of native quotes are the gateway's own work only when it translated them.
  if (isHeader) return sum.offset < packet.headerLength ? "right" : undefined;
  if (errorStart(packet) !== undefined) return "right";
  return inputState(trial, packet);
}

/** The state of the same checksum in the only input. */
function inputState({ passage }: Trial, packet: Packet): string | undefined {
  if (passage.inputs.length !== 1) return undefined;
  const bytes = passage.inputs[0]!;
  const input = dissect(bytes, passage.direction === "encap" ? "native" : "tunnel");
  if (input === undefined || wireProtocol(input) !== wireProtocol(packet)) return undefined;
  const sum = checksumsOf(bytes, input).find((one) => !one.name.endsWith("header checksum"));
  if (sum === undefined || sum.state === "unknown" || sum.state === "absent") return undefined;
  // A peer that skips a TCP checksum of 0000 sends a wrong one, which may be computed anew (4.2).
  if (input.protocol === TCP && readU16(bytes, sum.offset) === 0) return undefined;
  return sum.state;
}

/** ICMPv6 is ICMP in the tunnel. */
function wireProtocol({ protocol }: Packet): number {
  return protocol === 58 ? ICMP : protocol;
}
