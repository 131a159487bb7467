/**
 * Results that a new gateway may have instead of the recorded ones, where the verdict or the number
 * of outputs differs: one function for each row of "Intended differences" in the vector folder's
 * README that `adopt.ts` does not cover. Each decides from the octets of the vector whether it
 * applies, and then verifies the gateway's result, most of them by playing a changed input whose
 * result is known to be equal.
 */

import { hexOf, isTooBig, mtuOffset, readU16, referenceBytes, writeU16 } from "./adopt.js";
import { compareBytes } from "./compare.js";
import { dissect, type Field, ICMP, type Packet, TCP } from "./dissect.js";
import { lowerBound, translatedMtu } from "./exact-mtu.js";
import {
  checksumsOf,
  isIcmp,
  writeHeaderChecksum,
  writeTransportChecksum,
} from "./naive-checksum.js";
import { toOwnReference } from "./own-reference.js";
import type { Played } from "./played.js";
import { joinsToWholePacket } from "./small-ipv6.js";
import { formOf, type Trial } from "./trial.js";
import type { Outcome } from "./vector-file.js";

/** One row of the table; `isVerified` is asked only when the plain comparison failed. */
interface Alternative {
  readonly name: string;
  readonly section: string;
  isVerified(trial: Trial, expected: Outcome): boolean | Promise<boolean>;
}

/** All rows, in the order of the README. */
const ALTERNATIVES: readonly Alternative[] = [
  { name: "usable MTU instead of a drop", section: "4.7", isVerified: usableMtu },
  { name: "small IPv6 packet fragmented in the tunnel", section: "4.7", isVerified: smallIpv6 },
  { name: "quote that does not match its carrier", section: "4.6", isVerified: quoteMismatch },
  { name: "port unreachable with code 3", section: "4.5", isVerified: portUnreachable3 },
  { name: "near ICMP code", section: "4.5", isVerified: nearCode },
  { name: "reserved fragment bits ignored", section: "3.1", isVerified: reservedBits },
  { name: "IPv4 options removed", section: "3.1", isVerified: removedOptions },
  { name: "short TCP segment dropped", section: "4.2", isVerified: shortTcp },
  { name: "TCP checksum computed anew", section: "4.2", isVerified: newTcpChecksum },
  { name: "fragmented echo dropped", section: "4.8", isVerified: droppedEcho },
  { name: "packet to the gateway itself", section: "5", isVerified: toOwnReference },
];

/** The name of the alternative that explains the result, or undefined. */
export async function explain(trial: Trial, expected: Outcome): Promise<string | undefined> {
  for (const alternative of ALTERNATIVES) {
    if (await alternative.isVerified(trial, expected)) {
      return `${alternative.name} (spec/tunnel.md ${alternative.section})`;
    }
  }
  return undefined;
}

/** The only input, in the form in which it arrived. */
function soleInput({ passage }: Trial): { bytes: Uint8Array; packet: Packet } | undefined {
  const form = passage.direction === "encap" ? "native" : "tunnel";
  const bytes = passage.inputs[0]!;
  const packet = passage.inputs.length === 1 ? dissect(bytes, form) : undefined;
  return packet && { bytes, packet };
}

/** True when playing `input` gives exactly what the gateway has made, and something at all. */
async function playsEqual({ played, play }: Trial, input: Uint8Array): Promise<boolean> {
  const other = await play([input]);
  return other.outputs.length > 0 && isSameOutput(played, other);
}

function isSameOutput(a: Played, b: Played): boolean {
  if (a.outputs.length !== b.outputs.length) return false;
  return a.outputs.every((output, index) => {
    const other = b.outputs[index]!;
    const isSameWay = output.side === other.side && output.port === other.port;
    return isSameWay && hexOf(output.bytes) === hexOf(other.bytes);
  });
}

/** The gateway dropped everything, for one of these reasons. */
function isDropped({ played }: Trial, reasons: readonly string[]): boolean {
  if (played.outputs.length > 0 || played.drops.length === 0) return false;
  return played.drops.every((reason) => reasons.includes(reason));
}

/** MTU values for which the reference finds no result (spec/tunnel.md 4.7). */
async function usableMtu(trial: Trial, expected: Outcome): Promise<boolean> {
  const input = soleInput(trial);
  if (expected.verdict !== "drop" || input === undefined) return false;
  if (!isTooBig(input.bytes, input.packet) || trial.played.outputs.length !== 1) return false;
  if (readU16(input.bytes, mtuOffset(input.packet)) > vanishingMtu(trial)) return false;
  const usual = input.bytes.slice();
  writeU16(usual, mtuOffset(input.packet), 1400);
  writeTransportChecksum(usual, input.packet);
  const [output, other] = [trial.played.outputs[0]!, (await trial.play([usual])).outputs[0]];
  if (other === undefined || other.side !== output.side) return false;
  const form = formOf(output.side);
  const packet = dissect(output.bytes, form);
  if (packet === undefined || !isTooBig(output.bytes, packet)) return false;
  const mtu = readU16(output.bytes, mtuOffset(packet));
  if (mtu === 0 || mtu > translatedMtu(trial, input.bytes, packet.quote)) return false;
  const wanted = other.bytes.slice();
  writeU16(wanted, mtuOffset(packet), mtu);
  writeTransportChecksum(wanted, packet);
  return compareBytes(form, wanted, output.bytes).length === 0;
}

