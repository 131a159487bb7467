/**
 * Compares what a gateway did with an expected result: sides, number and order of the outputs,
 * addresses of the datagrams, and every octet that `adopt.ts` has not found to be free.
 */

import { formatIp, type IpAddress, isUnspecified, sameAddress } from "../../base/ip.js";
import {
  adoptIdentification,
  adoptMtu,
  adoptQuoteLength,
  adoptVariables,
  adoptZeroRest,
  hexOf,
  isTooBig,
  mtuOffset,
  type Pair,
  readU16,
  type SharedValues,
} from "./adopt.js";
import { dissect, type Field, type Form, fieldAt, type Packet } from "./dissect.js";
import { exactMtu } from "./exact-mtu.js";
import { hasTwoZeros } from "./naive-checksum.js";
import type { Finding, Output, Played } from "./played.js";
import { expectedSide, formOf, type Trial } from "./trial.js";
import type { Outcome, OuterHeader, Passage, VectorConfig } from "./vector-file.js";

/** Differences reported for one output; the rest follows from them more often than not. */
const FINDINGS_PER_OUTPUT_MAX = 8;

/** Findings against one expected outcome; none when the gateway did as expected. */
export async function compareOutcome(trial: Trial, expected: Outcome): Promise<Finding[]> {
  const { passage, played, config } = trial;
  const side = expectedSide(passage, expected.verdict);
  const findings = compareShape(expected, played, side);
  if (findings.length > 0) return findings;
  const shared: SharedValues = new Map();
  for (const [index, output] of played.outputs.entries()) {
    const pair: Pair = {
      form: formOf(side),
      expected: expected.outputs[index]!.slice(),
      actual: output.bytes,
    };
    const parts = passage.variable.filter((part) => part.output === index);
    const found = await adoptAllowed(trial, pair, index, expected);
    found.push(...adoptVariables(pair, parts, config, shared));
    found.push(...compareBytes(pair.form, pair.expected, pair.actual));
    findings.push(
      ...found.slice(0, FINDINGS_PER_OUTPUT_MAX).map((one) => ({ output: index, ...one })),
    );
  }
  return [...findings, ...compareOuter(trial, expected)];
}

/** The differences that the README allows, each checked before it is accepted. */
async function adoptAllowed(
  trial: Trial,
  pair: Pair,
  index: number,
  expected: Outcome,
): Promise<Finding[]> {
  const { passage } = trial;
  if (passage.direction === "decap" && expected.verdict === "accept") adoptIdentification(pair);
  if (passage.direction === "encap" && expected.verdict === "icmp")
    adoptQuoteLength(pair, passage.inputs[0]!);
  if (expected.verdict === "accept") adoptZeroRest(pair);
  const packet = dissect(pair.expected, pair.form);
  if (packet === undefined || !isTooBig(pair.expected, packet)) return [];
  const lowest = lowestMtu(passage, index, pair.form);
  const exact = await exactMtu(trial, index, expected);
  const finding = adoptMtu(pair, lowest, Math.max(lowest, exact));
  return finding === undefined ? [] : [finding];
}

/** The smallest MTU of the recorded and the suggested output; both are safe. */
function lowestMtu(passage: Passage, index: number, form: Form): number {
  const values = [passage.recorded, passage.suggested].flatMap((outcome) => {
    const bytes = outcome?.outputs[index];
    const packet = bytes && dissect(bytes, form);
    return packet && isTooBig(bytes, packet) ? [readU16(bytes, mtuOffset(packet))] : [];
  });
  return Math.min(...values);
}

/** Number and side of the outputs. */
function compareShape(expected: Outcome, played: Played, side: Output["side"]): Finding[] {
  const want = describeOutputs(expected.outputs.length, side);
  const got = describePlayed(played);
  if (expected.outputs.length !== played.outputs.length) {
    return [{ field: "outputs", expected: `${expected.verdict}: ${want}`, got }];
  }
  if ((expected.verdict === "drop") !== (expected.outputs.length === 0)) {
    return [{ field: "verdict", expected: expected.verdict, got }];
  }
  const isElsewhere = played.outputs.some((output) => output.side !== side);
  return isElsewhere ? [{ field: "side", expected: want, got }] : [];
}

