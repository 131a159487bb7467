/** What each program tells the service manager while it starts, reloads and ends. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";
import { waitFor } from "../../src/programs/demo/namespaces.js";
import { openNotifySocket } from "../support/notify-socket.js";

const PROGRAMS = join(repositoryRoot(), "dist", "src", "programs");
const folder = mkdtempSync(join(tmpdir(), "ipref-notices-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const port = 20_000 + (process.pid % 20_000);
const corefile = join(folder, "Corefile");
writeFileSync(corefile, `.:${port} {\n    bind 127.0.0.1\n    whoami\n}\n`);
const socket = join(folder, "mapper.sock");

/** Arguments that need no root, and what `systemctl status` shows. */
const CASES: readonly (readonly [string, readonly string[], string])[] = [
  [
    "ipref-gw",
    [
      ...["-devmode", "-gateway", "198.51.100.7", "-mapper-socket", socket, "-hosts", ""],
      ...["-data", join(folder, "data"), "-control", ""],
    ],
    "forwarding",
  ],
  ["ipref-coredns", ["-conf", corefile], "answering"],
  ["ipref-dns-agent", ["-devmode", "-resolver", "192.0.2.53"], "following 0 sources"],
];

for (const [program, args, status] of CASES) {
  test(`${program} tells of its start, its reload and its end, and feeds the watchdog`, async () => {
    const notify = openNotifySocket(join(folder, `${program}.notify`));
    const child = spawn(process.execPath, [join(PROGRAMS, `${program}.js`), ...args], {
      env: { ...process.env, NOTIFY_SOCKET: notify.name, WATCHDOG_USEC: "600000" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        output += chunk.toString();
      });
    }
    const heard = async (first: string, count = 1): Promise<void> => {
      const told = () => notify.notices().filter(([line]) => line === first).length;
      const isHeard = await waitFor(() => (told() >= count ? true : undefined), 20_000);
      assert.ok(isHeard, `${first} in ${JSON.stringify(notify.notices())}\n${output}`);
    };
    try {
      await heard("READY=1");
      assert.deepEqual(notify.notices()[0], ["READY=1", `STATUS=${status}`]);
      await heard("WATCHDOG=1", 3);
      child.kill("SIGHUP");
      await heard("RELOADING=1");
      await heard("READY=1", 2);
      child.kill("SIGTERM");
      assert.equal(await ended(child), 0, output);
      assert.deepEqual(notify.notices().at(-1), ["STOPPING=1", "STATUS=ending"]);
    } finally {
      child.kill("SIGKILL");
      notify.close();
    }
  });
}

async function ended(child: ChildProcess): Promise<number | string> {
  const status = () => child.exitCode ?? child.signalCode ?? undefined;
  return (await waitFor(status, 20_000)) ?? "still running";
}
