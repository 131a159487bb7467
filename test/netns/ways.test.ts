// ipref explain, ping and traceroute between two sites: what is shown is what the packets meet.

import assert from "node:assert/strict";
import { dirname } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { ExplainReport } from "../../src/control/inspection/explain-report.js";
import type { GatewayStatus } from "../../src/control/inspection/status.js";
import type { CommandResult } from "../../src/programs/demo/namespaces.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import { assertPing, createLab, type Lab, type LabOptions, logs, ping } from "../support/lab.js";

const why = await whyNoNamespaces(["ip", "nft", "ping"]);
const skip = why === undefined ? false : why.reason;
const IPREF = fileURLToPath(new URL("../../src/programs/ipref.js", import.meta.url));

/** One way through the network, with what its ends are called. */
interface Way {
  readonly title: string;
  readonly options: LabOptions;
  /** Routers between the gateways. */
  readonly routers: number;
}

const WAYS: readonly Way[] = [
  {
    title: "IPv4 sites, IPv4 between them",
    options: { sites: [{ localVersion: 4 }, { localVersion: 4 }], tunnelVersion: 4 },
    routers: 1,
  },
  {
    title: "IPv6 and IPv4 sites, IPv6 between them",
    options: { sites: [{ localVersion: 6 }, { localVersion: 4 }], tunnelVersion: 6 },
    routers: 1,
  },
  {
    title: "a gateway behind NAT that knows no public address",
    options: {
      sites: [{ localVersion: 4, nat: "symmetric" }, { localVersion: 6 }],
      tunnelVersion: 4,
      gateways: [{ publicAddress: "unknown" }, {}],
    },
    routers: 2,
  },
];

