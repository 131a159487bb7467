/**
 * The slow path at work: takes what the forwarding workers hand over, gives it to the slow path
 * with everything that needs, and carries out what it decides. Main thread.
 */

import type { DropReason } from "../base/drop-reason.js";
import { formatIp, type IpAddress, type IpPrefix, sameAddress } from "../base/ip.js";
import { seededRandom } from "../base/random.js";
import { localMssMax } from "../forward/mss-clamp.js";
import { RemoteGateways, type RoutePreview } from "../forward/remote-gateways.js";
import { SlowPath } from "../forward/slow-path.js";
import type {
  RehearsalParts,
  SlowPathLookup,
  SlowPathOutput,
} from "../forward/slow-path-options.js";
import { dropCounterIndex } from "../tables/counters.js";
import {
  RING_FROM_LOCAL,
  RING_FROM_TUNNEL,
  RING_SEND_TOO_BIG,
  RING_SOCKET_ERROR,
  type RingPacket,
} from "../tables/packet-ring.js";
import { DEFAULT_PROTOCOLS, type TranslationSettings } from "../translate/settings.js";
import type { GatewaySettings } from "./gateway-flags.js";
import type { Log } from "./log.js";
import type { PacketTap } from "./packet-tap.js";
import type { Machine, TunInterface, TunnelSocket } from "./ports.js";
import type { SharedState } from "./shared-state.js";
import { tunMtuBytes } from "./tun-mtu.js";

/** Addresses of the gateway host are read again after this time. */
const OWN_ADDRESSES_LIFE_MS = 30_000;
/** Octets of a packet shown by -trace. */
const TRACE_BYTES = 64;

/** Parts of the desk. */
export interface PacketDeskParts {
  readonly settings: GatewaySettings;
  readonly ownEncoded: IpAddress;
  /** Path MTU when the kernel knows no route. */
  readonly interfaceMtuBytes: number;
  readonly shared: SharedState;
  readonly lookup: SlowPathLookup;
  readonly tunnel: TunnelSocket;
  readonly tun: TunInterface;
  readonly machine: Pick<Machine, "random" | "monotonicMs" | "ownAddresses">;
  readonly log: Log;
  readonly nowSeconds: () => number;
}

/** Where a rehearsal tells what it finds. */
export type DeskRehearsal = Pick<RehearsalParts, "lookup" | "output" | "onRoute"> & {
  readonly onRouteFound: (context: IpAddress, route: RoutePreview) => void;
};

/** Takes packets from workers. */
export class PacketDesk {
  /** Hears of every packet while a capture is on. */
  tap: PacketTap | undefined;
  readonly #parts: PacketDeskParts;
  readonly #remotes: RemoteGateways;
  readonly #slowPath: SlowPath;
  #ownAddresses: readonly IpAddress[] = [];
  #ownAddressesReadMs = Number.NEGATIVE_INFINITY;

