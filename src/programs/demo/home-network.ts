// The home network and the Internet around it, in namespaces (home-plan.ts has the picture): NAT
// routers with nftables, name servers, web and ssh servers, and `ipref up` on every gateway machine.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HomeNetwork, IPREF } from "./home-machines.js";
import {
  CARRIER,
  DNS,
  HOME,
  HOME_DOMAIN,
  HOME_PUBLIC,
  homeConfiguration,
  MANY_NET,
  publicZone,
  SITES,
  type SitePlan,
  siteConfiguration,
} from "./home-plan.js";
import { startNameServers, startServers } from "./home-servers.js";
import type { CommandResult } from "./namespaces.js";

/** Programs that the network uses. */
export const HOME_PROGRAMS = [
  ...["ip", "nft", "ping", "curl", "dig", "openssl", "knotd", "named", "ssh", "sshd", "scp"],
];

/** What to build. */
export interface HomeOptions {
  /** Gets a line before each step. */
  readonly report: (line: string) => void;
  /** Names that nexsand.uk publishes besides its host: lines for `ipref publish --from`. */
  readonly manyNames?: readonly string[];
}

/** Builds and starts everything; removes it again when that fails. */
export async function createHomeNetwork(options: HomeOptions): Promise<HomeNetwork> {
  const network = new HomeNetwork();
  try {
    options.report("Cables, routers and NAT");
    await buildInternet(network);
    for (const site of SITES) await buildSite(network, site);
    await buildHome(network);
    await buildCarrier(network);
    options.report("Publishing services");
    await publishEverything(network, options.manyNames ?? []);
    options.report("Name servers: root, public zones, resolver");
    await startNameServers(network);
    options.report("Web and ssh servers");
    await startServers(network);
    options.report("ipref up on five gateway machines");
    await startGateways(network);
    return network;
  } catch (error) {
    await network.destroy();
    throw error;
  }
}

async function buildInternet(network: HomeNetwork): Promise<void> {
  await network.add("internet");
  await network.routes("internet");
  await network.add("dns");
  await network.cable("internet", "dns", "dns", "net");
  await network.ip("internet", "addr add 192.0.2.254/24 dev dns");
  await network.ip(
    "dns",
    ...Object.values(DNS).map((address) => `addr add ${address}/24 dev net`),
    "route add default via 192.0.2.254",
  );
}

async function buildSite(network: HomeNetwork, site: SitePlan): Promise<void> {
  const { key, host, localLength, gatewayLocal, hostLocal } = site;
  const gateway = `${key}-gateway`;
  await network.add(gateway);
  await network.add(host);
  await network.cable("internet", key, gateway, "wan");
  await network.cable(gateway, "lan", host, "lan");
  await network.ip("internet", `addr add ${site.uplink}/28 dev ${key}`);
  await network.ip(
    gateway,
    `addr add ${site.publicAddress}/28 dev wan`,
    `addr add ${gatewayLocal}/${localLength} dev lan`,
    `route add default via ${site.uplink}`,
  );
  await network.ip(
    host,
    `addr add ${hostLocal}/${localLength} dev lan`,
    `route add default via ${gatewayLocal}`,
  );
  if (key === "uk") {
    await network.ip(gateway, `route add ${MANY_NET} via ${hostLocal}`);
    await network.ip(host, `route add local ${MANY_NET} dev lo`);
  }
  network.useResolver(host, gatewayLocal);
  network.useResolver(gateway, gatewayLocal);
}

async function buildHome(network: HomeNetwork): Promise<void> {
  await network.add("router");
  await network.routes("router");
  await network.cable("internet", "home", "router", "wan");
  await network.ip("internet", "addr add 198.51.100.254/24 dev home");
  await network.ip(
    "router",
    `addr add ${HOME_PUBLIC}/24 dev wan`,
    "route add default via 198.51.100.254",
    "link add name lan type bridge",
    `addr add ${HOME.router}/24 dev lan`,
    "link set lan up",
  );
  for (const machine of ["gateway", "laptop", "web", "nas"] as const) {
    await network.add(machine);
    await network.cable("router", machine, machine, "lan");
    await network.ip("router", `link set ${machine} master lan`);
    await network.ip(
      machine,
      `addr add ${HOME[machine]}/24 dev lan`,
      `route add default via ${HOME.router}`,
    );
    network.useResolver(machine, machine === "gateway" ? "127.0.0.1" : HOME.gateway);
  }
  await network.ip("router", `route add 10.240.0.0/12 via ${HOME.gateway}`);
  await network.namespaces.nft(
    network.of("router"),
    `table ip home {
  chain in { type nat hook prerouting priority dstnat
    iifname wan udp dport 1045 dnat to ${HOME.gateway}:1045
  }
  chain out { type nat hook postrouting priority srcnat
    oifname wan masquerade
  }
}
`,
  );
}

