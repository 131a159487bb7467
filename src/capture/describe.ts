/**
 * What a captured packet is, in words: the addresses of both ends as each side knows them, the
 * path, the verdict. For packet comments, for lines in a terminal, and for programs.
 */

import { DROP_REASONS } from "../base/drop-reason.js";
import { formatIp, type IpAddress, type IpVersion, isUnspecified } from "../base/ip.js";
import { formatIprefAddress, type IprefAddress } from "../base/reference.js";
import {
  type CaptureRecord,
  type CaptureSide,
  FROM_TUNNEL,
  PATH_FAST,
  SIDE_LOCAL,
  TO_TUNNEL,
  VERDICT_ANSWERED,
  VERDICT_DROPPED,
  VERDICT_FORWARDED,
  VERDICT_HELD,
} from "../tables/capture-ring.js";
import {
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from "../wire/packet-fields.js";
import { type ReferenceLength, readWireReference } from "../wire/wire-reference.js";
import { CaptureSubject, type Field, NONE } from "./subject.js";

/** Mappings as they are now; what is not mapped is undefined. Changes nothing. */
export interface MappingView {
  /** IPREF address of a native address, of ours and of theirs. */
  iprefOf(address: IpAddress): IprefAddress | undefined;
  /** Native address of an IPREF address, of ours and of theirs. */
  nativeOf(address: IprefAddress): IpAddress | undefined;
}

/** One end of a packet, as far as it is known. */
export interface CaptureEnd {
  readonly native: IpAddress | undefined;
  readonly ipref: IprefAddress | undefined;
  readonly port: number | undefined;
}

export type VerdictName = "forwarded" | "dropped" | "held" | "answered" | "made";

/** A packet, for people and programs. */
export interface CaptureDescription {
  readonly side: "local" | "tunnel";
  readonly direction: "to-tunnel" | "from-tunnel";
  readonly path: "fast" | "slow";
  readonly verdict: VerdictName;
  /** Drop reason. */
  readonly reason: string | undefined;
  readonly protocol: string;
  readonly source: CaptureEnd;
  readonly destination: CaptureEnd;
  /** Octets of the packet on this side; on the tunnel side without outer headers. */
  readonly length: number;
  readonly comment: string;
}

/** What the gateway is to others. */
export interface OwnGateway {
  /** All zero when unknown. */
  readonly publicAddress: IpAddress;
  readonly mappings: MappingView;
}

/** Comments that are remembered: a flow has one for each direction. */
const COMMENTS_MAX = 4096;
/** Octets in front of a packet that a comment can depend on: the longest tunnel header. */
const COMMENT_HEAD_BYTES = 76;

/** Describes records one after the other; one object per capture. */
export class CaptureDescriber {
  readonly #subject = new CaptureSubject();
  readonly #comments = new Map<string, string>();
  readonly #own: OwnGateway;

  constructor(own: OwnGateway) {
    this.#own = own;
  }

  /** One side of a record. */
  describe(record: CaptureRecord, side: CaptureSide): CaptureDescription {
    const subject = this.#subject;
    subject.setNative(record.native, 0, record.native.length);
    subject.setTunnel(record.tunnel, 0, record.tunnel.length);
    const [source, destination] = this.#ends(record);
    const reason = record.reason === 0 ? undefined : DROP_REASONS[record.reason - 1];
    const head = {
      side: side === SIDE_LOCAL ? ("local" as const) : ("tunnel" as const),
      direction: record.direction === TO_TUNNEL ? ("to-tunnel" as const) : ("from-tunnel" as const),
      path: record.path === PATH_FAST ? ("fast" as const) : ("slow" as const),
      verdict: verdictName(record.verdict),
      reason: reason?.name,
      protocol: protocolName(subject),
      source,
      destination,
      length: side === SIDE_LOCAL ? record.nativeLength : record.tunnelLength,
    };
    const why = reason === undefined ? "" : `: ${reason.name} (${reason.meaning})`;
    const comment =
      `${endText(source)} -> ${endText(destination)}; ${head.path} path; ` +
      `${VERDICT_TEXTS[head.verdict]}${why}`;
    return { ...head, comment };
  }

  /**
   * The comment of a record. Those of forwarded packets of the fast path are remembered: there are
   * many, and their mappings stand in the packets themselves.
   */
  comment(record: CaptureRecord, side: CaptureSide): string {
    if (record.path !== PATH_FAST || record.verdict !== VERDICT_FORWARDED) {
      return this.describe(record, side).comment;
    }
    const key = commentKey(record);
    const known = this.#comments.get(key);
    if (known !== undefined) return known;
    const { comment } = this.describe(record, side);
    if (this.#comments.size >= COMMENTS_MAX) this.#comments.clear();
    this.#comments.set(key, comment);
    return comment;
  }

  #ends(record: CaptureRecord): [CaptureEnd, CaptureEnd] {
    const subject = this.#subject;
    const [remote, own] = [this.#known(record.remote), this.#known(this.#own.publicAddress)];
    const [from, to] = record.direction === FROM_TUNNEL ? [remote, own] : [own, remote];
    return [
      this.#end(
        addressOf(subject.source),
        iprefOf(subject.sourceContext, subject.sourceReference, from),
        subject.sourcePort,
      ),
      this.#end(
        addressOf(subject.destination),
        iprefOf(subject.destinationContext, subject.destinationReference, to),
        subject.destinationPort,
      ),
    ];
  }

  #known(address: IpAddress): IpAddress | undefined {
    return isUnspecified(address) ? undefined : address;
  }

  /** Fills in from the mappings what the packets do not tell. */
  #end(native: IpAddress | undefined, ipref: IprefAddress | undefined, port: number): CaptureEnd {
    const { mappings } = this.#own;
    return {
      native: native ?? (ipref && mappings.nativeOf(ipref)),
      ipref: ipref ?? (native && mappings.iprefOf(native)),
      port: port === NONE ? undefined : port,
    };
  }
}