  constructor(parts: PacketDeskParts) {
    this.#parts = parts;
    const { settings, tunnel, shared, machine, nowSeconds } = parts;
    this.#remotes = new RemoteGateways({
      table: shared.peers,
      totals: shared.peerTotals,
      defaultPort: settings.remotePort,
      pathMtu: (address) => tunnel.pathMtu(address) ?? parts.interfaceMtuBytes,
    });
    this.#slowPath = new SlowPath({
      settings: translationSettings(settings, parts.ownEncoded),
      publicAddress: settings.publicAddress,
      lookup: parts.lookup,
      remotes: this.#remotes,
      output: this.#output(),
      random: machine.random,
      tunnelPort: tunnel.port,
      localHostsMax: settings.localIpsMax,
      localMssMax: mssMax(settings, parts.interfaceMtuBytes),
      isOwnAddress: (address) => this.#isOwnAddress(address),
      onNarrowPaths: (destinations) => shared.control.setNarrowDestinations(destinations),
      nowMs: () => machine.monotonicMs(),
      nowSeconds,
    });
  }

  /** Handles one packet or message of a worker. Borrows its bytes. */
  take(item: RingPacket): void {
    const { log } = this.#parts;
    if (item.kind === RING_FROM_LOCAL) {
      if (log.isTraced) log.trace(`local ${hexDump(item.packet)}`);
      this.tap?.fromLocal(item.packet, false);
      this.#slowPath.fromLocal(item.packet);
    } else if (item.kind === RING_FROM_TUNNEL) {
      if (log.isTraced) {
        log.trace(`tunnel from ${formatIp(item.address)}:${item.port} ${hexDump(item.packet)}`);
      }
      this.tap?.fromTunnel(item.packet, item.address, item.port, false);
      this.#slowPath.fromTunnel(item.packet, item.address, item.port);
    } else if (item.kind === RING_SEND_TOO_BIG) this.#sentTooBig(item);
    else if (item.kind === RING_SOCKET_ERROR) this.#readErrors();
    this.tap?.end();
  }

  /** A commit is durable: packets that waited for it go on. */
  retryWaiting(): void {
    this.#slowPath.retryWaiting();
    this.tap?.end();
  }

  /** A commit has failed: packets that waited for it are dropped and counted. */
  refuseWaiting(): void {
    this.#slowPath.refuseWaiting();
    this.tap?.end();
  }

  /** How many remote gateways local hosts send to. */
  get remoteGatewayCount(): number {
    return this.#remotes.size;
  }

  /** Remote gateways that local hosts send to. */
  remoteGateways(): ReturnType<RemoteGateways["list"]> {
    return this.#remotes.list();
  }

  /** Remote gateways that came first; times are mapper seconds. */
  callers(): ReturnType<RemoteGateways["callers"]> {
    return this.#remotes.callers();
  }

  /**
   * A slow path that knows what this one knows, creates nothing, and tells `parts` what it decides
   * and which routes it would take.
   */
  rehearsal(parts: DeskRehearsal): SlowPath {
    const { machine, settings } = this.#parts;
    const remotes = this.#remotes;
    const own = [...machine.ownAddresses(), settings.publicAddress, settings.bind];
    return this.#slowPath.rehearsal({
      ...parts,
      random: seededRandom(1),
      isOwnAddress: (address) => own.some((each) => sameAddress(each, address)),
      remotes: {
        routeTo: (context, nowSeconds) => {
          const route = remotes.previewRoute(context, nowSeconds);
          if (route !== undefined) parts.onRouteFound(context, route);
          return route;
        },
        packetBytesMax: (context) => remotes.packetBytesMax(context),
        noteDatagram: () => false,
        noteAccepted: () => {},
        prove: () => {},
        refreshPathMtu: () => undefined,
      },
    });
  }

  /** The gateway's own encoded address. */
  get ownEncoded(): IpAddress {
    return this.#parts.ownEncoded;
  }

  /** The route to a remote gateway as a packet would find it. */
  previewRoute(context: IpAddress): RoutePreview | undefined {
    return this.#remotes.previewRoute(context, this.#parts.nowSeconds());
  }

  /** True when a datagram from this port would make the gateway probe it first. */
  wouldProbe(address: IpAddress, port: number): boolean {
    return this.#remotes.wouldProbe(address, port, this.#parts.nowSeconds());
  }

  /** True when a packet of `bytes` octets could wait for a mapping. */
  mayWait(bytes: number): boolean {
    return this.#slowPath.mayWait(bytes);
  }

  /** About once a second. */
  housekeeping(): void {
    this.#slowPath.housekeeping();
    this.tap?.end();
  }

  #output(): SlowPathOutput {
    const { tunnel, tun, shared, log } = this.#parts;
    return {
      sendTunnel: (destination, port, packet) => {
        if (log.isTraced) log.trace(`send ${formatIp(destination)}:${port} ${hexDump(packet)}`);
        const result = tunnel.send(destination, port, packet);
        this.tap?.sent(destination, port, packet, result);
        const entry = result === "sent" ? this.#remotes.entryOf(destination) : 0;
        if (entry !== 0) shared.peerTraffic.add(entry, 1, packet.length);
        return result;
      },
      writeLocal: (packet) => {
        if (log.isTraced) log.trace(`write ${hexDump(packet)}`);
        const isTaken = tun.write(packet);
        this.tap?.written(packet, isTaken);
        return isTaken;
      },
      drop: (reason: DropReason) => {
        shared.counters.add(dropCounterIndex(reason), 1);
        this.tap?.dropped(reason);
        if (log.isDebugged("fwd")) log.debug("fwd", `drop: ${reason}`);
      },
      resumesLocal: (packet) => this.tap?.fromLocal(packet, true),
      resumesTunnel: (packet, source, port) => this.tap?.fromTunnel(packet, source, port, true),
    };
  }

  /**
   * The kernel refused a packet of a worker: the path has become narrower. The route shrinks, and
   * what comes next takes the slow path, which fragments or tells the sender.
   */
  #sentTooBig({ address, packet }: RingPacket): void {
    const { nowSeconds, shared } = this.#parts;
    this.#remotes.refreshPathMtu(address, packet.length, nowSeconds());
    shared.counters.drop("send-failed");
  }

  #readErrors(): void {
    const { tunnel, nowSeconds, log } = this.#parts;
    for (const { kind, destination, mtuBytes } of tunnel.takeErrors()) {
      if (log.isDebugged("gw")) log.debug("gw", `${formatIp(destination)}: ${kind} ${mtuBytes}`);
      if (kind !== "message-too-big" || mtuBytes === 0) continue;
      this.#remotes.notePathMtu(destination, mtuBytes, nowSeconds());
    }
  }

  #isOwnAddress(address: IpAddress): boolean {
    const { machine, settings } = this.#parts;
    const nowMs = machine.monotonicMs();
    if (nowMs - this.#ownAddressesReadMs >= OWN_ADDRESSES_LIFE_MS) {
      this.#ownAddresses = [...machine.ownAddresses(), settings.publicAddress, settings.bind];
      this.#ownAddressesReadMs = nowMs;
    }
    return this.#ownAddresses.some((own) => sameAddress(own, address));
  }
}

/** What translation has to know. */
export function translationSettings(
  settings: GatewaySettings,
  ownEncoded: IpAddress,
): TranslationSettings {
  return {
    localVersion: settings.localVersion,
    tunnelVersion: settings.tunnelVersion,
    encodeNet: settings.encodeNet,
    ownEncoded,
    gatewayReference: settings.gatewayReference,
    decrementTtl: settings.decrementTtl,
    protocols: DEFAULT_PROTOCOLS,
    dropCongestionMarks: true,
  };
}

/** Largest MSS of a packet that passes the TUN device. */
export function mssMax(settings: GatewaySettings, interfaceMtuBytes: number): number {
  const { localVersion, tunnelVersion } = settings;
  return localMssMax(tunMtuBytes(interfaceMtuBytes, localVersion, tunnelVersion), localVersion);
}

/** The gateway's own encoded address: the network with its last byte set to 1 (mapper.md 3.5). */
export function ownEncodedAddress({ address }: IpPrefix): IpAddress {
  const bytes = address.bytes.slice();
  bytes[bytes.length - 1] = 1;
  return { version: address.version, bytes };
}

function hexDump(packet: Uint8Array): string {
  const shown = packet.subarray(0, TRACE_BYTES);
  const hex = Array.from(shown, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return `${packet.length} octets: ${hex}${packet.length > TRACE_BYTES ? " ..." : ""}`;
}
