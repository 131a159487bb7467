// `ipref demo --home`: the home network of the README for real. A router with NAT, a gateway machine
// that runs `ipref up`, a laptop that uses it as resolver, two published services; on the other side
// of an Internet with root and public name servers three sites, and one site behind two NATs.
//
// Every line that shows a result is output of the program named in front of it; addresses at the
// points of the way are captured, not computed. Standard output gets the story, standard error the
// progress.

import { join } from "node:path";
import type { HomeNetwork } from "./home-machines.js";
import { createHomeNetwork, HOME_PROGRAMS } from "./home-network.js";
import { CARRIER, DNS, HOME, HOME_DOMAIN, HOME_PUBLIC, SITES } from "./home-plan.js";
import { sshOptions } from "./home-servers.js";
import { sleep } from "./namespaces.js";
import {
  EXIT_SKIPPED,
  EXIT_UNAVAILABLE,
  installMissing,
  isRoot,
  missingKernelFeature,
  missingSentence,
} from "./requirements.js";

const EXIT_OK = 0;
const EXIT_FAILED = 1;
/** tcpdump(8) needs this long until it captures. */
const CAPTURE_START_MS = 800;

function say(line = ""): void {
  process.stdout.write(`${line}\n`);
}

function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Runs the demonstration; the result is the exit status. */
export async function runHomeDemo(): Promise<number> {
  if (!isRoot()) {
    progress("The demo makes network namespaces and needs root: sudo ./ipref demo --home");
    return EXIT_SKIPPED;
  }
  await installMissing([...HOME_PROGRAMS, "tcpdump"], progress);
  const missing = missingSentence([...HOME_PROGRAMS, "tcpdump"]);
  const refusal = missing ?? (await missingKernelFeature(true));
  if (refusal !== undefined) {
    progress(refusal);
    return EXIT_UNAVAILABLE;
  }
  const network = await createHomeNetwork({ report: progress });
  try {
    const isGood = await tell(network);
    say();
    say(isGood ? "Everything worked." : "Something failed; see above.");
    return isGood ? EXIT_OK : EXIT_FAILED;
  } finally {
    await network.destroy();
  }
}

async function tell(network: HomeNetwork): Promise<boolean> {
  introduce();
  const results = [
    await lookOut(network),
    await lookIn(network),
    await lookAtTheWay(network),
    await lookFromCarrier(network),
    await lookAtOwnNames(network),
  ];
  return results.every(Boolean);
}

function introduce(): void {
  say("THE HOME NETWORK");
  say(`  router   ${HOME.router}, outside ${HOME_PUBLIC}; NAT, forwards UDP 1045 to the gateway,`);
  say(`           and has the route 10.240.0.0/12 via ${HOME.gateway}`);
  say(`  gateway  ${HOME.gateway}   runs: ipref up`);
  say(`  laptop   ${HOME.laptop}   its resolver is ${HOME.gateway}; nothing else is special`);
  say(`  web      ${HOME.web}  published: ipref publish web ${HOME.web}`);
  say(`  nas      ${HOME.nas}  published: ipref publish nas ${HOME.nas}`);
  say("THE INTERNET");
  say(
    `  root server ${DNS.root}, public zones ${DNS.zones} (Knot), resolver ${DNS.resolver} (BIND)`,
  );
  for (const site of SITES) {
    const { host, domain, localVersion, hostLocal, publicAddress } = site;
    say(`  ${host}.${domain}  IPv${localVersion} ${hostLocal} behind gateway ${publicAddress}`);
  }
  say(
    `  tablet ${CARRIER.tablet} behind two NATs, ${CARRIER.cpe} and ${CARRIER.isp}; ipref up alone`,
  );
}

/** Runs a program, shows it like a terminal, and tells whether it worked. */
async function show(
  network: HomeNetwork,
  machine: string,
  words: readonly string[],
  hidden: readonly string[] = [],
): Promise<boolean> {
  const [command = "", ...rest] = words;
  const result = await network.exec(machine, command, ...hidden, ...rest);
  say(`  ${machine}$ ${words.join(" ")}`);
  const text = (result.stdout + (result.code === 0 ? "" : result.stderr)).trim();
  for (const line of text.split("\n")) if (line !== "") say(`      ${line}`);
  return result.code === 0 && text !== "";
}

/** Options of curl that the story need not show. */
function certificate(network: HomeNetwork): string[] {
  return ["-sS", "-m", "10", "--cacert", join(network.folder("keys"), "web.pem")];
}

