/**
 * A gateway without sockets for the tests of translation: a fixed table of mappings, the holder of
 * fragmented echoes, and the choice between sending, fragmenting and answering that the slow path
 * makes.
 */

import type { AddressLookup, Lookup } from "../../src/base/address-lookup.js";
import type { DropReason } from "../../src/base/drop-reason.js";
import {
  addressKey,
  type IpAddress,
  type IpVersion,
  isUnspecified,
  parseIp,
  parsePrefix,
} from "../../src/base/ip.js";
import { type IprefAddress, parseReference } from "../../src/base/reference.js";
import { decapsulate } from "../../src/translate/decapsulate.js";
import { encapsulate } from "../../src/translate/encapsulate.js";
import { fragmentTunnel } from "../../src/translate/fragment.js";
import {
  buildNativeError,
  buildTunnelError,
  mayAnswerTunnel,
  tooBigForLocal,
} from "../../src/translate/icmp-errors.js";
import { acceptDatagram } from "../../src/translate/receive.js";
import { DEFAULT_PROTOCOLS, type TranslationSettings } from "../../src/translate/settings.js";
import type { TunnelFormat } from "../../src/wire/packet-fields.js";

/** One mapping: a local host and its reference, or a remote host and its encoded address. */
export interface Mapping {
  readonly kind: "our" | "their";
  /** Local address: the host, or the encoded address. */
  readonly local: IpAddress;
  readonly ipref: IprefAddress;
}

/** What `local` is mapped to by hand; never creates anything. */
export class FixedLookup implements AddressLookup {
  readonly #mappings: readonly Mapping[];

  constructor(mappings: readonly Mapping[]) {
    this.#mappings = mappings;
  }

  oursToIpref(host: IpAddress): Lookup<IprefAddress> {
    return this.#find(
      "our",
      (mapping) => same(mapping.local, host),
      (mapping) => mapping.ipref,
    );
  }

  theirsToIpref(encoded: IpAddress): Lookup<IprefAddress> {
    return this.#find(
      "their",
      (mapping) => same(mapping.local, encoded),
      (mapping) => mapping.ipref,
    );
  }

  iprefToTheirs({ context, reference }: IprefAddress): Lookup<IpAddress> {
    const isRight = ({ ipref }: Mapping) =>
      ipref.reference === reference && same(ipref.context, context);
    return this.#find("their", isRight, (mapping) => mapping.local);
  }

  iprefToOurs({ reference }: IprefAddress): Lookup<IpAddress> {
    const isRight = ({ ipref }: Mapping) => ipref.reference === reference;
    return this.#find("our", isRight, (mapping) => mapping.local);
  }

  #find<Value>(
    kind: Mapping["kind"],
    isRight: (mapping: Mapping) => boolean,
    pick: (mapping: Mapping) => Value,
  ): Lookup<Value> {
    const mapping = this.#mappings.find((entry) => entry.kind === kind && isRight(entry));
    if (mapping === undefined) return { status: "refused", reason: "tunnel-reference-unknown" };
    return { status: "found", value: pick(mapping) };
  }
}

function same(a: IpAddress, b: IpAddress): boolean {
  return a.version === b.version && addressKey(a) === addressKey(b);
}

/** The gateway of a vector, as in vectors/README.md "Packet vectors". */
export interface GatewayConfig {
  readonly ea_net: string;
  readonly ea_ip: string;
  readonly gw_pub: string;
  readonly gw_ref: string;
  readonly local_version: IpVersion;
  readonly tunnel_version: IpVersion;
  readonly mappings: readonly {
    readonly kind: "our" | "their";
    readonly ip?: string;
    readonly ea?: string;
    readonly gw: string;
    readonly ref: string;
  }[];
  readonly dec_ttl?: boolean;
  readonly tunnel_mtu?: number;
}

export function ip(text: string): IpAddress {
  const address = parseIp(text);
  if (address === undefined) throw new Error(`not an address: ${text}`);
  return address;
}

function reference(text: string): bigint {
  const parsed = parseReference(text);
  if (!parsed.ok) throw new Error(`not a reference: ${text}`);
  return parsed.value;
}

/** What came of one input. */
export type Played =
  | { readonly verdict: "accept" | "icmp"; readonly outputs: readonly Uint8Array[] }
  | { readonly verdict: "inside" }
  | { readonly verdict: "drop"; readonly reason: DropReason | "held" };

interface HeldEcho {
  readonly packet?: Uint8Array;
  readonly totalLength?: number;
}

export class GatewayDouble {
  readonly settings: TranslationSettings;
  readonly publicAddress: IpAddress;
  readonly lookup: AddressLookup;
  readonly #tunnelMtu: number | undefined;
  readonly #held = new Map<string, HeldEcho>();
  #counter = 0x1234;

  constructor(config: GatewayConfig, lookup?: AddressLookup) {
    this.publicAddress = ip(config.gw_pub);
    this.settings = {
      localVersion: config.local_version,
      tunnelVersion: config.tunnel_version,
      encodeNet: parsePrefix(config.ea_net)!,
      ownEncoded: ip(config.ea_ip),
      gatewayReference: reference(config.gw_ref),
      decrementTtl: config.dec_ttl ?? false,
      protocols: DEFAULT_PROTOCOLS,
      dropCongestionMarks: true,
    };
    this.lookup = lookup ?? new FixedLookup(config.mappings.map(readMapping));
    this.#tunnelMtu = config.tunnel_mtu;
  }

