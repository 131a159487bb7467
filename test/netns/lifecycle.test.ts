// Start, stop, sudden death and restart of a gateway, and the options that show in traffic.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import {
  interfaceNames,
  listLinks,
  startGateway,
} from "../../src/programs/demo/gateway-process.js";
import { run, sleep } from "../../src/programs/demo/namespaces.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import {
  assertPing,
  createLab,
  type Lab,
  type LabOptions,
  logs,
  siteOptions,
  TCP_PORT,
  traffic,
} from "../support/lab.js";

const why = await whyNoNamespaces(["ip", "nft", "ping"]);
const skip = why === undefined ? false : why.reason;

const PLAIN: LabOptions = {
  sites: [{ localVersion: 4, hosts: 2 }, { localVersion: 4 }],
  tunnelVersion: 4,
};

function ttlOf(output: string): number {
  return Number(/ttl=(\d+)/.exec(output)?.[1] ?? "0");
}

/** Processes whose network namespace is the given one. */
async function processesIn(namespace: string): Promise<string> {
  return (await run("ip", ["netns", "pids", namespace])).stdout.trim();
}

describe("the end of a gateway", { skip, concurrency: 1, timeout: 120_000 }, () => {
  let lab: Lab;
  before(async () => {
    lab = await createLab(PLAIN);
  });
  after(async () => lab?.destroy());

  it("creates one interface that carries its own encoded address", async () => {
    const [gateway] = lab.gateways;
    assert.notEqual(gateway.tunName, "");
    const { stdout } = await lab.network.namespaces.exec(gateway.site.gatewayNamespace, "ip", [
      ...["-o", "address", "show", "dev", gateway.tunName],
    ]);
    assert.ok(stdout.includes(`${gateway.site.ownAddress}/12`), stdout);
  });

  it("leaves nothing behind after SIGTERM and SIGINT and works again after a restart", async () => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const [gateway] = lab.gateways;
      const { site } = gateway;
      await assertPing(lab, lab.directions[0].from, lab.directions[0].target);
      assert.equal(await gateway.stop(signal), 0, gateway.log());
      assert.ok(!interfaceNames(await listLinks(lab.network, site)).includes(gateway.tunName));
      assert.ok(!existsSync(gateway.socketPath), "the mapper socket is still there");
      assert.ok(!existsSync(`/proc/${gateway.pid}`), "the process is still there");
      assert.equal(await processesIn(site.gatewayNamespace), "");
      const sockets = await lab.network.namespaces.exec(site.gatewayNamespace, "cat", [
        ...["/proc/net/udp", "/proc/net/raw"],
      ]);
      assert.equal(sockets.stdout.split("\n").filter((line) => /^\s*\d+:/.test(line)).length, 0);
      const other = lab.network.sites[1];
      const options = siteOptions(site, other, PLAIN);
      lab.gateways[0] = await startGateway(lab.network, site, options);
      await assertPing(lab, lab.directions[0].from, lab.directions[0].target);
    }
  });
});

describe("sudden death of a gateway", { skip, concurrency: 1, timeout: 120_000 }, () => {
  let lab: Lab;
  before(async () => {
    lab = await createLab(PLAIN);
  });
  after(async () => lab?.destroy());

  for (const victim of [0, 1] as const) {
    it(`keeps connections going when gateway ${victim + 1} is killed and restarted`, async () => {
      const { target, fromSite } = lab.directions[0];
      // The second host is not published: its reference lives in the store only.
      const client = fromSite.hosts[1];
      assert.ok(client);
      const before = await traffic(lab, client, ["tcp", target, String(TCP_PORT), "1000"]);
      assert.equal(before.ok, true, JSON.stringify(before) + logs(lab));
      const args = ["tcp", target, String(TCP_PORT), "1000000", "6000"];
      const running = traffic(lab, client, args);
      await sleep(2_000);
      const site = lab.network.sites[victim];
      assert.equal(await lab.gateways[victim].stop("SIGKILL"), "SIGKILL");
      const options = siteOptions(site, lab.network.sites[1 - victim] ?? site, PLAIN);
      lab.gateways[victim] = await startGateway(lab.network, site, options);
      const result = await running;
      assert.equal(result.ok, true, JSON.stringify(result) + logs(lab));
      const again = await traffic(lab, client, ["tcp", target, String(TCP_PORT), "1000"]);
      assert.equal(again.seenAs, before.seenAs, "the client got another encoded address");
    });
  }
});

describe("options of a gateway", { skip, concurrency: 1, timeout: 120_000 }, () => {
  it("-dec-ttl decrements TTL at each translation", async () => {
    const ttls: number[] = [];
    for (const extraArguments of [[], ["-dec-ttl"]]) {
      const lab = await createLab({ ...PLAIN, gateways: [{ extraArguments }, { extraArguments }] });
      try {
        const { from, target } = lab.directions[0];
        const { stdout } = await assertPing(lab, from, target, ["-c", "1"]);
        ttls.push(ttlOf(stdout));
      } finally {
        await lab.destroy();
      }
    }
    // 64, less the two kernels on the way back; with the option less two translations as well.
    assert.deepEqual(ttls, [62, 60]);
  });

  it("uses the ports it is given", async () => {
    const extraArguments = [...["-gateway-port", "2045", "-remote-gateway-port", "2045"]];
    const lab = await createLab({ ...PLAIN, gateways: [{ extraArguments }, { extraArguments }] });
    try {
      const [gateway] = lab.gateways;
      const { from, target } = lab.directions[0];
      await assertPing(lab, from, target);
      // Port 2045 is 0x07FD, proc(5) "/proc/net/udp".
      assert.match(readFileSync(`/proc/${gateway.pid}/net/udp`, "utf8"), /:07FD /);
    } finally {
      await lab.destroy();
    }
  });
});
