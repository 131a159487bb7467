/**
 * Judge of the machine's firewall: what the gateway needs gets through, or a rule that lets it
 * through is printed. Pure.
 */

import type { IpVersion } from "../../base/ip.js";
import { type Finding, type Fix, judgeOf, shellWord } from "./finding.js";
import { type Chain, type Hook, type Outcome, outcomeOfAll, type Probe } from "./nft-rules.js";

/** What is known of the rules and of the packets to come. */
export interface FirewallFacts {
  /** Undefined: the rules cannot be read; `reason` says why. */
  readonly chains: readonly Chain[] | undefined;
  readonly reason: string;
  /** Rules of the older iptables are loaded as well (/proc/net/ip_tables_names). */
  readonly hasLegacyRules: boolean;
  readonly tunnelVersion: IpVersion;
  readonly localVersion: IpVersion;
  readonly tunnelPort: number;
  /** Interface towards other gateways. */
  readonly publicDevice: string | undefined;
  /** Interfaces of the local network, when the machine forwards for others. */
  readonly localDevices: readonly string[];
  readonly tunName: string;
  /** Others may begin: something is published. */
  readonly isPublic: boolean;
  /** Port at which local hosts ask the DNS server; undefined when it is switched off. */
  readonly dnsPort: number | undefined;
}

/** One thing that has to get through. */
interface Need {
  readonly subject: string;
  /** Hooks that it passes, in order. */
  readonly hooks: readonly Hook[];
  readonly probe: Probe;
  /** Rule that lets it through, for nft insert. */
  readonly rule: string;
  readonly firewalld: string;
  readonly ufw: string;
  readonly isWarning?: boolean;
}

/** Rules that drop what the gateway needs. */
export function judgeFirewall(facts: FirewallFacts): Finding[] {
  const { chains, reason, hasLegacyRules } = facts;
  const judge = judgeOf("firewall", "nftables");
  if (chains === undefined) return [judge.skip(reason)];
  const findings = needsOf(facts).flatMap((need) => {
    const outcome = outcomeOfAll(chains, need.hooks, need.probe);
    return outcome.kind === "dropped" ? [dropFinding(need, outcome, chains)] : [];
  });
  if (hasLegacyRules) {
    const legacy = judgeOf("firewall", "iptables");
    findings.push(legacy.skip("older rules are loaded too: look at iptables-legacy -S"));
  }
  if (findings.some(({ verdict }) => verdict !== "SKIP")) return dedupe(findings);
  const rules = chains.reduce((sum, each) => sum + each.rules.length, 0);
  return [judge.pass(passText(rules)), ...findings];
}

function passText(ruleCount: number): string {
  if (ruleCount === 0) return "no rules, so nothing is filtered";
  const rules = ruleCount === 1 ? "1 rule lets" : `${ruleCount} rules let`;
  return `${rules} the tunnel and forwarded packets through`;
}

function dropFinding(need: Need, outcome: Outcome, chains: readonly Chain[]): Finding {
  const judge = judgeOf("firewall", need.subject);
  const { family, table, name, policy } = outcome.chain!;
  const where = `chain ${name} of table ${family} ${table}`;
  const cause = outcome.cause === "policy" ? `policy ${policy}` : "a rule";
  const fix = fixOf(need, outcome.chain!, chains);
  if (outcome.isConditional) {
    return judge.warn(`${where} drops it (${cause}) unless an earlier rule's condition holds`, fix);
  }
  const evidence = `${where} drops it (${cause})`;
  return need.isWarning === true ? judge.warn(evidence, fix) : judge.fail(evidence, fix);
}

function fixOf(need: Need, chain: Chain, chains: readonly Chain[]): Fix {
  if (chain.table === "firewalld") return { command: need.firewalld };
  const isUfw = chains.some(({ name }) => name === "ufw-user-input");
  if (isUfw) return { command: need.ufw };
  const { family, table, name } = chain;
  const place = [family, table, name].map(shellWord).join(" ");
  return {
    command: `nft insert rule ${place} ${need.rule}`,
    note: "and in /etc/nftables.conf, to last",
  };
}

