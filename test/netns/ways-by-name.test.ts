// ipref explain, ping and traceroute by name in the home network, with the DNS server of ipref up.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { ExplainReport } from "../../src/control/inspection/explain-report.js";
import type { HomeNetwork } from "../../src/programs/demo/home-machines.js";
import { createHomeNetwork, HOME_PROGRAMS } from "../../src/programs/demo/home-network.js";
import { HOME, SITES } from "../../src/programs/demo/home-plan.js";
import type { CommandResult } from "../../src/programs/demo/namespaces.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";

const why = await whyNoNamespaces(HOME_PROGRAMS);
const skip = why === undefined ? false : why.reason;
const IPREF = fileURLToPath(new URL("../../src/programs/ipref.js", import.meta.url));

describe("ways by name", { skip, concurrency: 1, timeout: 200_000 }, () => {
  let network: HomeNetwork;
  before(async () => {
    network = await createHomeNetwork({ report: () => undefined });
  });
  after(async () => network?.destroy());

  /** Runs the command on the home gateway. */
  const ipref = (...args: string[]): Promise<CommandResult> => {
    const run = join(network.folder("home"), "run");
    return network.exec("gateway", process.execPath, IPREF, ...args, "--run", run);
  };
  /** All mappings, without their age. */
  const mappings = async (): Promise<string> =>
    (await ipref("maps", "--json")).stdout.replace(/"idleSeconds":\d+/g, "");

  it("explains the way to a name, for which neither mapping nor address is made", async () => {
    const { host, domain, publicAddress } = SITES[0]!;
    const before = await mappings();
    const args = ["explain", HOME.laptop, `${host}.${domain}`, "--json"];
    const { code, stdout, stderr } = await ipref(...args);
    assert.equal(code, 0, stdout + stderr);
    const report = JSON.parse(stdout) as ExplainReport & { notes: string[] };
    const ipref1024 = `${publicAddress} + 1024`;
    assert.deepEqual(report.notes, [
      `${host}.${domain} has an AA record: ${ipref1024}, its gateway being gw.${domain}`,
    ]);
    assert.equal(report.mappings[0]!.ipref, ipref1024);
    assert.equal(report.mappings[0]!.state, "would be created");
    assert.equal(report.route!.gateway, publicAddress);
    assert.equal(await mappings(), before, "asking makes no mapping");
  });

  for (const { host, domain, publicAddress } of SITES) {
    it(`pings and traces ${host}.${domain} through the NAT of the home`, async () => {
      const name = `${host}.${domain}`;
      const ping = await ipref("ping", "-c", "2", "-i", "0.2", name);
      assert.equal(ping.code, 0, ping.stdout + ping.stderr);
      assert.match(
        ping.stdout,
        new RegExp(`^PING ${name} \\(10\\.2[45][0-9.]+ = ${publicAddress}`, "m"),
      );
      assert.match(ping.stdout, /^gateway .* \+ 1 \(.*\) answers in/m);
      assert.ok(ping.stdout.includes(`64 octets from ${publicAddress} + 1024 (`), ping.stdout);
      const trace = await ipref("traceroute", name);
      assert.equal(trace.code, 0, trace.stdout + trace.stderr);
      const parts = trace.stdout.split("\n").map((line) => line.slice(4, 21).trim());
      assert.ok(parts.filter((part) => part === "between gateways").length >= 2, trace.stdout);
      assert.ok(parts.includes("remote gateway") && parts.includes("target"), trace.stdout);
    });
  }

  it("says where a name was asked that nobody has", async () => {
    const { code, stderr } = await ipref("ping", "-c", "1", "nobody.nexsand.us");
    assert.equal(code, 2);
    assert.match(
      stderr,
      /^nobody\.nexsand\.us has neither an AA record nor an address \(asked at /,
    );
  });
});
