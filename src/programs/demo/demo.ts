// `ipref demo`: two private networks, an Internet between them, two gateways, and a look at every
// point of the way while a host pings and fetches a page from the other side.
//
// Site 1 is an ordinary home network: private addresses behind an nftables NAT router that forwards
// UDP 1045 to the gateway. Site 2 has its gateway directly on the Internet. Both use hosts files
// (spec/mapper.md 5) in place of DNS. What is shown is captured, not computed.
// Standard output gets the story, standard error the progress.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CapturePoint, captureText, parseDump, type TunnelPacket } from "./capture.js";
import {
  externalLines,
  type GatewayProcess,
  gatewayProgram,
  gatewayProgramExists,
  type Publication,
  publishLines,
  startGateway,
} from "./gateway-process.js";
import { destroyState, type NamespaceState, waitFor } from "./namespaces.js";
import {
  createNetwork,
  type IpVersion,
  type Network,
  type Site,
  staticEncodedAddress,
} from "./network.js";
import {
  EXIT_SKIPPED,
  EXIT_UNAVAILABLE,
  installMissing,
  isRoot,
  missingKernelFeature,
  missingPrograms,
  missingSentence,
} from "./requirements.js";

/** What the command line of `ipref demo` can say. */
export interface DemoOptions {
  /** Local version of site 1, tunnel version, local version of site 2; default "4-4-6". */
  readonly sites?: string;
  /** Leave everything running. */
  readonly keep?: boolean;
  /** Remove what earlier runs left running, and nothing else. */
  readonly down?: boolean;
}

const DEFAULT_SITES = "4-4-6";
const REQUIRED = ["ip", "nft", "ping", "curl"];
const OPTIONAL = ["tcpdump"];

/** References under which the two hosts are published, spec/mapper.md 3.4. */
const REFERENCES = { 1: "1025", 2: "1026" } as const;

/** Only root may write here, so that `down` may trust what it finds. */
const STATE_FOLDER = "/run/ipref-demo";

const EXIT_OK = 0;
const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

/** One direction of the demonstration. */
interface Journey {
  readonly from: Site;
  readonly to: Site;
  /** What hosts of `from` call the host of `to`. */
  readonly target: string;
}

interface Stage {
  readonly network: Network;
  readonly gateways: readonly GatewayProcess[];
  readonly journeys: readonly [Journey, Journey];
  readonly canCapture: boolean;
}

function say(line = ""): void {
  process.stdout.write(`${line}\n`);
}

function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Runs the demonstration; the result is the exit code. */
export async function runDemo(options: DemoOptions = {}): Promise<number> {
  if (options.down) return await takeDown();
  const versions = parseSites(options.sites ?? DEFAULT_SITES);
  if (versions === undefined) {
    progress(
      `Cannot use --sites "${options.sites}": ` +
        "expected local-tunnel-local, each 4 or 6, as in 4-6-4",
    );
    return EXIT_USAGE;
  }
  const refusal = await checkMachine();
  if (refusal !== undefined) return refusal;
  return await perform(versions, options.keep ?? false);
}

/** "4-6-4" as numbers, or undefined. */
export function parseSites(text: string): readonly [IpVersion, IpVersion, IpVersion] | undefined {
  if (!/^[46]-[46]-[46]$/.test(text)) return undefined;
  return text.split("-").map(Number) as unknown as [IpVersion, IpVersion, IpVersion];
}

/** Installs what is missing where that is possible; an exit code when the machine cannot do it. */
async function checkMachine(): Promise<number | undefined> {
  if (!isRoot()) {
    progress("The demo makes network namespaces and needs root: sudo ./ipref demo");
    return EXIT_SKIPPED;
  }
  await installMissing([...REQUIRED, ...OPTIONAL], progress);
  const missing = missingSentence(REQUIRED);
  if (missing !== undefined) {
    progress(missing);
    return EXIT_UNAVAILABLE;
  }
  const feature = await missingKernelFeature(true);
  if (feature !== undefined) {
    progress(feature);
    return EXIT_UNAVAILABLE;
  }
  if (gatewayProgramExists()) return undefined;
  progress(`Cannot find ${gatewayProgram()}: build it with npm run build`);
  return EXIT_FAILED;
}

async function perform(
  [local1, tunnelVersion, local2]: readonly [IpVersion, IpVersion, IpVersion],
  keep: boolean,
): Promise<number> {
  progress("Making two private networks and an Internet");
  const network = await createNetwork({
    sites: [{ localVersion: local1, nat: "forward" }, { localVersion: local2 }],
    tunnelVersion,
  });
  let kept = false;
  try {
    const stage = await setStage(network);
    describeNetwork(stage);
    const passed = await showEverything(stage);
    say(passed ? "Everything arrived." : "Something did not arrive; see above.");
    if (keep) {
      keepRunning(stage);
      kept = true;
    }
    return passed ? EXIT_OK : EXIT_FAILED;
  } catch (error) {
    progress(error instanceof Error ? error.message : String(error));
    return EXIT_FAILED;
  } finally {
    if (!kept) {
      await network.destroy();
      progress("Removed the networks, the gateways and their files");
    }
  }
}

