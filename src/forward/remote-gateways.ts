/**
 * Remote gateways: where to send and how large (spec/tunnel.md 7.3, 7.4, 7.5).
 *
 * A record exists for each remote address that local hosts send to. Datagrams alone never create
 * one: their senders are noted in a small table that is only used to answer. The destination port
 * is the port that the remote was last heard from; a record whose remote has proven itself
 * (one of our hosts answered it, or it answered a probe) changes its port only after 30 s of
 * silence from the old port or after the new port has answered a probe.
 *
 * The records live in the shared peer table, where the forwarding workers read them. This class is
 * the table's only writer. Times are mapper seconds, the clock of the table's stamps.
 */

import { addressKey, type IpAddress } from "../base/ip.js";
import { LruMap } from "../base/limits.js";
import type { PeerTableWriter } from "../tables/peer-table.js";
import type { PeerTrafficReader } from "../tables/peer-traffic.js";

/** spec/tunnel.md 7.3: senders without a record that are remembered, only to answer them. */
const UNVERIFIED_MAX = 256;
/** spec/tunnel.md 7.3: silence of the old port after which another one takes over. */
const PORT_SILENCE_SECONDS = 30;
/** Ports kept for remotes whose record had to go, so that peers behind NAT stay reachable. */
const REMEMBERED_PORTS_MAX = 16_384;
/** A path MTU below the interface's is forgotten after 10 minutes, as the kernel does. */
const PATH_MTU_LIFE_SECONDS = 600;
/** spec/tunnel.md 7.5: smaller path MTU reports are not believed. */
const PATH_MTU_MINIMUM = { 4: 576, 6: 1280 } as const;
/** Remotes remembered for having come first. */
const CALLERS_MAX = 64;
/** Outer IP header and UDP header, in octets. */
const OUTER_OVERHEAD = { 4: 28, 6: 48 } as const;

/** What the directory needs from outside. */
export interface RemoteGatewaysOptions {
  readonly table: PeerTableWriter;
  /** Sums of the traffic of each entry; a new record begins with none. */
  readonly totals?: PeerTrafficReader | undefined;
  /** Destination port when none was learned. */
  readonly defaultPort: number;
  /** Path MTU that the kernel knows towards an address, in octets of the outer packet. */
  readonly pathMtu: (address: IpAddress) => number;
}

interface RemoteGateway {
  readonly address: IpAddress;
  /** Entry of the shared table. */
  readonly entry: number;
  port: number;
  isVerified: boolean;
  /** Port of a datagram that one of our hosts received, while not verified. */
  acceptedPort: number | undefined;
  /** Last time the main thread heard from `port`; workers stamp the table as well. */
  heardSeconds: number;
  pathMtuAtSeconds: number;
}

/** Where and how to send to one remote gateway. */
export interface Route {
  readonly port: number;
  /** M: largest tunnel packet in octets. */
  readonly packetBytesMax: number;
}

/** A route as a packet would find it. */
export interface RoutePreview extends Route {
  /** No record yet: the packet would make one. */
  readonly isNew: boolean;
  readonly isVerified: boolean;
  /** How the port is known. */
  readonly portFrom: "heard" | "remembered" | "default";
}

interface UnverifiedSender {
  readonly port: number;
  readonly isAccepted: boolean;
}

/** The directory of one gateway. */
export class RemoteGateways {
  readonly #options: RemoteGatewaysOptions;
  readonly #records = new Map<string, RemoteGateway>();
  readonly #unverified = new LruMap<string, UnverifiedSender>(UNVERIFIED_MAX);
  readonly #rememberedPorts = new LruMap<string, number>(REMEMBERED_PORTS_MAX);
  /** Remotes that sent before anything was sent to them, with the time of their last coming. */
  readonly #callers = new LruMap<string, { address: IpAddress; seconds: number }>(CALLERS_MAX);

  constructor(options: RemoteGatewaysOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#records.size;
  }

