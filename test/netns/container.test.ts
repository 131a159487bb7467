// The steps of packaging/container/Containerfile, without an engine: the package goes into a small
// Debian without systemd, and the entry point runs there as an engine would run it, with an engine's
// capabilities, and forwards without root.

import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { repositoryRoot, startGateway } from "../../src/programs/demo/gateway-process.js";
import { run, waitFor } from "../../src/programs/demo/namespaces.js";
import {
  createNetwork,
  type Network,
  staticEncodedAddress,
} from "../../src/programs/demo/network.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import { makeDebianRoot, whyNoDebianRoot } from "../support/debian-root.js";
import { answeredCount, hostsLines } from "../support/lab.js";

/** What the test root has beside the essential packages; systemd for systemd-sysusers(8). */
const PACKAGES = ["systemd", "libstdc++6", "iproute2"];
const why = await whyNoNamespaces(["ip", "ping", "dpkg-deb", "unshare", "setpriv", "tar"]);
const skip = why?.reason ?? whyNoDebianRoot(PACKAGES) ?? false;
const FOLDER = join(repositoryRoot(), "packaging", "container");
/** Those that docker gives, and NET_ADMIN. */
const ENGINE_CAPABILITIES = [
  ...["chown", "dac_override", "fsetid", "fowner", "mknod", "net_raw", "setgid", "setuid"],
  ...["setfcap", "setpcap", "net_bind_service", "sys_chroot", "kill", "audit_write", "net_admin"],
];
const ENVIRONMENT = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"];
/** CAP_NET_BIND_SERVICE and CAP_NET_ADMIN by number, capabilities(7). */
const CAPABILITIES = ((1n << 10n) | (1n << 12n)).toString(16).padStart(16, "0");

/** The words of an instruction in its JSON form. */
function wordsOf(instruction: string): string[] {
  const text = readFileSync(join(FOLDER, "Containerfile"), "utf8");
  const [, words] = new RegExp(`^${instruction} (\\[.*\\])$`, "m").exec(text) ?? [];
  assert.ok(words !== undefined, `no ${instruction}`);
  return JSON.parse(words) as string[];
}

/** Enters the folder as its root, with /dev, /proc and /sys as an engine makes them. */
const ENTER = `
set -e
mount --bind "$0" "$0"; cd "$0"
mount -t proc proc proc; mount -t sysfs -o ro sysfs sys; mount -t tmpfs tmpfs dev
for each in "null 1 3" "zero 1 5" "random 1 8" "urandom 1 9"; do
  set -- $each "$@"; mknod -m 666 "dev/$1" c "$2" "$3"; shift 3
done
mkdir dev/net; mknod -m 666 dev/net/tun c 10 200
pivot_root . mnt; umount -l /mnt
exec "$@"
`;

describe("the container", { skip, concurrency: 1, timeout: 200_000 }, () => {
  let network: Network;
  let root: string;
  let child: ChildProcess;
  let logPath: string;
  const log = (): string => (existsSync(logPath) ? readFileSync(logPath, "utf8") : "");

  before(async () => {
    network = await createNetwork({
      sites: [{ localVersion: 4 }, { localVersion: 4 }],
      tunnelVersion: 4,
    });
    const [site1, site2] = network.sites;
    const folder = network.namespaces.subdirectory("container");
    root = join(folder, "root");
    logPath = join(folder, "log");
    makeDebianRoot(root, PACKAGES);
    const script = join(repositoryRoot(), "scripts", "package-deb.js");
    const built = await run(process.execPath, [script, "--fast", "--output", join(root, "root")], {
      timeoutMs: 120_000,
    });
    assert.equal(built.code, 0, built.stderr);
    const file = built.stdout.trim().slice(root.length);
    const installed = await run("chroot", [root, "dpkg", "-i", file], { timeoutMs: 60_000 });
    assert.equal(installed.code, 0, installed.stdout + installed.stderr);
    const lines = ["127.0.0.1 localhost", ...hostsLines(site1, site2)];
    writeFileSync(join(root, "etc/hosts"), `${lines.join("\n")}\n`);
    await startGateway(network, site2, { hostsLines: hostsLines(site2, site1) });
  });
  after(() => network?.destroy());

  /** Runs words in the container with an engine's capabilities. */
  function enter(words: readonly string[], output?: string): ChildProcess {
    const { namespaces, sites } = network;
    const engine = `-all,${ENGINE_CAPABILITIES.map((name) => `+${name}`).join(",")}`;
    const limited = [
      "setpriv",
      `--bounding-set=${engine}`,
      "--inh-caps=-all",
      ...ENVIRONMENT,
      ...words,
    ];
    const flags = ["--fork", "--kill-child", "--pid", "--mount", "--uts", "--ipc"];
    const args = [...flags, "sh", "-ec", ENTER, root, ...limited];
    const options = output === undefined ? {} : { logPath: output };
    return namespaces.spawn(sites[0].gatewayNamespace, "unshare", args, options);
  }

  /** The process of `ipref up`, by what runs it. */
  async function supervisor(): Promise<string> {
    const { stdout } = await run("pgrep", ["-f", "^/usr/lib/ipref/bin/node .*ipref.js up"]);
    const pids = stdout.trim().split("\n");
    const ours = pids.filter((pid) => existsSync(`/proc/${pid}/root/etc/ipref/ipref.toml`));
    assert.equal(ours.length, 1, stdout);
    return ours[0] ?? "";
  }

  it("tests its configuration", async () => {
    const output = `${logPath}-check`;
    const words = [...wordsOf("ENTRYPOINT"), "config", "check", "--upstream", "192.0.2.53"];
    const check = enter(words, output);
    assert.equal(await ended(check), 0, readFileSync(output, "utf8"));
  });

  it("forwards as a user without root, with two capabilities", async () => {
    const [site] = network.sites;
    const flags = ["--bind", site.bindAddress, "--public", site.publicAddress];
    const command = [...wordsOf("ENTRYPOINT"), ...wordsOf("CMD"), ...flags];
    child = enter([...command, "--upstream", "192.0.2.53"], logPath);
    const isReady = await waitFor(() => (log().includes("ready in") ? true : undefined), 30_000);
    assert.ok(isReady, log());
    const status = readFileSync(`/proc/${await supervisor()}/status`, "utf8");
    for (const set of ["CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
      assert.match(status, new RegExp(`^${set}:\\s${CAPABILITIES}$`, "m"));
    }
    assert.doesNotMatch(status, /^Uid:\s0/m);
    const args = ["-n", "-c", "3", "-i", "0.2", "-W", "2", staticEncodedAddress(4, 0)];
    const [host] = site.hosts;
    const { stdout } = await network.namespaces.exec(host.namespace, "ping", args);
    assert.ok(answeredCount(stdout) > 0, log());
  });

  it("ends in good order when the engine stops it", async () => {
    process.kill(Number(await supervisor()), "SIGTERM");
    assert.equal(await ended(child), 0, log());
    assert.match(log(), /STOP ipref gateway: signal\(terminated\)/);
  });

  async function ended(process: ChildProcess): Promise<number | string> {
    const status = () => process.exitCode ?? process.signalCode ?? undefined;
    return (await waitFor(status, 20_000)) ?? "still running";
  }
});
