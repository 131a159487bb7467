// Two private sites and an Internet between them, as network namespaces.
//
//     host ── gateway ──[ nat ]── internet ══ internet ── gateway ── host
//     site 1                       west        east          site 2
//
// The second Internet router exists only with `transit`, which gives a link in the middle whose MTU
// neither gateway sees. The addresses are those of address-plan.ts.

import {
  BEHIND_NAT,
  ENCODE,
  type IpVersion,
  LOCAL,
  OUTER,
  OUTER_NET,
  PLAIN,
  TRANSIT,
  TUNNEL_PORT,
  VERSIONS,
} from "./address-plan.js";
import { Namespaces, run } from "./namespaces.js";

export { type IpVersion, staticEncodedAddress } from "./address-plan.js";

/** How a site reaches the Internet: directly, behind a masquerading router, or behind one that
 * also forwards UDP 1045 to the gateway. "symmetric" masquerades to ports other than 1045. */
export type NatKind = "none" | "masquerade" | "symmetric" | "forward";

/** Choices for one site. */
export interface SiteOptions {
  readonly localVersion: IpVersion;
  readonly nat?: NatKind;
  /** Hosts, each in its own namespace; default 1. */
  readonly hosts?: number;
  /** Addresses of each host; default 1. */
  readonly addressesPerHost?: number;
}

/** Choices for the whole network. */
export interface NetworkOptions {
  readonly sites: readonly [SiteOptions, SiteOptions];
  readonly tunnelVersion: IpVersion;
  /** A second Internet router, so that a link lies in the middle. */
  readonly transit?: boolean;
  /** Second addresses on the hosts, routed without any gateway through the same routers.
   * For sites of one local version and without NAT. */
  readonly plainRoute?: boolean;
}

/** One machine of a private network. */
export interface Host {
  readonly namespace: string;
  readonly name: string;
  /** Private addresses, in the site's local version. */
  readonly addresses: readonly [string, ...string[]];
  /** Address that is routed everywhere, with `plainRoute`. */
  readonly plainAddress: string;
}

/** One private network with its gateway machine. */
export interface Site {
  readonly number: 1 | 2;
  readonly name: string;
  readonly localVersion: IpVersion;
  readonly tunnelVersion: IpVersion;
  readonly nat: NatKind;
  readonly gatewayNamespace: string;
  readonly natNamespace: string | undefined;
  readonly localNet: string;
  readonly gatewayLocalAddress: string;
  readonly hosts: readonly [Host, ...Host[]];
  /** Address of the gateway machine's own outer interface. */
  readonly bindAddress: string;
  /** Address the Internet sees. */
  readonly publicAddress: string;
  readonly encodeNet: string;
  /** The gateway's own encoded address, spec/tunnel.md 5. */
  readonly ownAddress: string;
  readonly directory: string;
}

/** The network, and the way to remove it. */
export interface Network {
  readonly namespaces: Namespaces;
  readonly sites: readonly [Site, Site];
  readonly tunnelVersion: IpVersion;
  /** The router next to site 1. */
  readonly internet: string;
  /** The router next to site 2; equal to `internet` without `transit`. */
  readonly internetFar: string;
  /** MTU of the link between the two routers. Only with `transit`. */
  setTransitMtu(mtuBytes: number): Promise<void>;
  /** Makes every machine forget learned path MTUs. */
  forgetPathMtu(): Promise<void>;
  destroy(): Promise<void>;
}

/** Builds the network. On failure everything made so far is removed before the error is thrown. */
export async function createNetwork(options: NetworkOptions): Promise<Network> {
  const namespaces = new Namespaces();
  try {
    return await build(namespaces, options);
  } catch (error) {
    await namespaces.destroy();
    throw error;
  }
}

async function build(namespaces: Namespaces, options: NetworkOptions): Promise<Network> {
  const internet = await addRouter(namespaces, "internet");
  const internetFar = options.transit ? await addRouter(namespaces, "internet2") : internet;
  if (options.transit) await linkTransit(namespaces, internet, internetFar);
  const site1 = await buildSite(namespaces, options, 1, internet);
  const site2 = await buildSite(namespaces, options, 2, internetFar);
  const sites = [site1, site2] as const;
  if (options.plainRoute) await addPlainRoutes(namespaces, sites, internet, internetFar);
  const everywhere = [
    internet,
    internetFar,
    ...sites.flatMap((site) => [
      site.gatewayNamespace,
      ...(site.natNamespace === undefined ? [] : [site.natNamespace]),
      ...site.hosts.map((host) => host.namespace),
    ]),
  ];
  return {
    namespaces,
    sites,
    tunnelVersion: options.tunnelVersion,
    internet,
    internetFar,
    async setTransitMtu(mtuBytes) {
      await namespaces.ip(internet, [`link set transit mtu ${mtuBytes}`]);
      await namespaces.ip(internetFar, [`link set transit mtu ${mtuBytes}`]);
    },
    async forgetPathMtu() {
      for (const namespace of everywhere) {
        await run("ip", ["-4", "-n", namespace, "route", "flush", "cache"]);
        await run("ip", ["-6", "-n", namespace, "route", "flush", "cache"]);
      }
    },
    destroy: () => namespaces.destroy(),
  };
}

