/**
 * Sites for tests of the slow path: a gateway each, joined by a wire that carries datagrams at
 * once. Mappings are fixed; packets written to the local network and drops are collected.
 */

import type { Lookup } from "../../src/base/address-lookup.js";
import type { DropReason } from "../../src/base/drop-reason.js";
import { type IpAddress, parseIp, parsePrefix } from "../../src/base/ip.js";
import { seededRandom } from "../../src/base/random.js";
import type { IprefAddress } from "../../src/base/reference.js";
import { RemoteGateways } from "../../src/forward/remote-gateways.js";
import { SlowPath } from "../../src/forward/slow-path.js";
import type { SendResult } from "../../src/forward/slow-path-options.js";
import { PeerTableWriter, peerTableBytes } from "../../src/tables/peer-table.js";
import { DEFAULT_PROTOCOLS } from "../../src/translate/settings.js";
import { writeU16 } from "../../src/wire/bytes.js";
import { invertSum, sumBytes } from "../../src/wire/checksum.js";
import { buildIpv4 } from "../../src/wire/ipv4.js";
import { FixedLookup, type Mapping } from "../translate/gateway-double.js";

/** Local address, context, reference. */
type MappingRow = readonly [string, string, bigint];

export interface SiteOptions {
  readonly pub: string;
  readonly encodeNet: string;
  readonly own: string;
  readonly ours: readonly MappingRow[];
  readonly theirs: readonly MappingRow[];
}

/** Delivers datagrams between the sites by public address. */
export class Wire {
  readonly sites = new Map<string, Site>();
  datagrams = 0;
  lastPort = 0;

  send(from: Site, destination: IpAddress, port: number, packet: Uint8Array): void {
    this.datagrams++;
    this.lastPort = port;
    const target = this.sites.get(destination.bytes.join());
    if (target !== undefined && target.port === port) {
      target.slowPath.fromTunnel(packet, from.pub, from.port);
    }
  }
}

class SwitchedLookup extends FixedLookup {
  /** True: every look-up of a local host says that its mapping is being stored. */
  isPending = false;
  readonly contacts: string[] = [];

  override oursToIpref(host: IpAddress): Lookup<IprefAddress> {
    return this.isPending ? { status: "pending" } : super.oursToIpref(host);
  }

  noteContact(host: IpAddress, encoded: IpAddress, reference: bigint): void {
    this.contacts.push(`${host.bytes.join(".")} ${encoded.bytes.join(".")} ${reference}`);
  }
}

/** One site: its slow path and what came out of it. */
export class Site {
  readonly written: Uint8Array[] = [];
  readonly sent: { destination: IpAddress; port: number; packet: Uint8Array }[] = [];
  readonly drops: Partial<Record<DropReason, number>> = {};
  readonly lookup: SwitchedLookup;
  readonly remotes: RemoteGateways;
  readonly slowPath: SlowPath;
  readonly pub: IpAddress;
  port = 1045;
  pathMtu = 1500;
  clockMs = 1000;
  narrowPaths: readonly IpAddress[] = [];
  onSend: () => SendResult = () => "sent";

  constructor(wire: Wire, options: SiteOptions) {
    const encodeNet = parsePrefix(options.encodeNet)!;
    this.pub = parseIp(options.pub)!;
    this.lookup = new SwitchedLookup([
      ...options.ours.map((row) => mapping("our", row)),
      ...options.theirs.map((row) => mapping("their", row)),
    ]);
    const table = new PeerTableWriter(new SharedArrayBuffer(peerTableBytes(16)), 0, 16);
    this.remotes = new RemoteGateways({ table, defaultPort: 1045, pathMtu: () => this.pathMtu });
    this.slowPath = new SlowPath({
      settings: {
        localVersion: encodeNet.address.version,
        tunnelVersion: this.pub.version,
        encodeNet,
        ownEncoded: parseIp(options.own)!,
        gatewayReference: 1n,
        decrementTtl: false,
        protocols: DEFAULT_PROTOCOLS,
        dropCongestionMarks: false,
      },
      publicAddress: this.pub,
      lookup: this.lookup,
      remotes: this.remotes,
      output: {
        sendTunnel: (destination, port, packet) => {
          const result = this.onSend();
          if (result === "sent") {
            this.sent.push({ destination, port, packet: packet.slice() });
            wire.send(this, destination, port, packet);
          }
          return result;
        },
        writeLocal: (packet) => this.written.push(packet.slice()) > 0,
        drop: (reason) => {
          this.drops[reason] = (this.drops[reason] ?? 0) + 1;
        },
      },
      random: seededRandom(7),
      tunnelPort: 1045,
      localHostsMax: 16,
      isOwnAddress: (address) => address.bytes.join() === this.pub.bytes.join(),
      onNarrowPaths: (destinations) => {
        this.narrowPaths = destinations;
      },
      nowMs: () => this.clockMs,
      nowSeconds: () => Math.floor(this.clockMs / 1000),
    });
    wire.sites.set(this.pub.bytes.join(), this);
  }

