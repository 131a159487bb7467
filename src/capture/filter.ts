/**
 * Filters of captures: what they are, their text, and the test that decides about a packet. The
 * grammar is in filter-parser.ts. A test allocates nothing: workers run it for each packet while a
 * capture is on.
 *
 *   host      either address of the native packet: a local host, or an encoded address
 *   net       the same, as a prefix
 *   port      either port of TCP or UDP as the hosts see them, not those of the tunnel
 *   proto     the protocol of the packet; icmp is ICMP and ICMPv6
 *   gateway   either context of the tunnel packet, or the remote gateway of the datagram
 *   reference either reference of the tunnel packet
 *   side      the packet as the local network has it, or as the tunnel has it
 *   verdict   forwarded: not dropped; slow: decided by the slow path
 *   drop      dropped for this reason
 */

import { DROP_REASONS, type DropReason, dropReasonIndex } from "../base/drop-reason.js";
import { formatIp, formatPrefix, type IpAddress, type IpPrefix } from "../base/ip.js";
import { formatReference, type Reference, writeReferenceInto } from "../base/reference.js";
import { PATH_SLOW, SIDE_LOCAL, SIDE_TUNNEL, VERDICT_DROPPED } from "../tables/capture-ring.js";
import { PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/packet-fields.js";
import type { CaptureSubject } from "./subject.js";

export type CaptureProtocol = "tcp" | "udp" | "icmp" | number;
export type FilterSide = "local" | "tunnel";
export type FilterVerdict = "forwarded" | "dropped" | "slow";

/** A filter; `all` is the empty text. */
export type CaptureFilter =
  | { readonly kind: "all" }
  | { readonly kind: "and" | "or"; readonly left: CaptureFilter; readonly right: CaptureFilter }
  | { readonly kind: "not"; readonly term: CaptureFilter }
  | { readonly kind: "host" | "gateway"; readonly address: IpAddress }
  | { readonly kind: "net"; readonly prefix: IpPrefix }
  | { readonly kind: "port"; readonly port: number }
  | { readonly kind: "proto"; readonly protocol: CaptureProtocol }
  | { readonly kind: "reference"; readonly reference: Reference }
  | { readonly kind: "side"; readonly side: FilterSide }
  | { readonly kind: "verdict"; readonly verdict: FilterVerdict }
  | { readonly kind: "drop"; readonly reason: DropReason };

/** Text that parses to the same filter. */
export function formatFilter(filter: CaptureFilter): string {
  switch (filter.kind) {
    case "all":
      return "";
    case "or":
      return `${formatFilter(filter.left)} or ${enclosed(filter.right, ["or"])}`;
    case "and":
      return `${enclosed(filter.left, ["or"])} and ${enclosed(filter.right, ["or", "and"])}`;
    case "not":
      return `not ${enclosed(filter.term, ["or", "and"])}`;
    case "host":
    case "gateway":
      return `${filter.kind} ${formatIp(filter.address)}`;
    case "net":
      return `net ${formatPrefix(filter.prefix)}`;
    case "port":
      return `port ${filter.port}`;
    case "proto":
      return `proto ${filter.protocol}`;
    case "reference":
      return `reference ${formatReference(filter.reference)}`;
    case "side":
      return `side ${filter.side}`;
    case "verdict":
      return `verdict ${filter.verdict}`;
    case "drop":
      return `drop ${filter.reason}`;
  }
}

function enclosed(filter: CaptureFilter, looser: readonly CaptureFilter["kind"][]): string {
  const text = formatFilter(filter);
  return looser.includes(filter.kind) ? `(${text})` : text;
}

/** Decides about a packet. */
export type FilterTest = (subject: CaptureSubject) => boolean;

/** The test of a filter. */
export function compileFilter(filter: CaptureFilter): FilterTest {
  switch (filter.kind) {
    case "all":
      return () => true;
    case "and":
    case "or":
      return compileBoth(filter.kind, compileFilter(filter.left), compileFilter(filter.right));
    case "not": {
      const term = compileFilter(filter.term);
      return (subject) => !term(subject);
    }
    case "host": {
      const { bytes } = filter.address;
      return (subject) => subject.source.equals(bytes) || subject.destination.equals(bytes);
    }
    case "net": {
      const { address, bits } = filter.prefix;
      return (subject) =>
        subject.source.isIn(address.bytes, bits) || subject.destination.isIn(address.bytes, bits);
    }
    case "port": {
      const { port } = filter;
      return (subject) => subject.sourcePort === port || subject.destinationPort === port;
    }
    case "proto":
      return compileProtocol(filter.protocol);
    case "gateway":
      return compileGateway(filter.address.bytes);
    case "reference":
      return compileReference(filter.reference);
    case "side": {
      const side = filter.side === "local" ? SIDE_LOCAL : SIDE_TUNNEL;
      return (subject) => subject.side === side;
    }
    case "verdict":
      return compileVerdict(filter.verdict);
    case "drop": {
      const reason = dropReasonIndex(filter.reason) + 1;
      return (subject) => subject.reason === reason;
    }
  }
}

function compileBoth(kind: "and" | "or", left: FilterTest, right: FilterTest): FilterTest {
  if (kind === "and") return (subject) => left(subject) && right(subject);
  return (subject) => left(subject) || right(subject);
}

function compileProtocol(protocol: CaptureProtocol): FilterTest {
  if (protocol === "icmp") return (subject) => subject.isIcmp();
  const number = protocol === "tcp" ? PROTOCOL_TCP : protocol === "udp" ? PROTOCOL_UDP : protocol;
  return (subject) => subject.hasProtocol(number);
}

function compileGateway(bytes: Uint8Array): FilterTest {
  return (subject) =>
    subject.sourceContext.equals(bytes) ||
    subject.destinationContext.equals(bytes) ||
    subject.remote.equals(bytes);
}

function compileReference(reference: Reference): FilterTest {
  const octets = new Uint8Array(16);
  writeReferenceInto(octets, 0, reference);
  return (subject) =>
    subject.sourceReference.isReference(octets) || subject.destinationReference.isReference(octets);
}

function compileVerdict(verdict: FilterVerdict): FilterTest {
  if (verdict === "slow") return (subject) => subject.path === PATH_SLOW;
  const wanted = verdict === "dropped";
  return (subject) => (subject.verdict === VERDICT_DROPPED) === wanted;
}

/** Names of all drop reasons, for the parser. */
export const DROP_REASON_NAMES: readonly string[] = DROP_REASONS.map(({ name }) => name);
