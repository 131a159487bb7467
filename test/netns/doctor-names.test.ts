// ipref doctor and DNS: order of resolvers, filters against DNS rebinding, transfers of the public
// zone, AA records. Each is broken, found alone, and put right by the printed command line.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { Namespaces, waitFor } from "../../src/programs/demo/namespaces.js";
import { missingPrograms, whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import { startKnot } from "../support/dns-lab.js";
import { DoctorMachine, IPREF } from "../support/doctor-lab.js";

const why = await whyNoNamespaces(["ip", "nft", "knotd", "dig", "nsupdate"]);
const skip = why === undefined ? false : why.reason;
const noDnsmasq = missingPrograms(["dnsmasq"]).length > 0 ? "dnsmasq is not installed" : false;
const noUnbound = missingPrograms(["unbound"]).length > 0 ? "unbound is not installed" : false;
const RESOLVED = "/usr/lib/systemd/systemd-resolved";
const hasResolved =
  existsSync(RESOLVED) && missingPrograms(["dbus-daemon", "resolvectl"]).length === 0;
const noResolved = hasResolved ? false : "systemd-resolved or dbus-daemon is not installed";
const NODE = process.execPath;
const SECRET = Buffer.alloc(32, 9).toString("base64");
const ZONE = "home.example.com";
const NAME_SERVER = "192.0.2.53";
const CONFIGURATION = `[gateway]
bind = "198.51.100.7"
public = "198.51.100.7"
[resolver]
listen = ["10.1.0.2", "127.0.0.1"]
upstream = ["${NAME_SERVER}"]
[publish]
domain = "${ZONE}"
servers = ["${NAME_SERVER}"]
tsig-key = "/etc/ipref/tsig.key"
update-server = "${NAME_SERVER}"
`;

describe("ipref doctor and names", { skip, concurrency: 1, timeout: 240_000 }, () => {
  const namespaces = new Namespaces();
  let machine: DoctorMachine;
  let knot: Awaited<ReturnType<typeof startKnot>>;
  let far: string;

  before(async () => {
    const namespace = await namespaces.add("machine");
    far = await namespaces.add("far");
    await namespaces.ip(namespace, [
      `link add name lan type veth peer name lan netns ${far}`,
      `link add name wan type veth peer name wan netns ${far}`,
      "link set lan up",
      "link set wan up",
      "addr add 10.1.0.2/24 dev lan",
      "addr add 198.51.100.7/24 dev wan",
      "route add default via 198.51.100.254",
    ]);
    await namespaces.ip(far, [
      "link set lan up",
      "link set wan up",
      "addr add 198.51.100.254/24 dev wan",
      `addr add ${NAME_SERVER}/32 dev lo`,
    ]);
    knot = await startZone("tsig");
    machine = await DoctorMachine.create(namespaces, namespace);
    await machine.must(`mkdir -p /etc/ipref && cat > /etc/ipref/tsig.key <<'END'
key "home" { algorithm hmac-sha256; secret "${SECRET}"; };
END`);
    await configure();
    await machine.start(`${NODE} ${IPREF} up`, /ready in/);
    for (const host of ["web 10.1.0.22", "mail 10.1.0.23"]) {
      const { stderr } = await machine.shell(`${NODE} ${IPREF} publish ${host}`);
      assert.match(stderr, /has been updated/);
    }
  });
  after(async () => {
    await machine?.destroy();
    await namespaces.destroy();
  });

  const configure = () => machine.must(`cat > /etc/ipref/ipref.toml <<'END'\n${CONFIGURATION}END`);

  /** A name server that allows updates to the key, and transfers to the key or to nobody. */
  function startZone(transfers: "tsig" | "nobody") {
    const actions = transfers === "tsig" ? "[transfer, update]" : "update";
    return startKnot(
      namespaces,
      far,
      { [ZONE]: `@ 60 SOA ns admin 1 3600 600 86400 60\n@ 60 NS ns\nns 60 A ${NAME_SERVER}\n` },
      {
        extra: `key:
  - id: home
    algorithm: hmac-sha256
    secret: ${SECRET}
acl:
  - id: home
    key: home
    action: ${actions}
`,
        zoneExtra: "    acl: home\n",
      },
    );
  }

  const update = (...lines: string[]) => {
    const words = [`server ${NAME_SERVER}`, `zone ${ZONE}.`, ...lines, "send"];
    return `printf '%s\\n' ${words.map((line) => `'${line}'`).join(" ")} | nsupdate -v -k /etc/ipref/tsig.key`;
  };
  const published = async (name: string) => {
    const { stdout } = await namespaces.exec(far, "dig", [
      "+short",
      `@${NAME_SERVER}`,
      `${name}.${ZONE}`,
      "TXT",
    ]);
    return stdout.trim();
  };

  const answersAt = async (port: number): Promise<void> => {
    const words = `dig +short +tries=1 +time=1 -p ${port} @10.1.0.2 plain.ipref.internal`;
    const has = await waitFor(async () => {
      const { stdout } = await machine.shell(words);
      return stdout.trim() === "192.0.0.9" ? true : undefined;
    }, 10_000);
    assert.ok(has, `no answer at port ${port}`);
  };

  it("finds nothing on a machine that asks its own DNS server", () => machine.assertHealthy());

  it("machine-dns: a resolv.conf that names others only", async () => {
    await machine.assertFault(`echo nameserver ${NAME_SERVER} > /etc/resolv.conf`, {
      check: "machine-dns",
      verdict: "WARN",
      evidence: /names 192\.0\.2\.53, which does not know encoded addresses/,
      fix: /^sed -i .*'1i nameserver 10\.1\.0\.2'/,
    });
  });

  it("machine-dns: the own server only in second place", async () => {
    const lines = `printf 'nameserver ${NAME_SERVER}\\nnameserver 127.0.0.1\\n' > /etc/resolv.conf`;
    await machine.assertFault(lines, {
      check: "machine-dns",
      verdict: "FAIL",
      evidence: /127\.0\.0\.1, which knows .*, is asked only when 192\.0\.2\.53 is silent/,
      fix: /^sed -i .*'1i nameserver 127\.0\.0\.1' -e '\/\^nameserver 127/,
    });
    assert.match(
      await machine.must("cat /etc/resolv.conf"),
      /^nameserver 127\.0\.0\.1\nnameserver 192/,
    );
    await machine.must("echo nameserver 127.0.0.1 > /etc/resolv.conf");
  });

  it("machine-dns: a DNS server at a port where no program asks", async () => {
    const move = "sed -i 's/^\\[resolver\\]/&\\nport = 1053/' /etc/ipref/ipref.toml";
    const asked = `echo nameserver ${NAME_SERVER} > /etc/resolv.conf`;
    await machine.must(`${move} && kill -HUP $(cat /run/ipref/up.pid) && ${asked}`);
    await answersAt(1053);
    await machine.assertFault(
      "true",
      {
        check: "machine-dns",
        verdict: "WARN",
        evidence: /does not know encoded addresses/,
        fix: /port = 53.* && kill -HUP \d+ && sed -i .*'1i nameserver 10\.1\.0\.2'/,
      },
      { settle: () => answersAt(53) },
    );
    await configure();
    await machine.must("echo nameserver 127.0.0.1 > /etc/resolv.conf");
  });

  it("machine-dns: an nsswitch.conf that keeps programs from asking any server", async () => {
    await machine.assertFault("sed -i 's/^hosts:.*/hosts: files/' /etc/nsswitch.conf", {
      check: "machine-dns",
      verdict: "FAIL",
      evidence: /nsswitch\.conf: the line hosts names files/,
      fix: /^sed -i 's\/\^hosts:\.\*\/hosts: files dns\/' \/etc\/nsswitch\.conf$/,
    });
  });

  it("dns-rebinding: dnsmasq in front discards the answers", { skip: noDnsmasq }, async () => {
    await machine.must(`cat > /etc/dnsmasq.conf <<'END'
user=root
pid-file=
no-resolv
no-hosts
server=127.0.0.1
listen-address=127.0.0.3
bind-interfaces
stop-dns-rebind
END
dnsmasq -C /etc/dnsmasq.conf`);
    await machine.assertFault("echo nameserver 127.0.0.3 > /etc/resolv.conf", {
      check: "dns-rebinding",
      verdict: "FAIL",
      evidence: /DNS server 127\.0\.0\.3: discards answers in the encode net 10\.240\.0\.0\/12/,
      fix: /^sed -i 's\/\^ \*stop-dns-rebind\/#&\/' \/etc\/dnsmasq\.conf && kill \d+/,
    });
    await machine.must("echo nameserver 127.0.0.1 > /etc/resolv.conf");
    await machine.endProgram("dnsmasq");
  });

  it("dns-rebinding: unbound keeps its filter but for the encode net", {
    skip: noUnbound,
  }, async () => {
    await machine.must(`mkdir -p /etc/unbound && cat > /etc/unbound/unbound.conf <<'END'
server:
    interface: 127.0.0.4
    username: ""
    chroot: ""
    pidfile: ""
    directory: "/etc/unbound"
    do-not-query-localhost: no
    module-config: "iterator"
    private-address: 10.0.0.0/8
    private-address: 192.168.0.0/16
forward-zone:
    name: "."
    forward-addr: 127.0.0.1
END
unbound -c /etc/unbound/unbound.conf`);
    await machine.assertFault("echo nameserver 127.0.0.4 > /etc/resolv.conf", {
      check: "dns-rebinding",
      verdict: "FAIL",
      evidence: /DNS server 127\.0\.0\.4: discards answers/,
      fix: /^sed -i .*private-address.* \/etc\/unbound\/unbound\.conf && kill -HUP \d+$/,
    });
    const text = await machine.must("grep private-address /etc/unbound/unbound.conf");
    const kept = [...text.matchAll(/private-address: (\S+)/g)].map(([, net]) => net);
    const parts = ["10.0.0.0/9", "10.128.0.0/10", "10.192.0.0/11", "10.224.0.0/12"];
    assert.deepEqual(kept, [...parts, "192.168.0.0/16"]);
    await machine.must("echo nameserver 127.0.0.1 > /etc/resolv.conf");
    await machine.endProgram("unbound");
  });

  it("dns-rebinding: unbound in front validates with DNSSEC", { skip: noUnbound }, async () => {
    const digest = "ab".repeat(32);
    await machine.must(`cat > /etc/unbound/unbound.conf <<'END'
server:
    interface: 127.0.0.4
    username: ""
    chroot: ""
    pidfile: ""
    directory: "/etc/unbound"
    do-not-query-localhost: no
    trust-anchor: "ipref.internal. DS 1 13 2 ${digest}"
forward-zone:
    name: "."
    forward-addr: 127.0.0.1
END
unbound -c /etc/unbound/unbound.conf`);
    await machine.assertFault("echo nameserver 127.0.0.4 > /etc/resolv.conf", {
      check: "dns-rebinding",
      verdict: "FAIL",
      evidence: /DNS server 127\.0\.0\.4: validates with DNSSEC/,
      fix: /^sed -i .*'1i nameserver 10\.1\.0\.2'/,
    });
    await machine.must("echo nameserver 127.0.0.1 > /etc/resolv.conf");
    await machine.endProgram("unbound");
  });

  it("machine-dns: systemd-resolved is told by resolvectl", { skip: noResolved }, async () => {
    await machine.must("mkdir -p /run/dbus /run/systemd");
    const bus = await machine.start(
      "dbus-daemon --system --nopidfile --nofork --print-address",
      /unix:/,
    );
    const resolved = await machine.start(RESOLVED, /Using system hostname/);
    await machine.must(`mkdir -p /etc/systemd && resolvectl dns wan ${NAME_SERVER}`);
    await machine.assertFault("echo nameserver 127.0.0.53 > /etc/resolv.conf", {
      check: "machine-dns",
      verdict: "WARN",
      evidence: /names 127\.0\.0\.53, which does not know encoded addresses/,
      fix: /^resolvectl dns ipref0 10\.1\.0\.2 && resolvectl domain ipref0 '~\.'$/,
    });
    await machine.must("echo nameserver 127.0.0.1 > /etc/resolv.conf");
    for (const { child } of [resolved, bus]) child.kill("SIGTERM");
    await machine.endProgram("systemd-resolve");
  });

  it("aa-records: a reference that gateways refuse", async () => {
    const bad = update(
      `update delete web.${ZONE}. TXT`,
      `update add web.${ZONE}. 60 TXT "AA 198.51.100.7 + 5000"`,
    );
    await machine.assertFault(bad, {
      check: "aa-records",
      verdict: "FAIL",
      evidence:
        /web\.home\.example\.com TXT "AA 198\.51\.100\.7 \+ 5000": reference 5000 is in the range/,
      fix: /nsupdate|publish web 10\.1\.0\.22 --ref \d+/,
    });
    assert.match(await published("web"), /^"AA 198\.51\.100\.7 \+ 10\d\d"$/);
  });

  it("aa-records: two hosts with one reference", async () => {
    const same = (await published("web")).replaceAll('"', "");
    const bad = update(
      `update delete mail.${ZONE}. TXT`,
      `update add mail.${ZONE}. 60 TXT "${same}"`,
    );
    await machine.assertFault(bad, {
      check: "aa-records",
      verdict: "FAIL",
      evidence: /has the reference of (mail|web)\.home\.example\.com/,
      fix: /nsupdate|publish (web|mail) 10\.1\.0\.2\d --ref \d+/,
    });
    assert.notEqual(await published("web"), await published("mail"));
  });

  it("aa-records: a host that the local zone does not have, and no AA record at all", async () => {
    await machine.assertFault(update(`update add ghost.${ZONE}. 60 TXT "AA 198.51.100.7 + 1500"`), {
      check: "aa-records",
      verdict: "FAIL",
      evidence: /ghost\.home\.example\.com .*leads to no host: ghost\.internal: it does not exist/,
      fix: /update delete ghost\.home\.example\.com\. TXT .*nsupdate -v -k \/etc\/ipref\/tsig\.key$/,
    });
    await machine.assertFault(
      update(`update add odd.${ZONE}. 60 TXT "AA it's + 1 + 2"`.replaceAll("'", "'\\''")),
      {
        check: "aa-records",
        verdict: "FAIL",
        evidence: /odd\.home\.example\.com .*invalid IPREF address/,
        fix: /update delete odd/,
      },
    );
  });

  it("zone-transfer: refused by the name server", async () => {
    await knot.stop();
    knot = await startZone("nobody");
    await machine.assertFault("true", {
      check: "zone-transfer",
      verdict: "FAIL",
      evidence:
        /home\.example\.com from 192\.0\.2\.53: .*(REFUSED|NOTAUTH).* allow transfers to key "home"/,
      fix: /^sed -i .*servers.* \/etc\/ipref\/ipref\.toml && kill -HUP \d+$/,
    });
    await configure();
  });

  it("zone-transfer: a key file that cannot be read is made anew", async () => {
    await machine.must("sed -i 's/^servers/# servers/' /etc/ipref/ipref.toml");
    await machine.assertFault("echo nonsense > /etc/ipref/tsig.key", {
      check: "zone-transfer",
      verdict: "FAIL",
      evidence: /tsig\.key: line 1: /,
      fix: /^tsig-keygen -a hmac-sha256 home > \/etc\/ipref\/tsig\.key/,
    });
  });

  it("aa-records: a line of the local zone with a reference that gateways refuse", async () => {
    const zone = "/var/lib/ipref/zones/internal.db";
    await machine.assertFault(`echo 'bad 300 IN A 10.1.0.30 ; ipref 5000' >> ${zone}`, {
      check: "aa-records",
      verdict: "FAIL",
      evidence: /bad\.home\.example\.com .*gateways refuse reference 5000/,
      fix: /publish (--remove bad|bad 10\.1\.0\.30 --ref \d+)$/,
    });
    assert.match(
      await machine.must(`grep ^bad ${zone}`),
      /^bad 300 IN A 10\.1\.0\.30 ; ipref 10\d\d$/m,
    );
  });

  it("a name server that hangs does not hang the doctor", async () => {
    await configure();
    await machine.must("echo nameserver 192.0.2.53 > /etc/resolv.conf");
    process.kill(knot.child.pid!, "SIGSTOP");
    const startedMs = Date.now();
    const { code, findings } = await machine.doctor();
    process.kill(knot.child.pid!, "SIGCONT");
    assert.ok(Date.now() - startedMs < 15_000, `${Date.now() - startedMs} ms`);
    assert.equal(code, 3);
    const transfer = findings.find(({ check }) => check === "zone-transfer");
    assert.match(transfer?.evidence ?? "", /no answer after/);
    assert.equal(findings.find(({ check }) => check === "machine-dns")?.verdict, "WARN");
  });
});
