/**
 * What layer-4 translation is asked and what it answers (spec/tunnel.md 4).
 */

import type { DropReason } from "../base/drop-reason.js";
import type { IpAddress, IpVersion } from "../base/ip.js";
import type { FragmentInfo, TunnelFormat } from "../wire/packet-fields.js";

/** A packet quoted by an ICMP error, translated, and what the error's MTU depends on (4.7). */
export interface TranslatedQuote {
  readonly packet: Uint8Array;
  /** Header of the quote in tunnel form, fragment information included. */
  readonly tunnelHeaderLength: number;
  readonly hasFragment: boolean;
  /** Length that the header of the native quote announces. */
  readonly nativeLength: number;
  /** Destination of the native quote. */
  readonly nativeDestination: IpAddress;
}

/** One layer-4 datagram or fragment, and what its translation depends on. */
export interface Layer4Input {
  readonly direction: "to-tunnel" | "to-native";
  readonly localVersion: IpVersion;
  readonly format: TunnelFormat;
  /** As in the tunnel: ICMP and ICMPv6 are 1. */
  readonly protocol: number;
  readonly protocols: ReadonlySet<number>;
  /** Borrowed. */
  readonly payload: Uint8Array;
  /** Octets the IP header announced; more than `payload` has only in a cut quote. */
  readonly payloadLength: number;
  readonly fragment: FragmentInfo | undefined;
  /** Sum of the words of the native source and destination. */
  readonly addressSum: number;
  /** Lax mode: the packet is quoted inside an ICMP error. */
  readonly isQuote: boolean;
  /** Length of the whole ICMPv6 echo this first fragment belongs to, when known (4.8). */
  readonly icmpLength: number | undefined;
  /** Levels of ICMP that may still come, this one included (4.4). */
  readonly depth: number;
  /** Translates the packet quoted by an ICMP error. */
  readonly translateQuote: (quote: Uint8Array) => TranslatedQuote | DropReason;
}

/**
 * `translated`: `payload` is the new layer-4 data; `narrow` names the encoded destination whose
 * path is too narrow for IPv6 (4.7). `hold`: the length of an ICMPv6 echo is not known yet (4.8).
 */
export type Layer4Result =
  | { readonly kind: "translated"; readonly payload: Uint8Array; readonly narrow?: IpAddress }
  | { readonly kind: "hold" }
  | { readonly kind: "drop"; readonly reason: DropReason };

/** A drop with its reason. */
export function dropped(reason: DropReason): Layer4Result {
  return { kind: "drop", reason };
}

/** Takes `payload` as the new layer-4 data. */
export function translated(payload: Uint8Array): Layer4Result {
  return { kind: "translated", payload };
}
