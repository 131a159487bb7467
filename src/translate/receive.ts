/**
 * The checks of a datagram at the tunnel socket, spec/tunnel.md 7.2 steps 1 and 3 to 8: which
 * format, whose contexts, and what all-zero contexts stand for.
 */

import type { DropReason } from "../base/drop-reason.js";
import { type IpAddress, type IpVersion, isUnspecified, sameAddress } from "../base/ip.js";
import { parseDraft } from "../wire/draft-header.js";
import type { TunnelFormat } from "../wire/packet-fields.js";
import { checkTunnelHeader, classifyTunnel } from "../wire/tunnel-header.js";
import type { ContextHints } from "./settings.js";

/** What the socket knows about a datagram. */
export interface DatagramOrigin {
  readonly outerSource: IpAddress;
  readonly outerSourcePort: number;
  /** `pub`; all zero when unknown. */
  readonly publicAddress: IpAddress;
  /** Our own UDP port. */
  readonly tunnelPort: number;
  readonly tunnelVersion: IpVersion;
  /** The packet never left this gateway: a local host sent it to one of our own references. */
  readonly isHairpin?: boolean | undefined;
}

/** A datagram to decapsulate: a copy with its contexts filled in, and the hints for quotes. */
export interface AcceptedDatagram {
  readonly kind: "accepted";
  readonly packet: Uint8Array;
  readonly format: TunnelFormat;
  readonly hints: ContextHints;
}

export type Reception = AcceptedDatagram | { readonly kind: "drop"; readonly reason: DropReason };

/**
 * Checks a datagram. Borrows `datagram`. Other own addresses than `publicAddress` are for the
 * caller to refuse: only it knows them (spec/tunnel.md 5).
 */
export function acceptDatagram(datagram: Uint8Array, origin: DatagramOrigin): Reception {
  const format = classifyTunnel(datagram);
  if (format !== "G" && format !== "D") return { kind: "drop", reason: format };
  const result = format === "G" ? acceptDeployed(datagram, origin) : acceptDraft(datagram, origin);
  if (typeof result === "string") return { kind: "drop", reason: result };
  const isOwn = !origin.isHairpin && sameAddress(origin.outerSource, origin.publicAddress);
  return isOwn ? { kind: "drop", reason: "tunnel-source-own" } : result;
}

/** Format G: steps 4 to 8, the contexts written in place of zeros in a copy. */
function acceptDeployed(
  datagram: Uint8Array,
  { outerSource, publicAddress, tunnelVersion }: DatagramOrigin,
): AcceptedDatagram | DropReason {
  const layout = checkTunnelHeader(datagram);
  if (typeof layout === "string") return layout;
  if (layout.contextVersion !== tunnelVersion) return "tunnel-context-version";
  const packet = datagram.slice();
  const { sourceContextOffset, destinationContextOffset, sourceReferenceOffset } = layout;
  const source = contextAt(packet, sourceContextOffset, destinationContextOffset);
  if (isUnspecified(source)) packet.set(outerSource.bytes, sourceContextOffset);
  if (!sameAddress(source, outerSource)) return "tunnel-source-mismatch";
  const destination = contextAt(packet, destinationContextOffset, sourceReferenceOffset);
  const isNamed = !isUnspecified(destination);
  const local = isNamed ? { version: tunnelVersion, bytes: destination.bytes.slice() } : undefined;
  if (isUnspecified(publicAddress) || !isNamed) {
    packet.set(publicAddress.bytes, destinationContextOffset);
  }
  if (!sameAddress(destination, publicAddress)) return "tunnel-destination-mismatch";
  return { kind: "accepted", packet, format: "G", hints: { remote: outerSource, local } };
}

/** A context in place: it follows later writes to the packet. */
function contextAt(packet: Uint8Array, start: number, end: number): IpAddress {
  return { version: end - start === 4 ? 4 : 6, bytes: packet.subarray(start, end) };
}

/**
 * Format D: contexts are unspecified, or the expected address and port (spec/tunnel.md 2.2). They
 * stay as they are; decapsulation resolves them from the same hints.
 */
function acceptDraft(datagram: Uint8Array, origin: DatagramOrigin): AcceptedDatagram | DropReason {
  const { outerSource, publicAddress, tunnelVersion } = origin;
  const packet = parseDraft(datagram, tunnelVersion);
  if (typeof packet === "string") return packet;
  const [source, destination] = [packet.source.context, packet.destination.context];
  if (!isUnspecified(source)) {
    if (source.version !== tunnelVersion) return "tunnel-context-version";
    const isExpected =
      sameAddress(source, outerSource) && packet.sourcePort === origin.outerSourcePort;
    if (!isExpected) return "tunnel-source-mismatch";
  }
  const local = isUnspecified(destination) ? undefined : destination;
  if (local !== undefined) {
    if (local.version !== tunnelVersion) return "tunnel-context-version";
    const isExpected =
      sameAddress(local, publicAddress) && packet.destinationPort === origin.tunnelPort;
    if (!isExpected && !isUnspecified(publicAddress)) return "tunnel-destination-mismatch";
  }
  const hints = { remote: outerSource, local };
  return { kind: "accepted", packet: datagram.slice(), format: "D", hints };
}
