// The guides run: every block of commands in docs, but those marked "outside", in its order.
//
// The commands see the clone as working folder, an /etc of their own, empty /run and /var/lib, and
// a `sudo` that does nothing but run its arguments. A block "sh up" runs in the background until
// the next `ipref down`.

import assert from "node:assert/strict";
import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";
import { Namespaces } from "../../src/programs/demo/namespaces.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import { addLanMachine } from "../support/lan-machine.js";

const why = await whyNoNamespaces(["ip", "dig", "tsig-keygen"]);
const skip = why === undefined ? false : why.reason;
const ROOT = repositoryRoot();
const GUIDES = ["SETUP", "OPERATIONS", "TROUBLESHOOTING", "BUILD"];
const RUN = ["sh", "sh up"];
/** The others are run elsewhere, or are no commands. */
const KINDS = [...RUN, "sh outside", "text", "console"];

/** A block of commands with the words behind its fence. */
interface Block {
  readonly kind: string;
  readonly text: string;
}

function blocksOf(guide: string): Block[] {
  const text = readFileSync(join(ROOT, "docs", `${guide}.md`), "utf8");
  const pattern = /^( *)```(\w[^\n]*)\n([\s\S]*?)^ *```$/gm;
  return [...text.matchAll(pattern)].map(([, indent, kind, body]) => {
    const lines = body!.split("\n").map((line) => line.slice(indent!.length));
    return { kind: kind!.trim(), text: lines.join("\n") };
  });
}

/** A script that runs the blocks and ends at the first failure. */
function scriptOf(blocks: readonly Block[]): string {
  const wait =
    "for n in $(seq 300); do grep -q 'ready in' /run/log && break; sleep 0.1; done; " +
    "grep 'ready in' /run/log || { cat /run/log; exit 1; }";
  const parts = blocks.map(({ kind, text }) => {
    if (kind === "sh up") return `rm -f /run/log\n${text.trim()} > /run/log 2>&1 &\n${wait}\n`;
    return text;
  });
  return `set -ex\n${parts.join("\n")}\n`;
}

describe("guides", { skip, concurrency: 1, timeout: 240_000 }, () => {
  const namespaces = new Namespaces();
  let machine: string;
  let folder: string;

  before(async () => {
    machine = await addLanMachine(namespaces);
    folder = namespaces.subdirectory("guides");
    mkdirSync(join(folder, "tools"));
    writeFileSync(join(folder, "tools", "sudo"), '#!/bin/sh\nexec "$@"\n');
    chmodSync(join(folder, "tools", "sudo"), 0o755);
    cpSync("/etc", join(folder, "etc"), { recursive: true, verbatimSymlinks: true });
  });
  after(() => namespaces.destroy());

  for (const guide of GUIDES) {
    it(`every block of docs/${guide}.md says whether it can be run here`, () => {
      for (const { kind, text } of blocksOf(guide)) assert.ok(KINDS.includes(kind), text);
    });

    it(`the commands of docs/${guide}.md work`, async () => {
      const blocks = blocksOf(guide).filter(({ kind }) => RUN.includes(kind));
      assert.ok(blocks.length > 1);
      const script = join(folder, `${guide}.sh`);
      writeFileSync(script, scriptOf(blocks));
      const etc = join(folder, "etc");
      const mounts = [
        `rm -rf ${etc}/resolv.conf ${etc}/ipref`,
        `echo nameserver 192.0.2.53 > ${etc}/resolv.conf`,
        "umount /etc/resolv.conf 2> /dev/null || true",
        `mount --bind ${etc} /etc`,
        "mount -t tmpfs tmpfs /run",
        "mount -t tmpfs tmpfs /var/lib",
        `cd ${ROOT}`,
        `export PATH=${join(folder, "tools")}:$PATH`,
        `exec bash ${script}`,
      ];
      const args = ["-c", mounts.join(" && ")];
      const result = await namespaces.exec(machine, "sh", args, { timeoutMs: 100_000 });
      const text = `${result.stdout}\n${result.stderr}`;
      assert.equal(result.code, 0, text.slice(-4000));
    });
  }

  it("the published name of docs/SETUP.md had its local address", () => {
    const [lookUp] = blocksOf("SETUP").filter(({ text }) => text.includes("web.home.example.com"));
    assert.match(lookUp!.text, /publish web 10\.1\.0\.22[\s\S]*dig \+short @127\.0\.0\.1 web\./);
  });
});
