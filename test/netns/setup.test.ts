// `ipref init` on machines of several kinds, and two sites that run what it has written.
//
// Every machine sees an /etc of its own, with its resolv.conf and its hosts file.

import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";
import {
  type CommandResult,
  Namespaces,
  run,
  waitFor,
} from "../../src/programs/demo/namespaces.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";

const why = await whyNoNamespaces(["ip", "ping", "script"]);
const skip = why === undefined ? false : why.reason;
const IPREF = join(repositoryRoot(), "dist", "src", "programs", "ipref.js");
const SERVER = "192.0.2.53";

/** A namespace with an /etc and folders of its own. */
interface Machine {
  readonly namespace: string;
  readonly folder: string;
  readonly config: string;
  ipref(...args: string[]): Promise<CommandResult>;
  up(): Promise<ChildProcess>;
  log(): string;
}

async function machineIn(
  namespaces: Namespaces,
  name: string,
  links: readonly string[],
): Promise<Machine> {
  const namespace = await namespaces.add(name);
  await namespaces.ip(namespace, links);
  const folder = namespaces.subdirectory(name);
  const etc = join(folder, "etc");
  mkdirSync(etc);
  for (const file of ["passwd", "group", "nsswitch.conf", "ld.so.cache", "ssl"]) {
    if (existsSync(`/etc/${file}`)) {
      cpSync(`/etc/${file}`, join(etc, file), { recursive: true, verbatimSymlinks: true });
    }
  }
  writeFileSync(join(etc, "resolv.conf"), `nameserver ${SERVER}\n`);
  writeFileSync(join(etc, "hosts"), "127.0.0.1 localhost\n");
  const logPath = join(folder, "log");
  const mounts = "umount /etc/resolv.conf 2> /dev/null; mount --bind";
  const words = (args: readonly string[]): string[] => [
    "-c",
    `${mounts} ${etc} /etc && exec "$0" "$@"`,
    process.execPath,
    IPREF,
    ...args,
  ];
  const config = join(folder, "ipref.toml");
  const log = (): string => (existsSync(logPath) ? readFileSync(logPath, "utf8") : "");
  return {
    namespace,
    folder,
    config,
    log,
    ipref: (...args) => namespaces.exec(namespace, "sh", words(args), { timeoutMs: 60_000 }),
    up: async () => {
      const child = namespaces.spawn(namespace, "sh", words(["up", "--config", config]), {
        logPath,
      });
      const isReady = () => (/ready in/.test(log()) ? true : undefined);
      assert.ok(await waitFor(isReady, 30_000), log());
      return child;
    },
  };
}

/** Runs `ipref init`, tests the file as a start would, and returns the values in force. */
async function init(
  machine: Machine,
  ...args: string[]
): Promise<Record<string, Record<string, unknown>>> {
  const { config, folder } = machine;
  const folders = ["--data", join(folder, "data"), "--run", join(folder, "run")];
  const result = await machine.ipref("init", "-o", config, ...folders, ...args);
  assert.equal(result.code, 0, result.stdout + result.stderr);
  assert.match(result.stdout, /Next:\n {2}1\. Start the system: +sudo ipref up --config /);
  const check = await machine.ipref("up", "--check", "--config", config);
  assert.equal(check.code, 0, check.stderr);
  const shown = await machine.ipref("config", "show", "--json", config);
  return (JSON.parse(shown.stdout) as { values: Record<string, Record<string, unknown>> }).values;
}

/** A bundle of a running site: every part answers, and no private address is left. */
async function assertBundle({ ipref, config, folder }: Machine): Promise<void> {
  const archive = join(folder, "bundle.tar.gz");
  const result = await ipref("bundle", "--config", config, "-o", archive);
  assert.equal(result.code, 0, result.stderr);
  const parts = ["gateway", "resolver", "agent", "up"].map((part) => `status-${part}.json`);
  for (const name of [...parts, "peers.jsonl", "maps.jsonl", "Corefile", "doctor.json"]) {
    assert.match(result.stdout, new RegExp(`^ {2}${name.replace(".", "\\.")} +[0-9.]+ kB`, "m"));
  }
  const all = await run("tar", ["-xzOf", archive]);
  assert.equal(all.code, 0, all.stderr);
  assert.match(all.stdout, /10\.240\.0\.22/, "encoded addresses stay");
  assert.doesNotMatch(all.stdout, /(?<![0-9.])10\.1\.0\.(1|22)(?![0-9.])/);
  assert.doesNotMatch(all.stdout, new RegExp(`\\b${hostname()}\\b`, "i"));
  const macs = all.stdout.match(/\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b/gi) ?? [];
  assert.deepEqual(
    macs.filter((mac) => !/^(00:){5}00$|^(ff:){5}ff$/i.test(mac)),
    [],
  );
}

