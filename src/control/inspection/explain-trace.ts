/**
 * One packet through the slow path of the running gateway, rehearsed: the code that decides is the
 * gateway's own, its look-ups create nothing and its outputs only record. Main thread.
 */

import type { DropReason } from "../../base/drop-reason.js";
import type { IpAddress } from "../../base/ip.js";
import type { FastPathSettings } from "../../forward/fast-path.js";
import { isTakenFromLocal, isTakenFromTunnel } from "../../forward/fast-trial.js";
import type { RoutePreview } from "../../forward/remote-gateways.js";
import type { SlowPath } from "../../forward/slow-path.js";
import type { MapperPreview, PreviewFinding } from "../../mapper/preview.js";
import type { GatewaySettings } from "../gateway-flags.js";
import type { PacketDesk } from "../packet-desk.js";
import type { InspectionParts } from "./gateway-routes.js";

/** What a packet makes the gateway put out; `isAnswer`: because it was dropped. */
interface Output {
  readonly packet: Uint8Array;
  readonly isAnswer: boolean;
}

/** A datagram to a remote gateway. */
export interface TracedDatagram extends Output {
  readonly destination: IpAddress;
  readonly port: number;
}

/** A tunnel packet before it is fitted to its path. */
export interface TracedTunnelPacket {
  readonly packet: Uint8Array;
  readonly bytesMax: number;
}

/** All that happened to one packet. */
export interface Trace {
  /** The packet, or the datagram. */
  readonly packet: Uint8Array;
  /** In the order of the first look-up of each address, each with its last result. */
  readonly findings: readonly PreviewFinding[];
  readonly route: { readonly context: IpAddress; readonly route: RoutePreview } | undefined;
  readonly tunnelPacket: TracedTunnelPacket | undefined;
  readonly sent: readonly TracedDatagram[];
  readonly written: readonly Output[];
  readonly drops: readonly DropReason[];
  /** Why a packet that was kept before is dropped, but not this one. */
  readonly givenUp: DropReason | undefined;
  /** A forwarding worker would take it. */
  readonly isFast: boolean;
}

/** The parts of a gateway that forwards. */
export type TraceParts = Pick<
  InspectionParts,
  "settings" | "shared" | "mapper" | "facts" | "health"
> & { readonly desk: PacketDesk };

/** A preview of the mapper that collects what it finds in `findings`. */
export function startPreview(parts: TraceParts, findings: PreviewFinding[]): MapperPreview {
  const places = new Map<string, number>();
  return parts.mapper.preview((finding) => {
    const key = keyOf(finding);
    const place = places.get(key);
    if (place !== undefined) findings[place] = finding;
    else places.set(key, findings.push(finding) - 1);
  });
}

/** A packet of the local network. `preview` and `findings` belong together. */
export function traceLocal(
  parts: TraceParts,
  packet: Uint8Array,
  preview: MapperPreview,
  findings: PreviewFinding[],
): Trace {
  const isFast = isTakenFromLocal(fastSource(parts), packet);
  const run = (slowPath: SlowPath) => slowPath.fromLocal(packet.slice());
  return trace(parts, { packet, preview, findings, isFast, run });
}

/** A datagram from the tunnel. */
export function traceTunnel(
  parts: TraceParts,
  packet: Uint8Array,
  from: { readonly address: IpAddress; readonly port: number },
  preview: MapperPreview,
  findings: PreviewFinding[],
): Trace {
  const { address, port } = from;
  const isFast = isTakenFromTunnel(fastSource(parts), packet, address, port);
  const run = (slowPath: SlowPath) => slowPath.fromTunnel(packet.slice(), address, port);
  return trace(parts, { packet, preview, findings, isFast, run });
}

interface Rehearsed {
  readonly packet: Uint8Array;
  readonly preview: MapperPreview;
  readonly findings: PreviewFinding[];
  readonly isFast: boolean;
  readonly run: (slowPath: SlowPath) => void;
}

function trace({ desk, health }: TraceParts, rehearsed: Rehearsed): Trace {
  const { preview, findings, run, packet, isFast } = rehearsed;
  const drops: DropReason[] = [];
  let [isEarlier, givenUp] = [false, undefined as DropReason | undefined];
  const takeEarlier = () => {
    isEarlier = true;
  };
  const sent: TracedDatagram[] = [];
  const written: Output[] = [];
  let route: Trace["route"];
  let tunnelPacket: TracedTunnelPacket | undefined;
  const slowPath = desk.rehearsal({
    lookup: preview,
    onRouteFound: (context, found) => {
      route = { context, route: found };
    },
    onRoute: (bytes, bytesMax) => {
      tunnelPacket ??= { packet: bytes.slice(), bytesMax };
    },
    output: {
      sendTunnel: (destination, port, bytes) => {
        sent.push({ destination, port, packet: bytes.slice(), isAnswer: drops.length > 0 });
        return "sent";
      },
      writeLocal: (bytes) => {
        written.push({ packet: bytes.slice(), isAnswer: drops.length > 0 });
        return true;
      },
      drop: (reason) => {
        if (isEarlier) givenUp = reason;
        else drops.push(reason);
      },
      resumesLocal: takeEarlier,
      resumesTunnel: takeEarlier,
    },
  });
  run(slowPath);
  if (drops.length === 0 && mustWait(findings)) {
    if (!desk.mayWait(packet.length)) drops.push("mapping-pending-full");
    else if (health.isStoreFailing) drops.push("mapping-storage");
  }
  return { packet, findings, route, tunnelPacket, sent, written, drops, givenUp, isFast };
}

/** True when a packet with these look-ups waits for the store. */
export function mustWait(findings: readonly PreviewFinding[]): boolean {
  return findings.some(
    ({ by, outcome, mapping }) =>
      by === "packet" &&
      (outcome === "created" || outcome === "revived" || mapping?.state === "pending"),
  );
}

function fastSource({ shared, settings }: TraceParts) {
  return { memory: shared.memory, plan: shared.plan, settings: fastPathSettings(settings) };
}

/** What forwarding workers are told. With -trace every packet takes the slow path. */
function fastPathSettings(settings: GatewaySettings): FastPathSettings {
  const { localVersion, tunnelVersion, decrementTtl, isTraced } = settings;
  const carried = { carriesTcp: !isTraced, carriesUdp: !isTraced, carriesIcmp: !isTraced };
  return { localVersion, tunnelVersion, decrementTtl, ...carried };
}

function keyOf({ role, from, native, ipref }: PreviewFinding): string {
  const of = from === "native" ? native?.bytes.join(".") : undefined;
  const iprefText = ipref && `${ipref.context.bytes.join(".")}+${ipref.reference}`;
  return `${role} ${from} ${of ?? iprefText}`;
}
