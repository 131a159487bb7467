/**
 * Layer-4 translation, spec/tunnel.md 4: the choice of protocols (4.9). TCP and UDP are in
 * transport.ts, ICMP is in icmp.ts.
 */

import type { IpAddress } from "../base/ip.js";
import { sumBytes } from "../wire/checksum.js";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/packet-fields.js";
import { translateIcmp } from "./icmp.js";
import { dropped, type Layer4Input, type Layer4Result, translated } from "./layer4-input.js";
import { translateTcp, translateUdp } from "./transport.js";

/** Sum of the words of two native addresses. */
export function sumAddresses(source: IpAddress, destination: IpAddress): number {
  const sum = sumBytes(source.bytes, 0, source.bytes.length);
  return sumBytes(destination.bytes, 0, destination.bytes.length, sum);
}

/** Translates layer-4 data; protocols outside the configured set are refused (4.9). */
export function translateLayer4(input: Layer4Input): Layer4Result {
  if (!input.protocols.has(input.protocol)) return dropped("protocol-not-supported");
  if (input.protocol === PROTOCOL_TCP) return translateTcp(input);
  if (input.protocol === PROTOCOL_UDP) return translateUdp(input);
  if (input.protocol === PROTOCOL_ICMP) return translateIcmp(input);
  return translated(input.payload.slice());
}
