// ipref status, maps, peers and top between two sites that talk: what is shown is what happens.

import assert from "node:assert/strict";
import { chmodSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { MappingEntry } from "../../src/control/inspection/maps.js";
import type { PeerEntry } from "../../src/control/inspection/peers.js";
import type { GatewayStatus } from "../../src/control/inspection/status.js";
import { type CommandResult, run } from "../../src/programs/demo/namespaces.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import { assertPing, createLab, type Lab, logs, ping } from "../support/lab.js";

const why = await whyNoNamespaces(["ip", "nft", "ping"]);
const skip = why === undefined ? false : why.reason;
const IPREF = fileURLToPath(new URL("../../src/programs/ipref.js", import.meta.url));

/** Time for a rate to be of several samples. */
const TRAFFIC = ["-c", "600", "-i", "0.01", "-s", "1000"];

function ipref(args: readonly string[]): Promise<CommandResult> {
  return run(process.execPath, [IPREF, ...args], { timeoutMs: 30_000 });
}

for (const sites of [
  [4, 4, 4],
  [6, 6, 4],
] as const) {
  const [local, tunnel, remote] = sites;
  const title = `the gateway of a site IPv${local} in a tunnel IPv${tunnel}, asked while it works`;
  describe(title, { skip, concurrency: 1, timeout: 120_000 }, () => {
    let lab: Lab;
    let runFolder = "";
    before(async () => {
      lab = await createLab({
        sites: [{ localVersion: local }, { localVersion: remote }],
        tunnelVersion: tunnel,
      });
      runFolder = dirname(lab.gateways[0].socketPath);
    });
    after(async () => lab?.destroy());

    const ask = async (args: readonly string[]): Promise<string> => {
      const { code, stdout, stderr } = await ipref([...args, "--run", runFolder]);
      assert.equal(code, 0, `${args.join(" ")}: ${stdout}${stderr}${logs(lab)}`);
      return stdout;
    };
    const gatewayStatus = async () => {
      const { parts } = JSON.parse(await ask(["status", "--json"]));
      return parts.gateway as GatewayStatus;
    };
    const lines = async <Entry>(args: readonly string[]): Promise<Entry[]> => {
      const text = await ask([...args, "--json"]);
      return text
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Entry);
    };

    it("shows rates, the remote gateway and its traffic while packets flow", async () => {
      const [direction] = lab.directions;
      await assertPing(lab, direction.from, direction.target);
      const traffic = ping(lab, direction.from, direction.target, TRAFFIC);
      await new Promise((resolve) => setTimeout(resolve, 4000));
      const busy = await gatewayStatus();
      const [peer, ...others] = await lines<PeerEntry>(["peers"]);
      const top = await ask(["top", "--once"]);
      await traffic;
      const { toTunnel, fromTunnel } = busy.traffic;
      for (const { rate } of [toTunnel, fromTunnel]) {
        assert.ok(rate!.packetsPerSecond > 10 && rate!.packetsPerSecond < 150, `${rate}`);
        assert.ok(rate!.bitsPerSecond > 8 * 1000 * 10, `${rate}`);
      }
      assert.equal(others.length, 0);
      const [site, other] = lab.network.sites;
      assert.equal(peer!.address, other.publicAddress);
      assert.equal(peer!.port, 1045);
      assert.equal(peer!.isVerified, true);
      assert.equal(peer!.pathMtuBytes, 1500);
      assert.ok(peer!.lastReceivedSecondsAgo! <= 2);
      assert.ok(peer!.sent.packets > 100 && peer!.received.packets > 100, JSON.stringify(peer));
      assert.ok(peer!.sent.rate!.bitsPerSecond > 8 * 1000 * 10);
      assert.match(top, new RegExp(`^${other.publicAddress} +1045 +[0-9.]+ kb/s`, "m"));
      const ends = `^${direction.from.addresses[0]} +${direction.target} +icmp`;
      assert.match(top, new RegExp(`${ends} +[0-9.]+ kb/s +[0-9.]+ kb/s`, "m"));
      assert.equal(busy.addresses.public, site.publicAddress);
      assert.equal(busy.forwarding?.tun, lab.gateways[0].tunName);
    });

    it("lists both hosts of the conversation under the addresses that each side uses", async () => {
      const [direction] = lab.directions;
      const [remoteHost] = await lines<MappingEntry>(["maps", "--address", direction.target]);
      assert.equal(remoteHost!.kind, "remote");
      assert.equal(remoteHost!.state, "published");
      assert.equal(remoteHost!.context, lab.network.sites[1].publicAddress);
      assert.ok(remoteHost!.idleSeconds <= 10);
      const [own] = direction.from.addresses;
      const locals = await lines<MappingEntry>(["maps", "--kind", "local", own!]);
      assert.ok(locals.length > 0);
      assert.ok(locals.every(({ address }) => address === own));
    });

    it("counts what it drops under the reason's name, with the meaning on request", async () => {
      const [direction] = lab.directions;
      const nowhere = direction.target.replace(/[^:.]+$/, local === 4 ? "250" : "9999");
      await ping(lab, direction.from, nowhere, ["-c", "2", "-i", "0.2"]);
      const { drops } = await gatewayStatus();
      const drop = drops.find(({ reason }) => reason === "local-destination-unknown");
      assert.ok(drop !== undefined && drop.count >= 1, JSON.stringify(drops));
      const text = await ask(["status", "--explain"]);
      assert.match(text, /local-destination-unknown +\d+/);
      assert.ok(text.includes(drop.meaning), text);
    });
  });
}

describe("who asks a gateway", { skip, concurrency: 1, timeout: 120_000 }, () => {
  let lab: Lab;
  before(async () => {
    lab = await createLab({
      sites: [{ localVersion: 4 }, { localVersion: 4 }],
      tunnelVersion: 4,
    });
  });
  after(async () => lab?.destroy());

  it("is refused with 77 unless root or in the group, and told 4 when the gateway has ended", async () => {
    const [gateway] = lab.gateways;
    const runFolder = dirname(gateway.socketPath);
    for (let folder = runFolder; folder !== "/tmp" && folder !== "/"; folder = dirname(folder)) {
      chmodSync(folder, 0o755);
    }
    const nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    const words = [process.execPath, IPREF, "status", "--run", runFolder];
    const refused = await run("setpriv", [...nobody, ...words]);
    assert.equal(refused.code, 77, refused.stdout + refused.stderr);
    assert.match(refused.stderr, /sudo/);
    const allowed = await ipref(["status", "--run", runFolder]);
    assert.equal(allowed.code, 0, allowed.stdout + allowed.stderr);
    await gateway.stop();
    const gone = await ipref(["status", "--run", join(runFolder)]);
    assert.equal(gone.code, 4, gone.stdout + gone.stderr);
    assert.match(gone.stderr, /sudo ipref up/);
  });
});
