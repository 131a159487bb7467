/**
 * What becomes of a packet in an nftables ruleset: a walk through `nft -j list ruleset`
 * (libnftables-json(5)) with three-valued matches. A condition that cannot be decided for the probe
 * makes the rule conditional: it neither ends the walk nor is forgotten. Pure.
 */

import { type IpVersion, parseIp, parsePrefix, prefixContains } from "../../base/ip.js";

export type Hook = "prerouting" | "input" | "forward" | "output" | "postrouting";

/** A packet to ask about; undefined fields are not known. */
export interface Probe {
  readonly version: IpVersion;
  readonly inputDevice: string | undefined;
  readonly outputDevice: string | undefined;
  readonly protocol: "udp" | "tcp";
  readonly destinationPort: number | undefined;
  readonly sourcePort: number | undefined;
  readonly isNew: boolean;
}

type Json = Readonly<Record<string, unknown>>;

/** A chain with its rules in order. */
export interface Chain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  /** Undefined: no base chain. */
  readonly hook: string | undefined;
  readonly type: string | undefined;
  readonly priority: number;
  readonly policy: "accept" | "drop";
  readonly rules: readonly (readonly Json[])[];
}

/** What happens, and in which base chain. */
export interface Outcome {
  readonly kind: "accepted" | "dropped";
  /** The base chain that drops. */
  readonly chain: Chain | undefined;
  /** "the policy" or "a rule". */
  readonly cause: "policy" | "rule";
  /** A rule whose conditions are not known for the probe would decide the other way. */
  readonly isConditional: boolean;
}

/** Nesting that nftables itself allows (NFT_JUMP_STACK_SIZE, linux/netfilter/nf_tables.h). */
const JUMPS_MAX = 16;

/** Chains of a ruleset; undefined when the text is none. */
export function readRuleset(text: string): readonly Chain[] | undefined {
  let list: unknown;
  try {
    list = (JSON.parse(text) as { nftables?: unknown }).nftables;
  } catch {
    return undefined;
  }
  if (!Array.isArray(list)) return undefined;
  const chains = new Map<string, Chain & { rules: Json[][] }>();
  for (const item of list as Json[]) {
    const chain = item.chain as Json | undefined;
    const rule = item.rule as Json | undefined;
    if (chain !== undefined) {
      const { family, table, name, hook, type, prio, policy } = chain;
      chains.set(keyOf(family, table, name), {
        family: String(family),
        table: String(table),
        name: String(name),
        hook: typeof hook === "string" ? hook : undefined,
        type: typeof type === "string" ? type : undefined,
        priority: typeof prio === "number" ? prio : 0,
        policy: policy === "drop" ? "drop" : "accept",
        rules: [],
      });
    } else if (rule !== undefined && Array.isArray(rule.expr)) {
      chains.get(keyOf(rule.family, rule.table, rule.chain))?.rules.push(rule.expr as Json[]);
    }
  }
  return [...chains.values()];
}

function keyOf(family: unknown, table: unknown, name: unknown): string {
  return JSON.stringify([family, table, name]);
}

/** Sends a probe through the base chains of several hooks, one after the other. */
export function outcomeOfAll(
  chains: readonly Chain[],
  hooks: readonly Hook[],
  probe: Probe,
): Outcome {
  const outcomes = hooks.map((hook) => outcomeOf(chains, hook, probe));
  const dropped = outcomes.find(({ kind }) => kind === "dropped");
  return dropped ?? outcomes.find(({ isConditional }) => isConditional) ?? outcomes[0]!;
}

/** Sends a probe through all base chains of a hook. */
export function outcomeOf(chains: readonly Chain[], hook: Hook, probe: Probe): Outcome {
  const families = probe.version === 4 ? ["inet", "ip"] : ["inet", "ip6"];
  const bases = chains
    .filter((chain) => chain.hook === hook && families.includes(chain.family))
    .filter(({ type }) => type === "filter")
    .sort((a, b) => a.priority - b.priority);
  const walk = new Walk(chains, probe);
  for (const chain of bases) {
    const verdict = walk.base(chain);
    if (verdict.kind === "dropped") return verdict;
  }
  return {
    kind: "accepted",
    chain: undefined,
    cause: "policy",
    isConditional: walk.hasConditionalDrop,
  };
}