  /** The route to a context, with a record made if there is none; undefined: no room. */
  routeTo(context: IpAddress, nowSeconds: number): Route | undefined {
    const remote = this.#records.get(addressKey(context)) ?? this.#create(context, nowSeconds);
    if (remote === undefined) return undefined;
    if (remote.acceptedPort !== undefined) this.#verify(remote, remote.acceptedPort, nowSeconds);
    if (nowSeconds - remote.pathMtuAtSeconds >= PATH_MTU_LIFE_SECONDS) {
      this.#setPathMtu(remote, this.#options.pathMtu(context), nowSeconds);
    }
    this.#options.table.stampSent(remote.entry, nowSeconds);
    return { port: remote.port, packetBytesMax: this.#options.table.packetBytesMax(remote.entry) };
  }

  /** What `routeTo` would answer; makes and changes nothing. */
  previewRoute(context: IpAddress, nowSeconds: number): RoutePreview | undefined {
    const { table, pathMtu, defaultPort } = this.#options;
    const key = addressKey(context);
    const remote = this.#records.get(key);
    if (remote !== undefined) {
      const { acceptedPort, port, entry, pathMtuAtSeconds } = remote;
      const isOld = nowSeconds - pathMtuAtSeconds >= PATH_MTU_LIFE_SECONDS;
      const isVerified = remote.isVerified || acceptedPort !== undefined;
      return {
        port: acceptedPort ?? port,
        packetBytesMax: isOld ? bytesMaxOf(context, pathMtu(context)) : table.packetBytesMax(entry),
        isNew: false,
        isVerified,
        portFrom: isVerified || port !== defaultPort ? "heard" : "default",
      };
    }
    if (!table.hasRoom() && table.leastRecentlyUsed() === 0) return undefined;
    const noted = this.#unverified.peek(key);
    const remembered = this.#rememberedPorts.peek(key);
    return {
      port: noted?.port ?? remembered ?? defaultPort,
      packetBytesMax: bytesMaxOf(context, pathMtu(context)),
      isNew: true,
      isVerified: noted?.isAccepted === true,
      portFrom: noted ? "heard" : remembered === undefined ? "default" : "remembered",
    };
  }

  /** What `noteDatagram` would answer; notes nothing. */
  wouldProbe(address: IpAddress, port: number, nowSeconds: number): boolean {
    const remote = this.#records.get(addressKey(address));
    if (remote === undefined || port === remote.port || !remote.isVerified) return false;
    return nowSeconds - this.#heard(remote) < PORT_SILENCE_SECONDS;
  }

  /** Entry of the shared table for a context; 0 when there is no record. */
  entryOf(context: IpAddress): number {
    return this.#records.get(addressKey(context))?.entry ?? 0;
  }

  /** M towards a context; 0 when there is no record. */
  packetBytesMax(context: IpAddress): number {
    const entry = this.entryOf(context);
    return entry === 0 ? 0 : this.#options.table.packetBytesMax(entry);
  }

  /** Port to answer a sender of datagrams on, whether it has a record or not. */
  answerPort(address: IpAddress, sourcePort: number): number {
    return this.#records.get(addressKey(address))?.port ?? sourcePort;
  }

  /**
   * A valid datagram came from this address and port (spec/tunnel.md 7.2 step 9). Returns true
   * when the port is a new one of a verified remote, which a probe should examine.
   */
  noteDatagram(address: IpAddress, port: number, nowSeconds: number): boolean {
    const key = addressKey(address);
    const remote = this.#records.get(key);
    if (remote === undefined) {
      const earlier = this.#unverified.get(key);
      if (this.#rememberedPorts.peek(key) === undefined) {
        this.#callers.set(key, { address, seconds: nowSeconds });
      }
      const isAccepted = earlier?.port === port && earlier.isAccepted;
      this.#unverified.set(key, { port, isAccepted });
      return false;
    }
    if (port === remote.port) {
      remote.heardSeconds = nowSeconds;
      this.#options.table.stampReceived(remote.entry, nowSeconds);
      return false;
    }
    if (remote.isVerified && nowSeconds - this.#heard(remote) < PORT_SILENCE_SECONDS) return true;
    this.#setPort(remote, port, nowSeconds);
    return false;
  }

  /** A datagram from this address and port reached one of our hosts. */
  noteAccepted(address: IpAddress, port: number): void {
    const key = addressKey(address);
    const remote = this.#records.get(key);
    if (remote === undefined) this.#unverified.set(key, { port, isAccepted: true });
    else if (!remote.isVerified) {
      remote.acceptedPort = port;
      this.#options.table.setSettled(remote.entry, false);
    }
  }

  /** A probe sent to this address and port was answered: the port is genuine. */
  prove(address: IpAddress, port: number, nowSeconds: number): void {
    const remote = this.#records.get(addressKey(address));
    if (remote !== undefined) this.#verify(remote, port, nowSeconds);
  }

  /** The network reported a path MTU (octets of the outer packet) towards an address. */
  notePathMtu(address: IpAddress, mtu: number, nowSeconds: number): void {
    const remote = this.#records.get(addressKey(address));
    const usable = Math.max(PATH_MTU_MINIMUM[address.version], mtu);
    if (remote !== undefined) this.#setPathMtu(remote, usable, nowSeconds);
  }

  /**
   * Asks the kernel for the path MTU anew after it refused a datagram of `packetBytes` octets as
   * too big. When the answer does not explain the refusal the route shrinks to below that size.
   */
  refreshPathMtu(address: IpAddress, packetBytes: number, nowSeconds: number): Route | undefined {
    const remote = this.#records.get(addressKey(address));
    if (remote === undefined) return undefined;
    const overhead = OUTER_OVERHEAD[address.version];
    const known = this.#options.pathMtu(address);
    const below = packetBytes + overhead - 8;
    this.#setPathMtu(remote, Math.min(known, below), nowSeconds);
    return { port: remote.port, packetBytesMax: this.#options.table.packetBytesMax(remote.entry) };
  }

  /** Each remote gateway with its route; for status. */
  *list(): Generator<{ address: IpAddress; port: number; isVerified: boolean; entry: number }> {
    for (const { address, port, isVerified, entry } of this.#records.values()) {
      yield { address, port, isVerified, entry };
    }
  }

  /** Remote gateways that came before anything was sent to them: the way here is open. */
  callers(): readonly { readonly address: IpAddress; readonly seconds: number }[] {
    return [...this.#callers.entries()].map(([, caller]) => caller);
  }

  #create(context: IpAddress, nowSeconds: number): RemoteGateway | undefined {
    const key = addressKey(context);
    const table = this.#options.table;
    if (!table.hasRoom()) this.#evict();
    const entry = table.insert(context);
    if (entry === 0) return undefined;
    this.#options.totals?.begin(entry);
    const noted = this.#unverified.get(key);
    this.#unverified.delete(key);
    const remembered = this.#rememberedPorts.get(key);
    const remote: RemoteGateway = {
      address: context,
      entry,
      port: noted?.port ?? remembered ?? this.#options.defaultPort,
      isVerified: false,
      acceptedPort: noted?.isAccepted ? noted.port : undefined,
      heardSeconds: nowSeconds,
      pathMtuAtSeconds: nowSeconds,
    };
    this.#records.set(key, remote);
    table.setPort(entry, remote.port);
    table.setSettled(entry, remote.acceptedPort === undefined);
    this.#setPathMtu(remote, this.#options.pathMtu(context), nowSeconds);
    return remote;
  }

  /** Removes the record that was used longest ago; its port is remembered. */
  #evict(): void {
    const victim = this.#options.table.leastRecentlyUsed();
    for (const [key, remote] of this.#records) {
      if (remote.entry !== victim) continue;
      this.#rememberedPorts.set(key, remote.port);
      this.#records.delete(key);
      break;
    }
    if (victim !== 0) this.#options.table.remove(victim);
  }

  #verify(remote: RemoteGateway, port: number, nowSeconds: number): void {
    remote.acceptedPort = undefined;
    remote.isVerified = true;
    if (remote.port !== port) this.#setPort(remote, port, nowSeconds);
    this.#options.table.setVerified(remote.entry, true);
    this.#options.table.setSettled(remote.entry, true);
  }

  #setPort(remote: RemoteGateway, port: number, nowSeconds: number): void {
    remote.port = port;
    remote.heardSeconds = nowSeconds;
    this.#options.table.setPort(remote.entry, port);
    this.#options.table.stampReceived(remote.entry, nowSeconds);
  }

  #setPathMtu(remote: RemoteGateway, mtu: number, nowSeconds: number): void {
    remote.pathMtuAtSeconds = nowSeconds;
    this.#options.table.setPacketBytesMax(remote.entry, bytesMaxOf(remote.address, mtu));
  }

  #heard(remote: RemoteGateway): number {
    return Math.max(remote.heardSeconds, this.#options.table.lastReceivedSeconds(remote.entry));
  }
}

/** M: octets of a tunnel packet that fits a path MTU. */
function bytesMaxOf({ version }: IpAddress, mtu: number): number {
  return Math.min(65_535, mtu) - OUTER_OVERHEAD[version];
}
