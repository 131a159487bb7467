/**
 * The slow path: everything that the forwarding workers do not take. It runs on the main thread
 * and joins the full encapsulator and decapsulator with the remote gateways, ICMP errors and their
 * limits, held fragments and path MTUs.
 *
 *   local network -> fromLocal()  -> encapsulate -> route -> fragment -> sendTunnel
 *   tunnel        -> fromTunnel() -> accept -> learn -> decapsulate -> fragment -> writeLocal
 *
 * Packets handed in are borrowed; what has to wait is copied. Pure: decisions leave through
 * `SlowPathOutput`; clocks and randomness are arguments.
 */

import type { DropReason } from "../base/drop-reason.js";
import {
  addressKey,
  copyAddress,
  type IpAddress,
  ipHeaderLength,
  isUnspecified,
  sameAddress,
} from "../base/ip.js";
import { type Decapsulated, decapsulate } from "../translate/decapsulate.js";
import { type Encapsulated, encapsulate } from "../translate/encapsulate.js";
import { fragmentIpv6, fragmentTunnel } from "../translate/fragment.js";
import type { IcmpFragment } from "../translate/fragments-of-icmp.js";
import { acceptDatagram } from "../translate/receive.js";
import type { TranslationDrop } from "../translate/results.js";
import { type Arrival, GatewayAnswers } from "./gateway-answers.js";
import { HeldFragments, type HoldResult } from "./held-fragments.js";
import { Identifications } from "./identifications.js";
import { LocalPathMtu, NarrowPaths } from "./local-path-mtu.js";
import {
  clampNativePacket,
  clampTunnelPacket,
  longestTunnelHeader,
  tunnelMssMax,
} from "./mss-clamp.js";
import type { RehearsalParts, SlowPathOptions } from "./slow-path-options.js";
import { WaitingPackets } from "./waiting-packets.js";

/** Rounds of asking for the path MTU again after the kernel refused a size (spec 7.4 step 6). */
const PATH_MTU_ROUNDS_MAX = 3;
/** Every packet sent is of the deployed format (spec/tunnel.md 2.4). */
const SEND_FORMAT = "G";

/** A packet that waits for a mapping to be stored. */
type Waiting =
  | { readonly from: "local"; readonly packet: Uint8Array }
  | { readonly from: "tunnel"; readonly arrival: Arrival };

/** The slow path of one gateway. */
export class SlowPath {
  readonly #options: SlowPathOptions;
  readonly #answers: GatewayAnswers;
  readonly #identifications: Identifications;
  readonly #localMtu: LocalPathMtu;
  readonly #narrowPaths: NarrowPaths;
  readonly #heldLocal: HeldFragments<Uint8Array>;
  readonly #heldTunnel: HeldFragments<Arrival>;
  readonly #waiting = new WaitingPackets<Waiting>();
  #publicAddress: IpAddress;

  /** With a copy of everything that `model` has learned, if that is given. */
  constructor(options: SlowPathOptions, model?: SlowPath) {
    const { random } = options;
    this.#options = options;
    this.#publicAddress = options.publicAddress;
    this.#identifications = model
      ? model.#identifications.copy(random)
      : new Identifications(random);
    this.#localMtu = model ? model.#localMtu.copy() : new LocalPathMtu(options.localHostsMax);
    this.#narrowPaths = model ? model.#narrowPaths.copy() : new NarrowPaths(options.onNarrowPaths);
    this.#heldLocal = model ? model.#heldLocal.copy() : new HeldFragments();
    this.#heldTunnel = model ? model.#heldTunnel.copy() : new HeldFragments();
    const hooks = {
      publicAddress: () => this.#publicAddress,
      identification: (address: IpAddress) => this.#identifications.next(address),
      hairpin: (packet: Uint8Array) => this.#hairpin(packet),
      deliverToHost: (arrival: Arrival) => this.#decapsulate(arrival, { toGatewayHost: true }),
    };
    this.#answers = new GatewayAnswers(options, hooks, model ? model.#answers : undefined);
  }