/** A namespace that forwards both IP versions. */
async function addRouter(namespaces: Namespaces, name: string): Promise<string> {
  const namespace = await namespaces.add(name);
  await namespaces.sysctl(namespace, {
    "net.ipv4.ip_forward": 1,
    "net.ipv6.conf.all.forwarding": 1,
    "net.ipv6.conf.default.forwarding": 1,
  });
  return namespace;
}

/** A virtual cable; the addresses are "address/length". */
async function link(
  namespaces: Namespaces,
  left: { namespace: string; name: string; addresses: readonly string[] },
  right: { namespace: string; name: string; addresses: readonly string[] },
): Promise<void> {
  await namespaces.ip(left.namespace, [
    `link add name ${left.name} type veth peer name ${right.name} netns ${right.namespace}`,
  ]);
  for (const end of [left, right]) {
    await namespaces.ip(end.namespace, [
      ...end.addresses.map((address) => addressLine(address, end.name)),
      `link set ${end.name} up`,
    ]);
  }
}

function addressLine(address: string, device: string): string {
  return `address add ${address} dev ${device}${address.includes(":") ? " nodad" : ""}`;
}

async function linkTransit(namespaces: Namespaces, west: string, east: string): Promise<void> {
  await link(
    namespaces,
    {
      namespace: west,
      name: "transit",
      addresses: VERSIONS.map((v) => `${TRANSIT[v][0]}/${TRANSIT[v][2]}`),
    },
    {
      namespace: east,
      name: "transit",
      addresses: VERSIONS.map((v) => `${TRANSIT[v][1]}/${TRANSIT[v][2]}`),
    },
  );
  for (const version of VERSIONS) {
    await namespaces.ip(west, [`route add ${OUTER_NET[version][2]} via ${TRANSIT[version][1]}`]);
    await namespaces.ip(east, [`route add ${OUTER_NET[version][1]} via ${TRANSIT[version][0]}`]);
  }
}

async function buildSite(
  namespaces: Namespaces,
  options: NetworkOptions,
  number: 1 | 2,
  internet: string,
): Promise<Site> {
  const choice = options.sites[number - 1] as SiteOptions;
  const nat = choice.nat ?? "none";
  const version = options.tunnelVersion;
  const gateway = await addRouter(namespaces, `gw${number}`);
  const natNamespace = nat === "none" ? undefined : await addRouter(namespaces, `nat${number}`);
  await connectToInternet(namespaces, { number, gateway, natNamespace, nat, internet });
  const local = LOCAL[choice.localVersion];
  const hostCount = choice.hosts ?? 1;
  if (hostCount > 1) await addLan(namespaces, gateway, `${local.prefix}1/${local.length}`);
  const hosts: Host[] = [];
  for (let index = 0; index < hostCount; index += 1) {
    hosts.push(await addHost(namespaces, { number, index, gateway, choice }));
  }
  return {
    number,
    name: `site ${number}`,
    localVersion: choice.localVersion,
    tunnelVersion: version,
    nat,
    gatewayNamespace: gateway,
    natNamespace,
    localNet: local.net,
    gatewayLocalAddress: `${local.prefix}1`,
    hosts: hosts as [Host, ...Host[]],
    bindAddress: nat === "none" ? OUTER[version][number][0] : BEHIND_NAT[version][0],
    publicAddress: OUTER[version][number][0],
    encodeNet: ENCODE[choice.localVersion].net,
    ownAddress: ENCODE[choice.localVersion].own,
    directory: namespaces.subdirectory(`site${number}`),
  };
}