/** The largest MTU for which the reference's arithmetic leaves nothing (spec/tunnel.md 4.7). */
function vanishingMtu({ passage, config }: Trial): number {
  if (passage.direction === "encap") return 28;
  return config.local_version === 4 ? 56 : 36;
}

/** IPv6 packets of at most 1280 octets are fragmented in the tunnel (spec/tunnel.md 4.7). */
async function smallIpv6(trial: Trial, expected: Outcome): Promise<boolean> {
  const input = soleInput(trial);
  const isAnswered = expected.verdict === "icmp" && isTooBigAnswer(expected);
  if (input === undefined || trial.passage.direction !== "encap") return false;
  if (input.packet.version !== 6 || input.bytes.length > lowerBound(6)) return false;
  if (expected.verdict !== "drop" && !isAnswered) return false;
  return joinsToWholePacket(trial, input.bytes);
}

function isTooBigAnswer(expected: Outcome): boolean {
  const packet = dissect(expected.outputs[0]!, "native");
  return packet !== undefined && isTooBig(expected.outputs[0]!, packet);
}

/** The quote of an ICMP error must belong to its carrier (spec/tunnel.md 4.6). */
function quoteMismatch(trial: Trial, expected: Outcome): boolean {
  const input = soleInput(trial);
  const quote = input?.packet.quote;
  if (expected.verdict !== "accept" || input === undefined || quote === undefined) return false;
  if (!isDropped(trial, ["icmp-quote-mismatch"])) return false;
  const { bytes, packet } = input;
  if (trial.passage.direction === "encap")
    return !isSameField(bytes, quote.source, packet.destination);
  if (quote.references === undefined || packet.references === undefined) return false;
  const own = hexOf(referenceBytes(bytes, packet, 1));
  const quoted = hexOf(referenceBytes(bytes, quote, 0));
  const isZero = fieldText(bytes, quote.destination).replaceAll("0", "") === "";
  return own !== quoted || !(isZero || isSameField(bytes, quote.destination, packet.source));
}

function isSameField(bytes: Uint8Array, a: Field, b: Field): boolean {
  return fieldText(bytes, a) === fieldText(bytes, b);
}

function fieldText(bytes: Uint8Array, { offset, length }: Field): string {
  return hexOf(bytes.subarray(offset, offset + length));
}

/** Changes type and code of an ICMP message and computes its checksum anew. */
function withCode(bytes: Uint8Array, packet: Packet, code: number): Uint8Array {
  const changed = bytes.slice();
  changed[packet.headerLength + 1] = code;
  writeTransportChecksum(changed, packet);
  return changed;
}

/** Wire 3/3 is taken as port unreachable, which is 3/2 in format G (spec/tunnel.md 4.5). */
async function portUnreachable3(trial: Trial, expected: Outcome): Promise<boolean> {
  const input = soleInput(trial);
  if (expected.verdict !== "drop" || input === undefined) return false;
  const { bytes, packet } = input;
  if (packet.form !== "tunnel" || packet.protocol !== ICMP || packet.quote === undefined)
    return false;
  if (bytes[packet.headerLength] !== 3 || bytes[packet.headerLength + 1] !== 3) return false;
  return playsEqual(trial, withCode(bytes, packet, 2));
}

/** Native type/code and the code of the same type that is sent instead (spec/tunnel.md 4.5). */
const NEAR_CODES: Readonly<Record<IpVersionKey, Readonly<Record<string, number>>>> = {
  4: {
    "3/2": 3,
    "3/5": 0,
    "3/6": 0,
    "3/7": 1,
    "3/8": 0,
    "3/9": 13,
    "3/10": 13,
    "3/11": 0,
    "3/12": 1,
    "3/15": 13,
  },
  6: { "1/2": 3, "1/5": 1, "1/6": 1 },
};
type IpVersionKey = 4 | 6;

