/** MTU of the TUN interface (spec/tunnel.md 7.6). */

import { type IpVersion, ipHeaderLength } from "../base/ip.js";

/** UDP header between the tunnels. */
const UDP_HEADER_BYTES = 8;
/** Largest tunnel header with IPv4 and IPv6 contexts: fragment information, long references. */
const TUNNEL_HEADER_BYTES_MAX = { 4: 52, 6: 76 } as const;
/** RFC 791 3.2, RFC 8200 5. */
const MTU_MIN = { 4: 68, 6: 1280 } as const;

/** The MTU, from the MTU of the public interface: packets of this size always fit the tunnel. */
export function tunMtuBytes(
  interfaceMtuBytes: number,
  localVersion: IpVersion,
  tunnelVersion: IpVersion,
): number {
  const overhead =
    ipHeaderLength(tunnelVersion) + UDP_HEADER_BYTES + TUNNEL_HEADER_BYTES_MAX[tunnelVersion];
  const largest = interfaceMtuBytes - overhead + ipHeaderLength(localVersion);
  return Math.max(MTU_MIN[localVersion], largest - (((largest % 4) + 4) % 4));
}