  /**
   * A slow path that knows what this one knows and can change nothing: what it learns stays with
   * it, and what it decides goes to `parts`.
   */
  rehearsal(parts: RehearsalParts): SlowPath {
    const publicAddress = this.#publicAddress;
    return new SlowPath({ ...this.#options, publicAddress, ...parts }, this);
  }

  /** True when a packet of `bytes` octets could wait for a mapping. */
  mayWait(bytes: number): boolean {
    return this.#waiting.hasRoom(bytes);
  }

  /** The own public address; all zero when unknown. It may change while the gateway runs. */
  get publicAddress(): IpAddress {
    return this.#publicAddress;
  }

  set publicAddress(address: IpAddress) {
    this.#publicAddress = address;
  }

  /** A packet from the local network. Borrows `packet`. */
  fromLocal(packet: Uint8Array): void {
    const { settings, nowMs, lookup } = this.#options;
    if (settings.localVersion === 6) {
      const isEncoded = (source: IpAddress) => lookup.theirsToIpref(source).status === "found";
      this.#localMtu.observe(packet, isEncoded, nowMs());
    }
    this.#encapsulate(packet, undefined);
  }

  /** A datagram from the tunnel socket. Borrows `datagram`. */
  fromTunnel(datagram: Uint8Array, source: IpAddress, sourcePort: number): void {
    if (this.#options.isOwnAddress(source)) return this.#drop("tunnel-source-own");
    this.#accept(datagram, source, sourcePort, false);
  }

  /** Tries the packets again that wait for a mapping: to be called after each commit. */
  retryWaiting(): void {
    for (const waiting of this.#waiting.takeAll()) {
      this.#resumes(waiting);
      if (waiting.from === "local") this.#encapsulate(waiting.packet, undefined);
      else this.#decapsulate(waiting.arrival, {});
    }
  }

  /** Drops the packets that wait for a mapping: to be called when a commit has failed. */
  refuseWaiting(): void {
    for (const waiting of this.#waiting.takeAll()) {
      this.#resumes(waiting);
      this.#drop("mapping-storage");
    }
  }

  /** Drops what was held too long; to be called now and then. */
  housekeeping(): void {
    const nowMs = this.#options.nowMs();
    this.#narrowPaths.expire(nowMs);
    for (const packet of this.#heldLocal.takeExpired(nowMs)) {
      this.#giveUp({ from: "local", packet });
    }
    for (const arrival of this.#heldTunnel.takeExpired(nowMs)) {
      this.#giveUp({ from: "tunnel", arrival });
    }
  }

  // ---- local network to tunnel -------------------------------------------------------------

  #encapsulate(packet: Uint8Array, icmpLength: number | undefined): void {
    const { settings, lookup, nowMs, random } = this.#options;
    const result = encapsulate(packet, {
      settings,
      lookup,
      publicAddress: this.#publicAddress,
      format: SEND_FORMAT,
      icmpLength,
      forceFragmentable: (destination) => this.#narrowPaths.has(destination, nowMs()),
      identification: () => random.word(),
    });
    if (result.kind === "packet") this.#outgoing(packet, result);
    else if (result.kind === "pending") this.#wait({ from: "local", packet: packet.slice() });
    else if (result.kind === "hold") this.#holdLocal(packet, result.icmpFragment);
    else if (result.kind === "drop") this.#refuse(result, this.#heldLocal);
    else {
      this.#drop(result.reason);
      this.#answers.nativeError(packet, result.error);
    }
  }

  /** A first fragment of an ICMPv6 echo whose length is not known yet (spec/tunnel.md 4.8). */
  #holdLocal(packet: Uint8Array, { key }: IcmpFragment): void {
    const nowMs = this.#options.nowMs();
    const length = this.#heldLocal.takeLength(key, nowMs);
    if (length !== undefined) return this.#encapsulate(packet, length);
    const sender = addressKey(copyAddress(packet, 8, 6));
    const result = this.#heldLocal.hold(key, sender, packet.slice(), packet.length, nowMs);
    const replaced = this.#replacedBy(result);
    if (replaced !== undefined) this.#giveUp({ from: "local", packet: replaced });
  }

  #outgoing(native: Uint8Array, result: Encapsulated): void {
    const { nowMs } = this.#options;
    const { icmpFragment: part } = result;
    if (part !== undefined && this.#isRefused(part, this.#heldLocal)) return;
    this.#send(native, result);
    if (part?.part !== "last" || this.#options.settings.localVersion === 4) return;
    const sender = addressKey(result.nativeSource);
    const first = this.#heldLocal.tellLength(part.key, sender, part.totalLength!, nowMs());
    if (first === undefined) return;
    this.#resumes({ from: "local", packet: first });
    this.#encapsulate(first, undefined);
  }

  #send(native: Uint8Array, result: Encapsulated): void {
    const { source, destination, packet } = result;
    const pub = this.#publicAddress;
    if (!isUnspecified(pub)) {
      if (!sameAddress(source.context, pub)) return this.#drop("send-source-mismatch");
      if (sameAddress(destination.context, pub)) return this.#hairpin(packet);
    }
    this.#answers.noteOwnFlow(result);
    this.#sendRouted(native, result);
  }

  /** Steps 3 to 6 of spec/tunnel.md 7.4. */
  #sendRouted(native: Uint8Array, result: Encapsulated): void {
    const { remotes, output, nowSeconds } = this.#options;
    const { context } = result.destination;
    let route = remotes.routeTo(context, nowSeconds());
    if (route === undefined) return this.#drop("remote-gateways-full");
    for (let round = 0; round <= PATH_MTU_ROUNDS_MAX && route !== undefined; round++) {
      const { port, packetBytesMax } = route;
      this.#options.onRoute?.(result.packet, packetBytesMax);
      this.#clampTunnel(result.packet, packetBytesMax);
      const parts = this.#fit(native, result, packetBytesMax);
      if (parts === undefined) return;
      const refused = parts.find((part) => {
        const sent = output.sendTunnel(context, port, part);
        if (sent === "failed") this.#drop("send-failed");
        return sent === "too-big";
      });
      if (refused === undefined) return;
      route = remotes.refreshPathMtu(context, refused.length, nowSeconds());
    }
    this.#drop("send-failed");
  }