function describeOutputs(count: number, side: Output["side"]): string {
  if (count === 0) return "no output";
  return `${count} ${count === 1 ? "packet" : "packets"} to the ${side} side`;
}

function describePlayed({ outputs, drops }: Played): string {
  const local = outputs.filter((output) => output.side === "local").length;
  const sides: ["tunnel" | "local", number][] = [
    ["tunnel", outputs.length - local],
    ["local", local],
  ];
  const texts = sides
    .filter(([, count]) => count > 0)
    .map(([side, count]) => describeOutputs(count, side));
  const reasons = drops.length > 0 ? ` (dropped: ${drops.join(", ")})` : "";
  return (texts.join(" and ") || "no output") + reasons;
}

/** Octets one by one, reported by field; of TCP and ICMP checksums both zeros are equal. */
export function compareBytes(form: Form, expected: Uint8Array, actual: Uint8Array): Finding[] {
  const findings: Finding[] = [];
  if (expected.length !== actual.length) {
    const [want, got] = [expected.length, actual.length];
    findings.push({ field: "length", expected: String(want), got: String(got) });
  }
  const packet = dissect(expected, form);
  const length = Math.min(expected.length, actual.length);
  for (let offset = 0; offset < length; offset++) {
    if (expected[offset] === actual[offset]) continue;
    const found = fieldAt(packet, offset);
    const field = found?.name ?? dataName(packet, offset);
    const end = fieldEnd(found, offset, length);
    const start = found?.offset ?? offset;
    const want = expected.subarray(start, end);
    const got = actual.subarray(start, end);
    if (!(hasTwoZeros(field) && isBothZero(want, got))) {
      findings.push({ field, offset: start, expected: hexOf(want), got: hexOf(got) });
    }
    offset = end - 1;
  }
  return findings;
}

/** True when one is 0000 and the other ffff. */
function isBothZero(a: Uint8Array, b: Uint8Array): boolean {
  return [a, b].every(
    (each) => each.length === 2 && each[0] === each[1] && (each[0]! + 1) % 256 <= 1,
  );
}

/** End of the field at an offset; of data without fields 16 octets are shown. */
function fieldEnd(found: Field | undefined, offset: number, length: number): number {
  return Math.min(length, found === undefined ? offset + 16 : found.offset + found.length);
}

function dataName(packet: Packet | undefined, offset: number): string {
  const isQuoted = packet?.quote !== undefined && offset >= packet.quote.start;
  return isQuoted ? "quoted layer-4 data" : "layer-4 data";
}

/** Addresses and ports of the first datagram that the gateway sent. */
function compareOuter({ passage, config, played }: Trial, expected: Outcome): Finding[] {
  const side = expectedSide(passage, expected.verdict);
  const outer = expected.verdict === "icmp" ? passage.replyOuter : passage.outer;
  const first = played.outputs[0];
  if (side !== "tunnel" || outer === undefined || first === undefined) return [];
  return [
    ...unequalAddress("outer destination", outer.dst, first.destination),
    ...unequal("outer destination port", outer.dport, first.port),
    ...compareOuterSource(outer, config),
  ];
}

/** What the gateway cannot choose: its own port and, where it is known, its public address. */
function compareOuterSource(outer: OuterHeader, config: VectorConfig): Finding[] {
  const findings = unequal("outer source port", outer.sport, config.gw_port);
  if (isUnspecified(config.gw_pub)) return findings;
  return [...findings, ...unequalAddress("outer source", outer.src, config.gw_pub)];
}

function unequal(field: string, expected: number, got: number | undefined): Finding[] {
  return expected === got ? [] : [{ field, expected: String(expected), got: String(got) }];
}

function unequalAddress(field: string, expected: IpAddress, got: IpAddress | undefined): Finding[] {
  if (got !== undefined && sameAddress(expected, got)) return [];
  return [{ field, expected: formatIp(expected), got: got ? formatIp(got) : "nothing" }];
}
