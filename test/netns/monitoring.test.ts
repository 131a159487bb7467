// Metrics and health of real programs: two gateways with traffic, and `ipref up` with all parts.

import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { HealthReport } from "../../src/control/health.js";
import { PAGE_LIFE_MS } from "../../src/control/inspection/monitoring.js";
import { callControl } from "../../src/platform/control-client.js";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";
import { Namespaces, waitFor } from "../../src/programs/demo/namespaces.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import { assertPing, createLab, type Lab, ping } from "../support/lab.js";
import { complaintsAboutPage, hasPromtool } from "../support/promtool.js";

const IPREF = join(repositoryRoot(), "dist", "src", "programs", "ipref.js");

/** Values of a page by series. */
function valuesOf(text: string): Map<string, number> {
  const samples = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    samples.map((line) => {
      const cut = line.lastIndexOf(" ");
      return [line.slice(0, cut), Number(line.slice(cut + 1))] as const;
    }),
  );
}

const labWhy = await whyNoNamespaces(["ip", "ping", "curl"]);

describe("monitoring of two gateways", { skip: labWhy?.reason ?? false, timeout: 120_000 }, () => {
  let lab: Lab;

  before(async () => {
    const metrics = { extraArguments: ["-metrics", "127.0.0.1:9145"] };
    lab = await createLab({
      sites: [{ localVersion: 4 }, { localVersion: 4 }],
      tunnelVersion: 4,
      gateways: [metrics, metrics],
    });
  });
  after(() => lab?.destroy());

  async function curl(path: string): Promise<{ status: number; body: string }> {
    const { gatewayNamespace } = lab.network.sites[0];
    const args = ["-s", "-m", "10", "-w", "%{http_code}", `http://127.0.0.1:9145${path}`];
    const { stdout } = await lab.network.namespaces.exec(gatewayNamespace, "curl", args);
    return { status: Number(stdout.slice(-3)), body: stdout.slice(0, -3) };
  }

  it("counts what passes and what does not, under the name of the reason", async () => {
    const [{ from, target }] = lab.directions;
    await assertPing(lab, from, target);
    const before = valuesOf((await curl("/metrics")).body);
    await assertPing(lab, from, target, ["-c", "20", "-i", "0.02"]);
    await ping(lab, from, "10.240.77.5", ["-c", "3", "-i", "0.2", "-W", "1"]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const now = valuesOf((await curl("/metrics")).body);
    const grown = (name: string) => (now.get(name) ?? 0) - (before.get(name) ?? 0);
    const passed =
      grown('ipref_fast_path_packets_total{direction="egress"}') +
      grown('ipref_slow_path_packets_total{direction="egress"}');
    assert.ok(passed >= 23, `${passed} packets`);
    assert.equal(grown('ipref_drops_total{reason="local-destination-unknown"}'), 3);
    assert.equal(now.get('ipref_remote_gateways{state="active"}'), 1);
    assert.ok(now.get("ipref_store_commits_total")! >= 1);
    assert.ok(now.get("process_resident_memory_bytes")! > 10_000_000);
    assert.ok(now.get("process_open_fds")! > 5);
    assert.ok(now.get("process_start_time_seconds")! > 1_700_000_000);
  });

  it("has a page that promtool accepts", { skip: !hasPromtool }, async () => {
    assert.equal(complaintsAboutPage((await curl("/metrics")).body), "");
  });

  it("every worker answers a nudge, also while it is busy", async () => {
    const [{ from, target }] = lab.directions;
    const load = ping(lab, from, target, ["-f", "-c", "20000", "-s", "1000"]);
    for (let round = 0; round < 5; round++) {
      const { status, body } = await curl("/healthz");
      assert.equal(status, 200, body);
      const { checks } = JSON.parse(body) as HealthReport;
      const workers = checks.filter(({ name }) => name.startsWith("worker "));
      assert.ok(workers.length >= 2 && workers.every(({ state }) => state === "ok"), body);
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    await load;
    const values = valuesOf((await curl("/metrics")).body);
    assert.ok(values.get("ipref_worker_heartbeats_total")! >= 10);
  });

  it("an idle gateway's workers sleep, and answer all the same", async () => {
    const { pid } = lab.gateways[0];
    const switches = () => readFileSync(`/proc/${pid}/stat`, "utf8").split(" ").slice(13, 15);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const before = switches().map(Number);
    await new Promise((resolve) => setTimeout(resolve, 2000));
    const spent = switches().map((ticks, index) => Number(ticks) - before[index]!);
    assert.ok(spent[0]! + spent[1]! <= 20, `${spent} ticks of 10 ms in two idle seconds`);
    assert.equal((await curl("/readyz")).status, 200);
    assert.equal((await curl("/healthz")).status, 200);
  });

  it("serves nothing but the pages, and only where it was told to", async () => {
    assert.equal((await curl("/status")).status, 404);
    assert.equal((await curl("/")).status, 404);
    const { gatewayNamespace, publicAddress } = lab.network.sites[0];
    const args = ["-s", "-m", "3", `http://${publicAddress}:9145/metrics`];
    const elsewhere = await lab.network.namespaces.exec(gatewayNamespace, "curl", args);
    assert.equal(elsewhere.code, 7, "connection refused");
  });
});

const upWhy = await whyNoNamespaces(["ip", "curl", "dig"]);

describe("monitoring of ipref up", { skip: upWhy?.reason ?? false, timeout: 120_000 }, () => {
  const namespaces = new Namespaces();
  let machine: string;
  let folder: string;
  let child: ChildProcess;

  const log = (): string => {
    const path = join(folder, "log");
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  };
  const control = (name: string): string => join(folder, "run", `${name}.control`);

  before(async () => {
    machine = await namespaces.add("monitored");
    await namespaces.ip(machine, [
      "link add name lan type veth peer name other",
      "link set other up",
      "link set lan up",
      "addr add 10.1.0.2/24 dev lan",
    ]);
    folder = namespaces.subdirectory("monitored");
    const folders = ["--data", join(folder, "data"), "--run", join(folder, "run")];
    const words = [IPREF, "up", ...folders, "--upstream", "192.0.2.53"];
    const logPath = join(folder, "log");
    child = namespaces.spawn(machine, process.execPath, words, { logPath });
    const ready = await waitFor(() => (/ready in/.test(log()) ? true : undefined), 30_000);
    assert.ok(ready, log());
  });
  after(() => namespaces.destroy());

  async function curl(path: string): Promise<{ status: number; body: string }> {
    const args = ["-s", "-m", "10", "-w", "%{http_code}", `http://127.0.0.1:9145${path}`];
    const { stdout } = await namespaces.exec(machine, "curl", args);
    return { status: Number(stdout.slice(-3)), body: stdout.slice(0, -3) };
  }

  it("joins the pages of all parts into one that promtool accepts", async () => {
    await namespaces.exec(machine, "dig", ["+short", "+tries=1", "@10.1.0.2", "localhost"]);
    const { status, body } = await curl("/metrics");
    assert.equal(status, 200);
    const values = valuesOf(body);
    for (const part of ["gateway", "resolver", "agent", "up"]) {
      assert.ok(values.get(`process_resident_memory_bytes{part="${part}"}`)! > 1e7, part);
      if (part === "up") continue;
      assert.equal(values.get(`ipref_up_part_running{part="${part}"}`), 1);
      assert.equal(values.get(`ipref_up_part_scrape_success{part="${part}"}`), 1);
    }
    const questions = [...values].filter(([name]) => name.startsWith("coredns_dns_requests_total"));
    assert.ok(questions.length > 0, "queries are counted");
    assert.ok(values.has("ipref_agent_mapper_connected"));
    if (hasPromtool) assert.equal(complaintsAboutPage(body), "");
  });

  it("has pages of each part that promtool accepts", { skip: !hasPromtool }, async () => {
    for (const part of ["gateway", "resolver", "agent", "up"]) {
      const text = await (await callControl(control(part), { path: "/metrics" })).text();
      assert.ok(text.length > 500, part);
      assert.equal(complaintsAboutPage(text), "", part);
    }
  });

  it("is ready, and tells what each part says", async () => {
    const { status, body } = await curl("/readyz");
    assert.equal(status, 200, body);
    const { checks } = JSON.parse(body) as HealthReport;
    for (const part of ["gateway", "resolver", "agent"]) {
      assert.ok(
        checks.some(({ name }) => name.startsWith(`${part}: `)),
        part,
      );
    }
  });

  it("writes a line of JSON with part, level, event and text for each line of a part", () => {
    const lines = log().split("\n");
    const records = lines.filter((line) => line.startsWith("{"));
    assert.ok(records.length > 10, log());
    for (const line of records) {
      const { part, level, event, text } = JSON.parse(line) as Record<string, string>;
      assert.match(part!, /^(gateway|resolver|agent|up)$/, line);
      assert.ok(level && event && text, line);
    }
    const starts = records.filter((line) => line.includes('"event":"start"'));
    assert.ok(starts.length >= 2, "the parts' own events are kept");
  });

  it("shows the rest when a part hangs, and names it", async () => {
    const state = JSON.parse(readFileSync(join(folder, "run", "up.json"), "utf8")) as {
      parts: { pid: number }[];
    };
    const agent = state.parts[2]!.pid;
    process.kill(agent, "SIGSTOP");
    try {
      // Pages from before are shown that long.
      await new Promise((resolve) => setTimeout(resolve, 2 * PAGE_LIFE_MS));
      const values = valuesOf((await curl("/metrics")).body);
      assert.equal(values.get('ipref_up_part_scrape_success{part="agent"}'), 0);
      assert.equal(values.get('ipref_up_part_scrape_success{part="gateway"}'), 1);
      assert.ok(values.has('process_cpu_seconds_total{part="gateway"}'));
      assert.ok(!values.has('process_cpu_seconds_total{part="agent"}'));
      const { status, body } = await curl("/healthz");
      assert.equal(status, 503);
      assert.match(body, /"name":"agent","state":"failing","detail":"does not answer/);
    } finally {
      process.kill(agent, "SIGCONT");
    }
    const isBack = async () => ((await curl("/healthz")).status === 200 ? true : undefined);
    assert.ok(await waitFor(isBack, 10_000, 200));
  });

  it("counts the restart of a part that was killed", async () => {
    const state = JSON.parse(readFileSync(join(folder, "run", "up.json"), "utf8")) as {
      parts: { pid: number }[];
    };
    const resolver = state.parts[1]!.pid;
    process.kill(resolver, "SIGKILL");
    const restarted = await waitFor(async () => {
      const values = valuesOf((await curl("/metrics")).body);
      const isBack = values.get('ipref_up_part_scrape_success{part="resolver"}') === 1;
      const restarts = values.get('ipref_up_part_restarts_total{part="resolver"}');
      return isBack && restarts === 1 ? true : undefined;
    }, 15_000);
    assert.ok(restarted, (await curl("/metrics")).body.slice(-2000));
    assert.match(log(), /"part":"up","level":"error","event":"part-ended"/);
  });

  it("ends with its port, in order", async () => {
    child.kill("SIGTERM");
    const status = await waitFor(() => child.exitCode ?? undefined, 20_000);
    assert.equal(status, 0, log());
    assert.equal((await curl("/metrics")).status, 0, "nobody listens");
  });
});
