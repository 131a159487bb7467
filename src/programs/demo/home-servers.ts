// Servers of the home network: Knot DNS as root and public servers, BIND as recursive resolver, web
// and ssh servers.

import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { HomeNetwork } from "./home-machines.js";
import { DNS, HOME_DOMAIN, rootZones, SITES } from "./home-plan.js";
import { run } from "./namespaces.js";

const SERVER = fileURLToPath(new URL("./home-server.js", import.meta.url));

/** Starts the name servers of the Internet. */
export async function startNameServers(network: HomeNetwork): Promise<void> {
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

/** Knot DNS: server, database and log sections; files live in `folder`. */
export function knotServer(folder: string, listen: readonly string[]): string {
  return `server:
  rundir: ${folder}
  listen: [${listen.map((each) => `"${each}"`).join(", ")}]
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: ${folder}
log:
  - target: stdout
    any: info
`;
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
    `${knotServer(folder, [`${address}@53`])}acl:
  - id: all
    address: 0.0.0.0/0
    action: transfer
zone:
${list.join("")}`,
  );
  const args = ["-c", join(folder, "knot.conf")];
  await network.start("dns", `knot-${name}`, "server started", "knotd", ...args);
}

/** Starts web and ssh servers: one certificate for all names, and one key for ssh. */
export async function startServers(network: HomeNetwork): Promise<void> {
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
