// The data plane in all its shapes: kernels, lanes and offloads in turn, real hosts and programs.
// Receivers count wrong checksums; SYNs are looked at on the wire; idle workers must sleep.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { sleep, waitFor } from "../../src/programs/demo/namespaces.js";
import type { Host, IpVersion } from "../../src/programs/demo/network.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import {
  assertPing,
  createLab,
  type Lab,
  logs,
  TCP_PORT,
  traffic,
  UDP_PORT,
} from "../support/lab.js";

const why = await whyNoNamespaces(["ip", "nft", "ping", "tcpdump"]);
const skip = why === undefined ? false : why.reason;

const TRANSFER_BYTES = 2_000_000;
const ECHO_SIZES = [0, 1, 64, 1300, 1400, 4000];

/** A shape of the data plane, and the versions it is tried with. */
interface Shape {
  readonly kernel: "ts" | "wasm";
  readonly lanes: 1 | 2;
  readonly offload: string;
  readonly versions: readonly [local1: IpVersion, tunnel: IpVersion, local2: IpVersion];
}

/** Each offload on and off, both kernels, one lane and two; every version somewhere. */
const SHAPES: readonly Shape[] = [
  { kernel: "wasm", lanes: 1, offload: "all", versions: [4, 4, 4] },
  { kernel: "wasm", lanes: 2, offload: "all", versions: [6, 4, 6] },
  { kernel: "wasm", lanes: 2, offload: "none", versions: [4, 6, 6] },
  { kernel: "ts", lanes: 1, offload: "none", versions: [6, 6, 4] },
  { kernel: "ts", lanes: 2, offload: "all", versions: [4, 4, 6] },
  { kernel: "wasm", lanes: 1, offload: "csum,tso,uso,gso", versions: [6, 6, 6] },
  { kernel: "wasm", lanes: 2, offload: "csum,tso,uso,gro", versions: [4, 4, 4] },
  { kernel: "ts", lanes: 1, offload: "csum,tso,gso,gro", versions: [4, 6, 4] },
  { kernel: "wasm", lanes: 1, offload: "csum,uso,gso,gro", versions: [6, 4, 4] },
  { kernel: "ts", lanes: 2, offload: "gso,gro", versions: [6, 6, 4] },
];

function argumentsOf({ kernel, lanes, offload }: Shape): string[] {
  return ["-kernel", kernel, "-lanes", String(lanes), "-offload", offload];
}

/** Segments and datagrams that a host's kernel has refused for their checksums. */
async function checksumErrors(lab: Lab, host: Host): Promise<number> {
  const files = ["/proc/net/snmp", "/proc/net/snmp6"];
  const { stdout } = await lab.network.namespaces.exec(host.namespace, "cat", files);
  let errors = 0;
  const lines = stdout.split("\n");
  lines.forEach((line, index) => {
    const [name, ...values] = line.split(/\s+/);
    if (name?.endsWith("InCsumErrors")) errors += Number(values[0]);
    const at = values.indexOf("InCsumErrors");
    if (at >= 0) errors += Number(lines[index + 1]?.split(/\s+/)[at + 1] ?? Number.NaN);
  });
  return errors;
}

function defineShape(shape: Shape): void {
  const { kernel, lanes, offload, versions } = shape;
  const name = `kernel ${kernel}, lanes ${lanes}, offloads ${offload}, IPv${versions.join("/")}`;
  it(name, { timeout: 90_000 }, async () => {
    const extraArguments = argumentsOf(shape);
    const lab = await createLab({
      sites: [{ localVersion: versions[0] }, { localVersion: versions[2] }],
      tunnelVersion: versions[1],
      gateways: [{ extraArguments }, { extraArguments }],
    });
    try {
      assert.ok(lab.gateways[0].log().includes(`kernel: ${kernel}`), logs(lab));
      await Promise.all(lab.directions.map(({ from, target }) => assertPing(lab, from, target)));
      await Promise.all(lab.directions.map((way) => checkTraffic(lab, way.from, way.target)));
      for (const { from } of lab.directions) {
        assert.equal(await checksumErrors(lab, from), 0, `wrong checksums at ${from.name}`);
      }
    } finally {
      await lab.destroy();
    }
  });
}

/** TCP and UDP at the same time, with equal contents at the end. */
async function checkTraffic(lab: Lab, from: Host, target: string): Promise<void> {
  const tcp = ["tcp", target, String(TCP_PORT), String(TRANSFER_BYTES)];
  const udp = ["udp", target, String(UDP_PORT), ECHO_SIZES.join(",")];
  const [first, second, echoed] = await Promise.all([
    traffic(lab, from, tcp),
    traffic(lab, from, tcp),
    traffic(lab, from, udp),
  ]);
  for (const result of [first, second]) {
    assert.equal(result.ok, true, `TCP to ${target}: ${JSON.stringify(result)}${logs(lab)}`);
    assert.equal(result.bytes, TRANSFER_BYTES);
  }
  const wanted = Object.fromEntries(ECHO_SIZES.map((size) => [size, "ok"]));
  assert.deepEqual(echoed.results, wanted, `UDP to ${target}${logs(lab)}`);
}

describe("shapes of the data plane", { skip, concurrency: 2 }, () => {
  for (const shape of SHAPES) defineShape(shape);
});

/** Threads that wait in poll(2), as only forwarding workers do: proc_pid_stack(5). */
function workerThreads(pid: number): string[] {
  const threads = readdirSync(`/proc/${pid}/task`).map((thread) => `/proc/${pid}/task/${thread}`);
  return threads.filter((path) => readFileSync(`${path}/stack`, "utf8").includes("do_sys_poll"));
}