/** The way from a gateway to its Internet router, with or without NAT between. */
async function connectToInternet(
  namespaces: Namespaces,
  {
    number,
    gateway,
    natNamespace,
    nat,
    internet,
  }: {
    number: 1 | 2;
    gateway: string;
    natNamespace: string | undefined;
    nat: NatKind;
    internet: string;
  },
): Promise<void> {
  const edge = natNamespace ?? gateway;
  await link(
    namespaces,
    {
      namespace: edge,
      name: "wan",
      addresses: VERSIONS.map((v) => `${OUTER[v][number][0]}/${OUTER[v].length}`),
    },
    {
      namespace: internet,
      name: `site${number}`,
      addresses: VERSIONS.map((v) => `${OUTER[v][number][1]}/${OUTER[v].length}`),
    },
  );
  await namespaces.ip(
    edge,
    VERSIONS.map((v) => `route add default via ${OUTER[v][number][1]}`),
  );
  if (natNamespace === undefined) return;
  await link(
    namespaces,
    {
      namespace: gateway,
      name: "wan",
      addresses: VERSIONS.map((v) => `${BEHIND_NAT[v][0]}/${BEHIND_NAT[v][2]}`),
    },
    {
      namespace: natNamespace,
      name: "lan",
      addresses: VERSIONS.map((v) => `${BEHIND_NAT[v][1]}/${BEHIND_NAT[v][2]}`),
    },
  );
  await namespaces.ip(
    gateway,
    VERSIONS.map((v) => `route add default via ${BEHIND_NAT[v][1]}`),
  );
  await namespaces.nft(natNamespace, VERSIONS.map((v) => natRules(v, nat)).join("\n"));
}

/** nftables rules of a home router, nft(8) "NAT STATEMENTS". */
function natRules(version: IpVersion, nat: NatKind): string {
  const family = version === 4 ? "ip" : "ip6";
  const inside = version === 4 ? BEHIND_NAT[4][0] : `[${BEHIND_NAT[6][0]}]:${TUNNEL_PORT}`;
  const forward = `iifname "wan" udp dport ${TUNNEL_PORT} dnat to ${inside}`;
  const symmetric = `oifname "wan" meta l4proto udp masquerade to :40000-49999`;
  return `table ${family} nat {
    chain prerouting {
      type nat hook prerouting priority -100;
      ${nat === "forward" ? forward : ""}
    }
    chain postrouting {
      type nat hook postrouting priority 100;
      ${nat === "symmetric" ? symmetric : ""}
      oifname "wan" masquerade
    }
  }`;
}

/** A bridge between several hosts. A single host has a cable of its own: a bridge costs time. */
async function addLan(namespaces: Namespaces, gateway: string, address: string): Promise<void> {
  await namespaces.ip(gateway, [
    "link add name lan type bridge",
    addressLine(address, "lan"),
    "link set lan up",
  ]);
}

async function addHost(
  namespaces: Namespaces,
  {
    number,
    index,
    gateway,
    choice,
  }: {
    number: 1 | 2;
    index: number;
    gateway: string;
    choice: SiteOptions;
  },
): Promise<Host> {
  const isShared = (choice.hosts ?? 1) > 1;
  const name = `host${number}${index === 0 ? "" : String.fromCharCode(97 + index)}`;
  const namespace = await namespaces.add(name);
  const local = LOCAL[choice.localVersion];
  const addresses = Array.from(
    { length: choice.addressesPerHost ?? 1 },
    (_, step) => `${local.prefix}${(index + 1) * 10 + step}`,
  );
  await link(
    namespaces,
    {
      namespace,
      name: "eth0",
      addresses: addresses.map((address) => `${address}/${local.length}`),
    },
    isShared
      ? { namespace: gateway, name: `port${index}`, addresses: [] }
      : { namespace: gateway, name: "lan", addresses: [`${local.prefix}1/${local.length}`] },
  );
  if (isShared) await namespaces.ip(gateway, [`link set port${index} master lan`]);
  await namespaces.ip(namespace, [`route add default via ${local.prefix}1 src ${addresses[0]}`]);
  const plainAddress = `${PLAIN[choice.localVersion][number][0]}${(index + 1) * 10}`;
  return { namespace, name, addresses: addresses as [string, ...string[]], plainAddress };
}

/** Adds addresses that are routed from host to host without any gateway program. */
async function addPlainRoutes(
  namespaces: Namespaces,
  sites: readonly [Site, Site],
  internet: string,
  internetFar: string,
): Promise<void> {
  for (const site of sites) {
    const version = site.localVersion;
    const [prefix, , length] = PLAIN[version][site.number];
    const other = sites[2 - site.number] as Site;
    await namespaces.ip(site.gatewayNamespace, [addressLine(`${prefix}1/${length}`, "lan")]);
    for (const host of site.hosts) {
      await namespaces.ip(host.namespace, [
        addressLine(`${host.plainAddress}/${length}`, "eth0"),
        `route add ${PLAIN[version][other.number][1]} via ${prefix}1 src ${host.plainAddress}`,
      ]);
    }
    const near = site.number === 1 ? internet : internetFar;
    await namespaces.ip(near, [
      `route add ${PLAIN[version][site.number][1]} via ${OUTER[version][site.number][0]}`,
    ]);
    if (internet !== internetFar) {
      const far = site.number === 1 ? internetFar : internet;
      const via = TRANSIT[version][site.number === 1 ? 0 : 1];
      await namespaces.ip(far, [`route add ${PLAIN[version][site.number][1]} via ${via}`]);
    }
  }
}
