/** The status of a system as text, and the judgement of the whole. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { PartAnswer } from "../../../src/programs/inspect/ask.js";
import {
  reportJson,
  reportStatus,
  type SystemParts,
  type SystemReport,
} from "../../../src/programs/inspect/status-report.js";
import { statusText } from "../../../src/programs/inspect/status-text.js";
import { AGENT, GATEWAY, PEERS, RESOLVER, SUPERVISOR } from "./example-report.js";

const ABSENT = { state: "not-running", message: "Nothing answers" } as const;
const DENIED = { state: "denied", message: "You may not ask" } as const;
const SILENT = { state: "failed", message: "No answer in time" } as const;

function here<Value>(value: Value): PartAnswer<Value> {
  return { state: "answered", value };
}

function reportOf(parts: Partial<SystemParts> = {}): SystemReport {
  const all = {
    gateway: here(GATEWAY),
    resolver: here(RESOLVER),
    agent: here(AGENT),
    up: here(SUPERVISOR),
  };
  return { runFolder: "/run/ipref", parts: { ...all, ...parts }, peers: PEERS };
}

const NOTHING: SystemParts = { gateway: ABSENT, resolver: ABSENT, agent: ABSENT, up: ABSENT };

const TEXT = [
  "PART      STATE    PID   RUNS FOR   VERSION",
  "gateway   healthy  4242  2 h 3 min  0.1.0",
  "resolver  healthy  4243  2 h 2 min  0.1.0",
  "agent     healthy  4244  2 h 2 min  0.1.0",
  "up        healthy  4241  2 h 3 min  0.1.0",
  "",
  "Gateway",
  "  IPREF address          198.51.100.7 + 1",
  "  bound to               10.1.0.2 port 1045",
  "  encode net             10.240.0.0/12, own address 10.240.0.1",
  "  device                 ipref0, MTU 1452; public interface MTU 1500",
  "  forwarding             wasm kernel, 2 lanes",
  "  offloads               csum tso gso gro",
  "  refused by the system  uso",
  "  mapper socket          /run/ipref/mapper.sock",
  "  hosts file             /etc/hosts",
  "",
  "Traffic, rates of the last 5 s",
  "               FAST PACKETS   OCTETS  SLOW PACKETS  PACKETS NOW   BITS NOW",
  "  to tunnel       1,234,567  1.60 GB            12      147 k/s  1.53 Gb/s",
  "  from tunnel             9    700 B             3            -          -",
  "",
  "Mappings",
  "                PUBLISHED  DYNAMIC  PROVISIONAL  RESTING  PENDING",
  "  remote hosts          1   12,345            2        3        0",
  "  local hosts           4        5            0        0        1",
  "  encode net: 12,350 of 983,040 addresses given out (1.3 %); table: 12,361 of 2,097,152 records",
  "",
  "Remote gateways: 22 of at most 1,024",
  "  ADDRESS         PORT  VERIFIED  PATH MTU  HEARD     SENT  RECEIVED        OUT         IN",
  "  203.0.113.1     1045  yes           1500  now    1.40 GB   30.0 MB  1.50 Gb/s  29.0 Mb/s",
  "  203.0.113.200  40001  no            1420  never    180 B       0 B          -          -",
  "  and 20 more: ipref peers",
  "",
  "Dropped packets: 1,235 (ipref status --explain tells why)",
  "  REASON                     PACKETS    NOW",
  "  local-destination-unknown    1,234  0.4/s",
  "  ttl-expired                      1      -",
  "",
  "DNS server",
  "  listens on  127.0.0.1:53, [::1]:53",
  "  serves      .:53: ipref cache forward",
  "              home.example.:53: file",
  "  asks        192.0.2.53:53: up",
  "              192.0.2.54:53: down, 3 failed checks",
  "  cache       321 entries",
  "  mapper      /run/ipref/mapper.sock: connected",
  "",
  "DNS sources",
  "  SOURCE                    READ FROM     SERIAL      HOSTS  LAST SYNC        STATE",
  "  home.example:example.com  192.0.2.1:53  2026112101      4  1 h ago          in force",
  "  home.example:example.com  192.0.2.2:53  -               4  never            transfer refused",
  "  old.example:example.org   -             -               7  13 h 53 min ago  silent",
];

test("the status shows parts, addresses, traffic, mappings, gateways, drops, DNS and sources", () => {
  assert.deepEqual(statusText(reportOf(), { isExplained: false }), TEXT);
});

test("--explain adds meaning, usual cause and remedy to each drop reason", () => {
  const text = statusText(reportOf(), { isExplained: true }).join("\n");
  assert.match(text, /ttl-expired +1 +-\n {4}The time to live ran out\.\n {4}Usually: .*\n/);
  assert.match(text, /\n {4}To do: /);
  assert.doesNotMatch(text, /ipref status --explain/);
});

test("a part that does not run is shown with the way to start it", () => {
  const text = statusText(reportOf({ agent: ABSENT, up: ABSENT }), { isExplained: false });
  assert.ok(text.includes("agent     not running"));
  assert.ok(text.some((line) => /^agent is not running: .*ipref-dns-agent/.test(line)));
  assert.equal(reportStatus(reportOf({ agent: ABSENT, up: ABSENT })), 0);
});

test("a part that the supervisor keeps running and that does not answer is a problem", () => {
  const report = reportOf({ agent: ABSENT });
  assert.ok(statusText(report, { isExplained: false }).includes("agent: It does not answer"));
  assert.equal(reportStatus(report), 3);
});

test("a part that complains or is silent makes the status 3, and says why", () => {
  const problems = ["The encode net is nearly used up: 9 of 10 addresses"];
  const sick = reportOf({ gateway: here({ ...GATEWAY, isHealthy: false, problems }) });
  assert.equal(reportStatus(sick), 3);
  const text = statusText(sick, { isExplained: false });
  assert.ok(text.includes(`gateway: ${problems[0]}`));
  assert.match(text[1]!, /^gateway +problem/);
  const silent = reportOf({ resolver: SILENT });
  assert.equal(reportStatus(silent), 3);
  assert.ok(statusText(silent, { isExplained: false }).includes("resolver: No answer in time"));
});

test("nothing running is 4, not being allowed is 77", () => {
  assert.equal(reportStatus(reportOf(NOTHING)), 4);
  assert.equal(reportStatus(reportOf({ ...NOTHING, gateway: DENIED })), 77);
});

test("names that came from elsewhere cannot reach the terminal as they are", () => {
  const name = "evil\u001b[2J\u202e:example";
  const [source] = GATEWAY.sources;
  const [place] = AGENT.sources[0]!.places;
  const gateway = here({ ...GATEWAY, sources: [{ ...source!, name: `${name}2` }] });
  const failure = "\u0007refused\r\n";
  const evil = { ...AGENT.sources[0]!, name, places: [{ ...place!, failure }] };
  const problems = [`No server of ${name}`];
  const agent = here({ ...AGENT, isHealthy: false, problems, sources: [evil] });
  for (const line of statusText(reportOf({ gateway, agent }), { isExplained: true })) {
    assert.doesNotMatch(line, /[\p{Cc}\p{Cf}]/u);
  }
});

test("as JSON each part tells its state, and the whole whether it is healthy", () => {
  const json = reportJson(reportOf({ agent: ABSENT })) as {
    isHealthy: boolean;
    parts: Record<string, { state: string; problems: string[]; pid?: number }>;
    peers: unknown[];
  };
  assert.equal(json.isHealthy, false);
  assert.equal(json.parts.gateway!.state, "running");
  assert.equal(json.parts.gateway!.pid, 4242);
  assert.equal(json.parts.agent!.state, "not-running");
  assert.deepEqual(json.parts.agent!.problems, ["It does not answer"]);
  assert.equal(json.peers.length, 2);
});

test("an idle gateway without anything has a short status", () => {
  const gateway = here({ ...GATEWAY, drops: [], forwarding: null, sources: [] });
  const parts = { ...NOTHING, gateway };
  const text = statusText({ ...reportOf(), parts, peers: [] }, { isExplained: false });
  assert.ok(text.includes("Dropped packets: none"));
  assert.ok(text.some((line) => /forwarding +none \(-devmode\)/.test(line)));
  assert.ok(!text.some((line) => line.startsWith("DNS")));
});
