// A two-site network with both gateways running, and the questions the namespace tests ask it.

import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import {
  externalLines,
  type GatewayOptions,
  type GatewayProcess,
  gatewayProgram,
  gatewayProgramExists,
  type Publication,
  publishLines,
  startGateway,
} from "../../src/programs/demo/gateway-process.js";
import { type CommandResult, waitFor } from "../../src/programs/demo/namespaces.js";
import {
  createNetwork,
  type Host,
  type IpVersion,
  type Network,
  type NetworkOptions,
  type Site,
  staticEncodedAddress,
} from "../../src/programs/demo/network.js";

export const TCP_PORT = 7001;
export const UDP_PORT = 7002;
export const CLOSED_PORT = 7999;

/** References of 4, 8 and 16 wire octets that satisfy the second-byte rule, spec/mapper.md 3.4. */
export const REFERENCES = [
  { text: "1025", octets: 4 },
  { text: "12-3456-701", octets: 8 },
  { text: "12-0-0-0-0-0-0-803", octets: 16 },
] as const;

const TRAFFIC = fileURLToPath(new URL("./traffic.js", import.meta.url));

/** The two ends of a check. `target` is what `from` calls the other host. */
export interface Direction {
  readonly label: string;
  readonly from: Host;
  readonly to: Host;
  readonly fromSite: Site;
  readonly toSite: Site;
  readonly target: string;
}

export interface Lab {
  readonly network: Network;
  readonly gateways: [GatewayProcess, GatewayProcess];
  readonly directions: readonly [Direction, Direction];
  /** Encoded address, as seen from a site, of the other site's address number `index`. */
  encoded(site: Site, index: number): string;
  /** Encoded address, as seen from a site, of the other gateway's own reference. */
  encodedGateway(site: Site): string;
  destroy(): Promise<void>;
}

export interface LabOptions extends NetworkOptions {
  /** Per site; see GatewayOptions. `hostsLines` are added to the usual ones. */
  readonly gateways?: readonly [GatewayOptions, GatewayOptions];
}

/** What a site publishes: each address of its first host under one of the references. */
export function publications(site: Site): Publication[] {
  return site.hosts[0].addresses.map((address, index) => ({
    address,
    reference: (REFERENCES[index] ?? REFERENCES[0]).text,
    name: `${site.hosts[0].name}-${index}`,
  }));
}

/** Lines of a site's hosts file: its own hosts, the other's hosts, the other's gateway. */
export function hostsLines(site: Site, other: Site): string[] {
  const gateway = { address: "", reference: "1", name: `gateway${other.number}` };
  const all = [...publications(other), gateway];
  return [...publishLines(publications(site)), ...externalLines(site, other, all)];
}

/** Builds the network, starts servers on every host and both gateways. */
export async function createLab(options: LabOptions): Promise<Lab> {
  assert.ok(gatewayProgramExists(), `${gatewayProgram()} is not built: npm run build`);
  const network = await createNetwork(options);
  try {
    await startServers(network);
    const [site1, site2] = network.sites;
    const start = (site: Site, other: Site): Promise<GatewayProcess> =>
      startGateway(network, site, siteOptions(site, other, options));
    const gateways: [GatewayProcess, GatewayProcess] = [
      await start(site1, site2),
      await start(site2, site1),
    ];
    return {
      network,
      gateways,
      directions: [direction(site1, site2), direction(site2, site1)],
      encoded: (site, index) => staticEncodedAddress(site.localVersion, index),
      encodedGateway: (site) => {
        const count = network.sites[2 - site.number]?.hosts[0].addresses.length ?? 1;
        return staticEncodedAddress(site.localVersion, count);
      },
      destroy: () => network.destroy(),
    };
  } catch (error) {
    await network.destroy();
    throw error;
  }
}

/** Gateway options of a site with the usual hosts lines first. */
export function siteOptions(site: Site, other: Site, options: LabOptions): GatewayOptions {
  const extra = options.gateways?.[site.number - 1] ?? {};
  return {
    ...extra,
    hostsLines: extra.hostsLines ?? hostsLines(site, other),
  };
}

function direction(fromSite: Site, toSite: Site): Direction {
  return {
    label: `site ${fromSite.number} to site ${toSite.number}`,
    from: fromSite.hosts[0],
    to: toSite.hosts[0],
    fromSite,
    toSite,
    target: staticEncodedAddress(fromSite.localVersion, 0),
  };
}

async function startServers(network: Network): Promise<void> {
  for (const host of network.sites.flatMap((site) => site.hosts)) {
    const child = startTraffic(network, host, ["serve", String(TCP_PORT), String(UDP_PORT)]);
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    const ready = await waitFor(() => (output.includes("ready") ? true : undefined), 10_000);
    assert.ok(ready, `the servers of ${host.name} do not start`);
  }
}

/** Starts the traffic program on a host. */
export function startTraffic(network: Network, host: Host, args: readonly string[]): ChildProcess {
  return network.namespaces.spawn(host.namespace, process.execPath, [TRAFFIC, ...args]);
}

/** Runs the traffic program on a host to its end and returns its line of JSON. */
export async function traffic(
  lab: Lab,
  host: Host,
  args: readonly string[],
): Promise<Record<string, unknown>> {
  const result = await lab.network.namespaces.exec(
    host.namespace,
    process.execPath,
    [TRAFFIC, ...args],
    { timeoutMs: 75_000 },
  );
  try {
    return JSON.parse(result.stdout);
  } catch {
    return { ok: false, error: `code ${result.code}: ${result.stdout}${result.stderr}` };
  }
}

/** Runs ping(8) on a host. */
export function ping(
  lab: Lab,
  host: Host,
  target: string,
  args: readonly string[] = [],
): Promise<CommandResult> {
  return lab.network.namespaces.exec(host.namespace, "ping", ["-n", "-W", "2", ...args, target]);
}

/** Fails with the output and the gateways' logs unless some ping was answered. */
export async function assertPing(
  lab: Lab,
  host: Host,
  target: string,
  args: readonly string[] = ["-c", "3", "-i", "0.2"],
): Promise<CommandResult> {
  const result = await ping(lab, host, target, args);
  const answered = answeredCount(result.stdout);
  assert.ok(answered > 0, `no answer from ${target}\n${result.stdout}${result.stderr}${logs(lab)}`);
  return result;
}

/** Number of echo replies in the output of ping(8). */
export function answeredCount(output: string): number {
  return Number(/(\d+) received/.exec(output)?.[1] ?? "0");
}

/** MTU reported by ping(8), in any of its three forms. */
export function reportedMtu(result: CommandResult): number | undefined {
  const match = /mtu\s*[=:]\s*(\d+)/i.exec(result.stdout + result.stderr);
  return match === null ? undefined : Number(match[1]);
}

/** Octets of IP and ICMP headers in front of the data of a ping. */
export function pingOverhead(version: IpVersion): number {
  return version === 4 ? 28 : 48;
}

/** The last lines of both gateways' logs, for a failure message. */
export function logs(lab: Lab): string {
  return lab.gateways
    .map(
      ({ site, log }) => `\n--- gateway ${site.number}\n${log().split("\n").slice(-15).join("\n")}`,
    )
    .join("");
}