type Verdict = "accept" | "drop" | "return";

class Walk {
  readonly #chains: readonly Chain[];
  readonly #probe: Probe;
  hasConditionalDrop = false;
  #hasConditionalAccept = false;

  constructor(chains: readonly Chain[], probe: Probe) {
    this.#chains = chains;
    this.#probe = probe;
  }

  base(chain: Chain): Outcome {
    this.#hasConditionalAccept = false;
    const verdict = this.#chain(chain, 0);
    const isDropped = verdict === "drop" || (verdict === "return" && chain.policy === "drop");
    return {
      kind: isDropped ? "dropped" : "accepted",
      chain,
      cause: verdict === "return" ? "policy" : "rule",
      isConditional: this.#hasConditionalAccept,
    };
  }

  #chain(chain: Chain, depth: number): Verdict {
    if (depth > JUMPS_MAX) return "return";
    for (const rule of chain.rules) {
      const verdict = this.#rule(rule, chain, depth);
      if (verdict !== undefined) return verdict;
    }
    return "return";
  }

  /** The verdict of a rule that applies; undefined: the walk goes on. */
  #rule(rule: readonly Json[], chain: Chain, depth: number): Verdict | undefined {
    let applies: boolean | undefined = true;
    for (const statement of rule) {
      const match = statement.match as Json | undefined;
      if (match !== undefined) {
        const holds = this.#holds(match);
        if (holds === false) return undefined;
        if (holds === undefined) applies = undefined;
      } else if ("limit" in statement || isForeignMatch(statement)) applies = undefined;
      const verdict = this.#verdict(statement, chain, depth);
      if (verdict === undefined) continue;
      if (applies === true && verdict !== "unknown") {
        return verdict === "return" ? verdictAfter(statement) : verdict;
      }
      this.hasConditionalDrop ||= verdict === "drop" || verdict === "unknown";
      this.#hasConditionalAccept ||= verdict === "accept" || verdict === "unknown";
      return undefined;
    }
    return undefined;
  }

  #verdict(statement: Json, chain: Chain, depth: number): Verdict | "unknown" | undefined {
    if ("vmap" in statement) return this.#mapped(statement.vmap as Json, chain, depth);
    if ("accept" in statement) return "accept";
    if ("drop" in statement || "reject" in statement) return "drop";
    if ("return" in statement) return "return";
    const jump = (statement.jump ?? statement.goto) as Json | undefined;
    if (jump === undefined) return undefined;
    const target = this.#chains.find(
      ({ family, table, name }) =>
        family === chain.family && table === chain.table && name === jump.target,
    );
    return target === undefined ? "return" : this.#chain(target, depth + 1);
  }

  /** The verdict that a map has for the probe. */
  #mapped({ key, data }: Json, chain: Chain, depth: number): Verdict | "unknown" | undefined {
    const actual = this.#valueOf(key as Json);
    const entries = (data as Json | undefined)?.set;
    if (actual === undefined || !Array.isArray(entries)) return "unknown";
    const entry = (entries as [unknown, Json][]).find(([wanted]) =>
      actual.some((value) => contains(wanted, value) === true),
    );
    return entry === undefined ? undefined : this.#verdict(entry[1], chain, depth);
  }

  #holds({ op, left, right }: Json): boolean | undefined {
    const actual = this.#valueOf(left as Json);
    if (actual === undefined) return undefined;
    const isIn = actual.some((value) => contains(right, value) === true);
    const isUnknown = !isIn && actual.some((value) => contains(right, value) === undefined);
    if (isUnknown) return undefined;
    if (op === "==" || op === "in") return isIn;
    return op === "!=" ? !isIn : undefined;
  }

  /** The values that the probe has there; several names may stand for one value. */
  #valueOf(left: Json): readonly (string | number)[] | undefined {
    const meta = (left.meta as Json | undefined)?.key;
    const payload = left.payload as Json | undefined;
    const ct = (left.ct as Json | undefined)?.key;
    const { version, protocol, inputDevice, outputDevice, isNew } = this.#probe;
    if (meta === "iifname" || meta === "iif") return inputDevice ? [inputDevice] : undefined;
    if (meta === "oifname" || meta === "oif") return outputDevice ? [outputDevice] : undefined;
    if (meta === "l4proto") return [protocol, protocol === "udp" ? 17 : 6];
    if (meta === "nfproto") return version === 4 ? ["ipv4", 2] : ["ipv6", 10];
    if (meta === "protocol") return version === 4 ? ["ip"] : ["ip6"];
    if (ct === "state") return [isNew ? "new" : "established"];
    if (payload === undefined) return undefined;
    return this.#payloadOf(payload);
  }

  #payloadOf({ protocol: header, field }: Json): readonly (string | number)[] | undefined {
    const { version, protocol, destinationPort, sourcePort } = this.#probe;
    if (header === "ip" || header === "ip6") {
      if ((header === "ip") !== (version === 4)) return [];
      const isProtocol = field === "protocol" || field === "nexthdr";
      return isProtocol ? [protocol, protocol === "udp" ? 17 : 6] : undefined;
    }
    if (header === "udp" || header === "tcp" || header === "th") {
      if (header !== "th" && header !== protocol) return [];
      const port = field === "dport" ? destinationPort : field === "sport" ? sourcePort : undefined;
      return port === undefined ? undefined : [port];
    }
    return header === "icmp" || header === "icmpv6" || header === "sctp" ? [] : undefined;
  }
}

