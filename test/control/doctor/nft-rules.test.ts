/** What becomes of packets in nftables rulesets, and what the firewall's judge says. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type FirewallFacts, judgeFirewall } from "../../../src/control/doctor/firewall.js";
import {
  type Hook,
  outcomeOf,
  type Probe,
  readRuleset,
} from "../../../src/control/doctor/nft-rules.js";

type Json = Record<string, unknown>;

const match = (left: Json, right: unknown, op = "==") => ({ match: { op, left, right } });
const meta = (key: string) => ({ meta: { key } });
const payload = (protocol: string, field: string) => ({ payload: { protocol, field } });
const accept = { accept: null };
const drop = { drop: null };
const counter = { counter: { packets: 0, bytes: 0 } };

/** A ruleset of one table in the form of `nft -j list ruleset`. */
function ruleset(
  chains: Readonly<Record<string, { hook?: Hook; policy?: string; rules: Json[][] }>>,
  family = "inet",
  table = "filter",
): string {
  const items: Json[] = [{ metainfo: { json_schema_version: 1 } }];
  for (const [name, { hook, policy = "accept" }] of Object.entries(chains)) {
    const base = hook === undefined ? {} : { type: "filter", hook, prio: 0, policy };
    items.push({ chain: { family, table, name, ...base } });
  }
  for (const [chain, { rules }] of Object.entries(chains)) {
    for (const expr of rules) items.push({ rule: { family, table, chain, expr } });
  }
  return JSON.stringify({ nftables: items });
}

const PROBE: Probe = {
  version: 4,
  inputDevice: "wan",
  outputDevice: undefined,
  protocol: "udp",
  destinationPort: 1045,
  sourcePort: undefined,
  isNew: true,
};

function outcome(
  rules: Json[][],
  policy = "drop",
  others: Record<string, { rules: Json[][] }> = {},
) {
  const text = ruleset({ input: { hook: "input", policy, rules }, ...others });
  const { kind, isConditional } = outcomeOf(readRuleset(text)!, "input", PROBE);
  return isConditional ? `${kind}, conditional` : kind;
}

const dport = (right: unknown, op?: string) => match(payload("udp", "dport"), right, op);

test("outcomeOf() reads ports as numbers, ranges and sets", () => {
  assert.equal(outcome([[dport(1045), accept]]), "accepted");
  assert.equal(outcome([[dport(53), accept]]), "dropped");
  assert.equal(outcome([[dport({ range: [1000, 2000] }), counter, accept]]), "accepted");
  assert.equal(outcome([[dport({ set: [22, { range: [1046, 2000] }] }), accept]]), "dropped");
  assert.equal(outcome([[dport({ set: [22, 1045] }), drop]], "accept"), "dropped");
  assert.equal(outcome([[dport(1045, "!="), drop]], "accept"), "accepted");
  assert.equal(outcome([[match(payload("th", "dport"), 1045), accept]]), "accepted");
  assert.equal(outcome([[match(payload("tcp", "dport"), 1045), accept]]), "dropped");
});

test("outcomeOf() knows interfaces, protocols, versions and the state of the connection", () => {
  const state = { ct: { key: "state" } };
  assert.equal(outcome([[match(meta("iifname"), "wan"), accept]]), "accepted");
  assert.equal(outcome([[match(meta("iifname"), "w*"), accept]]), "accepted");
  assert.equal(outcome([[match(meta("iifname"), { set: ["lo", "lan"] }), accept]]), "dropped");
  assert.equal(outcome([[match(meta("l4proto"), "udp"), accept]]), "accepted");
  assert.equal(outcome([[match(meta("l4proto"), 17), accept]]), "accepted");
  assert.equal(outcome([[match(meta("nfproto"), "ipv6"), drop]], "accept"), "accepted");
  assert.equal(outcome([[match(payload("ip6", "nexthdr"), "udp"), accept]]), "dropped");
  assert.equal(outcome([[match(payload("icmp", "type"), "echo-request"), accept]]), "dropped");
  assert.equal(outcome([[match(state, ["established", "related"], "in"), accept]]), "dropped");
  assert.equal(outcome([[match(state, "new", "in"), accept]]), "accepted");
});

