/**
 * What the gateway says itself: ICMP errors to both sides, echo replies of its own reference and
 * probes (spec/tunnel.md 5, 6, 8.1), each within its limits (6.4). Suppressed answers are counted.
 */

import type { IpAddress } from "../base/ip.js";
import { copyAddress, sameAddress } from "../base/ip.js";
import { buildEchoRequest, readGatewayPacket } from "../translate/echo.js";
import type { Encapsulated } from "../translate/encapsulate.js";
import {
  type AnswerScope,
  buildNativeError,
  buildTunnelError,
  mayAnswerTunnel,
  type OwnErrorKind,
  tooBigForLocal,
} from "../translate/icmp-errors.js";
import type { ContextHints } from "../translate/settings.js";
import { PROTOCOL_ICMP, type TunnelFormat, type TunnelPacket } from "../wire/packet-fields.js";
import { parseTunnelPacket } from "../wire/tunnel-packet.js";
import { type AnswerKind, IcmpLimits } from "./icmp-limits.js";
import { OwnFlows } from "./own-flows.js";
import { Probes } from "./probes.js";
import type { SlowPathOptions } from "./slow-path-options.js";

/** Reference of a remote gateway itself (spec/tunnel.md 1.1). */
const REMOTE_GATEWAY_REFERENCE = 1n;
const ICMP_HEADER_BYTES = 8;

/** A datagram that passed the socket checks; `packet` is a copy of its own. */
export interface Arrival {
  readonly packet: Uint8Array;
  readonly format: TunnelFormat;
  readonly hints: ContextHints;
  readonly source: IpAddress;
  readonly port: number;
  /** A local host sent it to one of our own references. */
  readonly isHairpin: boolean;
}

/** What the answers need of the slow path. */
export interface AnswerHooks {
  publicAddress(): IpAddress;
  /** A fresh 32-bit identification. */
  identification(destination: IpAddress): number;
  /** Hands a tunnel packet straight to decapsulation. */
  hairpin(packet: Uint8Array): void;
  /** Decapsulates a packet to (`pub`, `gwref`) for the gateway host itself. */
  deliverToHost(arrival: Arrival): void;
}

/** The gateway as a speaker. */
export class GatewayAnswers {
  readonly #options: SlowPathOptions;
  readonly #hooks: AnswerHooks;
  readonly #limits: IcmpLimits;
  readonly #probes: Probes;
  readonly #ownFlows: OwnFlows;

  /** With the limits, probes and flows of `model`, if that is given. */
  constructor(options: SlowPathOptions, hooks: AnswerHooks, model?: GatewayAnswers) {
    const nowMs = options.nowMs();
    this.#options = options;
    this.#hooks = hooks;
    this.#limits = model ? model.#limits.copy(nowMs) : new IcmpLimits(nowMs);
    this.#probes = model ? model.#probes.copy(options.random) : new Probes(options.random);
    this.#ownFlows = model ? model.#ownFlows.copy() : new OwnFlows();
  }