async function setStage(network: Network): Promise<Stage> {
  const [site1, site2] = network.sites;
  progress("Starting a web server at each site");
  for (const site of network.sites) await startWebServer(network, site);
  progress("Starting the gateways");
  const gateways = [
    await startGateway(network, site1, { hostsLines: hostsLines(site1, site2) }),
    await startGateway(network, site2, { hostsLines: hostsLines(site2, site1) }),
  ];
  const journey = (from: Site, to: Site): Journey => ({
    from,
    to,
    target: staticEncodedAddress(from.localVersion, 0),
  });
  return {
    network,
    gateways,
    journeys: [journey(site1, site2), journey(site2, site1)],
    canCapture: missingPrograms(OPTIONAL).length === 0,
  };
}

function publication(site: Site): Publication {
  const host = site.hosts[0];
  return { address: host.addresses[0], reference: REFERENCES[site.number], name: host.name };
}

function hostsLines(site: Site, other: Site): string[] {
  return [
    ...publishLines([publication(site)]),
    ...externalLines(site, other, [publication(other)]),
  ];
}

/** A web server that says who it is and who asks. */
async function startWebServer(network: Network, site: Site): Promise<void> {
  const host = site.hosts[0];
  const greeting =
    '"Hello from "+process.argv[1]+". You came from "+' +
    'q.socket.remoteAddress.replace("::ffff:","")+".\\n"';
  const script = `require("http").createServer((q,s)=>s.end(${greeting})).listen(80,"::")`;
  const logPath = join(site.directory, "web.log");
  const args = ["-e", script, host.name];
  network.namespaces.spawn(host.namespace, process.execPath, args, { logPath });
  const listening = await waitFor(async () => {
    const url = webAddress(host.addresses[0]);
    const result = await network.namespaces.exec(host.namespace, "curl", ["-s", "-m", "2", url]);
    return result.code === 0 ? true : undefined;
  }, 8_000);
  if (!listening) throw new Error(`The web server of ${host.name} does not start`);
}

function webAddress(address: string): string {
  return address.includes(":") ? `http://[${address}]/` : `http://${address}/`;
}

function describeNetwork({ network, gateways }: Stage): void {
  const [site1, site2] = network.sites;
  say("Two private networks, an Internet between them, a gateway at each edge");
  say();
  const [left, right] = [site1.hosts[0].name, site2.hosts[0].name];
  say(`  ${left} -- gateway 1 -- NAT --< Internet >-- gateway 2 -- ${right}`);
  say();
  for (const site of network.sites) {
    const edge = site.nat === "none" ? "on the Internet" : `${site.bindAddress}, behind NAT`;
    say(
      `  site ${site.number}: private network ${site.localNet}, host ${site.hosts[0].addresses[0]}`,
    );
    say(`          gateway ${edge}; the Internet sees ${site.publicAddress}`);
  }
  say();
  say("Each hosts file publishes the own host and names the other (+ is the reference):");
  for (const { site } of gateways) {
    for (const line of readFileSync(join(site.directory, "hosts"), "utf8").trim().split("\n")) {
      say(`  site ${site.number}:  ${line}`);
    }
  }
}

async function showEverything(stage: Stage): Promise<boolean> {
  let passed = true;
  let step = 1;
  for (const journey of stage.journeys) {
    say();
    say(`${step}. ${title(journey)}: ping ${journey.target}`);
    passed = (await showPing(stage, journey)) && passed;
    say();
    say(`${step + 1}. ${title(journey)}: curl ${webAddress(journey.target)}`);
    passed = (await showWeb(stage, journey)) && passed;
    step += 2;
  }
  if (!stage.canCapture) say("(tcpdump is missing, so the way of the packets was not shown)");
  say();
  return passed;
}

function title({ from, to }: Journey): string {
  const end = (site: Site): string => `${site.hosts[0].name} (IPv${site.localVersion})`;
  return `${end(from)} to ${end(to)}`;
}

async function showPing(stage: Stage, journey: Journey): Promise<boolean> {
  const { namespaces } = stage.network;
  const host = journey.from.hosts[0].namespace;
  const action = (): Promise<{ code: number; stdout: string; stderr: string }> =>
    namespaces.exec(host, "ping", ["-n", "-c", "3", "-i", "0.3", "-W", "2", journey.target]);
  const result = stage.canCapture ? await showWay(stage, journey, action) : await action();
  const lines = result.stdout.split("\n").filter((line) => /bytes from|received/.test(line));
  const shown = [...new Set([lines[0], lines.at(-1)])].filter((line) => line !== undefined);
  for (const line of shown) say(`   ${line}`);
  if (result.code !== 0 && shown.length < 2) say(`   ${result.stdout}${result.stderr}`.trimEnd());
  return result.code === 0;
}