test("outcomeOf() follows jump, goto, return and maps of verdicts", () => {
  const more = { more: { rules: [[dport(1045), accept]] } };
  const jump = { jump: { target: "more" } };
  assert.equal(outcome([[jump]], "drop", more), "accepted");
  assert.equal(outcome([[{ goto: { target: "more" } }]], "drop", more), "accepted");
  const back = { more: { rules: [[{ return: null }], [drop]] } };
  assert.equal(outcome([[jump], [dport(1045), accept]], "drop", back), "accepted");
  assert.equal(outcome([[{ goto: { target: "more" } }], [accept]], "drop", back), "dropped");
  const map = (entries: unknown[]) => ({
    vmap: { key: meta("iifname"), data: { set: entries } },
  });
  assert.equal(
    outcome(
      [
        [
          map([
            ["wan", jump],
            ["lan", accept],
          ]),
        ],
      ],
      "drop",
      more,
    ),
    "accepted",
  );
  assert.equal(outcome([[map([["wan", drop]])], [accept]]), "dropped");
  assert.equal(outcome([[map([["lan", drop]])], [accept]]), "accepted");
});

test("outcomeOf() leaves open what it cannot decide", () => {
  const source = match(payload("ip", "saddr"), { prefix: { addr: "10.0.0.0", len: 8 } });
  const limit = { limit: { rate: 5, per: "second" } };
  assert.equal(outcome([[source, accept]]), "dropped, conditional");
  assert.equal(outcome([[source, drop]], "accept"), "accepted, conditional");
  assert.equal(outcome([[dport(1045), limit, accept]]), "dropped, conditional");
  assert.equal(
    outcome([
      [match(meta("mark"), 5), drop],
      [dport(1045), accept],
    ]),
    "accepted, conditional",
  );
  assert.equal(outcome([[{ xt: { type: "match", name: "set" } }, accept]]), "dropped, conditional");
  assert.equal(outcome([[match(payload("ip", "saddr"), "@lan"), accept]]), "dropped, conditional");
});

test("outcomeOf() ends jumps in a circle", () => {
  const circle = { more: { rules: [[{ jump: { target: "more" } }]] } };
  assert.equal(outcome([[{ jump: { target: "more" } }], [accept]], "drop", circle), "accepted");
});

test("a drop in any base chain counts, of the packet's version only", () => {
  const both = (family: string) => {
    const open = JSON.parse(ruleset({ input: { hook: "input", rules: [[accept]] } })).nftables;
    const shut = { hook: "input" as const, policy: "drop", rules: [] };
    const other = JSON.parse(ruleset({ input: shut }, family, "other")).nftables;
    return outcomeOf(
      readRuleset(JSON.stringify({ nftables: [...open, ...other] }))!,
      "input",
      PROBE,
    );
  };
  assert.equal(both("ip").kind, "dropped");
  assert.equal(both("ip").chain?.table, "other");
  assert.equal(both("ip6").kind, "accepted");
});

test("readRuleset() refuses what is no ruleset", () => {
  for (const text of ["", "{", "[]", '{"nftables": 1}']) assert.equal(readRuleset(text), undefined);
});

const FACTS: FirewallFacts = {
  chains: [],
  reason: "",
  hasLegacyRules: false,
  tunnelVersion: 4,
  localVersion: 4,
  tunnelPort: 1045,
  publicDevice: "wan",
  localDevices: ["lan", "wifi"],
  tunName: "ipref0",
  isPublic: true,
  dnsPort: 53,
};

