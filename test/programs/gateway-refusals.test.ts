/**
 * What ipref-gw says and how it ends when the machine refuses something: one sentence with cause
 * and advice, an exit status of sysexits(3), and nothing left behind. In a network namespace of its
 * own.
 */

import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const PROGRAM = resolve(dirname(fileURLToPath(import.meta.url)), "../../src/programs/ipref-gw.js");
const isRoot = process.geteuid?.() === 0;
const skip = isRoot ? false : "needs root: network namespaces";
const NOBODY = "65534";

interface Run {
  readonly status: number | null;
  readonly log: string;
  /** The line that tells why, without its letter. */
  readonly fatal: string;
}

/** Runs the gateway to its end; `wrapper` goes in front of the command line. */
function run(wrapper: readonly string[], flags: readonly string[]): Run {
  const [file, ...args] = [...wrapper, process.execPath, PROGRAM, ...flags];
  const result = spawnSync(file!, args, { encoding: "utf8", timeout: 20_000 });
  const fatal = /^F (.*)$/m.exec(result.stderr)?.[1] ?? "";
  return { status: result.status, log: result.stderr, fatal };
}

function assertRefusal({ status, log, fatal }: Run, wantedStatus: number, wanted: RegExp): void {
  assert.equal(status, wantedStatus, log);
  assert.match(fatal, wanted, log);
  assert.doesNotMatch(log, /internal error|^ +at /m);
  assert.match(log, /I STOP ipref gateway: fatal\n$/);
}

describe("ipref-gw refused by the machine", { skip }, () => {
  let folder = "";
  let holder: ChildProcess | undefined;
  const inside: string[] = [];

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "ipref-refusals-"));
    chmodSync(folder, 0o755);
    // A process that holds a network namespace open for all runs.
    holder = spawn("unshare", ["--net", "sh", "-c", "ip link set lo up; echo; exec sleep 120"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise((ready) => holder!.stdout!.once("data", ready));
    inside.push("nsenter", `--net=/proc/${holder.pid}/ns/net`);
  });

  after(() => {
    holder?.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });

  const flags = (name: string, ...more: string[]): string[] => [
    ...["-gateway", "0.0.0.0", "-hosts=", "-data", join(folder, name)],
    ...["-mapper-socket", join(folder, `${name}.sock`), ...more],
  ];

  /** Starts a gateway and waits until its socket listens. */
  async function start(name: string, ...more: string[]): Promise<ChildProcess> {
    const args = [...inside.slice(1), process.execPath, PROGRAM, ...flags(name, ...more)];
    const child = spawn(inside[0]!, args, { stdio: ["ignore", "ignore", "pipe"] });
    await new Promise<void>((ready, failed) => {
      let log = "";
      child.stderr!.on("data", (chunk) => {
        log += chunk;
        if (log.includes("I mapper socket")) ready();
      });
      child.once("exit", () => failed(new Error(log)));
    });
    return child;
  }

  function ended(child: ChildProcess): Promise<number | null> {
    return new Promise((done) => child.once("exit", (code) => done(code)));
  }

  test("without privileges: 77", () => {
    const data = join(folder, "nobody");
    mkdirSync(data);
    chmodSync(data, 0o777);
    chmodSync(folder, 0o777);
    const wrapper = [...inside, "setpriv", "--reuid", NOBODY, "--clear-groups"];
    assertRefusal(run(wrapper, flags("nobody")), 77, /TUN.*run as root|\/dev\/net\/tun.*root/);
  });

  test("a data directory that cannot be read: 77", () => {
    const data = join(folder, "closed");
    mkdirSync(data, { mode: 0o700 });
    const wrapper = [...inside, "setpriv", "--reuid", NOBODY, "--clear-groups"];
    assertRefusal(run(wrapper, flags("closed")), 77, /data directory .*closed: permission denied/);
  });

  test("a data directory that is a file", () => {
    writeFileSync(join(folder, "file"), "");
    const { status, fatal, log } = run(inside, flags("file"));
    assert.ok(status !== null && status >= 69 && status <= 78, log);
    assert.match(fatal, /^Cannot use the data directory .*file: /);
  });

  test("no /dev/net/tun: 69", () => {
    const wrapper = [
      ...inside,
      ...["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh"],
    ];
    assertRefusal(run(wrapper, flags("notun")), 69, /open \/dev\/net\/tun: .*modprobe tun/);
  });

  test("an address that the machine does not have: 69", () => {
    const result = run(inside, flags("address", "-gateway-bind", "192.0.2.77"));
    assertRefusal(result, 69, /192\.0\.2\.77 .*does not have the address/);
  });

  test("port, socket path and data directory taken: 69, with the holder's name", async () => {
    const child = await start("taken");
    const socket = ["-mapper-socket", join(folder, "taken.sock")];
    try {
      assertRefusal(run(inside, flags("other")), 69, /port 1045: .*in use.*pid \d+/);
      const busy = run(inside, flags("other", ...socket, "-gateway-port", "1046"));
      assertRefusal(busy, 69, /taken\.sock: .*served by pid \d+/);
      assertRefusal(run(inside, flags("taken")), 69, /data directory .*pid \d+/);
    } finally {
      child.kill("SIGTERM");
    }
    assert.equal(await ended(child), 0);
    assert.equal(existsSync(join(folder, "taken.sock")), false);
  });

  test("a damaged store is moved aside, named, and replaced by an empty one", async () => {
    const first = await start("damaged");
    first.kill("SIGTERM");
    await ended(first);
    const store = join(folder, "damaged", "mapper_ea4_gw4.mdb");
    assert.ok(existsSync(store), "the store has the name of the specification");
    writeFileSync(store, "This is not a store.".repeat(1000));
    const second = await start("damaged");
    second.kill("SIGTERM");
    assert.equal(await ended(second), 0);
    const names = readdirSync(join(folder, "damaged"));
    assert.ok(
      names.some((name) => name.startsWith("mapper_ea4_gw4.mdb.bad-")),
      names.join(" "),
    );
  });

  test("SIGINT ends it with status 0, and the device is gone", async () => {
    const child = await start("signal");
    child.kill("SIGINT");
    assert.equal(await ended(child), 0);
    const args = [...inside.slice(1), "ip", "-o", "link"];
    const links = spawnSync(inside[0]!, args, { encoding: "utf8" }).stdout;
    assert.doesNotMatch(links, /ipref/);
  });
});
