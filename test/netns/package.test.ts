// The Debian package on a small Debian 12 with systemd: installed, started, watched, upgraded,
// removed, purged. The gateway of site 1 is the service; that of site 2 runs from the clone.

import assert from "node:assert/strict";
import { appendFileSync, copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { repositoryRoot, startGateway } from "../../src/programs/demo/gateway-process.js";
import {
  type CommandResult,
  Namespaces,
  run,
  waitFor,
} from "../../src/programs/demo/namespaces.js";
import {
  createNetwork,
  type Network,
  staticEncodedAddress,
} from "../../src/programs/demo/network.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import { DebianMachine, whyNoMachine } from "../support/debian-machine.js";
import { makeDebianRoot, whyNoDebianRoot } from "../support/debian-root.js";
import { answeredCount, hostsLines } from "../support/lab.js";

/** What the test root has beside the essential packages. */
const PACKAGES = ["systemd", "dbus", "libstdc++6", "iproute2", "man-db", "procps"];

const why = await whyNoNamespaces(["ip", "ping", "dpkg-deb", "unshare", "nsenter", "tar"]);
const skip =
  why?.reason ?? whyNoDebianRoot(PACKAGES) ?? whyNoMachine() ?? (await whyNoBoot()) ?? false;
const PACKAGE_SCRIPT = join(repositoryRoot(), "scripts", "package-deb.js");
const VERSIONS = ["0.1.0", "0.1.1~test"] as const;
const UNITS = ["ipref", "ipref-gateway", "ipref-resolver", "ipref-dns-agent"];
/** CAP_NET_BIND_SERVICE, CAP_NET_ADMIN and CAP_BPF by number, capabilities(7). */
const CAPABILITIES = ((1n << 10n) | (1n << 12n) | (1n << 39n)).toString(16).padStart(16, "0");

/** Why Debian, without anything of ours, does not boot here; undefined when it does. */
async function whyNoBoot(): Promise<string | undefined> {
  const namespaces = new Namespaces();
  try {
    const network = await namespaces.add("boot");
    const root = join(namespaces.subdirectory("boot"), "root");
    makeDebianRoot(root, PACKAGES);
    const machine = await DebianMachine.boot(namespaces, network, root);
    await machine.stop();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message.slice(0, 500) : String(error);
  } finally {
    await namespaces.destroy();
  }
}

describe("the Debian package", { skip, concurrency: 1, timeout: 400_000 }, () => {
  let network: Network;
  let machine: DebianMachine;
  let root: string;
  let folder: string;
  const packages: string[] = [];

  before(async () => {
    network = await createNetwork({
      sites: [{ localVersion: 4 }, { localVersion: 4 }],
      tunnelVersion: 4,
    });
    const [site1, site2] = network.sites;
    folder = network.namespaces.subdirectory("debian");
    root = join(folder, "root");
    makeDebianRoot(root, PACKAGES);
    for (const version of VERSIONS) packages.push(await buildPackage(version));
    const lines = ["127.0.0.1 localhost", ...hostsLines(site1, site2)];
    writeFileSync(join(root, "etc/hosts"), `${lines.join("\n")}\n`);
    await startGateway(network, site2, { hostsLines: hostsLines(site2, site1) });
    machine = await DebianMachine.boot(network.namespaces, site1.gatewayNamespace, root);
  });
  after(async () => {
    await machine?.stop();
    await network?.destroy();
  });

  /** Builds a package and puts it into the machine; returns its path there. */
  async function buildPackage(version: string): Promise<string> {
    const args = [PACKAGE_SCRIPT, "--fast", "--version", version, "--output", folder];
    const { stdout, stderr, code } = await run(process.execPath, args, { timeoutMs: 120_000 });
    assert.equal(code, 0, stderr);
    const file = stdout.trim();
    copyFileSync(file, join(root, "root", basename(file)));
    return `/root/${basename(file)}`;
  }

  async function must(command: string, ...args: readonly string[]): Promise<CommandResult> {
    const result = await machine.run(command, ...args);
    const what = `${command} ${args.join(" ")}: ${result.code}\n${result.stdout}${result.stderr}`;
    assert.equal(result.code, 0, `${what}\n${await machine.journal(args.at(-1) ?? "")}`);
    return result;
  }

  const state = (unit: string): Promise<string> => machine.property(unit, "ActiveState");

  async function becomes(what: string, probe: () => Promise<boolean>): Promise<void> {
    const has = await waitFor(async () => ((await probe()) ? true : undefined), 30_000, 100);
    assert.ok(has, `${what}\n${await machine.journal("ipref")}`);
  }

  /** A ping from a host of site 1 through the packaged gateway. */
  async function pings(): Promise<number> {
    const [host] = network.sites[0].hosts;
    const target = staticEncodedAddress(4, 0);
    const args = ["-n", "-c", "3", "-i", "0.2", "-W", "2", target];
    const { stdout } = await network.namespaces.exec(host.namespace, "ping", args);
    return answeredCount(stdout);
  }

  it("has no errors that lintian knows", {
    skip: existsSync("/usr/bin/lintian") ? false : "lintian is missing",
  }, async () => {
    const file = join(folder, basename(packages[0] ?? ""));
    const args = ["--fail-on", "error,warning", "--allow-root", file];
    const { code, stdout, stderr } = await run("lintian", args, { timeoutMs: 180_000 });
    assert.equal(code, 0, `${stdout}${stderr}`);
  });

  it("installs without starting anything", async () => {
    await must("dpkg", "-i", packages[0] ?? "");
    assert.equal((await must("dpkg", "--audit")).stdout, "");
    assert.match(
      (await must("getent", "passwd", "ipref")).stdout,
      /:\/var\/lib\/ipref:\S*nologin$/m,
    );
    const owners = await must("stat", "-c", "%U %a %n", "/var/lib/ipref", "/run/ipref");
    assert.equal(owners.stdout, "ipref 750 /var/lib/ipref\nipref 755 /run/ipref\n");
    for (const unit of UNITS) {
      assert.equal(await state(unit), "inactive", unit);
      assert.equal(await machine.property(unit, "UnitFileState"), "disabled", unit);
    }
    assert.match((await must("man", "-w", "ipref-up")).stdout, /ipref-up\.8\.gz/);
    assert.equal((await must("ipref", "--version")).stdout, "0.1.0\n");
    await must("ipref", "config", "check", "--upstream", "192.0.2.53");
  });

  it("brings units that systemd has no complaints about", async () => {
    const files = UNITS.map((unit) => `/lib/systemd/system/${unit}.service`);
    const { stdout, stderr } = await must("systemd-analyze", "verify", ...files);
    assert.equal(stdout + stderr, "");
    for (const unit of UNITS) {
      await must("systemd-analyze", "security", "--threshold=20", "--no-pager", `${unit}.service`);
    }
  });

  it("runs without root and forwards", async () => {
    const [site] = network.sites;
    const settings = [
      "[gateway]",
      `bind = "${site.bindAddress}"`,
      `public = "${site.publicAddress}"`,
      "[resolver]",
      'upstream = ["192.0.2.53"]',
    ];
    writeFileSync(join(root, "etc/ipref/ipref.toml"), `${settings.join("\n")}\n`);
    await must("systemctl", "start", "ipref");
    assert.equal(await state("ipref"), "active");
    assert.match(await machine.property("ipref", "StatusText"), /^reached at .*DNS on port 53/);
    const pid = await machine.property("ipref", "MainPID");
    const processes = await must("ps", "-o", "user=,args=", "-C", "node");
    assert.equal(processes.stdout.trim().split("\n").length, 4, processes.stdout);
    for (const line of processes.stdout.trim().split("\n")) assert.match(line, /^ipref /);
    const status = (await must("cat", `/proc/${pid}/status`)).stdout;
    assert.match(status, new RegExp(`^CapEff:\\s${CAPABILITIES}$`, "m"));
    assert.match(status, /^NoNewPrivs:\s1$/m);
    assert.match(status, /^Seccomp:\s2$/m);
    assert.ok((await pings()) > 0, await machine.journal("ipref"));
    assert.doesNotMatch(await machine.journal("ipref"), /Cannot set|EPERM|EACCES|privilege/);
  });

  it("answers root and the group ipref, and tells others the group", async () => {
    assert.match((await must("ipref", "status")).stdout, /gateway/);
    await must("setpriv", "--reuid=65534", "--regid=65534", "--groups=ipref", "ipref", "status");
    const stranger = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    const refused = await machine.run("setpriv", ...stranger, "ipref", "maps");
    assert.equal(refused.code, 77, refused.stdout + refused.stderr);
    assert.match(refused.stderr, /usermod -aG ipref/);
  });

  it("reloads its configuration", async () => {
    appendFileSync(join(root, "etc/ipref/ipref.toml"), 'new-addresses = "off"\n');
    const before = await machine.property("ipref", "MainPID");
    await must("systemctl", "reload", "ipref");
    await becomes("not reloaded", async () =>
      (await machine.journal("ipref")).includes("Reload complete"),
    );
    assert.equal(await machine.property("ipref", "MainPID"), before);
    assert.equal(await state("ipref"), "active");
  });

  it("is started again when its gateway hangs", async () => {
    await must("mkdir", "-p", "/run/systemd/system/ipref.service.d");
    const dropIn = "run/systemd/system/ipref.service.d/watchdog.conf";
    await must("sh", "-c", `printf '[Service]\\nWatchdogSec=3s\\n' >/${dropIn}`);
    await must("systemctl", "daemon-reload");
    await must("systemctl", "restart", "ipref");
    await new Promise((resolve) => setTimeout(resolve, 5000));
    assert.equal(await machine.property("ipref", "NRestarts"), "0", "a healthy one is fed");
    await must("pkill", "-STOP", "-f", "programs/ipref-gw.js");
    await becomes("not started again", async () => {
      return (
        (await machine.property("ipref", "NRestarts")) !== "0" &&
        (await state("ipref")) === "active"
      );
    });
    assert.match(await machine.journal("ipref"), /^ipref\.service: Watchdog timeout/m);
    await must("rm", `/${dropIn}`);
    await must("systemctl", "daemon-reload");
    await must("systemctl", "restart", "ipref");
    assert.ok((await pings()) > 0, await machine.journal("ipref"));
  });

  it("keeps its mappings and its configuration over an upgrade, and runs the new version", async () => {
    const maps = (await must("ipref", "maps", "--json")).stdout;
    const configuration = readFileSync(join(root, "etc/ipref/ipref.toml"), "utf8");
    const before = await machine.property("ipref", "MainPID");
    await must("dpkg", "-i", packages[1] ?? "");
    const version = await must("dpkg-query", "-W", "-f", "$" + "{Version}", "ipref");
    assert.equal(version.stdout, VERSIONS[1]);
    assert.equal(await state("ipref"), "active");
    assert.notEqual(await machine.property("ipref", "MainPID"), before);
    assert.equal(readFileSync(join(root, "etc/ipref/ipref.toml"), "utf8"), configuration);
    assert.ok((await pings()) > 0, await machine.journal("ipref"));
    const references = (text: string): string[] =>
      [...text.matchAll(/"reference":"[^"]+"/g)].map(([match]) => match).sort();
    assert.ok(references(maps).length > 0, maps);
    assert.deepEqual(references((await must("ipref", "maps", "--json")).stdout), references(maps));
  });

  it("runs the parts as services of their own", async () => {
    const [site] = network.sites;
    await must("systemctl", "stop", "ipref");
    const flags = `-gateway-bind ${site.bindAddress} -gateway-pub ${site.publicAddress}`;
    const defaults = `OPTIONS="${flags}"\nFORWARDING=4\n`;
    writeFileSync(join(root, "etc/default/ipref-gateway"), defaults);
    const corefile = ". {\n  ipref {\n    upstream 192.0.2.53\n  }\n  forward . 192.0.2.53\n}\n";
    writeFileSync(join(root, "etc/ipref/Corefile"), corefile);
    await must("systemctl", "start", "ipref-gateway");
    await must("systemctl", "start", "ipref-resolver");
    await must("systemctl", "start", "ipref-dns-agent");
    const texts = await Promise.all(UNITS.map((unit) => machine.property(unit, "StatusText")));
    assert.deepEqual(texts.slice(1), ["forwarding", "answering", "following 0 sources"]);
    assert.ok((await pings()) > 0, await machine.journal("ipref-gateway"));
    const agent = await machine.property("ipref-dns-agent", "MainPID");
    const status = (await must("cat", `/proc/${agent}/status`)).stdout;
    assert.match(status, /^CapEff:\s0{16}$/m);
    for (const unit of UNITS.slice(1)) await must("systemctl", "reload", unit);
    for (const unit of UNITS.slice(1)) assert.equal(await state(unit), "active", unit);
    await must("systemctl", "start", "ipref");
    for (const unit of UNITS.slice(1)) assert.equal(await state(unit), "inactive", unit);
  });

  it("ends with its removal and keeps the state", async () => {
    await must("systemctl", "enable", "ipref");
    await must("dpkg", "-r", "ipref");
    assert.notEqual(await state("ipref"), "active");
    assert.equal((await machine.run("pgrep", "-u", "ipref")).code, 1);
    const gone = ["/usr/bin/ipref", "/usr/lib/ipref", "/run/ipref"];
    for (const path of gone) assert.ok(!existsSync(join(root, path)), path);
    for (const path of ["/var/lib/ipref/mappings", "/etc/ipref/ipref.toml"]) {
      assert.ok(existsSync(join(root, path)) || path.includes("mappings"), path);
    }
    assert.ok(existsSync(join(root, "var/lib/ipref")));
  });

  it("leaves nothing but the user when it is purged", async () => {
    await must("rm", "/etc/ipref/Corefile", ...packages);
    await must("dpkg", "-P", "ipref");
    // Pages that somebody has read are man's.
    const others = ["-path", "/var/cache/man", "-prune", "-o"];
    const left = await must("find", "/", "-xdev", ...others, "-name", "*ipref*", "-print");
    assert.equal(left.stdout, "");
    await must("getent", "passwd", "ipref");
  });
});
