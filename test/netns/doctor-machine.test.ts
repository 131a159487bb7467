// ipref doctor on one machine: each thing that can be wrong with the machine itself is broken, is
// found alone, and is put right by the command line that the doctor prints.

import assert from "node:assert/strict";
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";
import { Namespaces, waitFor } from "../../src/programs/demo/namespaces.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import { DoctorMachine, IPREF } from "../support/doctor-lab.js";

const why = await whyNoNamespaces(["ip", "nft"]);
const skip = why === undefined ? false : why.reason;
const CONFIGURATION = `[gateway]
bind = "198.51.100.7"
public = "198.51.100.7"
[resolver]
upstream = ["192.0.2.53"]
`;
const NODE = process.execPath;

describe("ipref doctor on a machine", { skip, concurrency: 1, timeout: 240_000 }, () => {
  const namespaces = new Namespaces();
  let machine: DoctorMachine;

  before(async () => {
    const namespace = await namespaces.add("machine");
    const far = await namespaces.add("far");
    await namespaces.ip(namespace, [
      `link add name lan type veth peer name lan netns ${far}`,
      `link add name wan type veth peer name wan netns ${far}`,
      `link add name wan2 type veth peer name wan2 netns ${far}`,
      ...["lan", "wan", "wan2"].map((name) => `link set ${name} up`),
      "addr add 10.1.0.2/24 dev lan",
      "addr add 198.51.100.7/24 dev wan",
      "route add default via 198.51.100.254",
    ]);
    await namespaces.ip(
      far,
      ["lan", "wan", "wan2"].map((name) => `link set ${name} up`),
    );
    machine = await DoctorMachine.create(namespaces, namespace);
    await machine.must("mkdir -p /etc/ipref");
    await machine.must(`cat > /etc/ipref/ipref.toml <<'END'\n${CONFIGURATION}END`);
  });
  after(async () => {
    await machine?.destroy();
    await namespaces.destroy();
  });

  /** Starts a program that holds a port. */
  const hold = (script: string) => machine.start(`${NODE} -e '${script}'`, /held/);

  describe("before the first start", { concurrency: 1 }, () => {
    it("finds nothing", () => machine.assertHealthy());

    it("privileges: an ordinary user cannot start it, root can", async () => {
      machine.standIn("sudo", 'exec "$@"');
      const words = `setpriv --reuid 65534 --regid 65534 --clear-groups ${NODE} ${IPREF} doctor`;
      const result = await machine.shell(words);
      assert.equal(result.code, 3, result.stderr);
      const failures = result.stdout.split("\n").filter((line) => line.includes("  FAIL  "));
      assert.equal(failures.length, 1, result.stdout);
      assert.match(failures[0]!, /^privileges +FAIL +this user: lacks CAP_NET_ADMIN/);
      const fix = /fix: (sudo .*)$/m.exec(result.stdout)?.[1];
      assert.ok(fix !== undefined, result.stdout);
      assert.match((await machine.shell(fix)).stdout, /^privileges +PASS/m);
    });

    it("tun-device: /dev/net/tun is made", async () => {
      await machine.assertFault("mount -t tmpfs tmpfs /dev/net", {
        check: "tun-device",
        verdict: "FAIL",
        evidence: /\/dev\/net\/tun: does not exist/,
        fix: /mknod \/dev\/net\/tun c 10 200/,
      });
    });

    it("tun-device: something else in its place is replaced", async () => {
      await machine.assertFault("rm /dev/net/tun && mknod /dev/net/tun c 1 3", {
        check: "tun-device",
        verdict: "FAIL",
        evidence: /character device 1:3, not 10:200/,
        fix: /mknod/,
      });
      await machine.must("umount /dev/net");
    });

    it("clock: a time service is switched on", async () => {
      machine.standIn("timedatectl", "touch /run/systemd/timesync/synchronized");
      machine.standIn("apt-get", "true");
      await machine.assertFault("rm /run/systemd/timesync/synchronized", {
        check: "clock",
        verdict: "WARN",
        evidence: /not synchronised by any time service/,
        fix: /timedatectl set-ntp true/,
      });
      await machine.must(`rm ${machine.tools}/apt-get`);
    });

    it("disk: room is made", async () => {
      const fill = "head -c 30000000 /dev/zero > /var/cache/apt/archives/big_1_all.deb";
      const small = "mount -o remount,size=40m /var && mkdir -p /var/lib/dpkg";
      await machine.assertFault(`${small} && ${fill}`, {
        check: "disk",
        verdict: "FAIL",
        evidence: /\/var\/lib\/ipref: \d+ MB of 40 MB free: new mappings cannot be stored/,
        fix: /apt-get clean/,
      });
      await machine.must("mount -o remount,size=50% /var");
    });

    it("disk: a file system that is mounted read-only is mounted anew", async () => {
      await machine.assertFault("mount -o remount,ro /var", {
        check: "disk",
        verdict: "FAIL",
        evidence: /mounted read-only/,
        fix: /mount -o remount,rw \/var/,
      });
    });

    it("tunnel-port: another program that holds it is ended", async () => {
      await hold('require("dgram").createSocket("udp4").bind(1045, () => console.log("held"))');
      await machine.assertFault(
        "true",
        {
          check: "tunnel-port",
          verdict: "FAIL",
          evidence: /UDP 1045: is taken by node \(process \d+\)/,
          fix: /^kill \d+$/,
        },
        { settle: () => gone(1045) },
      );
    });

    it("dns-port: a stub at a loopback address is left alone", async () => {
      await hold(
        'require("net").createServer().listen(53, "127.0.0.53", () => console.log("held"))',
      );
      const [finding] = await machine.assertFault("true", {
        check: "dns-port",
        verdict: "FAIL",
        evidence: /TCP 53: is taken by node .* at a loopback address/,
        fix: /sed -i .*listen = \["10\.1\.0\.2"\]/,
      });
      const kill = finding!.fixes.find(({ command }) => command.startsWith("kill "))!.command;
      await machine.must(kill);
      await writeConfiguration("");
    });

    it("route-overlap: a network of this machine within the encode net", async () => {
      await machine.assertFault(
        "ip link add docker0 type veth peer name docker1 && ip link set docker1 up && ip link set docker0 up && " +
          "ip addr add 10.250.0.1/16 dev docker0",
        {
          check: "route-overlap",
          verdict: "FAIL",
          evidence: /10\.250\.0\.0\/16 dev docker0: lies in the encode net 10\.240\.0\.0\/12/,
          fix: /^sed -i .*encode-net = "10\.224\.0\.0\/12"/,
        },
      );
      await machine.must("ip link del docker0");
      await writeConfiguration("");
    });

    const gone = async (port: number): Promise<void> => {
      const free = await waitFor(async () => {
        const { stdout } = await machine.shell(`ss -Huan sport = :${port}`);
        return stdout.trim() === "" ? true : undefined;
      }, 5000);
      assert.ok(free, "the port is still taken");
    };
  });

  const writeConfiguration = (more: string) =>
    machine.must(`cat > /etc/ipref/ipref.toml <<'END'\n${CONFIGURATION}${more}END`);

  describe("while ipref up runs", { concurrency: 1 }, () => {
    it("versions: an older one that still runs is started anew", async () => {
      const old = olderProgram(namespaces.subdirectory("older"));
      await machine.start(`${NODE} ${old} up`, /ready in/);
      const { findings } = await machine.doctor();
      const wrong = findings.filter(({ verdict }) => verdict === "WARN" || verdict === "FAIL");
      assert.deepEqual(
        wrong.map(({ check, verdict, subject }) => `${verdict} ${check} ${subject}`),
        ["gateway", "resolver", "agent", "up"].map((part) => `WARN versions ${part}`),
      );
      const [{ command } = { command: "" }] = wrong[0]!.fixes;
      assert.match(command, /ipref down; .*ipref up$/);
      await machine.start(`sh -c '${command}'`, /ready in/);
      await machine.assertHealthy();
    });

    it("sockets: one that every user may use is closed", async () => {
      await machine.assertFault("chmod 0666 /run/ipref/mapper.sock", {
        check: "sockets",
        verdict: "FAIL",
        evidence: /mapper\.sock: every user may use the mapper socket \(mode 0666\)/,
        fix: /^chmod 0660 \/run\/ipref\/mapper\.sock$/,
      });
    });

    it("forwarding: it is switched on, for all and for one interface", async () => {
      await machine.assertFault("sysctl -q -w net.ipv4.ip_forward=0", {
        check: "forwarding",
        verdict: "FAIL",
        evidence: /net\.ipv4\.ip_forward: is 0/,
        fix: /^sysctl -w net\.ipv4\.ip_forward=1$/,
      });
      await machine.assertFault("sysctl -q -w net.ipv4.conf.lan.forwarding=0", {
        check: "forwarding",
        verdict: "FAIL",
        evidence: /is on, but off for lan/,
        fix: /^sysctl -w net\.ipv4\.conf\.lan\.forwarding=1$/,
      });
    });

    it("reverse-path: strict where answers leave by another interface", async () => {
      const address = "ip addr add 203.0.113.7/24 dev wan2";
      const reroute = `${address} && ip route replace default via 203.0.113.254`;
      const strict = "sysctl -q -w net.ipv4.conf.wan.rp_filter=1";
      await machine.assertFault(`${reroute} && ${strict}`, {
        check: "reverse-path",
        verdict: "FAIL",
        evidence: /strict on wan: packets of 192\.0\.2\.1 .* answers leave by wan2/,
        fix: /^sysctl -w net\.ipv4\.conf\.wan\.rp_filter=2$/,
      });
      await machine.must("ip route replace default via 198.51.100.254");
      await machine.must("ip addr del 203.0.113.7/24 dev wan2");
    });

    it("tun-interface: a lost route and an interface that is down", async () => {
      const fault = { check: "tun-interface", verdict: "FAIL" } as const;
      await machine.assertFault("ip route del 10.240.0.0/12 dev ipref0", {
        ...fault,
        evidence: /no route leads 10\.240\.0\.0\/12 to it/,
        fix: /^ip route replace 10\.240\.0\.0\/12 dev ipref0$/,
      });
      await machine.assertFault("ip link set ipref0 down", {
        ...fault,
        evidence: /ipref0: is down/,
        fix: /^ip link set ipref0 up && ip route replace/,
      });
    });

    it("route-overlap: a route of another program within the encode net", async () => {
      await machine.assertFault(
        "ip tuntap add mode tun name vpn0 && ip link set vpn0 up && " +
          "ip route add 10.244.0.0/16 dev vpn0",
        {
          check: "route-overlap",
          verdict: "FAIL",
          evidence: /10\.244\.0\.0\/16 dev vpn0: .* another program's TUN device/,
          fix: /^ip route del 10\.244\.0\.0\/16 dev vpn0$/,
        },
      );
      await machine.must("ip link del vpn0");
    });

    it("firewall: the tunnel's port is opened", async () => {
      await loadRules(
        "chain input { type filter hook input priority 0; policy drop;\n" +
          'ct state established,related accept\niifname "lo" accept\nudp dport 53 accept\n}',
      );
      await machine.assertFault("true", {
        check: "firewall",
        verdict: "FAIL",
        evidence: /incoming UDP 1045: chain input of table inet filter drops it \(policy drop\)/,
        fix: /^nft insert rule inet filter input udp dport 1045 accept$/,
      });
    });

    it("firewall: forwarding to and from the encode net is allowed", async () => {
      await loadRules(
        "chain forward { type filter hook forward priority 0; policy drop;\n" +
          "ct state established,related accept\n}",
      );
      const findings = await machine.assertFault("true", {
        check: "firewall",
        verdict: "FAIL",
        evidence: /forwarding from \w+ to \w+: chain forward .* drops it/,
        fix: /^nft insert rule inet filter forward [io]ifname '"ipref0"' accept$/,
      });
      assert.equal(findings.length, 2, "one rule for each direction");
      await machine.must("nft flush ruleset");
    });

    it("says at a start what is in the way, and nothing else", async () => {
      await machine.must(`${NODE} ${IPREF} down`);
      await machine.must("sysctl -q -w net.ipv4.conf.lan.forwarding=0");
      await loadRules("chain input { type filter hook input priority 0; policy drop;\n}");
      const up = await machine.start(`${NODE} ${IPREF} up --log-format text`, /FAIL firewall/);
      assert.match(
        up.log(),
        /ready in[\s\S]*fix.*: nft insert rule inet filter input udp dport 1045/,
      );
      const complaints = up.log().match(/(FAIL|WARN) [a-z-]+:/g) ?? [];
      assert.ok(
        complaints.every((text) => /firewall|forwarding/.test(text)),
        up.log(),
      );
      await machine.must(`${NODE} ${IPREF} down`);
    });

    const loadRules = (chain: string) =>
      machine.must(`nft flush ruleset; nft -f - <<'END'\ntable inet filter {\n${chain}\n}\nEND`);
  });
});

/** A copy of the program with an older version number. */
function olderProgram(folder: string): string {
  const root = repositoryRoot();
  mkdirSync(join(folder, "dist"), { recursive: true });
  cpSync(join(root, "dist", "src"), join(folder, "dist", "src"), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const text = readFileSync(join(root, "package.json"), "utf8");
  writeFileSync(
    join(folder, "package.json"),
    text.replace(/"version": "[^"]*"/, '"version": "0.0.1"'),
  );
  return join(folder, "dist", "src", "programs", "ipref.js");
}