  fromLocal(packet: Uint8Array): void {
    this.slowPath.fromLocal(packet);
  }
}

export function makeSite(wire: Wire, options: SiteOptions): Site {
  return new Site(wire, options);
}

function mapping(kind: "our" | "their", [local, context, reference]: MappingRow): Mapping {
  return { kind, local: parseIp(local)!, ipref: { context: parseIp(context)!, reference } };
}

/** An IPv4 packet with a correct transport checksum. */
export function ipv4Packet(
  source: string,
  destination: string,
  protocol: number,
  payload: Uint8Array,
  { dontFragment = true } = {},
): Uint8Array {
  const ends = { source: parseIp(source)!, destination: parseIp(destination)! };
  const data = payload.slice();
  if (protocol === 1) checksumAt(data, 2, 0);
  else checksumAt(data, protocol === 6 ? 16 : 6, pseudoSum(ends, data.length, protocol));
  const flags = { dontFragment, fragmentOffset: 0, moreFragments: false, identification: 1 };
  return buildIpv4({ ...ends, trafficClass: 0, ttl: 64, protocol, ...flags }, data);
}

function pseudoSum(
  { source, destination }: { source: IpAddress; destination: IpAddress },
  length: number,
  protocol: number,
): number {
  const bytes = [...source.bytes, ...destination.bytes, 0, protocol, length >> 8, length & 0xff];
  return sumBytes(Uint8Array.from(bytes), 0, bytes.length);
}

function checksumAt(data: Uint8Array, offset: number, initial: number): void {
  writeU16(data, offset, 0);
  writeU16(data, offset, invertSum(sumBytes(data, 0, data.length, initial)));
}

/** A UDP datagram without checksum. */
export function udp(source: number, destination: number, text: string): Uint8Array {
  const bytes = new Uint8Array(8 + text.length);
  writeU16(bytes, 0, source);
  writeU16(bytes, 2, destination);
  writeU16(bytes, 4, bytes.length);
  for (let index = 0; index < text.length; index++) bytes[8 + index] = text.charCodeAt(index);
  return bytes;
}

/** A TCP SYN without checksum. */
export function tcp(source: number, destination: number): Uint8Array {
  const bytes = new Uint8Array(20);
  writeU16(bytes, 0, source);
  writeU16(bytes, 2, destination);
  bytes.set([0x50, 2], 12);
  return bytes;
}

/** An ICMP echo without checksum. */
export function echo(type: number, id: number, sequence: number, text: string): Uint8Array {
  const bytes = udp(0, 0, text);
  bytes.fill(0, 0, 8);
  bytes[0] = type;
  writeU16(bytes, 4, id);
  writeU16(bytes, 6, sequence);
  return bytes;
}

/** An ICMPv6 echo request with checksum and `dataBytes` octets of data. */
export function icmpv6Echo(source: string, destination: string, dataBytes: number): Uint8Array {
  const bytes = new Uint8Array(8 + dataBytes).map((_, index) => (index < 8 ? 0 : index));
  bytes.set([128, 0, 0, 0, 0, 9, 0, 1]);
  const ends = { source: parseIp(source)!, destination: parseIp(destination)! };
  checksumAt(bytes, 2, pseudoSum(ends, bytes.length, 58));
  return bytes;
}
