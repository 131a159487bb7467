// The addresses of the two-site network.
//
// The Internet uses documentation prefixes (RFC 5737, RFC 3849), the sites private ones (RFC 1918,
// RFC 4193), both sites the same on purpose: IPREF does not mind. The encoding networks are those
// of spec/mapper.md 7.1 and spec/tunnel.md 5.

export type IpVersion = 4 | 6;

/** Private prefix of both sites. */
export const LOCAL = {
  4: { net: "192.168.1.0/24", prefix: "192.168.1.", length: 24 },
  6: { net: "fd00:a::/64", prefix: "fd00:a::", length: 64 },
} as const;

/** Encoding network and own address of both sites. */
export const ENCODE = {
  4: { net: "10.240.0.0/12", own: "10.240.0.1" },
  6: { net: "fd00:eaea::/64", own: "fd00:eaea::1" },
} as const;

/** Outer addresses of site 1 and 2, and of the Internet router on the same link. */
export const OUTER = {
  4: { 1: ["198.51.100.1", "198.51.100.254"], 2: ["203.0.113.1", "203.0.113.254"], length: 24 },
  6: { 1: ["2001:db8:1::1", "2001:db8:1::fe"], 2: ["2001:db8:2::1", "2001:db8:2::fe"], length: 64 },
} as const;

/** Networks around the outer addresses. */
export const OUTER_NET = {
  4: { 1: "198.51.100.0/24", 2: "203.0.113.0/24" },
  6: { 1: "2001:db8:1::/64", 2: "2001:db8:2::/64" },
} as const;

/** Between a gateway and its NAT router: gateway, router, prefix length. */
export const BEHIND_NAT = {
  4: ["172.20.0.2", "172.20.0.1", 24],
  6: ["fd00:20::2", "fd00:20::1", 64],
} as const;

/** The link between the two Internet routers. */
export const TRANSIT = {
  4: ["192.0.2.1", "192.0.2.2", 24],
  6: ["2001:db8::1", "2001:db8::2", 64],
} as const;

/** Networks of the plain route, per local version and site. */
export const PLAIN = {
  4: { 1: ["172.31.1.", "172.31.1.0/24", 24], 2: ["172.31.2.", "172.31.2.0/24", 24] },
  6: { 1: ["fd00:31:1::", "fd00:31:1::/64", 64], 2: ["fd00:31:2::", "fd00:31:2::/64", 64] },
} as const;

/** Every link of the Internet carries both. */
export const VERSIONS = [4, 6] as const;

/** UDP port of the tunnel, spec/tunnel.md 7.1. */
export const TUNNEL_PORT = 1045;

/** Static encoded address number `index` of a site; second-byte rule of spec/mapper.md 3.4. */
export function staticEncodedAddress(version: IpVersion, index: number): string {
  return version === 4 ? `10.240.0.${100 + index}` : `fd00:eaea::${(0x100 + index).toString(16)}`;
}
