// `ipref up` on one machine: start, restart of parts, end, sudden death, DNS offers, updates.

import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";
import {
  type CommandResult,
  Namespaces,
  processStartTicks,
  run,
  waitFor,
} from "../../src/programs/demo/namespaces.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import { addLanMachine } from "../support/lan-machine.js";

const why = await whyNoNamespaces(["ip", "dig", "knotd"]);
const skip = why === undefined ? false : why.reason;
const IPREF = join(repositoryRoot(), "dist", "src", "programs", "ipref.js");
const UPSTREAM = "192.0.2.53";

/** A running `ipref up`. */
interface Up {
  readonly child: ChildProcess;
  log(): string;
  /** Process ids of its parts. */
  parts(): number[];
}

describe("ipref up on one machine", { skip, concurrency: 1, timeout: 240_000 }, () => {
  const namespaces = new Namespaces();
  let machine: string;
  let folder: string;
  let serial = 0;
  const readySeconds: number[] = [];

  before(async () => {
    machine = await addLanMachine(namespaces);
    folder = namespaces.subdirectory("up");
  });
  after(() => namespaces.destroy());

  const folders = (): string[] => ["--data", join(folder, "data"), "--run", join(folder, "run")];
  const ipref = (...args: string[]): Promise<CommandResult> =>
    namespaces.exec(machine, process.execPath, [IPREF, ...args], { timeoutMs: 40_000 });
  const stateText = (): string => readFileSync(join(folder, "run", "up.json"), "utf8");

  async function start(
    args: readonly string[] = [],
    env: Record<string, string> = {},
    awaited = /ready in/,
  ): Promise<Up> {
    const logPath = join(folder, `log-${++serial}`);
    const words = [IPREF, "up", ...folders(), "--upstream", UPSTREAM, ...args];
    const child = namespaces.spawn(machine, process.execPath, words, { logPath, env });
    const log = (): string => (existsSync(logPath) ? readFileSync(logPath, "utf8") : "");
    await until(log, awaited);
    const [, seconds] = /^ipref: ready in ([0-9.]+) s/m.exec(log()) ?? [];
    if (seconds !== undefined) readySeconds.push(Number(seconds));
    const parts = (): number[] => {
      const state = JSON.parse(stateText()) as { parts: { pid: number }[] };
      return state.parts.map(({ pid }) => pid);
    };
    return { child, log, parts };
  }

  async function until(log: () => string, text: RegExp): Promise<void> {
    const has = await waitFor(() => (text.test(log()) ? true : undefined), 30_000);
    assert.ok(has, `no ${text} in\n${log()}`);
  }

  async function ended(child: ChildProcess): Promise<number | string> {
    const status = () => child.exitCode ?? child.signalCode ?? undefined;
    return (await waitFor(status, 30_000)) ?? "still running";
  }

  const links = async (): Promise<string[]> =>
    (await namespaces.exec(machine, "ls", ["/sys/class/net"])).stdout.trim().split("\n");
  const forwarding = async (): Promise<string> =>
    (await namespaces.exec(machine, "cat", ["/proc/sys/net/ipv4/ip_forward"])).stdout.trim();

  it("starts all parts, says once that it is ready, and leaves nothing behind", async () => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      const up = await start();
      assert.equal(up.log().match(/^ipref: ready in [0-9.]+ s, client mode, /gm)?.length, 1);
      assert.ok((await links()).includes("ipref0"));
      assert.equal(await forwarding(), "1");
      const parts = up.parts();
      assert.equal(parts.length, 3);
      up.child.kill(signal);
      assert.equal(await ended(up.child), 0, up.log());
      for (const pid of parts) assert.equal(processStartTicks(pid), "", `process ${pid}`);
      assert.deepEqual(readdirSync(join(folder, "run")), []);
      assert.ok(!(await links()).includes("ipref0"));
      assert.equal(await forwarding(), "0");
    }
  });

  it("leaves nothing behind when it is ended while it starts", async () => {
    for (const awaited of [/START ipref gateway/, /mapper socket/, /starting dns-agent/]) {
      const up = await start([], {}, awaited);
      const parts = up.parts();
      up.child.kill("SIGINT");
      assert.equal(await ended(up.child), 0, up.log());
      for (const pid of parts) assert.equal(processStartTicks(pid), "", `process ${pid}`);
      assert.deepEqual(readdirSync(join(folder, "run")), []);
      assert.ok(!(await links()).includes("ipref0"));
      assert.equal(await forwarding(), "0");
      const { stdout } = await run("ip", ["netns", "pids", machine]);
      assert.equal(stdout.trim(), "", "a program of the machine is left");
    }
  });

  it("answers names while it runs, and the advice names the line for resolv.conf", async () => {
    const up = await start();
    const words = ["+short", "@10.1.0.2", "localhost"];
    assert.equal((await namespaces.exec(machine, "dig", words)).stdout, "127.0.0.1\n");
    assert.match(up.log(), /resolv\.conf: nameserver 127\.0\.0\.1|resolvectl dns ipref0/);
    const down = await ipref("down", ...folders());
    assert.equal(down.stdout, "ipref up has ended\n");
    assert.equal(await ended(up.child), 0);
  });

  it("starts a part again that was killed, and says so", async () => {
    const up = await start();
    for (const [index, name] of ["gateway", "resolver", "agent"].entries()) {
      const old = up.parts();
      process.kill(old[index]!, "SIGKILL");
      await until(up.log, new RegExp(`The ${name} ended by SIGKILL; it starts again in 0\\.25`));
      const renewed = await waitFor(
        () => (up.parts().length === 3 && up.parts()[index] !== old[index] ? true : undefined),
        10_000,
      );
      assert.ok(renewed, name);
    }
    await until(up.log, /START ipref gateway[\s\S]*START ipref gateway[\s\S]*mapper socket/);
    up.child.kill("SIGTERM");
    assert.equal(await ended(up.child), 0);
  });

  it("refuses to run twice", async () => {
    const up = await start();
    const second = await ipref("up", ...folders(), "--upstream", UPSTREAM);
    assert.equal(second.code, 78);
    assert.match(second.stderr, /is running already \(process \d+\)/);
    up.child.kill("SIGTERM");
    assert.equal(await ended(up.child), 0);
    assert.match((await ipref("down", ...folders())).stdout, /is not running/);
  });

  it("ends its parts when it is killed, and ipref down puts the rest back", async () => {
    const up = await start();
    const parts = up.parts();
    up.child.kill("SIGKILL");
    await ended(up.child);
    const gone = await waitFor(
      () => (parts.every((pid) => processStartTicks(pid) === "") ? true : undefined),
      15_000,
    );
    assert.ok(gone, "parts outlive the supervisor");
    assert.equal(await forwarding(), "1");
    const down = await ipref("down", ...folders());
    assert.equal(down.stdout, "Cleared away what ipref up had left\n");
    assert.equal(await forwarding(), "0");
    assert.deepEqual(readdirSync(join(folder, "run")), []);
  });

  it("a new start clears away what a killed one left", async () => {
    const first = await start();
    first.child.kill("SIGKILL");
    await ended(first.child);
    const second = await start();
    assert.match(second.log(), /Cleared away what an earlier run had left/);
    second.child.kill("SIGTERM");
    assert.equal(await ended(second.child), 0);
    assert.equal(await forwarding(), "0");
  });

  it("is ready in less than two seconds, the best of all starts on a busy machine", () => {
    assert.ok(Math.min(...readySeconds) < 2, `seconds: ${readySeconds.join(" ")}`);
  });

  it("changes the machine's DNS with resolvectl only when asked, and takes it back", async () => {
    const tools = join(folder, "tools");
    const calls = join(folder, "calls");
    mkdirSync(tools);
    writeFileSync(join(tools, "resolvectl"), `#!/bin/sh\necho "$@" >> ${calls}\n`);
    chmodSync(join(tools, "resolvectl"), 0o755);
    const env = { PATH: `${tools}:${process.env.PATH}` };
    const plain = await start([], env);
    assert.match(
      plain.log(),
      /resolvectl dns ipref0 10\.240\.0\.1 && resolvectl domain ipref0 '~\.'/,
    );
    plain.child.kill("SIGTERM");
    await ended(plain.child);
    assert.ok(!existsSync(calls), "resolvectl was called without being asked for");
    const asked = await start(["--dns", "resolvectl"], env);
    asked.child.kill("SIGTERM");
    await ended(asked.child);
    const wanted = ["dns ipref0 10.240.0.1", "domain ipref0 ~.", "revert ipref0", ""];
    assert.deepEqual(readFileSync(calls, "utf8").split("\n"), wanted);
  });

  it("a configuration with a mistake ends with status 78 and its place", async () => {
    const path = join(folder, "bad.toml");
    writeFileSync(path, '[gateway]\nbinds = "0.0.0.0"\n');
    const result = await ipref("up", "--config", path);
    assert.equal(result.code, 78);
    assert.match(result.stderr, /bad\.toml:2:1: .*did you mean 'bind'\?/);
  });

  it("a port that is taken ends with the part's own status and reason", async () => {
    const up = await start();
    const other = ["--data", join(folder, "data2"), "--run", join(folder, "run2")];
    const second = await ipref("up", ...other, "--upstream", UPSTREAM);
    assert.equal(second.code, 69, second.stderr);
    assert.match(
      second.stderr,
      /"part":"gateway","level":"fatal".*1045[\s\S]*Cannot start: the gateway ended with 69/,
    );
    assert.deepEqual(readdirSync(join(folder, "run2")), []);
    up.child.kill("SIGTERM");
    assert.equal(await ended(up.child), 0);
  });

  it("without any DNS server outside it says what to set", async () => {
    const words = [IPREF, "up", "--data", join(folder, "data3"), "--run", join(folder, "run3")];
    const script = `mount --bind /dev/null /etc/resolv.conf && exec "$0" "$@"`;
    const args = ["-c", script, process.execPath, ...words];
    const result = await namespaces.exec(machine, "sh", args);
    assert.equal(result.code, 78, result.stderr);
    assert.match(result.stderr, /set resolver\.upstream/);
  });
});

