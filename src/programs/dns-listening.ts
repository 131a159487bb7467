/**
 * The sockets of the DNS server and the plan they follow (spec/resolver.md 2.4, 2.5).
 *
 * A port that some block serves without `bind` gets one pair of sockets (UDP, TCP) on the wildcard
 * address of each IP version; the address that was asked selects the blocks. When the wildcard
 * address is taken, typically by a stub resolver on one loopback address, each address of the
 * machine gets its own pair instead, and those that are taken are left out with a warning. Ports
 * served under `bind` only have a pair for each address from the beginning.
 */

import {
  addressKey,
  formatIp,
  type IpAddress,
  type IpVersion,
  isLoopback,
  isUnspecified,
  zeroAddress,
} from "../base/ip.js";
import type { Chain } from "../dns/chain.js";
import { parseEndpoint } from "../dns/corefile/words.js";
import type { Complaints } from "../dns/plugin.js";
import type { BindLine } from "../dns/plugins/bind/setup.js";
import { TIMEOUT_DEFAULTS, type TimeoutSettings } from "../dns/plugins/timeouts/setup.js";
import type { Log } from "../dns/ports.js";
import type { Endpoint } from "../dns/query.js";
import { type Listener, planListeners } from "../dns/server/listeners.js";
import { Routes } from "../dns/server/routes.js";
import type { LocalAddress } from "../platform/dns-server-addresses.js";
import { openDnsSocket } from "../platform/dns-server-socket.js";
import { ConnectionLimits, TcpListener } from "../platform/dns-server-tcp.js";
import { type DatagramHandler, UdpListener } from "../platform/dns-server-udp.js";
import type { Reactor } from "../platform/reactor.js";
import { SystemCallError } from "../platform/system-error.js";

/** Where a pair of sockets is. */
interface Place {
  readonly address: IpAddress;
  readonly port: number;
  readonly interfaceName: string | undefined;
  /** Not having it is an error, not a warning. */
  readonly isExplicit: boolean;
}

interface SocketPair {
  readonly place: Place;
  readonly udp: UdpListener;
  readonly tcp: TcpListener;
}

/** Which listener answers at which address. */
interface Plan {
  readonly listeners: readonly Listener[];
  readonly byAddress: ReadonlyMap<string, Listener>;
  /** Blocks without `bind` by port, for addresses that no interface shows (127.0.0.2). */
  readonly unbound: ReadonlyMap<number, Listener>;
}

const EMPTY_PLAN: Plan = { listeners: [], byAddress: new Map(), unbound: new Map() };

/** How messages are answered; the listeners come from the plan. */
export type MessageHandler = Omit<DatagramHandler, "listenerAt">;

/** All sockets of the process. */
export class DnsListening {
  readonly connectionLimits = new ConnectionLimits();
  timeouts: TimeoutSettings = TIMEOUT_DEFAULTS;
  readonly #reactor: Reactor;
  readonly #handler: MessageHandler;
  readonly #log: Log;
  #plan = EMPTY_PLAN;
  #addresses: readonly LocalAddress[] = [];
  #pairs = new Map<string, SocketPair>();
  /** Ports and versions whose wildcard address turned out to be taken. */
  readonly #taken = new Set<string>();
  readonly #warned = new Set<string>();

  constructor(reactor: Reactor, handler: MessageHandler, log: Log) {
    this.#reactor = reactor;
    this.#handler = handler;
    this.#log = log;
  }

