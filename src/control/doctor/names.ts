/**
 * Judges of name resolution on the gateway machine: whether it asks the system's own DNS server,
 * and whether something on the way discards answers in the encode net (protection against DNS
 * rebinding). Pure.
 *
 * Two names that only the own DNS server knows tell one from the other: `encoded` has an address
 * of the encode net, `plain` a public one. A server that gives the second only, filters.
 */

import {
  formatPrefix,
  type IpPrefix,
  type IpVersion,
  parsePrefix,
  prefixContains,
  prefixOf,
} from "../../base/ip.js";
import { type Finding, type Fix, judgeOf, shellWord } from "./finding.js";

/** Zone of the two names; `.internal` is not delegated. */
export const PROBE_ZONE = "ipref.internal";
export const ENCODED_NAME = `encoded.${PROBE_ZONE}`;
export const PLAIN_NAME = `plain.${PROBE_ZONE}`;
/** Address of `plain`: an anycast address that no filter counts as private (RFC 7723). */
export const PLAIN_ADDRESS = "192.0.0.9";

/** What a server says about a name. */
export type ProbeAnswer = "right" | "absent" | "wrong" | "no answer" | "error";

/** The answers of one server to both names. */
export interface ServerProbe {
  readonly server: string;
  readonly encoded: ProbeAnswer;
  readonly plain: ProbeAnswer;
  /** It answers only when it is told not to validate with DNSSEC. */
  readonly isValidating: boolean;
  /** In words, for "error" and "no answer". */
  readonly reason: string;
}

/** How the machine resolves names. */
export interface MachineDnsFacts {
  /** Name servers of resolv.conf(5) with their answers, in order. */
  readonly servers: readonly ServerProbe[];
  /** The own DNS server, asked directly; undefined while it does not run. */
  readonly own: ServerProbe | undefined;
  /** Address of the own DNS server for a nameserver line. */
  readonly ownAddress: string;
  readonly ownPort: number;
  /** Lets the own DNS server answer at port 53, where alone programs ask. */
  readonly usePort53: string;
  /** Sources of the line "hosts" of nsswitch.conf(5); undefined without such a file. */
  readonly switchSources: readonly string[] | undefined;
  /** The servers are the stub of systemd-resolved. */
  readonly usesResolved: boolean;
  readonly tunName: string;
  /** Lets the own system read its configuration again. */
  readonly reload: string;
}

/** Addresses of the stub of systemd-resolved, systemd-resolved.service(8). */
export const RESOLVED_STUBS: readonly string[] = ["127.0.0.53", "127.0.0.54"];
const RESOLV_CONF = "/etc/resolv.conf";
const PORT = 53;

/** Does the machine ask our DNS server? */
export function judgeMachineDns(facts: MachineDnsFacts): Finding {
  const { servers, own, switchSources } = facts;
  const judge = judgeOf("machine-dns", RESOLV_CONF);
  if (own === undefined) return judge.skip("the DNS server does not run; start it with ipref up");
  if (own.encoded !== "right") return judgeOwnServer(own, facts);
  const asksDns = (switchSources ?? ["dns"]).some((word) => word === "dns" || word === "resolve");
  if (!asksDns) {
    return judgeOf("machine-dns", "/etc/nsswitch.conf").fail(
      `the line hosts names ${switchSources!.join(" ")}: programs never ask any DNS server`,
      "sed -i 's/^hosts:.*/hosts: files dns/' /etc/nsswitch.conf",
    );
  }
  const at = servers.findIndex(
    ({ encoded, plain, isValidating }) => encoded === "right" || plain === "right" || isValidating,
  );
  if (at === 0)
    return judge.pass(`its first server, ${servers[0]!.server}, knows encoded addresses`);
  const first = servers[0]?.server ?? "no server";
  if (at > 0) {
    return judge.fail(
      `${servers[at]!.server}, which knows encoded addresses, is asked only when ${first} is silent`,
      firstServer(servers[at]!.server),
    );
  }
  return judge.warn(
    `names ${first}, which does not know encoded addresses: this machine itself does not use them`,
    useOwn(facts),
  );
}

function judgeOwnServer(own: ServerProbe, facts: MachineDnsFacts): Finding {
  const { ownAddress, ownPort, reload } = facts;
  const judge = judgeOf("machine-dns", `DNS server ${ownAddress} port ${ownPort}`);
  if (own.encoded === "absent") {
    return judge.skip(`its configuration has no ${ENCODED_NAME}; that of ipref up has`);
  }
  const evidence = `asked for ${ENCODED_NAME}: ${own.reason || own.encoded}`;
  return judge.fail(evidence, reload);
}