/** Everything that a comment depends on, and as little else as is easily left out. */
function commentKey({ native, tunnel, direction, remote }: CaptureRecord): string {
  // Addresses of the native packet: octets 12 to 19, or 8 to 39.
  const isIpv4 = native.length > 0 && native[0]! >>> 4 === 4;
  const addresses = isIpv4 ? native.subarray(12, 20) : native.subarray(8, 40);
  // Format G, with or without fragment information: the fast path takes nothing else.
  const contexts = (tunnel[0]! & 0x02) === 0 ? 4 : 12;
  const size = tunnel[1] === 0x40 ? 8 : 32;
  const length = contexts + size + (8 << ((tunnel[0]! >>> 2) & 3));
  const header = tunnel.subarray(contexts, Math.min(length, COMMENT_HEAD_BYTES));
  const octets = [direction, tunnel[0]! & 0x0c, ...addresses, ...header, ...remote.bytes];
  return String.fromCharCode(...octets);
}

const VERDICT_TEXTS: Readonly<Record<VerdictName, string>> = {
  forwarded: "forwarded",
  dropped: "dropped",
  held: "held until its mapping is stored or its other fragments arrive",
  answered: "for the gateway itself, which has answered",
  made: "made by the gateway",
};

function verdictName(verdict: number): VerdictName {
  if (verdict === VERDICT_FORWARDED) return "forwarded";
  if (verdict === VERDICT_DROPPED) return "dropped";
  if (verdict === VERDICT_HELD) return "held";
  return verdict === VERDICT_ANSWERED ? "answered" : "made";
}

function addressOf({ bytes, offset, length }: Field): IpAddress | undefined {
  if (length === 0) return undefined;
  return { version: versionOf(length), bytes: bytes.slice(offset, offset + length) };
}

function versionOf(length: number): IpVersion {
  return length === 4 ? 4 : 6;
}

/** A context that a packet leaves out is the address in its outer header. */
function iprefOf(
  context: Field,
  reference: Field,
  outer: IpAddress | undefined,
): IprefAddress | undefined {
  if (reference.length === 0) return undefined;
  const written = addressOf(context);
  const isWritten = written !== undefined && !isUnspecified(written);
  const address = isWritten ? written : (outer ?? written);
  if (address === undefined) return undefined;
  const { bytes, offset, length } = reference;
  const value = readWireReference(bytes, offset, length as ReferenceLength);
  return { context: address, reference: value };
}

/** Both names of an end: `10.1.0.5 = 192.0.2.1 + 5f-12ab`. */
function endText({ native, ipref }: CaptureEnd): string {
  const names = [native && formatIp(native), ipref && formatIprefAddress(ipref)];
  return names.filter((name) => name !== undefined).join(" = ") || "?";
}

function protocolName({ nativeProtocol, tunnelProtocol }: CaptureSubject): string {
  const protocol = nativeProtocol === NONE ? tunnelProtocol : nativeProtocol;
  if (protocol === PROTOCOL_TCP) return "tcp";
  if (protocol === PROTOCOL_UDP) return "udp";
  if (protocol === PROTOCOL_ICMP) return "icmp";
  if (protocol === PROTOCOL_ICMPV6) return "icmpv6";
  return protocol === NONE ? "unknown" : `protocol ${protocol}`;
}
