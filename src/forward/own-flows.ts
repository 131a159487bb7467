/**
 * Flows that the gateway host itself has begun towards remote hosts. Packets to the gateway's own
 * reference reach the gateway host only when they belong to one of them (spec/tunnel.md 5: the
 * services of the gateway host are not open to remote networks, but its own use of encoded
 * addresses works).
 */

import { addressKey } from "../base/ip.js";
import { LruMap } from "../base/limits.js";
import type { IprefAddress } from "../base/reference.js";
import { readU16 } from "../wire/bytes.js";
import {
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  type TunnelPacket,
} from "../wire/packet-fields.js";

const FLOWS_MAX = 4096;
/** A flow without an outgoing packet for so long is forgotten; TCP keep-alives take 75 s apart. */
const FLOW_LIFE_MS = 600_000;

const ICMP_ECHO_REPLY = 0;
const ICMP_ECHO_REQUEST = 8;

/** The gateway host's own flows, least recently used out first. */
export class OwnFlows {
  #flows = new LruMap<string, number>(FLOWS_MAX);

  /** Another table with the same flows. */
  copy(): OwnFlows {
    const copy = new OwnFlows();
    copy.#flows = this.#flows.copy();
    return copy;
  }

  /** The gateway host sends this packet to a remote host; `tunnel` is what goes out. */
  noteSent(tunnel: TunnelPacket, nowMs: number): void {
    const key = flowKey(tunnel.destination, tunnel, "sent");
    if (key !== undefined) this.#flows.set(key, nowMs);
  }

  /** True when a packet from a remote host answers one of the flows. */
  isAnswer(tunnel: TunnelPacket, nowMs: number): boolean {
    return this.#isKnown(flowKey(tunnel.source, tunnel, "received"), nowMs);
  }

  /** True when a packet that an ICMP error quotes is one of the gateway host's own. */
  isQuoted(quote: TunnelPacket, nowMs: number): boolean {
    return this.#isKnown(flowKey(quote.destination, quote, "sent"), nowMs);
  }

  #isKnown(key: string | undefined, nowMs: number): boolean {
    if (key === undefined) return false;
    const sentMs = this.#flows.peek(key);
    return sentMs !== undefined && nowMs - sentMs < FLOW_LIFE_MS;
  }
}

/** Text that is equal for both directions of a flow; undefined for what has no ports. */
function flowKey(
  remote: IprefAddress,
  { protocol, payload, fragment }: TunnelPacket,
  direction: "sent" | "received",
): string | undefined {
  const host = `${addressKey(remote.context)}+${remote.reference.toString(16)}`;
  if (fragment !== undefined || payload.length < 8) return undefined;
  if (protocol === PROTOCOL_ICMP) {
    const type = direction === "sent" ? ICMP_ECHO_REQUEST : ICMP_ECHO_REPLY;
    return payload[0] === type ? `${host}|${protocol}|${readU16(payload, 4)}` : undefined;
  }
  if (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP) return undefined;
  const [source, destination] = [readU16(payload, 0), readU16(payload, 2)];
  const ports = direction === "sent" ? [source, destination] : [destination, source];
  return `${host}|${protocol}|${ports.join("|")}`;
}