for (const { title, options, routers } of WAYS) {
  describe(`ways: ${title}`, { skip, concurrency: 1, timeout: 120_000 }, () => {
    let lab: Lab;
    let runFolder = "";
    before(async () => {
      lab = await createLab(options);
      runFolder = dirname(lab.gateways[0].socketPath);
    });
    after(async () => lab?.destroy());

    /** Runs the command on the machine of gateway 1. */
    const ipref = (args: readonly string[]): Promise<CommandResult> => {
      const { gatewayNamespace } = lab.network.sites[0];
      const all = [IPREF, ...args, "--run", runFolder];
      const node = process.execPath;
      return lab.network.namespaces.exec(gatewayNamespace, node, all, { timeoutMs: 40_000 });
    };
    const values = async <Value>(args: readonly string[]): Promise<Value[]> => {
      const { stdout, stderr } = await ipref([...args, "--json"]);
      assert.ok(stdout !== "", stderr + logs(lab));
      return stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Value);
    };
    const dropped = async (reason: string): Promise<number> => {
      const [report] = await values<{ parts: { gateway: GatewayStatus } }>(["status"]);
      return report!.parts.gateway.drops.find((each) => each.reason === reason)?.count ?? 0;
    };

    it("explains a packet, which then arrives as explained and takes the fast path", async () => {
      const { from, target } = lab.directions[0];
      const source = from.addresses[0];
      const [before] = await values<ExplainReport>(["explain", source, target, "--proto", "icmp"]);
      assert.equal(before!.verdict.kind, "delivered", JSON.stringify(before));
      assert.equal(before!.route!.isNew, true);
      await assertPing(lab, from, target);
      const [after] = await values<ExplainReport>(["explain", source, target, "--proto", "icmp"]);
      assert.equal(after!.path, "fast", JSON.stringify(after));
      assert.equal(after!.route!.gateway, lab.network.sites[1].publicAddress);
      assert.equal(after!.route!.isVerified, true);
    });

    it("explains a drop by the reason that the gateway counts for that packet", async () => {
      const { from, target } = lab.directions[0];
      const nobody = target.replace(/100$/, "99");
      const args = ["explain", from.addresses[0], nobody, "--proto", "icmp"];
      const [report] = await values<ExplainReport>(args);
      assert.equal(report!.verdict.drop!.reason, "local-destination-unknown");
      const before = await dropped("local-destination-unknown");
      await values(args);
      assert.equal(await dropped("local-destination-unknown"), before, "asking counts nothing");
      await ping(lab, from, nobody, ["-c", "1"]);
      assert.equal(await dropped("local-destination-unknown"), before + 1);
    });

    it("pings an encoded address and shows the IPREF addresses on the way", async () => {
      const { target } = lab.directions[0];
      const gateway = lab.network.sites[1].publicAddress;
      const { code, stdout, stderr } = await ipref(["ping", "-c", "3", "-i", "0.2", target]);
      assert.equal(code, 0, stdout + stderr + logs(lab));
      const lines = stdout.split("\n");
      assert.equal(
        lines[0],
        `PING ${target} (${target} = ${gateway} + 1025 via gateway ${gateway} port 1045), ` +
          "56 octets of data",
      );
      assert.ok(lines[1]!.startsWith(`gateway ${gateway} + 1 (`), lines[1]);
      assert.match(lines[1]!, / answers in [0-9.]+ ms$/);
      for (const [index, line] of lines.slice(2, 5).entries()) {
        const start = `64 octets from ${gateway} + 1025 (${target}): icmp_seq=${index + 1} ttl=`;
        assert.ok(line.startsWith(start), line);
      }
      assert.match(stdout, /^3 packets transmitted, 3 received, 0% packet loss/m);
    });

    it("pings an IPREF address, for which it gets an encoded one like a resolver", async () => {
      const gateway = lab.network.sites[1].publicAddress;
      const { code, stdout, stderr } = await ipref(["ping", "-c", "1", `${gateway} + 1025`]);
      assert.equal(code, 0, stdout + stderr + logs(lab));
      assert.match(stdout, /^64 octets from .* \+ 1025 \(/m);
    });

    it("tells who says that a reference is nobody's, exit status 1", async () => {
      const gateway = lab.network.sites[1].publicAddress;
      const args = ["ping", "-c", "2", "-i", "0.2", "-W", "1", `${gateway} + 4000`];
      const { code, stdout } = await ipref(args);
      assert.equal(code, 1, stdout);
      const line = stdout.split("\n").find((text) => text.startsWith("From "));
      assert.match(String(line), /\+ 1 \(.*\) icmp_seq=1 (network unreachable|no route)$/);
      assert.match(stdout, /2 packets transmitted, 0 received, \+2 errors, 100% packet loss/);
    });

    it("traces the three parts of the way", async () => {
      const { target } = lab.directions[0];
      const gateway = lab.network.sites[1].publicAddress;
      const { code, stdout, stderr } = await ipref(["traceroute", target]);
      assert.equal(code, 0, stdout + stderr + logs(lab));
      const hops = stdout.trim().split("\n").slice(1);
      const parts = hops.map((line) => line.slice(4, 21).trim());
      assert.deepEqual(
        parts,
        [
          "local gateway",
          ...new Array<string>(routers).fill("between gateways"),
          "remote gateway",
          "inner way",
          "target",
        ],
        stdout,
      );
      assert.ok(hops.at(-3)!.includes(`${gateway} + 1 (`), stdout);
      assert.ok(hops.at(-2)!.includes(`${gateway} + 1 (`), stdout);
      assert.ok(hops.at(-1)!.includes(`${gateway} + 1025 (${target})`), stdout);
    });

    it("uses datagram sockets where the machine allows them", async () => {
      const { gatewayNamespace } = lab.network.sites[0];
      const { namespaces } = lab.network;
      const sysctl = ["-w", "net.ipv4.ping_group_range=0 2147483647"];
      await namespaces.exec(gatewayNamespace, "sysctl", sysctl);
      const { target } = lab.directions[0];
      const { code, stdout, stderr } = await ipref(["ping", "-c", "2", "-i", "0.2", target]);
      assert.equal(code, 0, stdout + stderr);
      const nobody = await ipref(["ping", "-c", "1", "-W", "1", target.replace(/100$/, "99")]);
      assert.equal(nobody.code, 1);
      assert.match(nobody.stdout, /this gateway\) icmp_seq=1 (network unreachable|no route)$/m);
    });
  });
}

describe("ways without a system", { skip, timeout: 60_000 }, () => {
  it("says that nothing runs, or that a target cannot be read", async () => {
    const { run } = await import("../../src/programs/demo/namespaces.js");
    const ask = (args: readonly string[]) =>
      run(process.execPath, [IPREF, ...args, "--run", "/nonexistent"], { timeoutMs: 20_000 });
    const missing = await ask(["ping", "-c", "1", "203.0.113.1 + 1025"]);
    assert.equal(missing.code, 4, missing.stderr);
    assert.match(missing.stderr, /sudo ipref up/);
    const bad = await ask(["traceroute", "203.0.113.1 + x"]);
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /expected GATEWAY \+ REFERENCE/);
    const wait = await ask(["ping", "-W", "x", "127.0.0.1"]);
    assert.equal(wait.code, 2);
    assert.match(wait.stderr, /Cannot use --wait x: expected a number from 0 to 3600/);
    const self = await ask(["ping", "-c", "1", "127.0.0.1"]);
    assert.equal(self.code, 0, self.stderr);
    assert.match(self.stdout, /^64 octets from 127\.0\.0\.1: icmp_seq=1/m);
    const json = await ask(["ping", "-c", "2", "-i", "0.01", "--json", "127.0.0.1"]);
    const events = json.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      events.map(({ event }) => event),
      ["start", "echo", "echo", "end"],
    );
    assert.equal(events.at(-1).received, 2);
    assert.equal(events.at(-1).lossPercent, 0);
  });
});