const veth = (name: string, address: string, extra: readonly string[] = []): string[] => [
  `link add name ${name} type veth peer name ${name}-peer`,
  `link set ${name}-peer up`,
  `link set ${name} up`,
  `addr add ${address} dev ${name}`,
  ...extra,
];

describe("ipref init", { skip, concurrency: 1, timeout: 240_000 }, () => {
  const namespaces = new Namespaces();
  after(() => namespaces.destroy());

  it("on a router with a public address", async () => {
    const machine = await machineIn(namespaces, "public", [
      ...veth("wan", "198.51.100.7/24", ["route add default via 198.51.100.1"]),
      ...veth("lan", "10.1.0.1/24"),
    ]);
    const { gateway, resolver } = await init(machine);
    assert.equal(gateway?.public, "198.51.100.7");
    assert.equal(gateway?.["encode-net"], "10.240.0.0/12");
    assert.deepEqual(resolver?.listen, ["10.1.0.1", "127.0.0.1", "::1"]);
    assert.deepEqual(resolver?.upstream, [SERVER]);
  });

  it("behind a NAT, where the usual encode net is in use", async () => {
    const machine = await machineIn(namespaces, "nat", [
      ...veth("eth0", "10.244.3.4/16", ["route add default via 10.244.0.1"]),
      ...veth("vpn", "172.16.0.2/24", ["route add 10.224.0.0/12 via 172.16.0.1"]),
      "rule add from 10.9.9.9 lookup 100",
      "route add 10.208.0.0/16 via 10.244.0.1 table 100",
    ]);
    const { gateway } = await init(machine);
    assert.equal(gateway?.public, null);
    assert.equal(gateway?.["encode-net"], "10.192.0.0/12");
    assert.match(readFileSync(machine.config, "utf8"), /overlaps[\s#]+10\.244\.0\.0\/16/);
  });

  it("with two uplinks and with IPv6 only", async () => {
    const two = await machineIn(namespaces, "two", [
      ...veth("wan1", "198.51.100.7/24", ["route add default via 198.51.100.1 metric 300"]),
      ...veth("wan2", "203.0.113.9/24", ["route add default via 203.0.113.1 metric 200"]),
    ]);
    assert.equal((await init(two)).gateway?.bind, "203.0.113.9");
    assert.equal((await init(two, "--force", "--uplink", "wan1")).gateway?.bind, "198.51.100.7");
    const six = await machineIn(namespaces, "six", [
      ...veth("eth0", "2001:db8:7::7/64", ["route add default via 2001:db8:7::1"]),
    ]);
    writeFileSync(join(six.folder, "etc", "resolv.conf"), "nameserver 2001:db8::53\n");
    const { gateway } = await init(six);
    assert.deepEqual(
      [gateway?.bind, gateway?.public, gateway?.["encode-net"]],
      ["::", "2001:db8:7::7", "fd00:240::/64"],
    );
  });

  it("asks at a terminal which uplink to take, and takes the best without an answer", async () => {
    const machine = await machineIn(namespaces, "asked", [
      ...veth("wan1", "198.51.100.7/24", ["route add default via 198.51.100.1 metric 300"]),
      ...veth("wan2", "203.0.113.9/24", ["route add default via 203.0.113.1 metric 200"]),
    ]);
    let serial = 0;
    const answered = async (answer: string): Promise<CommandResult> => {
      const words = `${process.execPath} ${IPREF} init -o - --upstream ${SERVER}`;
      const shown = join(machine.folder, `terminal-${++serial}`);
      // script(1) gives the program a terminal; the answer comes when the question is there.
      const wait = `for n in $(seq 200); do grep -q Which ${shown} && break; sleep 0.1; done`;
      const input = `{ ${wait}; sleep 0.3; printf '${answer}'; sleep 2; }`;
      const line = `touch ${shown}; ${input} | script -qefc "${words}" ${shown}`;
      return await namespaces.exec(machine.namespace, "sh", ["-c", line], { timeoutMs: 40_000 });
    };
    const second = await answered("2\\r");
    assert.match(second.stdout, /1\. wan2, 203\.0\.113\.9, metric 200[\s\S]*2\. wan1, 198/);
    assert.match(second.stdout, /^bind = "198\.51\.100\.7"/m);
    assert.match((await answered("\\r")).stdout, /^bind = "203\.0\.113\.9"/m);
    assert.match((await answered("\\004")).stdout, /No answer; --uplink INTERFACE or --yes/);
    assert.match((await answered("7\\r")).stdout, /Found '7', expected a number from 1 to 2/);
  });

  it("replaces nothing without --force, and shows the difference", async () => {
    const machine = await machineIn(namespaces, "again", veth("eth0", "10.1.0.2/24"));
    await init(machine);
    const first = readFileSync(machine.config, "utf8");
    await init(machine); // the same again is no change
    const folders = ["--data", join(machine.folder, "data"), "--run", join(machine.folder, "run")];
    const words = ["init", "-o", machine.config, ...folders, "--public", "198.51.100.7"];
    const refused = await machine.ipref(...words);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /exists and differs; it stays as it is\. --force replaces it/);
    assert.match(refused.stdout, /^\+public = "198\.51\.100\.7"$/m);
    assert.equal(readFileSync(machine.config, "utf8"), first);
    chownSync(machine.config, 65_534, 65_534);
    chmodSync(machine.config, 0o660);
    assert.equal((await machine.ipref(...words, "--force")).code, 0);
    assert.match(readFileSync(machine.config, "utf8"), /^public = "198\.51\.100\.7"$/m);
    const { uid, gid, mode } = statSync(machine.config);
    assert.deepEqual([uid, gid, mode & 0o777], [65_534, 65_534, 0o660]);
  });

  it("prints to standard output, as text or as data, and writes nothing", async () => {
    const machine = await machineIn(namespaces, "out", veth("eth0", "10.1.0.2/24"));
    const plain = await machine.ipref("init", "-o", "-");
    assert.equal(plain.code, 0);
    assert.match(plain.stdout, /^#:schema file:[\s\S]*^encode-net = "10\.240\.0\.0\/12"$/m);
    assert.match(plain.stderr, /^Chosen:/);
    const data = await machine.ipref("init", "-o", "-", "--json");
    const shown = JSON.parse(data.stdout) as { text: string; choices: { name: string }[] };
    assert.equal(shown.text, plain.stdout);
    assert.ok(shown.choices.some(({ name }) => name === "gateway.encode-net"));
    assert.ok(!existsSync(machine.config));
  });
});

describe("two sites with what ipref init has written", { skip, timeout: 120_000 }, () => {
  const namespaces = new Namespaces();
  let site1: Machine;
  let site2: Machine;
  const hosts: string[] = [];

  before(async () => {
    const internet = await namespaces.add("internet");
    site1 = await machineIn(namespaces, "site1", []);
    site2 = await machineIn(namespaces, "site2", []);
    const plans = [
      { site: site1, wan: "198.51.100", lan: "10.1.0" },
      { site: site2, wan: "203.0.113", lan: "10.250.0" },
    ];
    await namespaces.sysctl(internet, { "net.ipv4.ip_forward": 1 });
    for (const [index, { site, wan, lan }] of plans.entries()) {
      const host = await namespaces.add(`host${index + 1}`);
      hosts.push(host);
      await namespaces.ip(internet, [
        `link add name wan${index} type veth peer name wan netns ${site.namespace}`,
        `link set wan${index} up`,
        `addr add ${wan}.1/24 dev wan${index}`,
      ]);
      await namespaces.ip(site.namespace, [
        `link add name lan type veth peer name eth0 netns ${host}`,
        "link set lan up",
        "link set wan up",
        `addr add ${wan}.7/24 dev wan`,
        `addr add ${lan}.1/24 dev lan`,
        `route add default via ${wan}.1`,
      ]);
      await namespaces.ip(host, [
        "link set eth0 up",
        `addr add ${lan}.22/24 dev eth0`,
        `route add default via ${lan}.1`,
      ]);
    }
  });
  after(() => namespaces.destroy());

  it("a host pings one of the other site, and the answers arrive", async () => {
    const first = await init(site1);
    const second = await init(site2);
    assert.equal(first.gateway?.["encode-net"], "10.240.0.0/12");
    assert.equal(second.gateway?.["encode-net"], "10.224.0.0/12");
    const etcHosts = (site: Machine): string => join(site.folder, "etc", "hosts");
    writeFileSync(etcHosts(site2), "10.250.0.22 web #= pub + 1025\n");
    writeFileSync(etcHosts(site1), `10.240.0.22 web #= ext ${second.gateway?.public} + 1025\n`);
    const running = [await site1.up(), await site2.up()];
    const args = ["-c", "3", "-i", "0.2", "-W", "3", "10.240.0.22"];
    const ping = await namespaces.exec(hosts[0]!, "ping", args);
    assert.match(ping.stdout, / [123] received/, ping.stdout + site1.log() + site2.log());
    const again = await site1.ipref(
      "init",
      "-o",
      join(site1.folder, "second.toml"),
      "--json",
      ...["--data", join(site1.folder, "data"), "--run", join(site1.folder, "run")],
    );
    const { choices } = JSON.parse(again.stdout) as { choices: { name: string; value: unknown }[] };
    const chosen = (name: string) => choices.find((choice) => choice.name === name)?.value;
    assert.equal(chosen("gateway.encode-net"), "10.240.0.0/12", "while the gateway runs");
    assert.equal(chosen("gateway.port"), null);
    await assertBundle(site1);
    for (const child of running) child.kill("SIGTERM");
    const ended = () => (running.every(({ exitCode }) => exitCode !== null) ? true : undefined);
    assert.ok(await waitFor(ended, 30_000));
    rmSync(join(site1.folder, "second.toml"), { force: true });
  });
});
