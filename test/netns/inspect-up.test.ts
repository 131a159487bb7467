// ipref status of a whole system under `ipref up`: every part tells its state, and a part that dies.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type {
  AgentPartStatus,
  ResolverStatus,
  SupervisorStatus,
} from "../../src/control/inspection/part-status.js";
import type { GatewayStatus } from "../../src/control/inspection/status.js";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";
import { type CommandResult, Namespaces, waitFor } from "../../src/programs/demo/namespaces.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import { addLanMachine } from "../support/lan-machine.js";

const why = await whyNoNamespaces(["ip", "dig"]);
const skip = why === undefined ? false : why.reason;
const IPREF = join(repositoryRoot(), "dist", "src", "programs", "ipref.js");

interface Report {
  readonly isHealthy: boolean;
  readonly parts: {
    readonly gateway: GatewayStatus & { state: string };
    readonly resolver: ResolverStatus & { state: string };
    readonly agent: AgentPartStatus & { state: string };
    readonly up: SupervisorStatus & { state: string };
  };
}

describe("ipref status of ipref up", { skip, concurrency: 1, timeout: 120_000 }, () => {
  const namespaces = new Namespaces();
  let machine: string;
  let folder: string;
  let child: ReturnType<Namespaces["spawn"]>;

  const ipref = (...args: string[]): Promise<CommandResult> =>
    namespaces.exec(machine, process.execPath, [IPREF, ...args, "--run", join(folder, "run")], {
      timeoutMs: 30_000,
    });
  const log = (): string => {
    const path = join(folder, "log");
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  };
  const status = async (): Promise<{ code: number; report: Report }> => {
    const { code, stdout, stderr } = await ipref("status", "--json");
    assert.ok(stdout.startsWith("{"), stdout + stderr + log());
    return { code, report: JSON.parse(stdout) as Report };
  };

  before(async () => {
    machine = await addLanMachine(namespaces);
    folder = namespaces.subdirectory("up");
    const folders = ["--data", join(folder, "data"), "--run", join(folder, "run")];
    const words = [IPREF, "up", ...folders, "--upstream", "192.0.2.53"];
    const logPath = join(folder, "log");
    child = namespaces.spawn(machine, process.execPath, words, { logPath });
    const isReady = await waitFor(() => (/ready in/.test(log()) ? true : undefined), 30_000);
    assert.ok(isReady, log());
  });
  after(() => namespaces.destroy());

  it("tells of gateway, DNS server, DNS agent and supervisor", async () => {
    const { code, report } = await status();
    const { gateway, resolver, agent, up } = report.parts;
    for (const part of [gateway, resolver, agent, up]) {
      assert.equal(part.state, "running", part.part);
      assert.deepEqual(part.problems, [], part.part);
    }
    assert.deepEqual([code, report.isHealthy], [0, true]);
    const pids = up.supervised.map(({ pid }) => pid);
    assert.deepEqual(pids, [gateway.pid, resolver.pid, agent.pid]);
    assert.equal(up.pid, child.pid);
    assert.equal(gateway.addresses.public, null);
    assert.equal(gateway.forwarding?.tun, "ipref0");
    assert.ok(resolver.listening.length > 0);
    assert.ok(resolver.blocks.some(({ plugins }) => plugins.includes("ipref")));
    assert.ok(resolver.upstreams.some(({ server }) => server === "192.0.2.53:53"));
    assert.deepEqual(resolver.mappers, [
      { socket: join(folder, "run", "mapper.sock"), isReady: true },
    ]);
    assert.deepEqual(agent.sources, []);
  });

  it("shows a part that was killed, how often it was started again, and that it is well", async () => {
    const { report } = await status();
    process.kill(report.parts.agent.pid, "SIGKILL");
    const sick = await status();
    if (sick.report.parts.agent.state !== "running") {
      assert.equal(sick.code, 3);
      const { stdout } = await ipref("status");
      assert.match(stdout, /agent +/);
    }
    const well = await waitFor(async () => {
      const now = await status();
      const [, , agent] = now.report.parts.up.supervised;
      return now.code === 0 && agent!.restarts === 1 ? now : undefined;
    }, 20_000);
    assert.ok(well !== undefined, log());
    assert.notEqual(well.report.parts.agent.pid, report.parts.agent.pid);
  });

  it("is 4 after the end", async () => {
    child.kill("SIGTERM");
    const hasEnded = await waitFor(() => child.exitCode ?? undefined, 20_000);
    assert.equal(hasEnded, 0, log());
    const { code, stdout, stderr } = await ipref("status");
    assert.deepEqual([code, stdout], [4, ""]);
    assert.match(stderr, /sudo ipref up/);
  });
});