async function buildCarrier(network: HomeNetwork): Promise<void> {
  for (const machine of ["isp", "cpe", "carrier-gateway", "tablet"]) await network.add(machine);
  await network.routes("isp");
  await network.routes("cpe");
  await network.cable("internet", "isp", "isp", "wan");
  await network.cable("isp", "inside", "cpe", "wan");
  await network.ip("internet", "addr add 198.18.0.254/24 dev isp");
  await network.ip(
    "isp",
    `addr add ${CARRIER.isp}/24 dev wan`,
    `addr add ${CARRIER.ispInside}/10 dev inside`,
    "route add default via 198.18.0.254",
  );
  await network.ip(
    "cpe",
    `addr add ${CARRIER.cpe}/10 dev wan`,
    `route add default via ${CARRIER.ispInside}`,
    "link add name lan type bridge",
    `addr add ${CARRIER.cpeInside}/24 dev lan`,
    "link set lan up",
    `route add 10.240.0.0/12 via ${CARRIER.gateway}`,
  );
  for (const [machine, port, address] of [
    ["carrier-gateway", "gw", CARRIER.gateway],
    ["tablet", "tablet", CARRIER.tablet],
  ] as const) {
    await network.cable("cpe", port, machine, "lan");
    await network.ip("cpe", `link set ${port} master lan`);
    await network.ip(
      machine,
      `addr add ${address}/24 dev lan`,
      `route add default via ${CARRIER.cpeInside}`,
    );
  }
  network.useResolver("tablet", CARRIER.gateway);
  network.useResolver("carrier-gateway", DNS.resolver);
  for (const machine of ["isp", "cpe"]) {
    const rule = "oifname wan masquerade random";
    const chain = `chain out { type nat hook postrouting priority srcnat\n${rule}\n}`;
    await network.namespaces.nft(network.of(machine), `table ip carrier {\n${chain}\n}\n`);
  }
}

/** Runs `ipref publish` on every gateway machine, and takes the zones to the public servers. */
async function publishEverything(network: HomeNetwork, many: readonly string[]): Promise<void> {
  const zones = network.folder("zones");
  const home = network.folder("home");
  writeFileSync(join(home, "ipref.toml"), homeConfiguration(home));
  await publish(network, "gateway", "home", "web", HOME.web);
  await publish(network, "gateway", "home", "nas", HOME.nas);
  const published = (folder: string, domain: string): string =>
    readFileSync(join(folder, "data", "zones", `${domain}.db`), "utf8");
  const homeZone = publicZone(published(home, HOME_DOMAIN), HOME_DOMAIN, HOME_PUBLIC);
  writeFileSync(join(zones, `${HOME_DOMAIN}.zone`), homeZone);
  for (const site of SITES) {
    const folder = network.folder(site.key);
    const { domain, publicAddress } = site;
    writeFileSync(join(folder, "ipref.toml"), siteConfiguration(site, folder));
    await publish(network, `${site.key}-gateway`, site.key, site.host, site.hostLocal);
    if (site.key === "uk" && many.length > 0) {
      writeFileSync(join(folder, "names"), `${many.join("\n")}\n`);
      await publish(network, "uk-gateway", "uk", "--from", join(folder, "names"));
    }
    const zone = publicZone(published(folder, domain), domain, publicAddress);
    writeFileSync(join(zones, `${domain}.zone`), zone);
  }
}

/** `ipref publish` with the configuration of a folder. */
export async function publish(
  network: HomeNetwork,
  machine: string,
  folder: string,
  ...args: readonly string[]
): Promise<CommandResult> {
  const config = join(network.folder(folder), "ipref.toml");
  const words = [IPREF, "publish", "--config", config, ...args];
  const result = await network.exec(machine, process.execPath, ...words);
  if (result.code !== 0) throw new Error(`ipref publish ${args.join(" ")}: ${result.stderr}`);
  return result;
}

async function startGateways(network: HomeNetwork): Promise<void> {
  for (const { key } of SITES) {
    const config = join(network.folder(key), "ipref.toml");
    await network.startUp(`${key}-gateway`, "--config", config);
  }
  await network.startUp("gateway", "--config", join(network.folder("home"), "ipref.toml"));
  for (const machine of ["gateway", ...SITES.map(({ key }) => `${key}-gateway`)]) {
    await network.until(`up-${machine}`, "records acknowledged");
  }
  // Client mode without a file; only the folders differ from `ipref up` alone.
  const carrier = network.folder("carrier");
  const folders = ["--data", join(carrier, "data"), "--run", join(carrier, "run")];
  await network.startUp("carrier-gateway", "--config", "/dev/null", ...folders);
}