/** Makes one server the first of resolv.conf. */
function firstServer(server: string): string {
  const pattern = server.replaceAll(".", "\\.");
  return (
    `sed -i --follow-symlinks -e '1i nameserver ${server}' ` +
    `-e '/^nameserver ${pattern}$/d' ${RESOLV_CONF}`
  );
}

function useOwn(facts: MachineDnsFacts): string {
  const { usesResolved, tunName, ownAddress, ownPort } = facts;
  const tun = shellWord(tunName);
  if (usesResolved) {
    const server = ownPort === PORT ? ownAddress : `${ownAddress}:${ownPort}`;
    return `resolvectl dns ${tun} ${server} && resolvectl domain ${tun} '~.'`;
  }
  const first = firstServer(ownAddress);
  return ownPort === PORT ? first : `${facts.usePort53} && ${first}`;
}

/** A filter found in the configuration of a DNS server on this machine. */
export interface RebindingFilter {
  readonly program: "dnsmasq" | "unbound";
  /** Undefined: it stands on the command line. */
  readonly file: string | undefined;
  /** The directive as written. */
  readonly directive: string;
  /** What unbound filters. */
  readonly prefix: IpPrefix | undefined;
  /** The running process, when there is one. */
  readonly process:
    | { readonly pid: number; readonly unit: string | undefined; readonly args: readonly string[] }
    | undefined;
}

/** Filters and the servers on the way. */
export interface RebindingFacts {
  readonly encodeNet: IpPrefix;
  readonly servers: readonly ServerProbe[];
  readonly own: ServerProbe | undefined;
  readonly ownAddress: string;
  readonly filters: readonly RebindingFilter[];
  readonly tunName: string;
  /** Addresses of this machine, where `filters` count. */
  readonly localServers: readonly string[];
}

/** Is an answer in the encode net discarded on the way? */
export function judgeRebinding(facts: RebindingFacts): Finding[] {
  const { servers, own, filters, encodeNet, localServers } = facts;
  const net = formatPrefix(encodeNet);
  const findings: Finding[] = [];
  // Those behind a server that answers rightly are asked only when it is silent.
  const end = servers.findIndex(({ encoded }) => encoded === "right");
  const asked = end < 0 ? servers : servers.slice(0, end + 1);
  for (const { server, encoded, plain, isValidating } of asked) {
    const judge = judgeOf("dns-rebinding", `DNS server ${server}`);
    if (plain === "right" && encoded !== "right") {
      const isLocal = localServers.includes(server);
      const fixes = isLocal ? filters.flatMap((filter) => withoutFilter(filter, encodeNet)) : [];
      findings.push(
        judge.fail(
          `discards answers in the encode net ${net} (${encoded}), passes others on`,
          ...(fixes.length > 0 ? fixes : elsewhereFixes(server, facts.ownAddress)),
        ),
      );
    } else if (encoded === "right") findings.push(judge.pass(`passes answers in ${net} on`));
    else if (isValidating) {
      findings.push(
        judge.fail(
          "validates with DNSSEC and discards answers that ipref up has changed",
          ...(RESOLVED_STUBS.includes(server)
            ? [`resolvectl dnssec ${shellWord(facts.tunName)} no`]
            : [firstServer(facts.ownAddress)]),
        ),
      );
    }
  }
  if (findings.length > 0) return findings;
  return [...filters.map((filter) => idleFilter(filter, encodeNet)), ...noFilter(filters, own)];
}

function noFilter(filters: readonly RebindingFilter[], own: ServerProbe | undefined): Finding[] {
  if (filters.length > 0) return [];
  const judge = judgeOf("dns-rebinding", "DNS servers of this machine");
  if (own === undefined)
    return [judge.skip("no filter configured; not tried: ipref up does not run")];
  return [judge.pass("no filter configured, and none of them is between programs and ipref up")];
}

/** A filter in a configuration that was not seen at work. */
function idleFilter(filter: RebindingFilter, encodeNet: IpPrefix): Finding {
  const { program, file, directive } = filter;
  return judgeOf("dns-rebinding", file ?? `${program} command line`).warn(
    `${program} has ${directive}: put in front of ipref up it discards encoded addresses`,
    ...withoutFilter(filter, encodeNet),
  );
}

function elsewhereFixes(server: string, ownAddress: string): (Fix | string)[] {
  return [
    firstServer(ownAddress),
    {
      command:
        "uci set dhcp.@dnsmasq[0].rebind_protection=0 && uci commit dhcp && /etc/init.d/dnsmasq restart",
      note: `or on ${server}, if it is a router with OpenWrt`,
    },
  ];
}

