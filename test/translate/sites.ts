/**
 * Two gateways with one host each, for every mix of IP versions. The addresses are chosen so that
 * a packet between sites of one version comes out with the addresses it went in with.
 */

import type { IpAddress, IpVersion } from "../../src/base/ip.js";
import { type GatewayConfig, GatewayDouble, ip } from "./gateway-double.js";

/** Host A and host B as seen on a local network of one version. */
const SEEN = {
  4: { a: "172.17.1.11", b: "10.241.2.21", netOfA: "172.16.0.0/12", netOfB: "10.240.0.0/12" },
  6: {
    a: "fd02:98::22",
    b: "fdeb:128:0:7::731",
    netOfA: "fd02:98::/64",
    netOfB: "fdeb:128:0:7::/64",
  },
} as const;
const OWN = {
  4: { a: "10.240.0.1", b: "172.16.0.1" },
  6: { a: "fdeb:128:0:7::1", b: "fd02:98::1" },
};
const PUBLIC = {
  4: { a: "198.51.100.1", b: "198.51.100.2" },
  6: { a: "2001:db8:77::1", b: "2001:db8:77::2" },
} as const;

export interface Versions {
  readonly a: IpVersion;
  readonly b: IpVersion;
  readonly tunnel: IpVersion;
}

/** All eight mixes. */
export const MIXES: readonly Versions[] = ([4, 6] as const).flatMap((a) =>
  ([4, 6] as const).flatMap((b) => ([4, 6] as const).map((tunnel) => ({ a, b, tunnel }))),
);

export interface Sites {
  readonly a: GatewayDouble;
  readonly b: GatewayDouble;
  readonly publicA: IpAddress;
  readonly publicB: IpAddress;
  /** Host A and encoded host B in the network of A. */
  readonly atA: { readonly source: IpAddress; readonly destination: IpAddress };
  /** Encoded host A and host B in the network of B. */
  readonly atB: { readonly source: IpAddress; readonly destination: IpAddress };
}

/** Two gateways; `referenceA` and `referenceB` are references in text form. */
export function makeSites(
  versions: Versions,
  referenceA = "1111",
  referenceB = "2222",
  options: Partial<GatewayConfig> = {},
): Sites {
  const [seenAtA, seenAtB] = [SEEN[versions.a], SEEN[versions.b]];
  const publicText = PUBLIC[versions.tunnel];
  const a = new GatewayDouble({
    ...options,
    ea_net: seenAtA.netOfB,
    ea_ip: OWN[versions.a].a,
    gw_pub: publicText.a,
    gw_ref: "1",
    local_version: versions.a,
    tunnel_version: versions.tunnel,
    mappings: [
      { kind: "our", ip: seenAtA.a, gw: publicText.a, ref: referenceA },
      { kind: "their", ea: seenAtA.b, gw: publicText.b, ref: referenceB },
    ],
  });
  const b = new GatewayDouble({
    ...options,
    ea_net: seenAtB.netOfA,
    ea_ip: OWN[versions.b].b,
    gw_pub: publicText.b,
    gw_ref: "1",
    local_version: versions.b,
    tunnel_version: versions.tunnel,
    mappings: [
      { kind: "our", ip: seenAtB.b, gw: publicText.b, ref: referenceB },
      { kind: "their", ea: seenAtB.a, gw: publicText.a, ref: referenceA },
    ],
  });
  return {
    a,
    b,
    publicA: ip(publicText.a),
    publicB: ip(publicText.b),
    atA: { source: ip(seenAtA.a), destination: ip(seenAtA.b) },
    atB: { source: ip(seenAtB.a), destination: ip(seenAtB.b) },
  };
}
