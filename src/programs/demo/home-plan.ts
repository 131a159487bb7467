// Names, addresses and files of the home network and of the Internet around it. Pure.
//
//   laptop 10.1.0.5 ─┐
//   web   10.1.0.22 ─┤ home LAN ── router 198.51.100.7 ─┐               ┌─ us: k41, IPv4
//   nas   10.1.0.23 ─┤ 10.1.0.1    (NAT, port 1045)     ├── internet ───┼─ ca: m41, IPv6
//   gateway 10.1.0.2 ┘                                  │      │        └─ uk: o61, IPv4
//   tablet ── LAN ── cpe (NAT) ── isp (NAT) 198.18.0.2 ─┘     dns: root, zones, resolver
//
// The Internet uses documentation and benchmark prefixes (RFC 5737, RFC 2544) and the shared space
// of providers (RFC 6598); the private networks overlap on purpose.

/** Addresses of the name servers: root and top-level zones, public zones, recursive resolver. */
export const DNS = { root: "192.0.2.1", zones: "192.0.2.2", resolver: "192.0.2.53" } as const;

/** Public address of the home router. */
export const HOME_PUBLIC = "198.51.100.7";
export const HOME_DOMAIN = "home.example.com";
export const HOME = {
  router: "10.1.0.1",
  gateway: "10.1.0.2",
  laptop: "10.1.0.5",
  web: "10.1.0.22",
  nas: "10.1.0.23",
} as const;

/** The site behind two NATs. */
export const CARRIER = {
  isp: "198.18.0.2",
  ispInside: "100.64.0.1",
  cpe: "100.64.0.9",
  cpeInside: "192.168.1.1",
  gateway: "192.168.1.2",
  tablet: "192.168.1.20",
} as const;

/** A site with its gateway on the Internet and one host. */
export interface SitePlan {
  readonly key: "us" | "ca" | "uk";
  readonly domain: string;
  readonly host: string;
  readonly localVersion: 4 | 6;
  readonly publicAddress: string;
  /** The Internet router on the same link. */
  readonly uplink: string;
  readonly gatewayLocal: string;
  readonly hostLocal: string;
  readonly localLength: number;
  readonly encodeNet: string;
}

/** The sites of the demo network of the IPREF documents, by their names. */
export const SITES: readonly SitePlan[] = [
  {
    key: "us",
    domain: "nexsand.us",
    host: "k41",
    localVersion: 4,
    publicAddress: "203.0.113.1",
    uplink: "203.0.113.14",
    gatewayLocal: "192.168.1.1",
    hostLocal: "192.168.1.41",
    localLength: 24,
    encodeNet: "10.240.0.0/12",
  },
  {
    key: "ca",
    domain: "nexsand.ca",
    host: "m41",
    localVersion: 6,
    publicAddress: "203.0.113.17",
    uplink: "203.0.113.30",
    gatewayLocal: "fd00:a::1",
    hostLocal: "fd00:a::41",
    localLength: 64,
    encodeNet: "fd00:240::/64",
  },
  {
    key: "uk",
    domain: "nexsand.uk",
    host: "o61",
    localVersion: 4,
    publicAddress: "203.0.113.33",
    uplink: "203.0.113.46",
    gatewayLocal: "192.168.1.1",
    hostLocal: "192.168.1.61",
    localLength: 24,
    encodeNet: "10.240.0.0/12",
  },
];

/** Hosts of the thousands of names; the site's host answers for all of this network. */
export const MANY_NET = "10.9.0.0/16";

/** Address number `index` below MANY_NET. */
export function manyAddress(index: number): string {
  return `10.9.${Math.floor(index / 250)}.${1 + (index % 250)}`;
}

/** Root zone and the top-level zones, each with the delegations below. */
export function rootZones(): Readonly<Record<string, string>> {
  const root = ["us", "ca", "uk", "com"].map((zone) => delegation(zone, DNS.root));
  return {
    ".": zoneText(".", `ns-root A ${DNS.root}\n${root.join("")}`, "ns-root."),
    us: topZone("us", "nexsand.us"),
    ca: topZone("ca", "nexsand.ca"),
    uk: topZone("uk", "nexsand.uk"),
    com: topZone("com", HOME_DOMAIN),
  };
}

function topZone(zone: string, child: string): string {
  return zoneText(zone, `ns.${zone}. A ${DNS.root}\n${delegation(child, DNS.zones)}`);
}

function delegation(zone: string, address: string): string {
  return `${zone}. NS ns.${zone}.\nns.${zone}. A ${address}\n`;
}

/** A zone with its SOA and name server. */
export function zoneText(zone: string, records: string, server = `ns.${zone}.`): string {
  const origin = zone === "." ? "." : `${zone}.`;
  return [
    `$ORIGIN ${origin}`,
    "$TTL 300",
    `@ IN SOA ${server} admin.${zone === "." ? "" : `${zone}.`} ( 1 3600 600 604800 5 )`,
    `@ IN NS ${server}`,
    records,
  ].join("\n");
}

/**
 * What a provider's zone holds: the records that `ipref publish` made, and addresses of name server
 * and gateway. The gateway itself has an AA record, as the IPREF documents recommend.
 */
export function publicZone(published: string, domain: string, gateway: string): string {
  return [
    published,
    `ns.${domain}. A ${DNS.zones}`,
    `gw.${domain}. A ${gateway}`,
    `gw.${domain}. TXT "AA gw.${domain} + 1"`,
    `plain.${domain}. A ${gateway}`,
    "",
  ].join("\n");
}

/** Configuration of a site's `ipref up`. */
export function siteConfiguration(site: SitePlan, folder: string): string {
  return `[files]
data = "${folder}/data"
run = "${folder}/run"
[gateway]
bind = "${site.publicAddress}"
public = "${site.publicAddress}"
encode-net = "${site.encodeNet}"
hosts = ""
[resolver]
listen = ["${site.gatewayLocal}"]
upstream = ["${DNS.resolver}"]
[publish]
domain = "${site.domain}"
gateway = "gw.${site.domain}"
servers = ["${DNS.zones}"]
`;
}

/** Configuration of the home gateway: behind the NAT, one interface. */
export function homeConfiguration(folder: string): string {
  return `[files]
data = "${folder}/data"
run = "${folder}/run"
[gateway]
public = "${HOME_PUBLIC}"
hosts = ""
[resolver]
upstream = ["${DNS.resolver}"]
new-addresses = "off"
[publish]
domain = "${HOME_DOMAIN}"
gateway = "gw.${HOME_DOMAIN}"
`;
}