  /** Lowers the MSS of a SYN to what the way there can carry (mss-clamp.ts). */
  #clampTunnel(packet: Uint8Array, bytesMax: number): void {
    const { localMssMax, settings } = this.#options;
    if (localMssMax === undefined) return;
    const limits = { tunnelVersion: settings.tunnelVersion, localMax: localMssMax };
    clampTunnelPacket(packet, 0, packet.length, limits, bytesMax);
  }

  /** The packet, or its fragments; undefined when it was dropped or its sender was told. */
  #fit(
    native: Uint8Array,
    { packet, mayFragment, destination }: Encapsulated,
    bytesMax: number,
  ): readonly Uint8Array[] | undefined {
    if (packet.length <= bytesMax) return [packet];
    if (!mayFragment) {
      this.#drop("packet-too-big");
      this.#answers.tooBig(native, packet, destination.context, bytesMax);
      return undefined;
    }
    const { tunnelVersion } = this.#options.settings;
    const id = this.#identifications.next(destination.context);
    const parts = fragmentTunnel(packet, bytesMax, SEND_FORMAT, tunnelVersion, id);
    if (typeof parts !== "string") return parts;
    this.#drop(parts);
    return undefined;
  }

  /** A packet to one of our own references goes straight to decapsulation (spec/tunnel.md 5). */
  #hairpin(packet: Uint8Array): void {
    this.#accept(packet, this.#publicAddress, this.#options.tunnelPort, true);
  }

  // ---- tunnel to local network -------------------------------------------------------------

  #accept(datagram: Uint8Array, source: IpAddress, port: number, isHairpin: boolean): void {
    const { settings, tunnelPort, remotes, nowSeconds } = this.#options;
    const accepted = acceptDatagram(datagram, {
      outerSource: source,
      outerSourcePort: port,
      publicAddress: this.#publicAddress,
      tunnelPort,
      tunnelVersion: settings.tunnelVersion,
      isHairpin,
    });
    if (accepted.kind === "drop") return this.#drop(accepted.reason);
    if (!isHairpin && remotes.noteDatagram(source, port, nowSeconds())) {
      this.#answers.probe(source, port);
    }
    const { packet, format, hints } = accepted;
    this.#decapsulate({ packet, format, hints, source, port, isHairpin }, {});
  }

  #decapsulate(
    arrival: Arrival,
    { icmpLength, toGatewayHost }: { icmpLength?: number; toGatewayHost?: boolean },
  ): void {
    const { settings, lookup } = this.#options;
    const result = decapsulate(arrival.packet, {
      settings,
      lookup,
      publicAddress: this.#publicAddress,
      format: arrival.format,
      outerSource: arrival.source,
      hints: arrival.hints,
      icmpLength,
      toGatewayHost,
      nextIdentification: (destination) => this.#identifications.next(destination) & 0xffff,
      roles: "remote",
    });
    if (result.kind === "packet") this.#incoming(arrival, result);
    else if (result.kind === "to-gateway") this.#answers.toGateway(arrival, result.tunnel);
    else if (result.kind === "pending") this.#wait({ from: "tunnel", arrival });
    else if (result.kind === "hold") this.#holdTunnel(arrival, result.icmpFragment);
    else if (result.kind === "drop") this.#refuse(result, this.#heldTunnel);
    else {
      this.#drop(result.reason);
      this.#answers.tunnelError(arrival, result.error);
    }
  }

  #holdTunnel(arrival: Arrival, { key }: IcmpFragment): void {
    const nowMs = this.#options.nowMs();
    const icmpLength = this.#heldTunnel.takeLength(key, nowMs);
    if (icmpLength !== undefined) return this.#decapsulate(arrival, { icmpLength });
    const sender = addressKey(arrival.source);
    const result = this.#heldTunnel.hold(key, sender, arrival, arrival.packet.length, nowMs);
    const replaced = this.#replacedBy(result);
    if (replaced !== undefined) this.#giveUp({ from: "tunnel", arrival: replaced });
  }

  #incoming(arrival: Arrival, result: Decapsulated): void {
    const { remotes, lookup, nowMs, settings } = this.#options;
    const { icmpFragment: part, nativeDestination, nativeSource, destination } = result;
    if (part !== undefined && this.#isRefused(part, this.#heldTunnel)) return;
    if (!arrival.isHairpin) remotes.noteAccepted(arrival.source, arrival.port);
    lookup.noteContact(nativeDestination, nativeSource, destination.reference);
    if (result.narrowDestination) this.#narrowPaths.note(result.narrowDestination, nowMs());
    this.#clampNative(arrival, result);
    this.#deliver(result);
    if (part?.part !== "last" || settings.localVersion === 4) return;
    const sender = addressKey(arrival.source);
    const first = this.#heldTunnel.tellLength(part.key, sender, part.totalLength!, nowMs());
    if (first === undefined) return;
    this.#resumes({ from: "tunnel", arrival: first });
    this.#decapsulate(first, {});
  }

  /** Lowers the MSS of a SYN to what the way back can carry (mss-clamp.ts). */
  #clampNative(arrival: Arrival, { packet }: Decapsulated): void {
    const { localMssMax, remotes, settings } = this.#options;
    if (localMssMax === undefined) return;
    const bytesMax = arrival.isHairpin ? 0 : remotes.packetBytesMax(arrival.source);
    const isOwnFormat = arrival.format === SEND_FORMAT;
    const nativeHeader = ipHeaderLength(settings.localVersion);
    const tunnelHeader = isOwnFormat
      ? arrival.packet.length - (packet.length - nativeHeader)
      : longestTunnelHeader(settings.tunnelVersion);
    clampNativePacket(packet, tunnelMssMax(bytesMax, tunnelHeader, localMssMax));
  }

  /** Writes a packet to the local network, in fragments where only the gateway can make them. */
  #deliver({ packet, mayFragment, nativeDestination }: Decapsulated): void {
    const { settings, nowMs } = this.#options;
    if (settings.localVersion === 4 || !mayFragment) return this.#write(packet);
    const mtu = this.#localMtu.get(nativeDestination, nowMs());
    if (mtu === undefined) return this.#write(packet);
    const id = this.#identifications.next(nativeDestination);
    const parts = fragmentIpv6(packet, mtu, id);
    if (typeof parts === "string") return this.#drop(parts);
    for (const part of parts) this.#write(part);
  }

  #write(packet: Uint8Array): void {
    if (!this.#options.output.writeLocal(packet)) this.#drop("write-failed");
  }

  // ---- both directions ---------------------------------------------------------------------

  #drop(reason: DropReason): void {
    this.#options.output.drop(reason);
  }

  #wait(waiting: Waiting): void {
    const packet = waiting.from === "local" ? waiting.packet : waiting.arrival.packet;
    if (!this.#waiting.add(waiting, packet.length)) this.#drop("mapping-pending-full");
  }

  #resumes(waiting: Waiting): void {
    const { output } = this.#options;
    if (waiting.from === "local") return output.resumesLocal?.(waiting.packet);
    const { packet, source, port } = waiting.arrival;
    output.resumesTunnel?.(packet, source, port);
  }

  /** Drops a packet; the rest of a refused ICMP message will be dropped as well (spec 9 S16). */
  #refuse(refused: TranslationDrop, held: HeldFragments<unknown>): void {
    if (refused.icmpFragment) held.refuse(refused.icmpFragment.key, this.#options.nowMs());
    this.#drop(refused.reason);
  }

  /** True, and counted, for a later fragment of a refused ICMP message. */
  #isRefused(part: IcmpFragment, held: HeldFragments<unknown>): boolean {
    if (part.part === "first" || !held.isRefused(part.key, this.#options.nowMs())) return false;
    this.#drop("icmp-fragment-refused");
    return true;
  }

  /** The first fragment that another one took the place of; drops one that found no room. */
  #replacedBy<Packet>(result: HoldResult<Packet>): Packet | undefined {
    if (result.kind === "held") return result.replaced;
    this.#drop("icmp-fragment-held-full");
    return undefined;
  }

  /** Drops a first fragment whose last one did not come. */
  #giveUp(held: Waiting): void {
    this.#resumes(held);
    this.#drop("icmp-fragment-expired");
  }
}
