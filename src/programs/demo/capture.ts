// What really crosses the Internet: tunnel packets seen by tcpdump(8) and taken apart.
//
// Decodes the header of format G (spec/tunnel.md 2.1) and the reference encoding (1.7) on its own,
// so that a display or a check does not depend on the code that made the packet.

import { copyAddress, formatIp } from "../../base/ip.js";
import { formatReference } from "../../base/reference.js";
import { stopProcess } from "./gateway-process.js";
import type { Namespaces } from "./namespaces.js";
import { waitFor } from "./namespaces.js";

/** One tunnel packet on the wire. */
export interface TunnelPacket {
  readonly outerSource: string;
  readonly outerDestination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Wire octets of each of the two references: 4, 8 or 16. */
  readonly referenceOctets: number;
  readonly source: { readonly context: string; readonly reference: string };
  readonly destination: { readonly context: string; readonly reference: string };
  readonly protocol: number;
  readonly ttl: number;
}

const READY_TIMEOUT_MS = 4_000;
const PACKET_TIMEOUT_MS = 4_000;

/** A place to listen at. */
export interface CapturePoint {
  readonly namespace: string;
  readonly device: string;
}

/** Captures tunnel packets at one point while `action` runs, until `count` came or it is late. */
export async function captureTunnel<T>(
  namespaces: Namespaces,
  where: CapturePoint,
  count: number,
  action: () => Promise<T>,
): Promise<{ readonly packets: readonly TunnelPacket[]; readonly result: T }> {
  const { text, result } = await captureText(
    namespaces,
    { ...where, filter: "udp" },
    count,
    action,
  );
  return { packets: parseDump(text), result };
}

/** Runs tcpdump while `action` runs and returns its output. Filters are those of pcap-filter(7). */
export async function captureText<T>(
  namespaces: Namespaces,
  where: CapturePoint & { readonly filter: string },
  count: number,
  action: () => Promise<T>,
): Promise<{ readonly text: string; readonly result: T }> {
  const child = namespaces.spawn(where.namespace, "tcpdump", [
    ...["-n", "-t", "-l", "-x", "-Z", "root", "--immediate-mode"],
    ...["-i", where.device, "-c", String(count), where.filter],
  ]);
  let errors = "";
  let text = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    errors += chunk.toString();
  });
  child.stdout?.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  await waitFor(() => (errors.includes("listening on") ? true : undefined), READY_TIMEOUT_MS);
  const result = await action();
  await waitFor(() => (child.exitCode !== null ? true : undefined), PACKET_TIMEOUT_MS);
  await stopProcess(child, "SIGTERM");
  return { text, result };
}

/** Packets of `tcpdump -x` output that carry a tunnel header. */
export function parseDump(text: string): TunnelPacket[] {
  const packets: TunnelPacket[] = [];
  let hex = "";
  const flush = (): void => {
    const packet = decodeDatagram(
      Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16)),
    );
    if (packet !== undefined) packets.push(packet);
    hex = "";
  };
  for (const line of text.split("\n")) {
    const match = /^\s+0x[0-9a-f]+:\s+([0-9a-f ]+)/.exec(line);
    if (match === null) flush();
    else hex += (match[1] as string).replaceAll(" ", "");
  }
  flush();
  return packets;
}

/** Takes an IP packet with UDP and a tunnel header apart; undefined for anything else. */
export function decodeDatagram(packet: Uint8Array): TunnelPacket | undefined {
  const version = (packet[0] ?? 0) >> 4;
  if (version !== 4 && version !== 6) return undefined;
  const addresses = version === 4 ? 12 : 8;
  const addressOctets = version === 4 ? 4 : 16;
  const udp = version === 4 ? ((packet[0] as number) & 15) * 4 : 40;
  const tunnel = udp + 8;
  const first = packet[tunnel];
  const contextVersion = (packet[tunnel + 1] ?? 0) >> 4;
  if (first === undefined || first >> 4 !== 1 || contextVersion !== version) return undefined;
  const referenceOctets = 4 << ((first >> 2) & 3);
  const contexts = tunnel + ((first & 2) === 0 ? 4 : 12);
  const references = contexts + 2 * addressOctets;
  if (packet.length < references + 2 * referenceOctets) return undefined;
  const address = (offset: number): string => formatIp(copyAddress(packet, offset, version));
  const part = (index: number): { context: string; reference: string } => ({
    context: address(contexts + index * addressOctets),
    reference: decodeReference(packet, references + index * referenceOctets, referenceOctets),
  });
  const port = (offset: number): number =>
    ((packet[offset] as number) << 8) | (packet[offset + 1] as number);
  return {
    outerSource: address(addresses),
    outerDestination: address(addresses + addressOctets),
    sourcePort: port(udp),
    destinationPort: port(udp + 2),
    referenceOctets,
    source: part(0),
    destination: part(1),
    protocol: packet[tunnel + 3] as number,
    ttl: packet[tunnel + 2] as number,
  };
}

/** The first octet is bits 127 to 120, the others are the low bits, spec/tunnel.md 1.7. */
function decodeReference(packet: Uint8Array, offset: number, octets: number): string {
  let low = 0n;
  for (let index = 1; index < octets; index += 1) {
    low = (low << 8n) | BigInt(packet[offset + index] as number);
  }
  return formatReference((BigInt(packet[offset] as number) << 120n) | low);
}