async function lookOut(network: HomeNetwork): Promise<boolean> {
  say();
  say("THE LAPTOP REACHES OUT");
  const results: boolean[] = [];
  for (const { host, domain } of SITES) {
    const name = `${host}.${domain}`;
    results.push(await show(network, "laptop", ["dig", "+short", name]));
    results.push(await show(network, "laptop", ["curl", `https://${name}/`], certificate(network)));
  }
  const ping = ["ping", "-q", "-c", "3", "-i", "0.2", "m41.nexsand.ca"];
  results.push(await show(network, "laptop", ping));
  const ssh = ["ssh", "root@k41.nexsand.us", "ip -brief -4 address show lan"];
  results.push(await show(network, "laptop", ssh, sshOptions(network)));
  return results.every(Boolean);
}

async function lookIn(network: HomeNetwork): Promise<boolean> {
  say();
  say("OTHERS REACH THE HOME SERVICES");
  const web = `web.${HOME_DOMAIN}`;
  const nas = `nas.${HOME_DOMAIN}`;
  const hidden = certificate(network);
  const text = ["dig", "+short", `@${DNS.resolver}`, web, "TXT"];
  const results = [await show(network, "us-gateway", text)];
  for (const { host } of SITES) {
    results.push(await show(network, host, ["dig", "+short", web, host === "m41" ? "AAAA" : "A"]));
    results.push(await show(network, host, ["curl", `https://${web}/`], hidden));
  }
  const ssh = ["ssh", `root@${nas}`, "ip -brief -4 address show lan"];
  results.push(await show(network, "m41", ssh, sshOptions(network)));
  const folder = network.folder("copies");
  const source = join(network.folder("keys"), "web.pem");
  const scp = ["scp", source, `root@${nas}:${folder}/copied`];
  const copied = await network.exec("k41", "scp", ...sshOptions(network), ...scp.slice(1));
  say(`  k41$ ${scp.join(" ")}`);
  results.push(copied.code === 0 && (await show(network, "nas", ["ls", "-s", `${folder}/copied`])));
  return results.every(Boolean);
}

/** The addresses of one ping at every point of its way. */
async function lookAtTheWay(network: HomeNetwork): Promise<boolean> {
  say();
  say("ONE PING, SEEN AT EVERY POINT: laptop to k41.nexsand.us");
  const points: readonly [string, string, string, string][] = [
    ["laptop sends", "laptop", "lan", "icmp[icmptype] = 8"],
    ["gateway sends", "gateway", "lan", "udp port 1045 and src host 10.1.0.2"],
    ["behind the NAT", "internet", "home", "udp port 1045 and src host 198.51.100.7"],
    ["k41 receives", "k41", "lan", "icmp[icmptype] = 8"],
    ["k41 answers", "k41", "lan", "icmp[icmptype] = 0"],
    ["laptop receives", "laptop", "lan", "icmp[icmptype] = 0"],
  ];
  const captures = points.map(([, machine, port, filter]) =>
    network.exec(machine, "timeout", "8", "tcpdump", "-n", "-t", "-c", "1", "-i", port, filter),
  );
  await sleep(CAPTURE_START_MS);
  await network.exec("laptop", "ping", "-c", "3", "-i", "0.3", "k41.nexsand.us");
  const seen = await Promise.all(captures);
  return seen.every(({ stdout }, index) => {
    const match = /^IP (\S+) > (\S+?): (UDP|ICMP)/m.exec(stdout);
    const [label] = points[index]!;
    const text = match === null ? "nothing seen" : `${match[3]} ${match[1]} -> ${match[2]}`;
    say(`  ${label.padEnd(16)}${text}`);
    return match !== null;
  });
}

async function lookFromCarrier(network: HomeNetwork): Promise<boolean> {
  say();
  say("A SITE BEHIND TWO NATS, WHICH ONLY REACHES OUT");
  const hidden = certificate(network);
  const web = `https://web.${HOME_DOMAIN}/`;
  return (
    (await show(network, "tablet", ["curl", web], hidden)) &&
    (await show(network, "tablet", ["curl", "https://m41.nexsand.ca/"], hidden))
  );
}

async function lookAtOwnNames(network: HomeNetwork): Promise<boolean> {
  say();
  say("AT HOME, OWN NAMES HAVE LOCAL ADDRESSES, AND THE GATEWAY'S NAME ITS NATIVE ONE");
  return (
    (await show(network, "laptop", ["dig", "+short", `web.${HOME_DOMAIN}`])) &&
    (await show(network, "gateway", ["dig", "+short", `gw.${HOME_DOMAIN}`]))
  );
}