/** A point of the way: what it is called, where to listen, and how to show what passes. */
interface Viewpoint extends CapturePoint {
  readonly label: string;
  readonly filter: string;
  readonly show: (text: string) => readonly string[];
}

/** Echo messages only: neighbour discovery of IPv6 is ICMPv6 as well. */
const ECHO_FILTER = "icmp or (icmp6 and (ip6[40] = 128 or ip6[40] = 129))";

/** The points between two hosts, in the order a packet passes them. */
function viewpoints({ network }: Stage, { from, to }: Journey): readonly Viewpoint[] {
  const host = (site: Site, verb: string): Viewpoint => ({
    label: `${site.hosts[0].name} ${verb}`,
    namespace: site.hosts[0].namespace,
    device: "eth0",
    filter: ECHO_FILTER,
    show: (text) => [dumpLine(text)],
  });
  const tunnel = (label: string, namespace: string, device: string): Viewpoint => ({
    label,
    namespace,
    device,
    filter: "udp",
    show: (text) => tunnelLines(parseDump(text)[0]),
  });
  const [site1] = network.sites;
  const behindNat = tunnel("inside the NAT", site1.gatewayNamespace, "wan");
  const internet = tunnel("Internet", network.internet, "site1");
  const middle = from === site1 ? [behindNat, internet] : [internet, behindNat];
  return [host(from, "sends"), ...middle, host(to, "receives")];
}

/** Runs `action` with captures at every point of the way and prints what each saw first. */
async function showWay<T>(stage: Stage, journey: Journey, action: () => Promise<T>): Promise<T> {
  const points = viewpoints(stage, journey);
  const seen: string[] = [];
  const from = async (index: number): Promise<T> => {
    const point = points[index];
    if (point === undefined) return await action();
    const { namespaces } = stage.network;
    const { text, result } = await captureText(namespaces, point, 1, () => from(index + 1));
    seen[index] = text;
    return result;
  };
  const result = await from(0);
  points.forEach(({ label, show }, index) => {
    show(seen[index] ?? "").forEach((line, number) => {
      say(`   ${(number === 0 ? label : "").padEnd(16)}${line}`);
    });
  });
  return result;
}

/** Addresses and kind of the first packet of tcpdump's output. */
function dumpLine(text: string): string {
  const match = /^IP6? (\S+) > (\S+): (ICMP6?,? [^,]+)/m.exec(text);
  return match === null ? "nothing seen" : `${match[1]} -> ${match[2]}  (${match[3]})`;
}

function tunnelLines(packet: TunnelPacket | undefined): string[] {
  if (packet === undefined) return ["nothing seen"];
  const { source, destination } = packet;
  return [
    `UDP ${packet.outerSource} port ${packet.sourcePort} -> ` +
      `${packet.outerDestination} port ${packet.destinationPort}`,
    `  around ${source.context} + ${source.reference} -> ` +
      `${destination.context} + ${destination.reference}`,
  ];
}

async function showWeb(stage: Stage, journey: Journey): Promise<boolean> {
  const url = webAddress(journey.target);
  const host = journey.from.hosts[0].namespace;
  const args = ["-sS", "-m", "10", url];
  const result = await stage.network.namespaces.exec(host, "curl", args);
  say(`   ${(result.stdout || result.stderr).trim()}`);
  return result.code === 0 && result.stdout.includes(`Hello from ${journey.to.hosts[0].name}`);
}

/** Writes down what is running and tells how to look at it. */
function keepRunning({ network, journeys, gateways }: Stage): void {
  const state = network.namespaces.keep();
  mkdirSync(STATE_FOLDER, { recursive: true, mode: 0o700 });
  const path = join(STATE_FOLDER, `${state.token}.json`);
  writeFileSync(path, JSON.stringify(state), { mode: 0o600 });
  say("Left running. Look around:");
  for (const { from, target } of journeys) {
    say(`  ip netns exec ${from.hosts[0].namespace} ping ${target}`);
    say(`  ip netns exec ${from.hosts[0].namespace} curl ${webAddress(target)}`);
  }
  say(`  ip netns exec ${network.internet} tcpdump -n -i site1 -x udp port 1045`);
  for (const gateway of gateways) say(`  less ${gateway.logPath}`);
  say("Remove everything: ./ipref demo --down");
}

/** Removes every network that an earlier run kept. */
async function takeDown(): Promise<number> {
  if (!isRoot()) {
    progress("Removing network namespaces needs root: sudo ./ipref demo --down");
    return EXIT_SKIPPED;
  }
  const files = listStates();
  for (const file of files) {
    const state = JSON.parse(readFileSync(file, "utf8")) as NamespaceState;
    await destroyState(state);
    rmSync(file, { force: true });
    say(`Removed the demo ${state.token}: ${state.names.length} namespaces`);
  }
  if (files.length === 0) say("No demo is running");
  return EXIT_OK;
}

function listStates(): string[] {
  try {
    return readdirSync(STATE_FOLDER)
      .filter((name) => name.endsWith(".json"))
      .map((name) => join(STATE_FOLDER, name));
  } catch {
    return [];
  }
}
