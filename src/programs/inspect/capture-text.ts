/** A captured packet as one line of text, as it is read in a terminal. */

import { printable } from "../../base/printable.js";
import type { CaptureLine, CaptureLineEnd, MessageLine } from "../../control/capture/lines.js";

const TIME_START = "YYYY-MM-DDT".length;
const SIDE_COLUMNS = 6;
const PROTOCOL_COLUMNS = 6;

/**
 * Time of day, side, direction seen from the local network, and the ends as that side has them;
 * then what the gateway knows of the packet.
 */
export function captureText(line: CaptureLine): string {
  const time = line.time.slice(TIME_START, -1);
  const arrow = line.direction === "to-tunnel" ? "=>" : "<=";
  const side = line.side.padEnd(SIDE_COLUMNS);
  const protocol = line.protocol.padEnd(PROTOCOL_COLUMNS);
  const isDatagram = line.from !== undefined && line.to !== undefined;
  const ends = isDatagram
    ? `${line.from} > ${line.to}`
    : `${endText(line.source)} > ${endText(line.destination)}`;
  const rest = `length ${line.length}; ${line.comment}`;
  return printable(`${time} ${side} ${arrow} ${protocol} ${ends} ${rest}`);
}

/** A message of the mapper socket; what it says is for Wireshark, or for --json. */
export function messageText(line: MessageLine): string {
  const time = line.time.slice(TIME_START, -1);
  const arrow = line.direction === "sent" ? "=>" : "<=";
  const side = line.side.padEnd(SIDE_COLUMNS);
  const client = `process ${line.pid} of user ${line.uid}`;
  return printable(`${time} ${side} ${arrow} ${client} ${line.kind}, length ${line.length}`);
}

function endText({ native, ipref, port }: CaptureLineEnd): string {
  const address = native ?? ipref ?? "?";
  if (port === undefined) return address;
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