  /** Tells a local sender why its packet was not forwarded. */
  nativeError(packet: Uint8Array, kind: "network-unreachable" | "time-exceeded"): void {
    const sender = nativeSource(packet, this.#options.settings.localVersion);
    const id = this.#hooks.identification(sender);
    const error = buildNativeError(packet, kind, this.#scope("G"), id);
    this.#answerLocal(error, "errorToLocal", sender);
  }

  /** Tells a local sender that its packet exceeds M; `tunnel` is the packet as encapsulated. */
  tooBig(native: Uint8Array, tunnel: Uint8Array, remote: IpAddress, bytesMax: number): void {
    const sender = nativeSource(native, this.#options.settings.localVersion);
    const error = tooBigForLocal(tunnel, {
      ...this.#scope("G"),
      lookup: this.#options.lookup,
      largestBytes: bytesMax,
      remote,
      identification: this.#hooks.identification(sender),
    });
    this.#answerLocal(error, "tooBigToLocal", sender);
  }

  /** Tells a remote sender why its packet was not delivered. */
  tunnelError(arrival: Arrival, kind: OwnErrorKind): void {
    const scope = this.#scope(arrival.format);
    if (!mayAnswerTunnel(arrival.packet, scope)) return this.#drop("icmp-not-answered");
    const error = buildTunnelError(arrival.packet, { kind }, scope);
    if (error !== undefined) this.#answerRemote(arrival, error, "errorToRemote", "icmp-limited");
  }

  /** A packet to the gateway's own reference. */
  toGateway(arrival: Arrival, tunnel: TunnelPacket): void {
    const { nowMs, remotes, nowSeconds } = this.#options;
    const request = readGatewayPacket(tunnel, arrival.format);
    if (request.kind === "echo-request") {
      this.#answerRemote(arrival, request.reply, "echoReply", "tunnel-echo-limited");
      return;
    }
    if (this.#isForHost(arrival, tunnel)) return this.#hooks.deliverToHost(arrival);
    if (request.kind === "echo-reply") {
      const { source, port } = arrival;
      const isProbe = request.source.reference === REMOTE_GATEWAY_REFERENCE;
      if (isProbe && this.#probes.answer(source, port, request.echo.data, nowMs())) {
        remotes.prove(source, port, nowSeconds());
      } else this.#drop("tunnel-echo-reply-unknown");
      return;
    }
    this.#drop(request.reason);
    if (request.kind === "port-unreachable") this.tunnelError(arrival, "port-unreachable");
  }

  /** Asks a remote gateway to prove that it can be reached at a new port. */
  probe(gateway: IpAddress, port: number): void {
    const { nowMs, output, random, settings } = this.#options;
    const nonce = this.#probes.start(gateway, port, nowMs());
    if (nonce === undefined) return;
    const ends = {
      source: { context: this.#hooks.publicAddress(), reference: settings.gatewayReference },
      destination: { context: gateway, reference: REMOTE_GATEWAY_REFERENCE },
    };
    const echo = { identifier: random.word() & 0xffff, sequence: 1, data: nonce };
    output.sendTunnel(gateway, port, buildEchoRequest(ends, echo, "G", false));
  }

  /** Remembers what the gateway host itself sends, so that answers reach it. */
  noteOwnFlow({ nativeSource, packet }: Encapsulated): void {
    const { settings, nowMs } = this.#options;
    if (!sameAddress(nativeSource, settings.ownEncoded)) return;
    const tunnel = parseTunnelPacket(packet, "G", settings.tunnelVersion);
    if (typeof tunnel !== "string") this.#ownFlows.noteSent(tunnel, nowMs());
  }

  /** True for answers to the gateway host's own packets, and for ICMP errors about them. */
  #isForHost(arrival: Arrival, tunnel: TunnelPacket): boolean {
    const nowMs = this.#options.nowMs();
    if (this.#ownFlows.isAnswer(tunnel, nowMs)) return true;
    if (tunnel.protocol !== PROTOCOL_ICMP || tunnel.payload.length < ICMP_HEADER_BYTES)
      return false;
    const quoteBytes = tunnel.payload.subarray(ICMP_HEADER_BYTES);
    const { tunnelVersion } = this.#options.settings;
    const quote = parseTunnelPacket(quoteBytes, arrival.format, tunnelVersion);
    if (typeof quote === "string") return false;
    if (quote.source.reference !== this.#options.settings.gatewayReference) return false;
    return this.#ownFlows.isQuoted(quote, nowMs);
  }

  #scope(format: TunnelFormat): AnswerScope {
    const { settings } = this.#options;
    return { settings, publicAddress: this.#hooks.publicAddress(), format };
  }

  #answerLocal(error: Uint8Array | undefined, kind: AnswerKind, host: IpAddress): void {
    const { output, nowMs } = this.#options;
    if (error === undefined) return this.#drop("icmp-not-answered");
    if (!this.#limits.allow(kind, host, nowMs())) return this.#drop("icmp-limited");
    if (!output.writeLocal(error)) this.#drop("write-failed");
  }

  #answerRemote(
    { source, port, isHairpin }: Arrival,
    answer: Uint8Array,
    kind: AnswerKind,
    limited: "icmp-limited" | "tunnel-echo-limited",
  ): void {
    const { output, nowMs } = this.#options;
    if (!this.#limits.allow(kind, source, nowMs())) return this.#drop(limited);
    if (isHairpin) return this.#hooks.hairpin(answer);
    if (output.sendTunnel(source, port, answer) !== "sent") this.#drop("send-failed");
  }

  #drop(reason: Parameters<SlowPathOptions["output"]["drop"]>[0]): void {
    this.#options.output.drop(reason);
  }
}

/** Source address of a native packet that was long enough to be parsed. */
function nativeSource(packet: Uint8Array, version: 4 | 6): IpAddress {
  return copyAddress(packet, version === 4 ? 12 : 8, version);
}
