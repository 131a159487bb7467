/**
 * A tunnel packet in either format (spec/tunnel.md 2): the choice between the two wire files.
 */

import type { DropReason } from "../base/drop-reason.js";
import type { IpVersion } from "../base/ip.js";
import { buildDraft, parseDraft } from "./draft-header.js";
import type { TunnelFormat, TunnelPacket } from "./packet-fields.js";
import { buildTunnel, parseTunnel, type TunnelHeader } from "./tunnel-header.js";

/** Checks and reads a packet of a known format. Borrows `bytes` for the payload. */
export function parseTunnelPacket(
  bytes: Uint8Array,
  format: TunnelFormat,
  tunnelVersion: IpVersion,
): TunnelPacket | DropReason {
  return format === "G" ? parseTunnel(bytes) : parseDraft(bytes, tunnelVersion);
}

/** Builds a packet in a format; format D goes without contexts. */
export function buildTunnelPacket(
  header: TunnelHeader,
  payload: Uint8Array,
  format: TunnelFormat,
): Uint8Array {
  return format === "G" ? buildTunnel(header, payload) : buildDraft(header, payload);
}