/** `return` of a base chain or of a jumped-to chain both let the caller go on. */
function verdictAfter(statement: Json): Verdict | undefined {
  return "jump" in statement ? undefined : "return";
}

/** A condition of iptables that nftables does not translate. */
function isForeignMatch(statement: Json): boolean {
  return "xt" in statement && (statement.xt as Json | null)?.type !== "target";
}

/** Whether the right side of a match contains a value; undefined when that is not known. */
function contains(right: unknown, value: string | number): boolean | undefined {
  if (Array.isArray(right)) return anyContains(right, value);
  if (typeof right === "string") {
    if (right.startsWith("@")) return undefined;
    return isSameText(right, value);
  }
  if (typeof right === "number") return right === Number(value);
  if (typeof right !== "object" || right === null) return undefined;
  const { set, range, prefix } = right as Json;
  if (Array.isArray(set)) return anyContains(set, value);
  if (Array.isArray(range)) return isInRange(range, value);
  if (typeof prefix === "object" && prefix !== null) return isInPrefix(prefix as Json, value);
  return undefined;
}

function anyContains(list: readonly unknown[], value: string | number): boolean | undefined {
  const results = list.map((item) => contains(item, value));
  if (results.includes(true)) return true;
  return results.includes(undefined) ? undefined : false;
}

/** A final `*` of an interface name stands for any rest (nft(8), "META EXPRESSIONS"). */
function isSameText(right: string, value: string | number): boolean {
  const text = String(value);
  return right.endsWith("*") ? text.startsWith(right.slice(0, -1)) : right === text;
}

function isInRange([low, high]: readonly unknown[], value: string | number): boolean | undefined {
  if (typeof low !== "number" || typeof high !== "number") return undefined;
  return Number(value) >= low && Number(value) <= high;
}

function isInPrefix({ addr, len }: Json, value: string | number): boolean | undefined {
  const prefix = parsePrefix(`${addr}/${len}`);
  const address = parseIp(String(value));
  return prefix === undefined || address === undefined
    ? undefined
    : prefixContains(prefix, address);
}
