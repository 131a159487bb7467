/** What the slow path is given, and where its decisions go. */

import type { AddressLookup } from "../base/address-lookup.js";
import type { DropReason } from "../base/drop-reason.js";
import type { IpAddress } from "../base/ip.js";
import type { RandomSource } from "../base/random.js";
import type { Reference } from "../base/reference.js";
import type { TranslationSettings } from "../translate/settings.js";
import type { RemoteGateways } from "./remote-gateways.js";

/** What became of a datagram handed to the kernel. `too-big`: larger than the path allows. */
export type SendResult = "sent" | "too-big" | "failed";

/** Where the slow path's decisions go. All bytes are borrowed until return. */
export interface SlowPathOutput {
  /** Sends a tunnel packet from the tunnel port. */
  sendTunnel(destination: IpAddress, port: number, packet: Uint8Array): SendResult;
  /** Writes a native packet to the TUN device; false when the kernel refuses it. */
  writeLocal(packet: Uint8Array): boolean;
  /** Counts a dropped packet. */
  drop(reason: DropReason): void;
  /** A local packet that was held is tried again, or given up. */
  resumesLocal?(packet: Uint8Array): void;
  /** The same with a datagram of the tunnel. */
  resumesTunnel?(packet: Uint8Array, source: IpAddress, port: number): void;
}

/** The mapper as the slow path uses it. */
export interface SlowPathLookup extends AddressLookup {
  /**
   * A remote host reached one of ours under this reference: answers carry it, also when the host
   * has several (spec/mapper.md 3.8).
   */
  noteContact(host: IpAddress, encoded: IpAddress, reference: Reference): void;
}

/** Remote gateways as the slow path uses them. */
export type RemoteDirectory = Pick<
  RemoteGateways,
  "routeTo" | "packetBytesMax" | "noteDatagram" | "noteAccepted" | "prove" | "refreshPathMtu"
>;

/** What a rehearsal replaces: look-ups that create nothing, and outputs that only record. */
export type RehearsalParts = Pick<
  SlowPathOptions,
  "lookup" | "remotes" | "output" | "random" | "onRoute" | "isOwnAddress"
>;

/** Everything the slow path needs. */
export interface SlowPathOptions {
  readonly settings: TranslationSettings;
  /** `pub` at the start; all zero when unknown. */
  readonly publicAddress: IpAddress;
  readonly lookup: SlowPathLookup;
  readonly remotes: RemoteDirectory;
  readonly output: SlowPathOutput;
  readonly random: RandomSource;
  /** Our own UDP port. */
  readonly tunnelPort: number;
  /** Local IPv6 hosts whose path MTU is kept. */
  readonly localHostsMax: number;
  /** Largest MSS of a packet that passes the TUN device; undefined: SYNs stay as they are. */
  readonly localMssMax?: number | undefined;
  /** True for every address of the gateway host: no datagram from outside may bear one. */
  readonly isOwnAddress: (address: IpAddress) => boolean;
  /**
   * Told all encoded addresses behind paths narrower than 1280 octets when they change: the
   * forwarding workers leave small packets to them to the slow path (spec/tunnel.md 4.7).
   */
  readonly onNarrowPaths: (destinations: readonly IpAddress[]) => void;
  /** Rehearsals only: a tunnel packet is about to go out on a path that carries M octets. */
  readonly onRoute?: ((packet: Uint8Array, packetBytesMax: number) => void) | undefined;
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: () => number;
  /** Mapper seconds, the clock of the shared tables. */
  readonly nowSeconds: () => number;
}
