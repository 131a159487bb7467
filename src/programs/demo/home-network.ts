// The home network and the Internet around it, in namespaces (home-plan.ts has the picture): NAT
// routers with nftables, Knot DNS as root and public servers, BIND as recursive resolver, web and
// ssh servers, and `ipref up` on every gateway machine.

import type { ChildProcess } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { repositoryRoot } from "./gateway-process.js";
import {
  CARRIER,
  DNS,
  HOME,
  HOME_DOMAIN,
  HOME_PUBLIC,
  homeConfiguration,
  MANY_NET,
  publicZone,
  rootZones,
  SITES,
  type SitePlan,
  siteConfiguration,
} from "./home-plan.js";
import { type CommandResult, Namespaces, run, waitFor } from "./namespaces.js";

const START_TIMEOUT_MS = 60_000;
const SERVER = fileURLToPath(new URL("./home-server.js", import.meta.url));
const RESOLV_FOLDER = "/etc/netns";

/** Programs that the network uses. */
export const HOME_PROGRAMS = [
  ...["ip", "nft", "ping", "curl", "dig", "openssl", "knotd", "named", "ssh", "sshd", "scp"],
];

/** Machines by name: `laptop`, `web`, `nas`, `gateway`, `tablet`, `k41`, `us-gateway`, ... */
export class HomeNetwork {
  readonly namespaces = new Namespaces();
  readonly #machines = new Map<string, string>();
  readonly #logs = new Map<string, string>();
  readonly #ups = new Map<string, ChildProcess>();
  readonly #resolvFolders: string[] = [];

  /** Namespace of a machine. */
  of(machine: string): string {
    const namespace = this.#machines.get(machine);
    if (namespace === undefined) throw new Error(`No machine ${machine}`);
    return namespace;
  }

  /** Runs a program on a machine to its end. */
  exec(machine: string, command: string, ...args: readonly string[]): Promise<CommandResult> {
    return this.namespaces.exec(this.of(machine), command, args, { timeoutMs: 30_000 });
  }

  /** A folder for files of a machine. */
  folder(name: string): string {
    return this.namespaces.subdirectory(name);
  }

  /** Output of a program started here. */
  log(name: string): string {
    const path = this.#logs.get(name) ?? "";
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  }

  /** The `ipref up` of a machine. */
  up(machine: string): ChildProcess {
    return this.#ups.get(machine)!;
  }

  /** Waits for words in the output of a program. */
  async until(name: string, words: string): Promise<void> {
    const has = (): true | undefined => (this.log(name).includes(words) ? true : undefined);
    if ((await waitFor(has, START_TIMEOUT_MS)) === true) return;
    throw new Error(`No "${words}" from ${name}:\n${this.log(name)}`);
  }

  /** Adds a machine. */
  async add(machine: string): Promise<string> {
    const namespace = await this.namespaces.add(machine);
    this.#machines.set(machine, namespace);
    return namespace;
  }

  /** Joins two machines with a cable; addresses with prefix length, one or more words. */
  async cable(a: string, aLink: string, b: string, bLink: string): Promise<void> {
    const [first, second] = [this.of(a), this.of(b)];
    await this.namespaces.ip(first, [
      `link add name ${aLink} type veth peer name ${bLink} netns ${second}`,
      `link set ${aLink} up`,
    ]);
    await this.namespaces.ip(second, [`link set ${bLink} up`]);
  }

  /** Runs lines of ip(8) on a machine. */
  ip(machine: string, ...lines: readonly string[]): Promise<void> {
    return this.namespaces.ip(this.of(machine), lines);
  }

  /** Makes a machine a router. */
  routes(machine: string): Promise<void> {
    return this.namespaces.sysctl(this.of(machine), {
      "net.ipv4.ip_forward": 1,
      "net.ipv6.conf.all.forwarding": 1,
    });
  }