/** Times that these threads gave up the processor: proc_pid_status(5). */
function switchesOf(threads: readonly string[]): number {
  const counts = threads.map((path) => {
    const status = readFileSync(`${path}/status`, "utf8");
    return Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1]);
  });
  return counts.reduce((sum, count) => sum + count, 0);
}

/** User and system time in ticks of 10 ms: proc_pid_stat(5) fields 14 and 15. */
function ticks(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

describe("an idle gateway", { skip, timeout: 60_000 }, () => {
  it("wakes no worker and takes no processor time", async () => {
    const extraArguments = ["-lanes", "2"];
    const lab = await createLab({
      sites: [{ localVersion: 4 }, { localVersion: 4 }],
      tunnelVersion: 4,
      gateways: [{ extraArguments }, { extraArguments }],
    });
    try {
      const { from, target } = lab.directions[0];
      await assertPing(lab, from, target);
      const { pid } = lab.gateways[0];
      await sleep(2_000); // ends what the start has left behind: neighbours, compilation
      const workers = workerThreads(pid);
      assert.equal(workers.length, 4, "two lanes are four workers, and all sleep");
      const [switches, spent] = [switchesOf(workers), ticks(pid)];
      await sleep(3_000);
      assert.equal(switchesOf(workers) - switches, 0, "a worker woke up");
      assert.ok(ticks(pid) - spent <= 2, `${ticks(pid) - spent} ticks in three seconds`);
    } finally {
      await lab.destroy();
    }
  });
});

/** MSS options of the SYN and the SYN-ACK that arrive at hosts, while `work` runs. */
async function capturedMss(lab: Lab, host: Host, work: () => Promise<unknown>): Promise<number[]> {
  const version = host.addresses[0]?.includes(":") ? 6 : 4;
  const filter = version === 4 ? "tcp[tcpflags] & tcp-syn != 0" : "ip6 and ip6[53] & 2 != 0";
  const args = ["-n", "-l", "-v", "-c", "2", "-i", "any", filter];
  const dump = lab.network.namespaces.spawn(host.namespace, "tcpdump", args);
  let output = "";
  let isReady = false;
  dump.stdout?.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  dump.stderr?.on("data", (chunk: Buffer) => {
    isReady ||= chunk.toString().includes("listening");
  });
  await waitFor(() => (isReady ? true : undefined), 5_000);
  await work();
  await waitFor(() => (dump.exitCode !== null ? true : undefined), 5_000);
  return [...output.matchAll(/mss (\d+)/g)].map((match) => Number(match[1]));
}

/** Octets of a SYN's way that are not payload: tunnel header with short references, TCP header. */
const SHORT_OVERHEAD = { 4: 20 + 20, 6: 44 + 20 } as const;

for (const [local1, tunnel, local2] of [
  [4, 4, 4],
  [6, 4, 4],
  [4, 6, 6],
] as const) {
  const title = `segment sizes, local IPv${local1}, tunnel IPv${tunnel}, remote IPv${local2}`;
  describe(title, { skip, timeout: 90_000 }, () => {
    let lab: Lab;
    const pathMtu = 1300;
    const outer = tunnel === 4 ? 28 : 48;
    before(async () => {
      // Only the first gateway knows the narrow path; the second one has every MSS as it came.
      const first = { extraArguments: ["-gateway-ifc-mtu", String(pathMtu)] };
      lab = await createLab({
        sites: [{ localVersion: local1 }, { localVersion: local2 }],
        tunnelVersion: tunnel,
        transit: true,
        gateways: [first, first],
      });
      await lab.network.setTransitMtu(pathMtu);
      await Promise.all(lab.directions.map((way) => assertPing(lab, way.from, way.target)));
      // No message about path MTUs reaches a host.
      for (const { from } of lab.directions) {
        const drop = (text: string) =>
          lab.network.namespaces.exec(from.namespace, "nft", text.split(" "));
        await drop("add table inet deaf");
        await drop("add chain inet deaf in { type filter hook input priority 0 ; }");
        await drop("add rule inet deaf in icmp type destination-unreachable drop");
        await drop("add rule inet deaf in icmpv6 type packet-too-big drop");
      }
    });
    after(async () => lab?.destroy());

    it("clamps SYN and SYN-ACK of connections either way to what fits the tunnel", async () => {
      for (const { from, to, target } of lab.directions) {
        let result: Record<string, unknown> = {};
        const sizes = await capturedMss(lab, to, async () => {
          result = await traffic(lab, from, ["tcp", target, String(TCP_PORT), "1000"]);
        });
        assert.equal(result.ok, true, JSON.stringify(result) + logs(lab));
        const largest = pathMtu - outer - SHORT_OVERHEAD[tunnel];
        assert.ok(sizes.length >= 1, "no SYN was seen");
        assert.ok(sizes[0]! <= largest, `the SYN came with ${sizes[0]}, ${largest} fits`);
        assert.ok(sizes[0]! >= largest - 60, `the SYN came with ${sizes[0]}, far below ${largest}`);
      }
    });

    it("carries bulk data although no host hears of the narrow path", async () => {
      for (const { from, target } of lab.directions) {
        const args = ["tcp", target, String(TCP_PORT), "1000000"];
        const result = await traffic(lab, from, args);
        assert.equal(result.ok, true, JSON.stringify(result) + logs(lab));
      }
    });
  });
}