describe("ipref publish with DNS updates", { skip, concurrency: 1, timeout: 120_000 }, () => {
  const namespaces = new Namespaces();
  let machine: string;
  let folder: string;
  const secret = Buffer.alloc(32, 7).toString("base64");

  before(async () => {
    machine = await namespaces.add("dns");
    folder = namespaces.subdirectory("knot");
    const zone = "@ 60 SOA ns admin 1 3600 600 86400 60\n@ 60 NS ns\nns 60 A 127.0.0.1\n";
    const other = 'web 60 TXT "v=spf1 -all"\n';
    writeFileSync(join(folder, "home.zone"), zone + other);
    writeFileSync(
      join(folder, "knot.conf"),
      `server:
  rundir: ${folder}
  listen: 127.0.0.1@53
database:
  storage: ${folder}
log:
  - target: stdout
    any: info
key:
  - id: home
    algorithm: hmac-sha256
    secret: ${secret}
acl:
  - id: update
    key: home
    action: update
zone:
  - domain: home.example.com
    file: ${folder}/home.zone
    acl: update
`,
    );
    const logPath = join(folder, "log");
    namespaces.spawn(machine, "knotd", ["-c", join(folder, "knot.conf")], { logPath });
    const isReady = () =>
      readFileSync(logPath, "utf8").includes("server started") ? true : undefined;
    assert.ok(await waitFor(isReady, 10_000));
    writeKey(secret);
    writeFileSync(
      join(folder, "ipref.toml"),
      `[files]\ndata = "${folder}/data"\nrun = "${folder}/run"\n[gateway]\n` +
        'public = "198.51.100.7"\n[publish]\ndomain = "home.example.com"\n' +
        `tsig-key = "${folder}/key"\nupdate-server = "127.0.0.1"\n`,
    );
  });
  after(() => namespaces.destroy());

  const writeKey = (value: string): void => {
    const text = `key "home" { algorithm hmac-sha256; secret "${value}"; };\n`;
    writeFileSync(join(folder, "key"), text);
  };
  const publish = (...args: string[]): Promise<CommandResult> => {
    const words = [IPREF, "publish", "--config", join(folder, "ipref.toml"), ...args];
    return namespaces.exec(machine, process.execPath, words);
  };
  const texts = async (): Promise<string[]> => {
    const words = ["+short", "@127.0.0.1", "web.home.example.com", "TXT"];
    const { stdout } = await namespaces.exec(machine, "dig", words);
    return stdout.trim().split("\n").sort();
  };

  it("adds, changes and removes its own record and no other", async () => {
    const added = await publish("web", "10.1.0.22");
    assert.match(added.stderr, /has been updated/);
    const spf = '"v=spf1 -all"';
    assert.deepEqual(await texts(), ['"AA 198.51.100.7 + 1024"', spf]);
    await publish("web", "10.1.0.22", "--ref", "2000");
    assert.deepEqual(await texts(), ['"AA 198.51.100.7 + 2000"', spf]);
    await publish("--remove", "web");
    assert.deepEqual(await texts(), [spf]);
  });

  it("names server and reason when the update is refused, and still prints the record", async () => {
    writeKey(Buffer.alloc(32, 8).toString("base64"));
    const refused = await publish("web", "10.1.0.22");
    assert.equal(refused.code, 69);
    assert.match(refused.stderr, /unchanged: 127\.0\.0\.1: .*(NOTAUTH|REFUSED|BADSIG)/);
    assert.match(refused.stdout, /^web\.home\.example\.com\. 300 IN TXT "AA /);
  });
});
