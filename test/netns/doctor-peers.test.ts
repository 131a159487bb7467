// ipref doctor and other gateways: a NAT that does not forward the port, a firewall on the other
// side, a path on which large packets vanish. Each fix is run where the doctor says.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Site } from "../../src/programs/demo/network.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import { complaintsOf, DoctorMachine } from "../support/doctor-lab.js";
import { createLab, type Lab, ping } from "../support/lab.js";

const why = await whyNoNamespaces(["ip", "nft", "ping"]);
const skip = why === undefined ? false : why.reason;

describe("ipref doctor and other gateways", { skip, concurrency: 1, timeout: 240_000 }, () => {
  let lab: Lab;
  let near: DoctorMachine;
  let far: DoctorMachine;
  let sites: readonly [Site, Site];

  before(async () => {
    lab = await createLab({
      sites: [{ localVersion: 4, nat: "masquerade" }, { localVersion: 4 }],
      tunnelVersion: 4,
      transit: true,
    });
    const { network } = lab;
    sites = network.sites;
    near = await DoctorMachine.create(network.namespaces, sites[0].gatewayNamespace);
    far = await DoctorMachine.create(network.namespaces, sites[1].gatewayNamespace);
    await far.must(`ln -s ${sites[1].directory}/run /run/ipref`);
  });
  after(async () => {
    await near?.destroy();
    await far?.destroy();
    await lab?.destroy();
  });

  it("finds nothing on a gateway with its public address on an interface", async () => {
    await far.assertHealthy();
  });

  it("public-address: the router in front does not forward the port", async () => {
    const { code, findings } = await near.doctor();
    assert.deepEqual(complaintsOf(findings), [
      "WARN public-address: 198.51.100.1: is on no interface, so a router has to forward UDP 1045; " +
        "no remote gateway came first yet",
    ]);
    assert.equal(code, 0);
    const [forward, test] = findings.find(({ verdict }) => verdict === "WARN")!.fixes;
    assert.match(forward!.note!, /router/);
    const router = sites[0].natNamespace!;
    const { namespaces } = lab.network;
    const done = await namespaces.exec(router, "sh", ["-c", forward!.command]);
    assert.equal(done.code, 0, done.stderr);
    assert.match(test!.command, /ipref ping -c 3 '198\.51\.100\.1 \+ 1'$/);
    await pingFromOutside(test!.command);
    const after = await near.doctor();
    assert.deepEqual(complaintsOf(after.findings), []);
    const finding = after.findings.find(({ check }) => check === "public-address");
    assert.match(finding!.evidence, /203\.0\.113\.1 came first/);
  });

  it("peers: a firewall on the other side, found and opened there", async () => {
    const peer = ["--peer", sites[1].publicAddress];
    await near.assertHealthy(...peer);
    await far.must(`nft -f - <<'END'
table inet filter { chain input {
  type filter hook input priority 0; policy drop;
  iifname "lo" accept;
}; }
END`);
    const { code, findings } = await near.doctor(...peer);
    assert.equal(code, 3);
    assert.equal(complaintsOf(findings).length, 1, complaintsOf(findings).join("\n"));
    const silent = findings.find(({ verdict }) => verdict === "FAIL")!;
    assert.equal(silent.check, "peers");
    assert.match(
      silent.evidence,
      /does not answer to echo requests; its last packet came \d+ s ago/,
    );
    const [there] = silent.fixes;
    assert.equal(there!.note, `on that gateway, ${sites[1].publicAddress}`);
    const { stdout } = await far.shell(there!.command);
    assert.match(stdout, /^firewall +FAIL +incoming UDP 1045: .*policy drop/m);
    const fix = /^ *fix[^:]*: (nft insert .*)$/m.exec(stdout)![1]!;
    await far.must(fix);
    await near.assertHealthy(...peer);
  });

  it("path-mtu: large packets vanish, and the TUN interface is made smaller", async () => {
    const { network } = lab;
    for (const router of [network.internet, network.internetFar]) {
      await network.namespaces.nft(
        router,
        "table ip hush { chain out { type filter hook output priority 0; ip protocol icmp drop; }; }",
      );
    }
    await network.setTransitMtu(1300);
    const fault = {
      check: "path-mtu",
      verdict: "FAIL",
      evidence: /packets of 12\d\d octets are answered, those of 1440 vanish/,
      fix: /^ip link set dev ipref\d* mtu 12\d\d$/,
    } as const;
    await near.assertFault("true", fault, { words: ["--peer", sites[1].publicAddress] });
    await network.setTransitMtu(1500);
  });

  it("path-mtu: errors that arrive are no fault", async () => {
    const { network } = lab;
    await network.forgetPathMtu();
    for (const router of [network.internet, network.internetFar]) {
      await network.namespaces.exec(router, "nft", ["flush", "ruleset"]);
    }
    await far.must("nft flush ruleset");
    await near.must(`ip link set dev ${lab.gateways[0].tunName} mtu 1440`);
    await network.setTransitMtu(1300);
    const peer = ["--peer", sites[1].publicAddress];
    await near.doctor(...peer); // the first packet that is too large is lost
    await near.assertHealthy(...peer);
  });

  /** From the other site's gateway, as printed. */
  async function pingFromOutside(command: string): Promise<void> {
    const result = await far.shell(command);
    assert.equal(result.code, 0, result.stdout + result.stderr);
  }
});

describe("ipref doctor over IPv6", { skip, concurrency: 1, timeout: 120_000 }, () => {
  it("finds nothing between two IPv6 sites, and full-size packets pass", async () => {
    const lab = await createLab({
      sites: [{ localVersion: 6 }, { localVersion: 6 }],
      tunnelVersion: 6,
    });
    const [site1, site2] = lab.network.sites;
    const machine = await DoctorMachine.create(lab.network.namespaces, site1.gatewayNamespace);
    try {
      await ping(lab, site1.hosts[0], lab.encodedGateway(site1), ["-c", "1"]);
      const { findings } = await machine.doctor("--peer", site2.publicAddress);
      assert.deepEqual(complaintsOf(findings), []);
      const mtu = findings.find(({ check }) => check === "path-mtu");
      assert.match(mtu!.evidence, /packets of 1416 octets, the MTU, are answered/);
      const forwarding = findings.find(({ check }) => check === "forwarding");
      assert.equal(forwarding!.subject, "net.ipv6.conf.all.forwarding");
    } finally {
      await machine.destroy();
      await lab.destroy();
    }
  });
});