/** Codes without a counterpart are translated to a near one (spec/tunnel.md 4.5). */
async function nearCode(trial: Trial, expected: Outcome): Promise<boolean> {
  const input = soleInput(trial);
  if (expected.verdict !== "drop" || input === undefined) return false;
  const { bytes, packet } = input;
  if (packet.form !== "native" || !isIcmp(packet) || packet.quote === undefined) return false;
  const key = `${bytes[packet.headerLength]}/${bytes[packet.headerLength + 1]}`;
  const code = NEAR_CODES[packet.version][key];
  return code !== undefined && playsEqual(trial, withCode(bytes, packet, code));
}

/** Reserved bits of the IPv6 fragment header are ignored and written as 0 (spec/tunnel.md 3.1). */
async function reservedBits(trial: Trial, expected: Outcome): Promise<boolean> {
  const input = soleInput(trial);
  if (expected.verdict !== "drop" || input === undefined) return false;
  const { bytes, packet } = input;
  if (packet.form !== "native" || packet.headerLength !== 48) return false;
  const cleared = bytes.slice();
  cleared[41] = 0;
  cleared[43] = cleared[43]! & 0xf9;
  return hexOf(cleared) !== hexOf(bytes) && playsEqual(trial, cleared);
}

/** Loose and strict source route (RFC 791 3.1): never removed. */
const SOURCE_ROUTES = [131, 137];

/** IPv4 options other than source routes are removed (spec/tunnel.md 3.1). */
async function removedOptions(trial: Trial, expected: Outcome): Promise<boolean> {
  const input = soleInput(trial);
  if (expected.verdict !== "drop" || input === undefined) return false;
  const { bytes, packet } = input;
  if (packet.form !== "native" || packet.version !== 4 || packet.headerLength <= 20) return false;
  const types = optionTypes(bytes.subarray(20, packet.headerLength));
  if (types === undefined || types.some((type) => SOURCE_ROUTES.includes(type))) return false;
  const plain = Uint8Array.from([...bytes.subarray(0, 20), ...bytes.subarray(packet.headerLength)]);
  plain[0] = 0x45;
  writeU16(plain, 2, readU16(bytes, 2) - (packet.headerLength - 20));
  writeHeaderChecksum(plain, 0);
  return playsEqual(trial, plain);
}

/** The option types in an options field; undefined when a length is impossible. */
function optionTypes(options: Uint8Array): number[] | undefined {
  const types: number[] = [];
  for (let offset = 0; offset < options.length && options[offset] !== 0; ) {
    types.push(options[offset]!);
    const length = options[offset] === 1 ? 1 : (options[offset + 1] ?? 0);
    if (length < (options[offset] === 1 ? 1 : 2) || offset + length > options.length)
      return undefined;
    offset += length;
  }
  return types;
}

/** A whole TCP segment shorter than its header is dropped (spec/tunnel.md 4.2). */
function shortTcp(trial: Trial, expected: Outcome): boolean {
  const input = soleInput(trial);
  if (expected.verdict !== "accept" || input === undefined) return false;
  const { packet } = input;
  const length = packet.end - packet.headerLength;
  const isShort = packet.protocol === TCP && !packet.isFragment && length < 20;
  return isShort && isDropped(trial, ["tcp-too-short"]);
}

/** A wire checksum of 0000 in a whole segment: computed anew instead of adjusted (4.2). */
function newTcpChecksum(trial: Trial, expected: Outcome): boolean {
  const input = soleInput(trial);
  const output = trial.played.outputs[0];
  if (expected.verdict !== "accept" || input === undefined || output === undefined) return false;
  if (trial.passage.direction !== "decap" || trial.played.outputs.length !== 1) return false;
  const { bytes, packet } = input;
  const isWhole = packet.protocol === TCP && !packet.isFragment;
  if (!isWhole || readU16(bytes, packet.headerLength + 16) !== 0) return false;
  const actual = dissect(output.bytes, "native");
  const sum = checksumsOf(output.bytes, actual).find((one) => one.name === "tcp checksum");
  if (output.side !== "local" || sum?.state !== "right") return false;
  const wanted = expected.outputs[0]!.slice();
  if (wanted.length !== output.bytes.length) return false;
  wanted.set(output.bytes.subarray(sum.offset, sum.offset + 2), sum.offset);
  return compareBytes("native", wanted, output.bytes).length === 0;
}

/** Fragmented ICMPv6 echo may be dropped altogether (spec/tunnel.md 4.8). */
function droppedEcho(trial: Trial, expected: Outcome): boolean {
  if (expected.verdict !== "accept" || trial.config.local_version !== 6) return false;
  const form = trial.passage.direction === "encap" ? "native" : "tunnel";
  const areFragments = trial.passage.inputs.every((bytes) => {
    const packet = dissect(bytes, form);
    return packet !== undefined && isIcmp(packet) && packet.isFragment;
  });
  const reasons = ["icmp-fragment-refused", "icmp-fragment-held-full", "icmp-fragment-expired"];
  return areFragments && isDropped(trial, reasons);
}
