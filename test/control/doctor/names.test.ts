/** Judges of name resolution, and what is read of the configurations of other DNS servers. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { formatPrefix, parsePrefix, prefixContains } from "../../../src/base/ip.js";
import type { Finding } from "../../../src/control/doctor/finding.js";
import {
  complement,
  dnsmasqFilter,
  isPrivateForDnsmasq,
  judgeMachineDns,
  judgeRebinding,
  type MachineDnsFacts,
  nameServersOf,
  type RebindingFacts,
  type RebindingFilter,
  type ServerProbe,
  switchSourcesOf,
  unboundFilters,
} from "../../../src/control/doctor/names.js";

const NET = parsePrefix("10.240.0.0/12")!;
const knows = (server: string): ServerProbe => ({
  server,
  encoded: "right",
  plain: "right",
  isValidating: false,
  reason: "",
});
const ignorant = (server: string): ServerProbe => ({
  server,
  encoded: "absent",
  plain: "absent",
  isValidating: false,
  reason: "",
});

function line({ verdict, evidence, fixes }: Finding): string {
  return [`${verdict} ${evidence}`, ...fixes.map(({ command }) => command)].join(" | ");
}

const MACHINE: MachineDnsFacts = {
  servers: [knows("127.0.0.1")],
  own: knows("127.0.0.1"),
  ownAddress: "127.0.0.1",
  ownPort: 53,
  usePort53: "use port 53",
  switchSources: ["files", "dns"],
  usesResolved: false,
  tunName: "ipref0",
  reload: "kill -HUP 9",
};

test("judgeMachineDns() wants the own server first", () => {
  assert.equal(judgeMachineDns(MACHINE).verdict, "PASS");
  const second = judgeMachineDns({
    ...MACHINE,
    servers: [ignorant("9.9.9.9"), knows("127.0.0.1")],
  });
  assert.match(
    line(second),
    /^FAIL 127\.0\.0\.1, .* \| sed -i --follow-symlinks -e '1i nameserver 127/,
  );
  const others = { ...MACHINE, servers: [ignorant("9.9.9.9")] };
  assert.match(
    line(judgeMachineDns(others)),
    /^WARN names 9\.9\.9\.9, .*'1i nameserver 127\.0\.0\.1'/,
  );
});

test("judgeMachineDns() uses resolvectl where systemd-resolved answers", () => {
  const facts = {
    ...MACHINE,
    servers: [ignorant("127.0.0.53")],
    usesResolved: true,
    ownAddress: "10.240.0.1",
  };
  const wanted = "resolvectl dns ipref0 10.240.0.1 && resolvectl domain ipref0 '~.'";
  assert.equal(judgeMachineDns(facts).fixes[0]!.command, wanted);
  const other = judgeMachineDns({ ...facts, ownPort: 1053 });
  assert.match(other.fixes[0]!.command, /^resolvectl dns ipref0 10\.240\.0\.1:1053 /);
  const plain = judgeMachineDns({ ...MACHINE, servers: [ignorant("9.9.9.9")], ownPort: 1053 });
  assert.match(plain.fixes[0]!.command, /^use port 53 && sed -i .*'1i nameserver 127\.0\.0\.1'/);
});

test("judgeMachineDns() knows when it cannot know", () => {
  assert.equal(judgeMachineDns({ ...MACHINE, own: undefined }).verdict, "SKIP");
  assert.equal(judgeMachineDns({ ...MACHINE, own: ignorant("127.0.0.1") }).verdict, "SKIP");
  const silent = { ...knows("127.0.0.1"), encoded: "no answer", reason: "it is silent" } as const;
  assert.match(
    line(judgeMachineDns({ ...MACHINE, own: silent })),
    /^FAIL .* it is silent \| kill -HUP 9$/,
  );
  const withResolve = { ...MACHINE, switchSources: ["mymachines", "resolve", "files"] };
  assert.equal(judgeMachineDns(withResolve).verdict, "PASS");
  assert.equal(judgeMachineDns({ ...MACHINE, switchSources: ["files"] }).verdict, "FAIL");
});

const filtering: ServerProbe = { ...knows("192.168.0.1"), encoded: "absent" };
const REBINDING: RebindingFacts = {
  encodeNet: NET,
  servers: [filtering],
  own: knows("127.0.0.1"),
  ownAddress: "127.0.0.1",
  filters: [],
  tunName: "ipref0",
  localServers: [],
};

test("judgeRebinding() goes past a filter on another machine, or switches it off there", () => {
  const [finding] = judgeRebinding(REBINDING);
  assert.match(
    line(finding!),
    /^FAIL discards answers .*'1i nameserver 127\.0\.0\.1' .* \| uci set dhcp/,
  );
  assert.equal(finding!.fixes[1]!.note, "or on 192.168.0.1, if it is a router with OpenWrt");
});

test("judgeRebinding() takes the filter out of the configuration that has it", () => {
  const filter: RebindingFilter = {
    program: "dnsmasq",
    file: "/etc/dnsmasq.d/my file",
    directive: "stop-dns-rebind",
    prefix: undefined,
    process: { pid: 7, unit: "dnsmasq.service", args: [] },
  };
  const local = { ...REBINDING, localServers: ["192.168.0.1"] };
  const [byService] = judgeRebinding({ ...local, filters: [filter] });
  assert.equal(
    byService!.fixes[0]!.command,
    "sed -i 's/^ *stop-dns-rebind/#&/' '/etc/dnsmasq.d/my file' && systemctl restart dnsmasq.service",
  );
  const args = ["dnsmasq", "--stop-dns-rebind", "--server=127.0.0.1"];
  const onLine = { ...filter, file: undefined, process: { pid: 7, unit: undefined, args } };
  const [byHand] = judgeRebinding({ ...local, filters: [onLine] });
  assert.equal(byHand!.fixes[0]!.command, "kill 7 && sleep 1 && dnsmasq --server=127.0.0.1");
});

test("judgeRebinding() tells DNSSEC from other failures of a server in front", () => {
  const reason = "the resolver answers SERVFAIL";
  const failing = { ...knows("127.0.0.9"), encoded: "error", plain: "error", reason } as const;
  const [passed] = judgeRebinding({ ...REBINDING, servers: [failing] });
  assert.equal(passed!.verdict, "PASS");
  const validating = { ...failing, isValidating: true };
  const [finding] = judgeRebinding({ ...REBINDING, servers: [validating] });
  assert.match(line(finding!), /^FAIL validates with DNSSEC .* \| sed -i .*'1i nameserver 127/);
  const behind = judgeRebinding({ ...REBINDING, servers: [knows("127.0.0.1"), validating] });
  assert.deepEqual(
    behind.map(({ verdict }) => verdict),
    ["PASS"],
  );
  const stub = { ...validating, server: "127.0.0.53" };
  const [resolved] = judgeRebinding({ ...REBINDING, servers: [stub] });
  assert.match(line(resolved!), /\| resolvectl dnssec ipref0 no$/);
});

test("judgeRebinding() warns of a filter that was not seen at work", () => {
  const filter: RebindingFilter = {
    program: "unbound",
    file: "/etc/unbound/unbound.conf",
    directive: "private-address: 10.240.0.0/12",
    prefix: NET,
    process: undefined,
  };
  const [idle] = judgeRebinding({
    ...REBINDING,
    servers: [ignorant("9.9.9.9")],
    filters: [filter],
  });
  assert.match(
    line(idle!),
    /^WARN unbound has private-address.* \| sed -i 's\|\^ \*private-address:/,
  );
  const none = judgeRebinding({ ...REBINDING, servers: [ignorant("9.9.9.9")] });
  assert.deepEqual(
    none.map(({ verdict }) => verdict),
    ["PASS"],
  );
  const off = judgeRebinding({ ...REBINDING, servers: [], own: undefined });
  assert.deepEqual(
    off.map(({ verdict }) => verdict),
    ["SKIP"],
  );
});

test("complement() is everything but the inner network", () => {
  const parts = complement(parsePrefix("10.0.0.0/8")!, NET);
  const wanted = ["10.0.0.0/9", "10.128.0.0/10", "10.192.0.0/11", "10.224.0.0/12"];
  assert.deepEqual(parts.map(formatPrefix), wanted);
  const six = parsePrefix("fd00:240::/64")!;
  const rest = complement(parsePrefix("fc00::/7")!, six);
  assert.equal(rest.length, 57);
  assert.ok(
    rest.every((part) => !prefixContains(part, six.address) && !prefixContains(six, part.address)),
  );
  assert.deepEqual(complement(NET, NET), []);
  assert.deepEqual(complement(parsePrefix("192.168.0.0/16")!, NET), []);
});

test("configurations of others are read as their manuals say", () => {
  assert.deepEqual(nameServersOf("# x\n nameserver 10.1.0.2\nsearch a\nnameserver fe80::1%lan\n"), [
    "10.1.0.2",
    "fe80::1%lan",
  ]);
  assert.deepEqual(nameServersOf(""), ["127.0.0.1"]);
  assert.equal(nameServersOf("nameserver 1.1.1.1\n".repeat(5)).length, 3);
  const line = "passwd: files\nhosts:  files mdns4_minimal [NOTFOUND=return] dns # comment\n";
  assert.deepEqual(switchSourcesOf(line), ["files", "mdns4_minimal", "dns"]);
  assert.equal(switchSourcesOf("passwd: files\n"), undefined);
  assert.equal(dnsmasqFilter("port=53\n  stop-dns-rebind\n"), "stop-dns-rebind");
  assert.equal(dnsmasqFilter("#stop-dns-rebind\n"), undefined);
  const unbound = 'server:\n private-address: "10.0.0.0/8"\n private-address: 192.168.0.0/16 # x\n';
  assert.deepEqual(
    unboundFilters(unbound, NET).map(({ directive }) => directive),
    ['private-address: "10.0.0.0/8"'],
  );
  assert.equal(isPrivateForDnsmasq(NET), true);
  assert.equal(isPrivateForDnsmasq(parsePrefix("100.64.0.0/10")!), false);
  assert.equal(isPrivateForDnsmasq(parsePrefix("fd00::/64")!), true);
});