  /** Sets the resolver of a machine (ip-netns(8), "netns exec"). */
  useResolver(machine: string, address: string): void {
    const folder = join(RESOLV_FOLDER, this.of(machine));
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "resolv.conf"), `nameserver ${address}\n`);
    this.#resolvFolders.push(folder);
  }

  /** Starts a program and waits for words in its output. */
  async start(
    machine: string,
    name: string,
    ready: string,
    command: string,
    ...args: readonly string[]
  ): Promise<ChildProcess> {
    const logPath = join(this.folder("logs"), `${name}.log`);
    this.#logs.set(name, logPath);
    const child = this.namespaces.spawn(this.of(machine), command, args, { logPath });
    const isReady = await waitFor(
      () => (this.log(name).includes(ready) ? true : child.exitCode === null ? undefined : false),
      START_TIMEOUT_MS,
    );
    if (isReady !== true) throw new Error(`Cannot start ${name}:\n${this.log(name)}`);
    return child;
  }

  /** Starts `ipref up` on a machine with a configuration file. */
  async startUp(machine: string, ...args: readonly string[]): Promise<void> {
    const command = [IPREF, "up", ...args];
    const child = await this.start(
      machine,
      `up-${machine}`,
      "ready in",
      process.execPath,
      ...command,
    );
    this.#ups.set(machine, child);
  }

  /** Ends the programs and removes everything. `ipref up` ends its own parts. */
  async destroy(): Promise<void> {
    for (const child of this.#ups.values()) child.kill("SIGTERM");
    await waitFor(
      () => ([...this.#ups.values()].every(hasEnded) ? true : undefined),
      START_TIMEOUT_MS,
    );
    await this.namespaces.destroy();
    for (const folder of this.#resolvFolders) rmSync(folder, { recursive: true, force: true });
    if (existsSync(RESOLV_FOLDER) && readdirSync(RESOLV_FOLDER).length === 0) {
      rmdirSync(RESOLV_FOLDER);
    }
  }
}

const IPREF = join(repositoryRoot(), "dist", "src", "programs", "ipref.js");

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

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

async function startNameServers(network: HomeNetwork): Promise<void> {
  const zones = network.folder("zones");
  for (const [zone, text] of Object.entries(rootZones())) {
    writeFileSync(join(zones, `${zone === "." ? "root" : zone}.zone`), text);
  }
  await startKnot(network, "root", DNS.root, Object.keys(rootZones()));
  const domains = [HOME_DOMAIN, ...SITES.map(({ domain }) => domain)];
  await startKnot(network, "zones", DNS.zones, domains);
  const folder = network.folder("named");
  chmodSync(folder, 0o777);
  writeFileSync(join(folder, "hints"), `. 3600 NS ns-root.\nns-root. 3600 A ${DNS.root}\n`);
  writeFileSync(
    join(folder, "named.conf"),
    `options {
  directory "${folder}";
  pid-file none;
  session-keyfile none;
  listen-on { ${DNS.resolver}; };
  listen-on-v6 { none; };
  recursion yes;
  allow-recursion { any; };
  dnssec-validation no;
  qname-minimization off;
  query-source address ${DNS.resolver};
  empty-zones-enable no;
};
controls { };
zone "." { type hint; file "hints"; };
`,
  );
  const args = ["-g", "-4", "-n", "1", "-c", join(folder, "named.conf")];
  await network.start("dns", "named", "running", "named", ...args);
}

async function startKnot(
  network: HomeNetwork,
  name: string,
  address: string,
  zones: readonly string[],
): Promise<void> {
  const folder = network.folder(`knot-${name}`);
  const files = network.folder("zones");
  const list = zones.map((zone) => {
    const file = join(files, `${zone === "." ? "root" : zone}.zone`);
    return `  - domain: ${zone}\n    file: ${file}\n    acl: all\n    zonefile-load: whole\n`;
  });
  writeFileSync(
    join(folder, "knot.conf"),
    `server:
  rundir: ${folder}
  listen: ${address}@53
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: ${folder}
log:
  - target: stdout
    any: info
acl:
  - id: all
    address: 0.0.0.0/0
    action: transfer
zone:
${list.join("")}`,
  );
  const args = ["-c", join(folder, "knot.conf")];
  await network.start("dns", `knot-${name}`, "server started", "knotd", ...args);
}

/** One certificate for all names, and one key for ssh. */
async function startServers(network: HomeNetwork): Promise<void> {
  const folder = network.folder("keys");
  const names = [`web.${HOME_DOMAIN}`, ...SITES.map(({ host, domain }) => `${host}.${domain}`)];
  const all = [...names, "*.nexsand.uk"].map((name) => `DNS:${name}`).join(",");
  const certificate = [
    ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=ipref demo"],
    ...["-addext", `subjectAltName=${all}`],
    ...["-keyout", join(folder, "web.key"), "-out", join(folder, "web.pem")],
  ];
  await must("openssl", certificate);
  await must("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(folder, "user")]);
  await must("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(folder, "host")]);
  const files = [join(folder, "web.pem"), join(folder, "web.key")];
  for (const machine of ["web", ...SITES.map(({ host }) => host)]) {
    const words = [SERVER, ...files, machine];
    await network.start(machine, `https-${machine}`, "ready", process.execPath, ...words);
  }
  for (const machine of ["nas", "k41", "m41"]) await startSsh(network, machine, folder);
}

async function startSsh(network: HomeNetwork, machine: string, folder: string): Promise<void> {
  mkdirSync("/run/sshd", { recursive: true });
  const path = join(folder, `sshd-${machine}.conf`);
  writeFileSync(
    path,
    `HostKey ${join(folder, "host")}
AuthorizedKeysFile ${join(folder, "user.pub")}
PidFile none
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
Subsystem sftp internal-sftp
`,
  );
  const args = ["-D", "-e", "-f", path];
  await network.start(machine, `sshd-${machine}`, "listening on", "/usr/sbin/sshd", ...args);
}

/** Options by which ssh and scp use the key of the network. */
export function sshOptions(network: HomeNetwork): string[] {
  return [
    ...["-F", "none", "-i", join(network.folder("keys"), "user"), "-o", "BatchMode=yes"],
    ...["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"],
    ...["-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10"],
  ];
}

async function must(command: string, args: readonly string[]): Promise<void> {
  const result = await run(command, args);
  if (result.code !== 0) throw new Error(`Cannot run ${command}: ${result.stderr}`);
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
