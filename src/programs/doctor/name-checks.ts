/** Checks of name resolution on the gateway machine. */

import { join } from "node:path";
import { formatIp, type IpAddress, isLoopback, parseIp, sameAddress } from "../../base/ip.js";
import { setSetting } from "../../control/doctor/configuration-fix.js";
import type { Finding } from "../../control/doctor/finding.js";
import {
  dnsmasqFilter,
  isPrivateForDnsmasq,
  judgeMachineDns,
  judgeRebinding,
  nameServersOf,
  RESOLVED_STUBS,
  type RebindingFilter,
  type ServerProbe,
  switchSourcesOf,
  unboundFilters,
} from "../../control/doctor/names.js";
import { ownAddressOf } from "../../control/doctor/network.js";
import { machineListenAddress } from "../up-plan.js";
import type { Check } from "./check.js";
import type { DoctorContext } from "./context.js";
import { probeServer } from "./server-probe.js";
import { type KnownProgram, namesIn, processService, programsRunning, readText } from "./tools.js";

const TIMEOUT_MS = 6000;
const DNS_PORT = 53;

export const NAME_CHECKS: readonly Check[] = [
  {
    id: "machine-dns",
    looksAt: "resolv.conf, nsswitch.conf and the servers there",
    isQuick: false,
    timeoutMs: TIMEOUT_MS,
    examine: machineDns,
  },
  {
    id: "dns-rebinding",
    looksAt: "filters that discard answers in the encode net",
    isQuick: false,
    timeoutMs: TIMEOUT_MS,
    examine: rebinding,
  },
];

async function machineDns(context: DoctorContext): Promise<Finding[]> {
  const { resolver } = context.configuration;
  if (!resolver.enabled) return [];
  const names = nameServersOf(readText("/etc/resolv.conf") ?? "");
  const [own, servers] = await Promise.all([ownProbe(context), probes(context, names)]);
  const isStub = names.some((name) => RESOLVED_STUBS.includes(name));
  const listen = machineListenAddress(context.configuration);
  const encoded = formatIp(ownAddressOf(context.gateway.encodeNet));
  return [
    judgeMachineDns({
      servers,
      own,
      ownAddress: isStub && listen === "127.0.0.1" ? encoded : listen,
      ownPort: resolver.port,
      usePort53: portCommand(context),
      switchSources: switchSourcesOf(readText("/etc/nsswitch.conf") ?? ""),
      usesResolved: isStub,
      tunName: await context.tunName(),
      reload: context.reload ?? context.restart,
    }),
  ];
}

/** Sets resolver.port, and lets a running system read it. */
function portCommand({ request, reload }: DoctorContext): string {
  const { file: path } = request;
  const edit = setSetting({ path, text: readText(path) }, "resolver", "port", String(DNS_PORT));
  return reload === undefined ? edit : `${edit} && ${reload}`;
}

async function rebinding(context: DoctorContext): Promise<Finding[]> {
  const names = nameServersOf(readText("/etc/resolv.conf") ?? "");
  const [own, servers] = await Promise.all([ownProbe(context), probes(context, names)]);
  const addresses = (await context.interfaces()).flatMap((each) => each.addresses);
  const isLocal = (address: IpAddress) =>
    isLoopback(address) || addresses.some((each) => sameAddress(each.address, address));
  return judgeRebinding({
    encodeNet: context.gateway.encodeNet,
    servers,
    own,
    ownAddress: machineListenAddress(context.configuration),
    tunName: await context.tunName(),
    filters: [...dnsmasqFilters(context), ...unboundFiltersRunning(context)],
    localServers: names.filter((name) => {
      const address = parseIp(name);
      return address !== undefined && isLocal(address);
    }),
  });
}

