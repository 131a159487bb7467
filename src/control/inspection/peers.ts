/**
 * `GET /peers`: the remote gateways that local hosts send to, as lines of JSON. Query: address,
 * word (repeated: each has to be part of the address), verified (yes or no), limit.
 */

import { formatIp, parseIp, sameAddress } from "../../base/ip.js";
import { PEER_SETTLED } from "../../tables/peer-table.js";
import type { PacketDesk } from "../packet-desk.js";
import { type ControlHandler, type ControlReply, refusal } from "./api.js";
import type { InspectionParts } from "./gateway-routes.js";
import { turn } from "./mapping-steps.js";
import { LINES_TYPE, readLimit, readWords } from "./maps.js";
import type { Rate } from "./rates.js";

/** Octets of the outer IP and UDP headers. */
const OUTER_OVERHEAD = { 4: 28, 6: 48 } as const;
/** Remote gateways in one step. */
const PEERS_PER_STEP = 128;

/** Tunnel packets of one direction, without outer IP and UDP headers. */
export interface PeerTrafficReport {
  readonly packets: number;
  readonly bytes: number;
  /** Null: not known yet, or too many remote gateways to keep rates of each. */
  readonly rate: Rate | null;
}

/** One remote gateway. */
export interface PeerEntry {
  readonly address: string;
  /** UDP port that packets are sent to. */
  readonly port: number;
  /** It has answered a probe, or one of our hosts has answered it. */
  readonly isVerified: boolean;
  /** Workers send to it themselves. */
  readonly isSettled: boolean;
  readonly pathMtuBytes: number;
  readonly lastReceivedSecondsAgo: number | null;
  readonly lastSentSecondsAgo: number | null;
  readonly sent: PeerTrafficReport;
  readonly received: PeerTrafficReport;
}

/** Handler of `GET /peers`. */
export function peersHandler(parts: InspectionParts): ControlHandler {
  return ({ query, signal }): ControlReply => {
    const filter = readPeersQuery(query);
    if (typeof filter === "string") return refusal(400, `Cannot read the query: ${filter}`);
    return { status: 200, contentType: LINES_TYPE, body: peerLines(parts, filter, signal) };
  };
}

interface PeersFilter {
  readonly limit: number;
  fits(entry: PeerEntry): boolean;
}

/** Reads a query; a string is the complaint. */
function readPeersQuery(query: URLSearchParams): PeersFilter | string {
  for (const name of query.keys()) {
    if (!["address", "word", "verified", "limit"].includes(name)) {
      return `found the key ${name}, expected address, word, verified, limit`;
    }
  }
  const text = query.get("address");
  const address = text === null ? undefined : parseIp(text);
  if (text !== null && address === undefined) {
    return `found address ${text}, expected an IP address`;
  }
  const verified = query.get("verified");
  if (verified !== null && verified !== "yes" && verified !== "no") {
    return `found verified ${verified}, expected yes or no`;
  }
  const limit = readLimit(query.get("limit") ?? undefined);
  if (typeof limit === "string") return limit;
  const words = readWords(query);
  if (typeof words === "string") return words;
  return {
    limit,
    fits(entry) {
      if (verified !== null && (verified === "yes") !== entry.isVerified) return false;
      if (address !== undefined && !sameAddress(parseIp(entry.address)!, address)) return false;
      return words.every((word) => entry.address.includes(word));
    },
  };
}

async function* peerLines(
  parts: InspectionParts,
  filter: PeersFilter,
  signal: AbortSignal,
): AsyncGenerator<string> {
  let count = 0;
  let step = 0;
  let text = "";
  for (const peer of parts.desk?.remoteGateways() ?? []) {
    const entry = entryOf(parts, peer);
    if (filter.fits(entry)) {
      text += `${JSON.stringify(entry)}\n`;
      if (++count === filter.limit) break;
    }
    if (++step % PEERS_PER_STEP !== 0) continue;
    if (text !== "") yield text;
    text = "";
    await turn();
    if (signal.aborted) return;
  }
  if (text !== "") yield text;
}

type ListedPeer =
  ReturnType<PacketDesk["remoteGateways"]> extends Generator<infer Peer> ? Peer : never;

function entryOf(
  { shared, rates, nowSeconds }: InspectionParts,
  { address, port, isVerified, entry }: ListedPeer,
): PeerEntry {
  const { peers, peerTotals } = shared;
  const now = nowSeconds();
  const ago = (seconds: number) => (seconds === 0 ? null : Math.max(0, now - seconds));
  const traffic = peerTotals.read(entry);
  const rate = rates.peer(entry);
  return {
    address: formatIp(address),
    port,
    isVerified,
    isSettled: (peers.flags(entry) & PEER_SETTLED) !== 0,
    pathMtuBytes: peers.packetBytesMax(entry) + OUTER_OVERHEAD[address.version],
    lastReceivedSecondsAgo: ago(peers.lastReceivedSeconds(entry)),
    lastSentSecondsAgo: ago(peers.lastSentSeconds(entry)),
    sent: {
      packets: traffic.sentPackets,
      bytes: traffic.sentBytes,
      rate: rate?.sent ?? null,
    },
    received: {
      packets: traffic.receivedPackets,
      bytes: traffic.receivedBytes,
      rate: rate?.received ?? null,
    },
  };
}