  /** M of spec/tunnel.md 7.4. */
  get largestBytes(): number {
    const outer = this.settings.tunnelVersion === 4 ? 28 : 48;
    return (this.#tunnelMtu ?? 65_535) - outer;
  }

  scope(format: TunnelFormat) {
    const { settings, publicAddress, lookup } = this;
    return { settings, publicAddress, lookup, format };
  }

  /** A packet from the local network. */
  fromLocal(packet: Uint8Array, format: TunnelFormat = "G", icmpLength?: number): Played {
    const scope = this.scope(format);
    const result = encapsulate(packet, {
      ...scope,
      icmpLength,
      identification: () => this.#next(),
    });
    if (result.kind === "drop") return { verdict: "drop", reason: result.reason };
    if (result.kind === "pending") throw new Error("a fixed lookup never asks to wait");
    if (result.kind === "error") {
      const error = buildNativeError(packet, result.error, scope, this.#next());
      return error ? icmp(error) : { verdict: "drop", reason: "icmp-not-answered" };
    }
    const echo = result.icmpFragment;
    if (result.kind === "hold") {
      const length = this.#held.get(echo!.key)?.totalLength;
      if (length !== undefined) return this.fromLocal(packet, format, length);
      this.#held.set(echo!.key, { packet });
      return { verdict: "drop", reason: "held" };
    }
    const sent = this.#send(result.packet, result.mayFragment, format, result.destination.context);
    if (sent.verdict !== "accept" || echo?.totalLength === undefined) return sent;
    const first = this.#release(echo.key, echo.totalLength);
    const released = first && this.fromLocal(first, format, echo.totalLength);
    if (released?.verdict !== "accept") return sent;
    return { verdict: "accept", outputs: [...sent.outputs, ...released.outputs] };
  }

  #send(packet: Uint8Array, mayFragment: boolean, format: TunnelFormat, remote: IpAddress): Played {
    const { largestBytes } = this;
    if (packet.length <= largestBytes) return { verdict: "accept", outputs: [packet] };
    const { tunnelVersion } = this.settings;
    if (mayFragment) {
      const pieces = fragmentTunnel(packet, largestBytes, format, tunnelVersion, this.#next());
      if (typeof pieces === "string") return { verdict: "drop", reason: pieces };
      return { verdict: "accept", outputs: pieces };
    }
    const identification = this.#next();
    const error = tooBigForLocal(packet, {
      ...this.scope(format),
      largestBytes,
      remote,
      identification,
    });
    return error ? icmp(error) : { verdict: "drop", reason: "packet-too-big" };
  }

  /** A datagram from the tunnel. */
  fromTunnel(datagram: Uint8Array, outerSource: IpAddress, icmpLength?: number): Played {
    const accepted = acceptDatagram(datagram, {
      outerSource,
      outerSourcePort: 1045,
      publicAddress: this.publicAddress,
      tunnelPort: 1045,
      tunnelVersion: this.settings.tunnelVersion,
    });
    if (accepted.kind === "drop") return { verdict: "drop", reason: accepted.reason };
    const scope = this.scope(accepted.format);
    const result = decapsulate(accepted.packet, {
      ...scope,
      outerSource,
      hints: accepted.hints,
      icmpLength,
      nextIdentification: () => this.#next(),
      roles: "remote",
    });
    if (result.kind === "drop") return { verdict: "drop", reason: result.reason };
    if (result.kind === "pending") throw new Error("a fixed lookup never asks to wait");
    if (result.kind === "to-gateway") return { verdict: "inside" };
    if (result.kind === "error") {
      const may = mayAnswerTunnel(accepted.packet, scope);
      const error = may && buildTunnelError(accepted.packet, { kind: result.error }, scope);
      return error ? icmp(error) : { verdict: "drop", reason: "icmp-not-answered" };
    }
    const echo = result.icmpFragment;
    if (result.kind === "hold") {
      const length = this.#held.get(echo!.key)?.totalLength;
      if (length !== undefined) return this.fromTunnel(datagram, outerSource, length);
      this.#held.set(echo!.key, { packet: datagram });
      return { verdict: "drop", reason: "held" };
    }
    if (echo?.totalLength === undefined) return { verdict: "accept", outputs: [result.packet] };
    const first = this.#release(echo.key, echo.totalLength);
    const released = first && this.fromTunnel(first, outerSource, echo.totalLength);
    const later = released?.verdict === "accept" ? released.outputs : [];
    return { verdict: "accept", outputs: [result.packet, ...later] };
  }

  #release(key: string, totalLength: number): Uint8Array | undefined {
    const held = this.#held.get(key);
    if (held?.packet === undefined) this.#held.set(key, { totalLength });
    else this.#held.delete(key);
    return held?.packet;
  }

  #next(): number {
    this.#counter += 1;
    return this.#counter;
  }
}

function icmp(error: Uint8Array): Played {
  return { verdict: "icmp", outputs: [error] };
}

function readMapping(entry: GatewayConfig["mappings"][number]): Mapping {
  const local = ip(entry.kind === "our" ? entry.ip! : entry.ea!);
  return {
    kind: entry.kind,
    local,
    ipref: { context: ip(entry.gw), reference: reference(entry.ref) },
  };
}

/** True when the gateway does not know its public address. */
export function isPublicAddressUnknown(config: GatewayConfig): boolean {
  return isUnspecified(ip(config.gw_pub));
}