/** The own DNS server, asked directly; undefined while it does not run. */
function ownProbe(context: DoctorContext): Promise<ServerProbe | undefined> {
  const { resolverProcess, configuration } = context;
  if (resolverProcess === undefined || !configuration.resolver.enabled) {
    return Promise.resolve(undefined);
  }
  const listen = machineListenAddress(configuration);
  return probeServer(listen, configuration.resolver.port, ownAddressOf(context.gateway.encodeNet));
}

function probes(context: DoctorContext, names: readonly string[]): Promise<ServerProbe[]> {
  const own = ownAddressOf(context.gateway.encodeNet);
  return Promise.all(names.map((name) => probeServer(name, DNS_PORT, own)));
}

/** dnsmasq processes of this machine that filter: by their command line or by a file. */
function dnsmasqFilters({ gateway }: DoctorContext): RebindingFilter[] {
  if (!isPrivateForDnsmasq(gateway.encodeNet)) return [];
  return running("dnsmasq").flatMap((program) => {
    const filter = (file: string | undefined, directive: string): RebindingFilter => ({
      program: "dnsmasq",
      file,
      directive,
      prefix: undefined,
      process: processOf(program),
    });
    const onLine = program.args.filter((word) => word === "--stop-dns-rebind");
    const found = onLine.map((word) => filter(undefined, word));
    for (const file of dnsmasqFiles(program.args)) {
      const directive = dnsmasqFilter(readText(file) ?? "");
      if (directive !== undefined) found.push(filter(file, directive));
    }
    return found;
  });
}

function dnsmasqFiles(args: readonly string[]): string[] {
  const main = optionOf(args, "-C", "--conf-file") ?? "/etc/dnsmasq.conf";
  const text = readText(main) ?? "";
  const folders = [
    optionOf(args, "-7", "--conf-dir"),
    ...[...text.matchAll(/^ *conf-dir *= *([^,\s]+)/gm)].map(([, folder]) => folder),
  ];
  const inside = folders.flatMap((option) => {
    const folder = option?.split(",")[0] ?? "";
    return folder === "" ? [] : namesIn(folder).map((name) => join(folder, name));
  });
  return [main, ...inside];
}

function unboundFiltersRunning({ gateway }: DoctorContext): RebindingFilter[] {
  return running("unbound").flatMap((program) => {
    const main = optionOf(program.args, "-c", "--config") ?? "/etc/unbound/unbound.conf";
    const text = readText(main) ?? "";
    const included = [...text.matchAll(/^\s*include(?:-toplevel)?:\s*"?([^"\s]+)"?/gm)];
    const files = [main, ...included.flatMap(([, pattern]) => filesOf(pattern!))];
    return files.flatMap((file) =>
      unboundFilters(readText(file) ?? "", gateway.encodeNet).map(
        ({ directive, prefix }): RebindingFilter => ({
          program: "unbound",
          file,
          directive,
          prefix,
          process: processOf(program),
        }),
      ),
    );
  });
}

/** Files of a pattern whose only wildcard is its last name, as in `/etc/unbound/conf.d/*.conf`. */
function filesOf(pattern: string): string[] {
  const at = pattern.lastIndexOf("/");
  const [folder, last] = [pattern.slice(0, at), pattern.slice(at + 1)];
  if (!last.startsWith("*")) return [pattern];
  return namesIn(folder)
    .filter((name) => name.endsWith(last.slice(1)))
    .map((name) => join(folder, name));
}

function running(name: string): KnownProgram[] {
  return programsRunning(([program]) => program === name || program?.endsWith(`/${name}`) === true);
}

function processOf({ pid, args }: KnownProgram): RebindingFilter["process"] {
  return { pid, unit: processService(pid), args };
}

/** Value of an option: behind the short name, glued to it, or behind `=` of the long one. */
function optionOf(args: readonly string[], short: string, long: string): string | undefined {
  for (const [index, word] of args.entries()) {
    if (word === short || word === long) return args[index + 1];
    if (word.startsWith(`${long}=`)) return word.slice(long.length + 1);
    if (word.startsWith(short) && !word.startsWith("--")) return word.slice(short.length);
  }
  return undefined;
}