test("judgeFirewall() speaks the language of firewalld and ufw", () => {
  const shut = { hook: "input" as const, policy: "drop", rules: [] };
  const firewalld = readRuleset(ruleset({ filter_INPUT: shut }, "inet", "firewalld"))!;
  const [first] = judgeFirewall({ ...FACTS, chains: firewalld, dnsPort: undefined });
  assert.equal(
    first!.fixes[0]!.command,
    "firewall-cmd --add-port=1045/udp --permanent && firewall-cmd --reload",
  );
  const chains = readRuleset(ruleset({ INPUT: shut, "ufw-user-input": { rules: [] } }, "ip"))!;
  const findings = judgeFirewall({ ...FACTS, chains });
  assert.deepEqual(
    findings.map(({ verdict, fixes }) => `${verdict} ${fixes[0]!.command}`),
    ["FAIL ufw allow 1045/udp", "WARN ufw allow in on lan to any port 53"],
  );
});

test("judgeFirewall() asks once for each rule, however many interfaces need it", () => {
  const chains = readRuleset(ruleset({ forward: { hook: "forward", policy: "drop", rules: [] } }))!;
  const commands = judgeFirewall({ ...FACTS, chains }).map(({ fixes }) => fixes[0]!.command);
  assert.deepEqual(commands, [
    `nft insert rule inet filter forward oifname '"ipref0"' accept`,
    `nft insert rule inet filter forward iifname '"ipref0"' accept`,
  ]);
});

test("judgeFirewall() sees drops before and behind the chains of its hook", () => {
  const shut = (hook: Hook) => ({ hook, policy: "accept", rules: [[dport(1045), drop]] });
  for (const hook of ["prerouting", "input", "output", "postrouting"] as const) {
    const chains = readRuleset(ruleset({ [hook]: shut(hook) }))!;
    const [finding] = judgeFirewall({ ...FACTS, chains, localDevices: [] });
    assert.equal(finding!.verdict, "FAIL", hook);
    assert.match(
      finding!.fixes[0]!.command,
      new RegExp(`^nft insert rule inet filter ${hook} udp`),
    );
  }
});

test("judgeFirewall() lets answers in without a rule of their own in client mode", () => {
  const established = match({ ct: { key: "state" } }, ["established", "related"], "in");
  const rules = [[established, accept]];
  const chains = readRuleset(
    ruleset({
      input: { hook: "input", policy: "drop", rules },
      forward: {
        hook: "forward",
        policy: "drop",
        rules: [...rules, [match(meta("iifname"), "lan"), accept]],
      },
    }),
  )!;
  const client = { ...FACTS, chains, isPublic: false, localDevices: ["lan"], dnsPort: undefined };
  assert.deepEqual(
    judgeFirewall(client).map(({ verdict }) => verdict),
    ["PASS"],
  );
  const verdicts = judgeFirewall({ ...client, isPublic: true }).map(({ subject }) => subject);
  assert.deepEqual(verdicts, ["incoming UDP 1045", "forwarding from ipref0 to lan"]);
});

test("judgeFirewall() says what it cannot see", () => {
  const [hidden] = judgeFirewall({ ...FACTS, chains: undefined, reason: "only root may" });
  assert.deepEqual([hidden!.verdict, hidden!.evidence], ["SKIP", "only root may"]);
  const legacy = judgeFirewall({ ...FACTS, hasLegacyRules: true });
  assert.deepEqual(
    legacy.map(({ verdict }) => verdict),
    ["PASS", "SKIP"],
  );
});

test("judgeFirewall() tells how many rules it has looked at", () => {
  const evidence = (ruleCount: number) => {
    const rules = Array.from({ length: ruleCount }, () => [accept]);
    const chains = readRuleset(ruleset({ input: { hook: "input", policy: "accept", rules } }))!;
    return judgeFirewall({ ...FACTS, chains })[0]!.evidence;
  };
  assert.equal(evidence(0), "no rules, so nothing is filtered");
  assert.equal(evidence(1), "1 rule lets the tunnel and forwarded packets through");
  assert.equal(evidence(2), "2 rules let the tunnel and forwarded packets through");
});