function needsOf(facts: FirewallFacts): Need[] {
  const { tunnelPort, tunnelVersion, publicDevice, dnsPort, localVersion, localDevices } = facts;
  const blank = { inputDevice: undefined, outputDevice: undefined, sourcePort: undefined };
  const incoming: Need = {
    subject: `incoming UDP ${tunnelPort}`,
    hooks: ["prerouting", "input"],
    probe: {
      ...blank,
      version: tunnelVersion,
      inputDevice: publicDevice,
      protocol: "udp",
      destinationPort: tunnelPort,
      isNew: facts.isPublic,
    },
    rule: `udp dport ${tunnelPort} accept`,
    firewalld: `firewall-cmd --add-port=${tunnelPort}/udp --permanent && firewall-cmd --reload`,
    ufw: `ufw allow ${tunnelPort}/udp`,
  };
  const outgoing: Need = {
    ...incoming,
    subject: `outgoing UDP ${tunnelPort}`,
    hooks: ["output", "postrouting"],
    probe: {
      ...incoming.probe,
      inputDevice: undefined,
      outputDevice: publicDevice,
      sourcePort: tunnelPort,
      isNew: true,
    },
    rule: `udp sport ${tunnelPort} accept`,
    ufw: `ufw allow out proto udp from any port ${tunnelPort}`,
  };
  const dns: Need = {
    ...incoming,
    subject: `DNS questions of local hosts, UDP ${dnsPort}`,
    probe: {
      ...incoming.probe,
      version: localVersion,
      inputDevice: localDevices[0],
      destinationPort: dnsPort,
      isNew: true,
    },
    rule: `meta l4proto { tcp, udp } th dport ${dnsPort} iifname ${quoted(localDevices[0] ?? "")} accept`,
    firewalld: "firewall-cmd --add-service=dns --permanent && firewall-cmd --reload",
    ufw: `ufw allow in on ${shellWord(localDevices[0] ?? "")} to any port ${dnsPort}`,
    isWarning: true,
  };
  const hasDns = dnsPort !== undefined && localDevices.length > 0;
  return [incoming, outgoing, ...forwardNeeds(facts), ...(hasDns ? [dns] : [])];
}

function forwardNeeds(facts: FirewallFacts): Need[] {
  const { tunName, localDevices, localVersion, isPublic } = facts;
  const tun = shellWord(tunName);
  return localDevices.flatMap((device) => {
    const probe = (inputDevice: string, outputDevice: string, isNew: boolean): Probe => ({
      version: localVersion,
      inputDevice,
      outputDevice,
      protocol: "tcp",
      destinationPort: undefined,
      sourcePort: undefined,
      isNew,
    });
    const direction = { hooks: ["prerouting", "forward", "postrouting"] as const };
    const trust = `--zone=trusted --add-interface=${tun} --permanent`;
    const firewalld = `firewall-cmd ${trust} && firewall-cmd --reload`;
    return [
      {
        ...direction,
        subject: `forwarding from ${device} to ${tunName}`,
        probe: probe(device, tunName, true),
        rule: `oifname ${quoted(tunName)} accept`,
        firewalld,
        ufw: `ufw route allow out on ${tun}`,
      },
      {
        ...direction,
        subject: `forwarding from ${tunName} to ${device}`,
        probe: probe(tunName, device, isPublic),
        rule: `iifname ${quoted(tunName)} accept`,
        firewalld,
        ufw: `ufw route allow in on ${tun}`,
      },
    ];
  });
}

/** A name for nft inside of a shell's word. */
function quoted(name: string): string {
  return shellWord(`"${name}"`);
}

/** One finding for each command: several devices may need the same rule. */
function dedupe(findings: readonly Finding[]): Finding[] {
  const seen = new Set<string>();
  return findings.filter(({ fixes }) => {
    const key = fixes.map(({ command }) => command).join("\n");
    if (key !== "" && seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}