  /** Open sockets, for logs and metrics. */
  get udpListeners(): readonly UdpListener[] {
    return [...this.#pairs.values()].map(({ udp }) => udp);
  }

  /** Addresses and ports that are answered. */
  get endpoints(): readonly Endpoint[] {
    return [...this.#pairs.values()].map(({ place }) => place);
  }

  /** True when one of our sockets receives what is sent there. */
  isOwn({ address, port }: Endpoint, addresses: readonly LocalAddress[]): boolean {
    const isMine = (other: IpAddress) => addressKey(other) === addressKey(address);
    const isHere = isLoopback(address) || addresses.some((one) => isMine(one.address));
    return this.endpoints.some((one) => {
      if (one.port !== port) return false;
      if (isMine(one.address)) return true;
      return isHere && isUnspecified(one.address) && one.address.version === address.version;
    });
  }

  /**
   * Makes the sockets fit the blocks. On an error the sockets and the plan are those of before.
   * Complaints are about names in `bind`.
   */
  async apply(
    chains: readonly Chain[],
    addresses: readonly LocalAddress[],
    complaints: Complaints,
  ): Promise<SystemCallError | undefined> {
    this.#addresses = addresses;
    const known = [...addresses, ...loopbackAddresses(chains)];
    const plan = makePlan(chains, planListeners(chains, known, complaints));
    const before = this.#pairs;
    const opened = new Map<string, SocketPair>();
    const kept = new Map<string, SocketPair>();
    const error = await this.#openAll(plan, opened, kept);
    if (error !== undefined) {
      for (const pair of opened.values()) closePair(pair);
      return error;
    }
    for (const [key, pair] of before) if (!kept.has(key)) closePair(pair);
    this.#pairs = new Map([...kept, ...opened]);
    this.#plan = plan;
    for (const { udp } of this.#pairs.values()) udp.forgetPeers();
    return undefined;
  }

  async #openAll(
    plan: Plan,
    opened: Map<string, SocketPair>,
    kept: Map<string, SocketPair>,
  ): Promise<SystemCallError | undefined> {
    const failures: SystemCallError[] = [];
    const covered = new Set<string>();
    const enter = async (place: Place): Promise<SystemCallError | undefined> => {
      const key = placeKey(place);
      const existing = this.#pairs.get(key);
      if (existing !== undefined) {
        kept.set(key, existing);
        return undefined;
      }
      if (opened.has(key)) return undefined;
      const pair = await this.#openPair(place);
      if (pair instanceof SystemCallError) return pair;
      opened.set(key, pair);
      return undefined;
    };
    for (const port of plan.unbound.keys()) {
      for (const version of [4, 6] as const) {
        const wild = wildcardKey(port, version);
        if (this.#taken.has(wild)) continue;
        const error = await enter(wildcardPlace(port, version));
        if (error === undefined) covered.add(wild);
        else if (error.code === "EADDRINUSE") this.#taken.add(wild);
        else if (!isVersionMissing(error)) failures.push(error);
      }
    }
    for (const listener of plan.listeners) {
      if (covered.has(wildcardKey(listener.port, listener.address.version))) continue;
      const error = await enter(listener);
      if (error === undefined) continue;
      if (listener.isExplicit) return error;
      failures.push(error);
    }
    if (kept.size + opened.size === 0) return failures[0] ?? nothingToListenOn();
    for (const failure of failures) this.#warnOnce(failure.message);
    return undefined;
  }

  async #openPair(place: Place): Promise<SocketPair | SystemCallError> {
    const { address, port, interfaceName } = place;
    try {
      const onLink = this.#addresses.find(
        (one) => one.interfaceName === interfaceName && one.scope,
      );
      const scope = onLink?.scope ?? 0;
      const socket = openDnsSocket(address, port, scope);
      try {
        const where = { address, port: socket.port, scope: interfaceName };
        const tcp = await TcpListener.open(where, this.#tcpHandler(), this.connectionLimits);
        return { place, udp: new UdpListener(this.#reactor, socket, this.#udpHandler()), tcp };
      } catch (error) {
        socket.close();
        throw error;
      }
    } catch (error) {
      if (error instanceof SystemCallError) return error;
      throw error;
    }
  }

  #udpHandler(): DatagramHandler {
    const { receive, limitReply } = this.#handler;
    return { receive, limitReply, listenerAt: (local) => this.#listenerAt(local) };
  }

  #tcpHandler() {
    const listening = this;
    return {
      ...this.#udpHandler(),
      get timeouts() {
        return listening.timeouts;
      },
    };
  }

  #listenerAt(local: Endpoint): Listener | undefined {
    const { byAddress, unbound } = this.#plan;
    return byAddress.get(endpointKey(local)) ?? unbound.get(local.port);
  }

  #warnOnce(text: string): void {
    if (this.#warned.has(text)) return;
    this.#warned.add(text);
    this.#log.write("WARNING", undefined, text, "dns-address-refused");
  }

  /** Takes no new questions; replies that are under way still leave. */
  stopListening(): void {
    for (const { udp, tcp } of this.#pairs.values()) {
      udp.stopReading();
      tcp.stopAccepting();
    }
  }

  close(): void {
    for (const pair of this.#pairs.values()) closePair(pair);
    this.#pairs = new Map();
    this.#plan = EMPTY_PLAN;
  }
}

function makePlan(chains: readonly Chain[], listeners: readonly Listener[]): Plan {
  const byAddress = new Map(listeners.map((listener) => [endpointKey(listener), listener]));
  const unbound = new Map<number, Listener>();
  for (const chain of chains) {
    if (chain.configuration.settings.has("bind")) continue;
    for (const { zone, port } of chain.configuration.zones) {
      const listener = unbound.get(port) ?? unboundListener(port);
      listener.routes.add(zone.key, chain);
      unbound.set(port, listener);
    }
  }
  return { listeners, byAddress, unbound };
}

function unboundListener(port: number): Listener {
  return {
    address: zeroAddress(4),
    port,
    interfaceName: undefined,
    isExplicit: false,
    routes: new Routes(),
  };
}

/** The loopback interface has all of 127.0.0.0/8 although it shows one address only. */
function loopbackAddresses(chains: readonly Chain[]): LocalAddress[] {
  const lines = chains.flatMap(
    (chain) => (chain.configuration.settings.get("bind") as readonly BindLine[] | undefined) ?? [],
  );
  const addresses = lines.flatMap(({ listen }) =>
    listen.flatMap((word) => parseEndpoint(word.text, 0)?.address ?? []),
  );
  return addresses
    .filter((address) => address.version === 4 && isLoopback(address))
    .filter((address) => addressKey(address) !== "\x7f\0\0\x01")
    .map((address) => ({ interfaceName: "", address, prefixBits: 8, scope: 0 }));
}

function closePair({ udp, tcp }: SocketPair): void {
  udp.close();
  tcp.close();
}

function endpointKey({ address, port }: Endpoint): string {
  return `${addressKey(address)}:${port}`;
}

function placeKey(place: Place): string {
  return `${endpointKey(place)}%${place.interfaceName ?? ""}`;
}

function wildcardKey(port: number, version: IpVersion): string {
  return `${version}:${port}`;
}

function wildcardPlace(port: number, version: IpVersion): Place {
  return { address: zeroAddress(version), port, interfaceName: undefined, isExplicit: false };
}

/** The kernel has no IPv6, or no IPv4. */
function isVersionMissing({ code }: SystemCallError): boolean {
  return code === "EAFNOSUPPORT" || code === "EADDRNOTAVAIL";
}

function nothingToListenOn(): SystemCallError {
  return new SystemCallError("listen", "bind", "EADDRNOTAVAIL", "no interface has an address");
}

/** `dns://0.0.0.0:53`, for logs. */
export function describeEndpoint({ address, port }: Endpoint): string {
  const host = address.version === 6 ? `[${formatIp(address)}]` : formatIp(address);
  return `${host}:${port}`;
}