/** Takes the filter away, for unbound from the encode net only. */
function withoutFilter(filter: RebindingFilter, encodeNet: IpPrefix): string[] {
  const { program, file, prefix, directive } = filter;
  const again = restartCommand(filter);
  if (program === "dnsmasq") {
    if (file === undefined) return again === undefined ? [] : [again];
    const edit = `sed -i 's/^ *stop-dns-rebind/#&/' ${shellWord(file)}`;
    return [again === undefined ? edit : `${edit} && ${again}`];
  }
  const rest = prefix === undefined ? [] : complement(prefix, encodeNet);
  const lines = rest.map((each) => `    private-address: ${formatPrefix(each)}`).join("\\n");
  const pattern = directive.replace(/[.[\]*^$|\\]/g, "\\$&").replace(/\s+/g, " *");
  const instead = lines === "" ? "# none" : lines;
  const edit = `sed -i 's|^ *${pattern}.*|${instead}|' ${shellWord(file ?? "")}`;
  return [again === undefined ? edit : `${edit} && ${again}`];
}

function restartCommand({ program, process }: RebindingFilter): string | undefined {
  if (process === undefined) return undefined;
  const { pid, unit, args } = process;
  if (unit !== undefined) return `systemctl restart ${shellWord(unit)}`;
  if (program === "unbound") return `kill -HUP ${pid}`;
  const words = args.filter((word) => word !== "--stop-dns-rebind");
  return `kill ${pid} && sleep 1 && ${words.map(shellWord).join(" ")}`;
}

/** The parts of `outer` outside of `inner`, fewest first; nothing when `inner` covers it. */
export function complement(outer: IpPrefix, inner: IpPrefix): IpPrefix[] {
  if (outer.bits >= inner.bits || !prefixContains(outer, inner.address)) return [];
  const parts: IpPrefix[] = [];
  for (let bits = outer.bits + 1; bits <= inner.bits; bits++) {
    const sibling = Uint8Array.from(inner.address.bytes);
    const at = bits - 1;
    sibling[at >> 3]! ^= 0x80 >> (at & 7);
    parts.push(prefixOf({ version: inner.address.version, bytes: sibling }, bits));
  }
  return parts;
}

/** Name servers of resolv.conf(5), at most three; without any glibc asks 127.0.0.1. */
export function nameServersOf(text: string): string[] {
  const found = text
    .split("\n")
    .flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? [])
    .slice(0, 3);
  return found.length > 0 ? found : ["127.0.0.1"];
}

/** Sources of the line "hosts" of nsswitch.conf(5), without actions in brackets. */
export function switchSourcesOf(text: string): string[] | undefined {
  const line = /^hosts:(.*)$/m.exec(text.replaceAll(/#.*/g, ""))?.[1];
  return line
    ?.replaceAll(/\[[^\]]*\]/g, " ")
    .trim()
    .split(/\s+/);
}

/** The filter of a file of dnsmasq(8); it discards private addresses of either version. */
export function dnsmasqFilter(text: string): string | undefined {
  return /^ *(stop-dns-rebind)\s*$/m.exec(text)?.[1];
}

/** Filters of a file of unbound.conf(5) that meet the encode net. */
export function unboundFilters(
  text: string,
  encodeNet: IpPrefix,
): { readonly directive: string; readonly prefix: IpPrefix }[] {
  return text.split("\n").flatMap((line) => {
    const match = /^\s*(private-address:\s*"?([0-9a-fA-F.:/]+)"?)/.exec(line);
    if (match === null) return [];
    const written = match[2]!;
    const bits = written.includes(":") ? 128 : 32;
    const prefix = parsePrefix(written.includes("/") ? written : `${written}/${bits}`);
    if (prefix === undefined) return [];
    const isMeeting =
      prefixContains(prefix, encodeNet.address) || prefixContains(encodeNet, prefix.address);
    return isMeeting ? [{ directive: match[1]!, prefix }] : [];
  });
}

/** Address ranges that dnsmasq counts as private (its manual, --stop-dns-rebind). */
const DNSMASQ_PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"];
const DNSMASQ_PRIVATE_6 = ["fc00::/7", "fe80::/10"];

/** True when dnsmasq's filter covers the encode net. */
export function isPrivateForDnsmasq(encodeNet: IpPrefix): boolean {
  const version: IpVersion = encodeNet.address.version;
  const list = version === 4 ? DNSMASQ_PRIVATE : DNSMASQ_PRIVATE_6;
  return list.some((text) => prefixContains(parsePrefix(text)!, encodeNet.address));
}
