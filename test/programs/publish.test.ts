/** `ipref publish`: references, files, records, refusals; DNS updates as bytes. */

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { readConfiguration } from "../../src/control/config/read.js";
import type { UpConfiguration } from "../../src/control/config/settings.js";
import { messageParts } from "../../src/programs/publish-update.js";
import {
  freeReference,
  readLocalZone,
  referenceRefusal,
  serialOf,
  writeLocalZone,
} from "../../src/programs/publish-zone.js";

const PROGRAM = resolve(dirname(fileURLToPath(import.meta.url)), "../../src/programs/ipref.js");

/** A folder with a configuration of its own; gone after `work`. */
function withFolder(work: (run: Run, folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), "ipref-publish-"));
  try {
    const file = join(folder, "ipref.toml");
    writeFileSync(
      file,
      `[files]\ndata = "${folder}/data"\nrun = "${folder}/run"\n[gateway]\n` +
        'public = "198.51.100.7"\nreference = "1025"\n[publish]\ndomain = "home.example.com"\n',
    );
    work((...args) => {
      const all = [PROGRAM, "publish", "--config", file, ...args];
      return spawnSync(process.execPath, all, { encoding: "utf8", timeout: 20_000 });
    }, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

type Run = (...args: string[]) => { status: number | null; stdout: string; stderr: string };

function configurationIn(folder: string): UpConfiguration {
  const text = readFileSync(join(folder, "ipref.toml"), "utf8");
  const read = readConfiguration({ file: "ipref.toml", text, flags: new Map() });
  assert.ok(read.ok);
  return read.configuration;
}

test("publishing prints the AA record with the lowest free reference", () => {
  withFolder((run, folder) => {
    const first = run("web", "10.1.0.22");
    assert.equal(first.status, 0, first.stderr);
    const record = 'home.example.com. 300 IN TXT "AA 198.51.100.7 +';
    assert.equal(first.stdout, `web.${record} 1024"\n`);
    assert.match(first.stderr, /Add the line above to the public zone home\.example\.com/);
    // 1025 is the gateway's own.
    assert.equal(run("SSH.home.example.com.", "10.1.0.23").stdout, `ssh.${record} 1026"\n`);
    const zones = join(folder, "data/zones");
    const hosts = readFileSync(join(zones, "own-names.hosts"), "utf8");
    assert.equal(hosts, "10.1.0.22 web.home.example.com\n10.1.0.23 ssh.home.example.com\n");
    assert.match(readFileSync(join(zones, "home.example.com.db"), "utf8"), /^ssh\..* \+ 1026"$/m);
  });
});

test("publishing a name again keeps its reference and changes its address", () => {
  withFolder((run) => {
    run("web", "10.1.0.22", "--ref", "1100");
    assert.match(run("web", "10.1.0.99").stdout, /\+ 1100"/);
    assert.equal(run("--list").stdout, "web.home.example.com  10.1.0.99  AA 198.51.100.7 + 1100\n");
  });
});

test("removing a name takes it out of all three files", () => {
  withFolder((run, folder) => {
    run("web", "10.1.0.22");
    run("ssh", "10.1.0.23");
    const removed = run("--remove", "web");
    assert.equal(removed.status, 0, removed.stderr);
    for (const file of ["internal.db", "home.example.com.db", "own-names.hosts"]) {
      const text = readFileSync(join(folder, "data/zones", file), "utf8");
      assert.doesNotMatch(text, /^web|web\.home/m, file);
      assert.match(text, /ssh/, file);
    }
    assert.match(run("--remove", "web").stderr, /web\.home\.example\.com is not published/);
  });
});

test("lines of the local zone that are not ours stay, and the serial grows", () => {
  withFolder((run, folder) => {
    const path = join(folder, "data/zones/internal.db");
    mkdirSync(dirname(path), { recursive: true });
    const own =
      "$ORIGIN internal.\n@ 60 IN SOA a. b. (\n 41 ; serial\n 1 1 1 1 )\nnas A 10.1.0.5\n";
    writeFileSync(path, own);
    assert.equal(run("web", "10.1.0.22").status, 0);
    const text = readFileSync(path, "utf8");
    assert.equal(text, `${own.replace("41", "42")}web 300 IN A 10.1.0.22 ; ipref 1024\n`);
    assert.equal(serialOf(text), 42);
  });
});

test("many names are published from a file", () => {
  withFolder((run, folder) => {
    const path = join(folder, "names");
    writeFileSync(path, "# hosts\nweb 10.1.0.22\nssh 10.1.0.23 2000\n");
    const result = run("--from", path);
    assert.equal(result.status, 0, result.stderr);
    assert.deepEqual(result.stdout.match(/\+ [0-9]+/g), ["+ 1024", "+ 2000"]);
    writeFileSync(path, "web\n");
    assert.match(run("--from", path).stderr, /names:1: expected NAME ADDRESS \[REFERENCE\]/);
  });
});

test("runs at the same time lose nothing", async () => {
  const folder = mkdtempSync(join(tmpdir(), "ipref-publish-"));
  const file = join(folder, "ipref.toml");
  const text = `[files]\ndata = "${folder}/data"\nrun = "${folder}/run"\n[gateway]\n`;
  const rest = 'public = "198.51.100.7"\n[publish]\ndomain = "home.example.com"\n';
  writeFileSync(file, text + rest);
  const run = (name: string): Promise<unknown> =>
    new Promise((done) => {
      const args = [PROGRAM, "publish", "--config", file, name, "10.1.0.22"];
      spawn(process.execPath, args, { stdio: "ignore" }).on("exit", done);
    });
  try {
    const names = ["a", "b", "c", "d"];
    assert.deepEqual(await Promise.all(names.map(run)), [0, 0, 0, 0]);
    const zone = readLocalZone(configurationIn(folder));
    assert.deepEqual(zone.names.map(({ label }) => label).sort(), names);
    assert.equal(new Set(zone.names.map(({ reference }) => reference)).size, 4);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("what cannot work is refused with status 2 and the reason", () => {
  withFolder((run) => {
    run("web", "10.1.0.22");
    const cases: [string[], RegExp][] = [
      [["x", "10.1.0.1", "--ref", "5000"], /second byte is 19/],
      [["x", "10.1.0.1", "--ref", "0"], /reference 0 is not allowed/],
      [["x", "10.1.0.1", "--ref", "1025"], /that of the gateway itself/],
      [["x", "10.1.0.1", "--ref", "1024"], /is that of web/],
      [["x", "10.1.0.1", "--ref", "zz"], /expected a reference/],
      [["x", "2001:db8::1"], /expected a unicast IPv4 address/],
      [["x", "127.0.0.1"], /expected a unicast IPv4 address/],
      [["x", "10.240.0.9"], /inside of the encode net/],
      [["a.b", "10.1.0.1"], /expected one label/],
      [["x"], /Expected NAME and LOCAL_ADDRESS/],
    ];
    for (const [args, reason] of cases) {
      const { status, stderr } = run(...args);
      assert.match(stderr, reason);
      assert.equal(status, 2, args.join(" "));
    }
  });
});

test("without a public zone the status is 78 and the setting is named", () => {
  const args = [PROGRAM, "publish", "--config", "/dev/null", "web", "10.1.0.22"];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  assert.equal(status, 78);
  assert.match(stderr, /set publish\.domain/);
});

test("records that will not work are warnings which name the line", () => {
  withFolder((run, folder) => {
    run("web", "10.1.0.22");
    const path = join(folder, "data/zones/internal.db");
    const more = "bad 300 IN A 10.1.0.1 ; ipref 5000\ntwin 300 IN A 10.1.0.2 ; ipref 1024\n";
    writeFileSync(path, readFileSync(path, "utf8") + more);
    const { stderr } = run("--list");
    assert.match(stderr, /internal\.db:8: bad: gateways refuse reference 5000/);
    assert.match(stderr, /internal\.db:9: twin: reference 1024 is that of web as well/);
  });
});

test("free references are accepted by gateways, whatever is taken", () => {
  withFolder((_, folder) => {
    const configuration = configurationIn(folder);
    const reference = fc.bigInt({ min: 1024n, max: 70_000n });
    fc.assert(
      fc.property(fc.uniqueArray(reference, { maxLength: 500 }), (list) => {
        const taken = new Set(list);
        const free = freeReference(configuration, taken)!;
        assert.ok(!taken.has(free));
        assert.equal(referenceRefusal(configuration, free), undefined);
      }),
      { numRuns: 200 },
    );
    const all = new Set<bigint>();
    for (let count = 0; count < 3100; count++) all.add(freeReference(configuration, all)!);
    assert.equal(all.size, 3100);
    assert.ok(all.has(65_536n), "the references behind 4095 begin at 65536");
  });
});

test("what is written to the local zone is read back", () => {
  withFolder((_, folder) => {
    const configuration = configurationIn(folder);
    const name = fc.record({
      label: fc.stringMatching(/^[a-z][a-z0-9]{0,20}$/),
      octet: fc.integer({ min: 1, max: 254 }),
      reference: fc.bigInt({ min: 1n, max: (1n << 128n) - 1n }),
    });
    const names = fc.uniqueArray(name, { selector: ({ label }) => label, maxLength: 30 });
    fc.assert(
      fc.property(names, (list) => {
        const entries = list.map(({ label, octet, reference }) => {
          const address = { version: 4 as const, bytes: Uint8Array.of(10, 1, 0, octet) };
          return { label, address, reference };
        });
        writeLocalZone(configuration, entries);
        const read = readLocalZone(configuration).names;
        assert.deepEqual(
          read.map(({ label, address, reference }) => ({ label, address, reference })),
          entries,
        );
      }),
      { numRuns: 50 },
    );
  });
});

test("a DNS update removes and adds exact records (RFC 2136 2.5)", () => {
  const name = "web.example.com.";
  const [message] = messageParts("example.com", [
    { kind: "remove", name, text: "AA 192.0.2.1 + 1", ttlSeconds: 300 },
    { kind: "add", name, text: "AA 192.0.2.1 + 2", ttlSeconds: 300 },
  ]);
  const zone = "076578616d706c6503636f6d00";
  const owner = `03776562${zone}`;
  const text = (digit: string) =>
    `11 10 ${Buffer.from(`AA 192.0.2.1 + ${digit}`).toString("hex")}`.replaceAll(" ", "");
  const wanted =
    `28000001 0000 0002 0000 ${zone} 0006 0001` +
    `${owner} 0010 00fe 00000000 00 ${text("1")} ${owner} 0010 0001 0000012c 00 ${text("2")}`;
  assert.equal(Buffer.from(message!).toString("hex").slice(4), wanted.replaceAll(" ", ""));
});

test("ten thousand changes are sent in messages that fit", () => {
  const changes = Array.from({ length: 10_000 }, (_, index) => ({
    kind: "add" as const,
    name: `host${index}.home.example.com.`,
    text: `AA 198.51.100.7 + ${index + 1024}`,
    ttlSeconds: 300,
  }));
  const parts = messageParts("home.example.com", changes);
  const counts = parts.map((part) => (part[8]! << 8) | part[9]!);
  assert.equal(
    counts.reduce((sum, count) => sum + count),
    10_000,
  );
  for (const part of parts) assert.ok(part.length < 65_000);
});
