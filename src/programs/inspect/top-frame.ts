/** One frame of `ipref top`: lines that fit a terminal of any size. Pure. */

import { printable } from "../../base/printable.js";
import type { FlowEntry } from "../../control/inspection/flows.js";
import { type Column, cutText, tableLines } from "./text-table.js";
import { type DirectionRates, type PeerRates, type TopSample, topRates } from "./top-sample.js";
import { agoText, bitRateText, counted, countText, rateText, spanText } from "./units.js";

/** How a line is to look where there are colours. */
export type LineStyle = "plain" | "title" | "heading" | "alert" | "faint";

/** One line, without line end. */
export interface FrameLine {
  readonly text: string;
  readonly style: LineStyle;
}

/** Room for a frame. */
export interface FrameSize {
  readonly columns: number;
  readonly rows: number;
}

/** What a frame is made of. */
export interface FrameInput {
  readonly sample: TopSample;
  readonly before: TopSample | undefined;
  /** Last line; undefined where nobody can press a key. */
  readonly hint: string | undefined;
  /** Why the sample is an old one. */
  readonly complaint?: string | undefined;
}

/** Lines above the tables, and those that the tables need besides their rows. */
const HEADER_LINES = 5;
const TABLE_LINES = 5;
/** Remote gateways get at most this part of the room for rows when there are conversations. */
const PEERS_SHARE = 0.4;

const TRAFFIC_COLUMNS: readonly Column[] = [
  { heading: "" },
  { heading: "PACKETS", isRight: true },
  { heading: "BITS", isRight: true },
  { heading: "SLOW PATH", isRight: true },
];
/** Wide enough for every rate, so that the columns stay where they are. */
const TRAFFIC_WIDTHS = [11, 9, 9, 9];
const PEER_COLUMNS: readonly Column[] = [
  { heading: "REMOTE GATEWAY" },
  { heading: "PORT", isRight: true },
  { heading: "OUT", isRight: true },
  { heading: "IN", isRight: true },
  { heading: "PKT OUT", isRight: true },
  { heading: "PKT IN", isRight: true },
  { heading: "HEARD" },
];
const FLOW_COLUMNS: readonly Column[] = [
  { heading: "LOCAL HOST" },
  { heading: "REMOTE HOST" },
  { heading: "PROTO" },
  { heading: "OUT", isRight: true },
  { heading: "IN", isRight: true },
  { heading: "IPREF ADDRESS" },
];

/** A frame of at most `size.rows` lines and `size.columns` columns. */
export function topFrame(input: FrameInput, size: FrameSize): FrameLine[] {
  const { sample, before, hint, complaint } = input;
  const rates = topRates(sample, before);
  const flows = sample.flows?.flows ?? [];
  const footer = (hint === undefined ? 0 : 1) + (complaint === undefined ? 0 : 1);
  const room = Math.max(0, size.rows - HEADER_LINES - TABLE_LINES - footer);
  const peersMax =
    flows.length === 0 ? room : Math.max(1, Math.floor(PEERS_SHARE * room), room - flows.length);
  const peers = rates.peers.slice(0, peersMax);
  const lines: FrameLine[] = [
    plain(titleText(sample), "title"),
    ...trafficLines(rates.toTunnel, rates.fromTunnel),
    dropLine(rates.drops),
    plain(""),
    ...tableOf(PEER_COLUMNS, peers.map(peerRow), "no remote gateway yet"),
    plain(""),
    ...flowLines(sample, Math.max(0, room - Math.max(1, peers.length))),
  ];
  const end: FrameLine[] = [];
  if (complaint !== undefined) end.push(plain(printable(complaint), "alert"));
  if (hint !== undefined) end.push(plain(hint, "faint"));
  const kept = lines.slice(0, Math.max(0, size.rows - end.length));
  return [...kept, ...end].map(({ text, style }) => ({ text: cutText(text, size.columns), style }));
}

function plain(text: string, style: LineStyle = "plain"): FrameLine {
  return { text, style };
}

function titleText({ status }: TopSample): string {
  const { addresses, forwarding, mappings, uptimeSeconds } = status;
  const who = `${addresses.public ?? "unknown"} + ${addresses.reference}`;
  const how =
    forwarding === null ? "" : `, ${forwarding.kernel}, ${counted(forwarding.lanes, "lane")}`;
  const known = mappings.byKind;
  const count = (kind: "remote" | "local"): string =>
    countText(known[kind].published + known[kind].dynamic + known[kind].provisional);
  return printable(
    `${who}, up ${spanText(uptimeSeconds)}${how}; ${count("remote")} remote, ` +
      `${count("local")} local hosts`,
  );
}

function trafficLines(toTunnel: DirectionRates, fromTunnel: DirectionRates): FrameLine[] {
  const row = (label: string, rates: DirectionRates) => [
    label,
    rateText(rates.packetsPerSecond),
    bitRateText(rates.bitsPerSecond),
    rateText(rates.slowPerSecond),
  ];
  const rows = [row("to tunnel", toTunnel), row("from tunnel", fromTunnel)];
  const [heading = "", ...body] = tableLines(TRAFFIC_COLUMNS, rows, { widths: TRAFFIC_WIDTHS });
  return [plain(heading, "heading"), ...body.map((text) => plain(text))];
}

function dropLine(drops: readonly { reason: string; perSecond: number }[]): FrameLine {
  const total = drops.reduce((sum, { perSecond }) => sum + perSecond, 0);
  if (total === 0) return plain("dropped      nothing");
  const reasons = drops.map(({ reason, perSecond }) => `${reason} ${rateText(perSecond)}`);
  const sum = reasons.length > 1 ? `${rateText(total)}: ` : "";
  return plain(printable(`dropped      ${sum}${reasons.join(", ")}`), "alert");
}

/** Heading and rows; a sentence in place of no rows. */
function tableOf(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  nothing: string,
): FrameLine[] {
  const [heading = "", ...body] = tableLines(columns, rows);
  const lines = body.length === 0 ? [plain(nothing, "faint")] : body.map((text) => plain(text));
  return [plain(heading, "heading"), ...lines];
}

function peerRow({ peer, out, in: back }: PeerRates): string[] {
  return [
    peer.address,
    String(peer.port),
    bitRateText(out.bitsPerSecond),
    bitRateText(back.bitsPerSecond),
    rateText(out.packetsPerSecond),
    rateText(back.packetsPerSecond),
    agoText(peer.lastReceivedSecondsAgo),
  ];
}

function flowLines({ flows }: TopSample, rowsMax: number): FrameLine[] {
  if (flows === undefined) return [];
  const rows = flows.flows.slice(0, rowsMax).map(flowRow);
  const count = counted(flows.sampledPackets, "packet");
  return [
    ...tableOf(FLOW_COLUMNS, rows, "no conversation now"),
    plain(`estimated from ${count} in ${flows.seconds.toFixed(1)} s`, "faint"),
  ];
}

function flowRow({ protocol, local, remote, out, in: back }: FlowEntry): string[] {
  return [
    endText(local.address ?? local.ipref, local.port),
    endText(remote.address ?? "not mapped", remote.port),
    protocol,
    bitRateText(out.bitsPerSecond),
    bitRateText(back.bitsPerSecond),
    remote.ipref,
  ];
}

function endText(address: string, port: number | null): string {
  if (port === null) return address;
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
