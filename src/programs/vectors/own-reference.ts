/**
 * Packets to the gateway's own reference, which a new gateway handles inside: an echo request is
 * answered, an echo reply ends in the gateway, anything else is refused (spec/tunnel.md 5, 8.1).
 */

import { readReference } from "../../base/reference.js";
import { hexOf, referenceBytes } from "./adopt.js";
import { compareBytes } from "./compare.js";
import { dissect, ICMP, type Packet } from "./dissect.js";
import { checksumsOf, writeTransportChecksum } from "./naive-checksum.js";
import type { Trial } from "./trial.js";
import type { Outcome } from "./vector-file.js";

/** TTL of packets that the gateway makes (spec/tunnel.md 6.2, 8.1). */
const OWN_TTL = 64;
/** spec/tunnel.md 6.2: octets of the offending packet in a tunnel error. */
const QUOTE_BYTES_MAX = 576;

/** True when the input goes to (`pub`, `gwref`) and was handled as it should be. */
export function toOwnReference(trial: Trial, expected: Outcome): boolean {
  const { passage, config } = trial;
  const bytes = passage.inputs[0]!;
  const packet = dissect(bytes, "tunnel");
  if (passage.direction !== "decap" || passage.inputs.length !== 1) return false;
  if (expected.verdict !== "accept" || packet === undefined) return false;
  if (readReference(referenceBytes(bytes, packet, 1), 0) !== config.gw_ref) return false;
  const resolved = withContexts(trial, bytes, packet);
  const isEcho = packet.protocol === ICMP && !packet.isFragment;
  const type = isEcho ? bytes[packet.headerLength] : undefined;
  if (type === 8) return isSoleDatagram(trial, echoReply(resolved, packet));
  const { outputs, drops } = trial.played;
  if (type === 0) return outputs.length === 0 && drops.join() === "tunnel-echo-reply-unknown";
  if (outputs.length === 0) return drops.join() === "tunnel-to-gateway";
  return isPortUnreachable(trial, resolved, packet);
}

/** The datagram with zero contexts filled in (spec/tunnel.md 7.2). */
function withContexts({ passage, config }: Trial, bytes: Uint8Array, packet: Packet): Uint8Array {
  const resolved = bytes.slice();
  if (passage.outer !== undefined) resolved.set(passage.outer.src.bytes, packet.source.offset);
  resolved.set(config.gw_pub.bytes, packet.destination.offset);
  return resolved;
}

/** spec/tunnel.md 8.1: contexts and references swapped, type 0, TTL 64, DF 0, new checksum. */
function echoReply(request: Uint8Array, packet: Packet): Uint8Array {
  const reply = swapped(request, packet);
  reply[0] = reply[0]! & 0xfe;
  reply[2] = OWN_TTL;
  reply[packet.headerLength] = 0;
  writeTransportChecksum(reply, packet);
  return reply;
}

/** The packet with source and destination exchanged. */
function swapped(bytes: Uint8Array, packet: Packet): Uint8Array {
  const turned = bytes.slice();
  const [first, second] = packet.references!;
  for (const [from, to] of [
    [packet.source, packet.destination],
    [packet.destination, packet.source],
    [first, second],
    [second, first],
  ]) {
    turned.set(bytes.subarray(from!.offset, from!.offset + from!.length), to!.offset);
  }
  return turned;
}

function isSoleDatagram({ passage, played }: Trial, wanted: Uint8Array): boolean {
  const output = played.outputs[0];
  if (played.outputs.length !== 1 || output?.side !== "tunnel") return false;
  if (passage.outer !== undefined && output.port !== passage.outer.sport) return false;
  return compareBytes("tunnel", wanted, output.bytes).length === 0;
}

/** Wire 3/2 from the gateway's own reference, quoting the datagram (spec/tunnel.md 6.1, 6.2). */
function isPortUnreachable({ passage, played }: Trial, input: Uint8Array, packet: Packet): boolean {
  const [output] = played.outputs;
  const answer = output && dissect(output.bytes, "tunnel");
  if (output === undefined || answer?.references === undefined) return false;
  if (played.outputs.length !== 1 || output.side !== "tunnel") return false;
  if (passage.outer !== undefined && output.port !== passage.outer.sport) return false;
  const at = answer.headerLength;
  const isError = answer.protocol === ICMP && output.bytes[at] === 3 && output.bytes[at + 1] === 2;
  const hasRightSum = checksumsOf(output.bytes, answer).some((one) => one.state === "right");
  const isFromGateway = output.bytes[2] === OWN_TTL && !answer.isFragment && !answer.mayNotFragment;
  const turned = swapped(input, packet);
  const isTurned =
    contextsOf(output.bytes, answer) === contextsOf(turned, packet) &&
    [0, 1].every(
      (index) =>
        hexOf(referenceBytes(output.bytes, answer, index)) ===
        hexOf(referenceBytes(turned, packet, index)),
    );
  const quote = hexOf(input.subarray(0, QUOTE_BYTES_MAX));
  const isQuoted = hexOf(output.bytes.subarray(at + 4)) === `00000000${quote}`;
  return isError && hasRightSum && isFromGateway && isTurned && isQuoted;
}

function contextsOf(bytes: Uint8Array, packet: Packet): string {
  const end = packet.destination.offset + packet.destination.length;
  return hexOf(bytes.subarray(packet.source.offset, end));
}
