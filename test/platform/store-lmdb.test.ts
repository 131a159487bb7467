import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { seededRandom } from "../../src/base/random.js";
import {
  PAGE_BYTES,
  STORE_SHELVES,
  type StoreChange,
  type StoreShelf,
} from "../../src/mapper/store.js";
import { buildGroup, parseHalf } from "../../src/platform/store-journal.js";
import { type LmdbStore, openLmdbStore, StoreError } from "../../src/platform/store-lmdb.js";
import { SystemCallError } from "../../src/platform/system-error.js";

const WRITER = fileURLToPath(new URL("./store-writer.js", import.meta.url));
const FILE = "mapper_ea4_gw4.mdb";
const root = mkdtempSync(join(tmpdir(), "ipref-store-"));
let nextDirectory = 0;

after(() => rmSync(root, { recursive: true, force: true }));

function newDirectory(): string {
  return join(root, `data${nextDirectory++}`);
}

function openStore(directory: string, journalHalfBytes?: number): LmdbStore {
  const half = journalHalfBytes === undefined ? {} : { journalHalfBytes };
  return openLmdbStore({ directory, encodedVersion: 4, gatewayVersion: 4, ...half });
}

/** Everything in the store, as text by "shelf/key". */
function contents(store: LmdbStore): Map<string, string> {
  const all = new Map<string, string>();
  for (const shelf of STORE_SHELVES) {
    for (const { key, value } of store.load().entries(shelf)) {
      all.set(`${shelf}/${key}`, Buffer.from(value).toString("hex"));
    }
  }
  return all;
}

function put(shelf: StoreShelf, key: number, ...bytes: number[]): StoreChange {
  return { shelf, key, value: Uint8Array.from(bytes) };
}

async function filled(directory: string, pages: number): Promise<void> {
  const store = openStore(directory);
  for (let key = 0; key < pages; key++) {
    const value = new Uint8Array(PAGE_BYTES).fill(key & 255);
    void store.commit([{ shelf: "page", key, value }]);
  }
  await store.close();
}

/** Whether this test process may mount a file system. */
function canMount(): boolean {
  return process.getuid?.() === 0;
}

test("a new store is empty, private to user and group, and can be reopened", async () => {
  const directory = newDirectory();
  const store = openStore(directory);
  assert.deepEqual(contents(store), new Map());
  assert.equal(statSync(directory).mode & 0o007, 0);
  assert.equal(statSync(join(directory, FILE)).mode & 0o777, 0o660);
  await store.close();
  await store.close();
  const again = openStore(directory);
  assert.deepEqual(contents(again), new Map());
  await again.close();
});

test("committed changes, replacements and removals are there after reopening", async () => {
  const directory = newDirectory();
  const store = openStore(directory);
  const largeKey = 2 ** 48 - 1;
  await store.commit([put("owner", 7, 1, 2, 3), put("page", 0, 9), put("page", largeKey, 8)]);
  await store.commit([put("meta", 1, 5), put("page", 0, 10)]);
  await store.commit([{ shelf: "owner", key: 7, value: undefined }, put("seen", 3, 255)]);
  await store.close();
  const again = openStore(directory);
  const wanted = new Map([
    ["meta/1", "05"],
    ["seen/3", "ff"],
    ["page/0", "0a"],
    [`page/${largeKey}`, "08"],
  ]);
  assert.deepEqual(contents(again), wanted);
  await again.close();
});

test("entries() yields a shelf in ascending order of keys", async () => {
  const directory = newDirectory();
  const store = openStore(directory);
  const keys = [5, 2 ** 40, 1, 70_000, 2 ** 32, 0, 300];
  for (const key of keys) void store.commit([put("page", key, 1)]);
  await store.close();
  const again = openStore(directory);
  const found = [...again.load().entries("page")].map(({ key }) => key);
  assert.deepEqual(
    found,
    [...keys].sort((a, b) => a - b),
  );
  await again.close();
});

test("any sequence of batches over many checkpoints equals a map after reopening", async () => {
  const seed = Date.now() >>> 0;
  const random = seededRandom(seed);
  const directory = newDirectory();
  const model = new Map<string, string>();
  for (let round = 0; round < 4; round++) {
    const store = openStore(directory, 16 << 10);
    assert.deepEqual(contents(store), model, `seed ${seed} round ${round}`);
    for (let index = 0; index < 300; index++) {
      const changes = Array.from({ length: 1 + (random.word() % 4) }, () => {
        const shelf = STORE_SHELVES[random.word() % STORE_SHELVES.length]!;
        const key = random.word() % 40;
        const length = 1 + (random.word() % 2000);
        const value = random.word() % 4 === 0 ? undefined : new Uint8Array(length).fill(index);
        if (value === undefined) model.delete(`${shelf}/${key}`);
        else model.set(`${shelf}/${key}`, Buffer.from(value).toString("hex"));
        return { shelf, key, value };
      });
      const done = store.commit(changes);
      if (random.word() % 3 === 0) await done;
    }
    await store.close();
  }
  const store = openStore(directory);
  const sorted = (map: Map<string, string>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  assert.deepEqual(sorted(contents(store)), sorted(model), `seed ${seed}`);
  await store.close();
});

test("a batch larger than the journal is stored whole, in its place in the order", async () => {
  const directory = newDirectory();
  const store = openStore(directory, 8 << 10);
  void store.commit([put("page", 0, 1), put("page", 999, 1)]);
  const large = Array.from({ length: 20 }, (_, key) => ({
    shelf: "page" as const,
    key,
    value: new Uint8Array(4000).fill(2),
  }));
  void store.commit(large);
  await store.commit([put("page", 1, 3)]);
  await store.close();
  const again = openStore(directory);
  const all = contents(again);
  assert.equal(all.size, 21);
  assert.equal(all.get("page/0"), "02".repeat(4000));
  assert.equal(all.get("page/1"), "03");
  await again.close();
});

test("nothing acknowledged is lost and no batch is halved when the process is killed", async () => {
  const directory = newDirectory();
  let next = 1;
  for (let round = 0; round < 12; round++) {
    const writer = spawn(process.execPath, [WRITER, directory, String(next)]);
    let output = "";
    writer.stdout.on("data", (chunk) => {
      output += String(chunk);
    });
    while (!output.includes("\n")) await sleep(2);
    await sleep(10 + 17 * round);
    writer.kill("SIGKILL");
    await once(writer, "close");
    const acknowledged = Number(output.trim().split("\n").at(-1));
    const store = openStore(directory);
    const pages = [...store.load().entries("page")].map(({ value }) => Buffer.from(value));
    const seen = [...store.load().entries("seen")].map(({ value }) => Buffer.from(value));
    assert.deepEqual(pages, seen);
    const newest = Math.max(...pages.map((value) => value.readUInt32BE(0)));
    assert.ok(newest >= acknowledged, `stored ${newest}, acknowledged ${acknowledged}`);
    assert.ok(newest <= acknowledged + 1);
    for (const value of pages) assert.ok(value.readUInt32BE(0) > newest - 50);
    next = newest + 1;
    await store.close();
  }
  assert.ok(next > 100, `${next} commits`);
});

test("a second store on the directory is refused with the owner's pid and harms nothing", async () => {
  const directory = newDirectory();
  const store = openStore(directory);
  await store.commit([put("page", 4, 4)]);
  assert.throws(
    () => openStore(directory),
    (error: SystemCallError) => {
      assert.ok(error instanceof SystemCallError);
      assert.match(error.message, new RegExp(`another gateway.*pid ${process.pid} `));
      return true;
    },
  );
  await store.commit([put("page", 5, 5)]);
  await store.close();
  const again = openStore(directory);
  assert.equal(contents(again).size, 2);
  await again.close();
});

const damages: [string, (path: string) => void][] = [
  ["text instead of a database", (path) => writeFileSync(path, "not a database".repeat(1000))],
  ["a file cut in the middle", (path) => truncateSync(path, statSync(path).size / 2)],
  ["a file cut to one page", (path) => truncateSync(path, 4096)],
  ["a file cut to ten bytes", (path) => truncateSync(path, 10)],
  ["zeros in the middle", (path) => overwrite(path, 0.5, 0)],
  ["ones near the end", (path) => overwrite(path, 0.8, 255)],
];

function overwrite(path: string, fraction: number, byte: number): void {
  const bytes = readFileSync(path);
  const start = Math.floor((bytes.length * fraction) / 4096) * 4096;
  writeFileSync(path, bytes.fill(byte, start, start + 40_960));
}

for (const [name, damage] of damages) {
  test(`a damaged file is moved aside: ${name}`, async () => {
    const directory = newDirectory();
    await filled(directory, 400);
    damage(join(directory, FILE));
    const store = openStore(directory);
    assert.equal(store.notices.length, 1);
    assert.match(store.notices[0]!, /is damaged.*\.bad-.*empty/);
    assert.deepEqual(contents(store), new Map());
    assert.ok(readdirSync(directory).some((entry) => entry.startsWith(`${FILE}.bad-`)));
    await store.commit([put("page", 1, 1)]);
    await store.close();
    const again = openStore(directory);
    assert.equal(contents(again).size, 1);
    assert.deepEqual(again.notices, []);
    await again.close();
  });
}

test("a data directory that is a file is refused in one sentence", () => {
  const path = newDirectory();
  writeFileSync(path, "");
  assert.throws(() => openStore(path), /Cannot use the data directory .*data[0-9]+/);
});

test("a full disk rejects commits, loses nothing, and the store recovers", {
  skip: !canMount(),
}, async () => {
  const directory = newDirectory();
  mkdirSync(directory);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", directory]);
  try {
    let store = openStore(directory, 64 << 10);
    writeFileSync(join(directory, "ballast"), new Uint8Array(1 << 20));
    const accepted = new Set<number>();
    let refusal: unknown;
    for (let key = 0; key < 5000 && refusal === undefined; key++) {
      const value = new Uint8Array(900).fill(key & 255);
      await store.commit([{ shelf: "page", key, value }]).then(
        () => accepted.add(key),
        (error: unknown) => {
          refusal = error;
        },
      );
    }
    assert.ok(refusal instanceof StoreError, String(refusal));
    assert.equal(refusal.code, "ENOSPC");
    assert.match(refusal.message, /disk is full/);
    rmSync(join(directory, "ballast"));
    await sleep(1100);
    await store.commit([put("page", 9999, 1)]);
    accepted.add(9999);
    await store.close();
    store = openStore(directory);
    const keys = [...store.load().entries("page")].map(({ key }) => key);
    assert.deepEqual(
      keys,
      [...accepted].sort((a, b) => a - b),
    );
    await store.close();
  } finally {
    execFileSync("umount", ["-l", directory]);
  }
});

test("parseHalf() takes whole groups up to the first torn one, at every truncation", () => {
  const first = buildGroup(6, 0, [[put("page", 2 ** 40, 1, 2)], [put("meta", 1, 3)]]);
  const second = buildGroup(6, 1, [[{ shelf: "seen", key: 5, value: undefined }]]);
  const half = new Uint8Array(Buffer.concat([first, second, new Uint8Array(50)]));
  assert.deepEqual(parseHalf(half), {
    epoch: 6,
    changes: [
      put("page", 2 ** 40, 1, 2),
      put("meta", 1, 3),
      { shelf: "seen", key: 5, value: undefined },
    ],
  });
  for (let cut = 0; cut < first.length + second.length; cut++) {
    const torn = Buffer.concat([half.subarray(0, cut), new Uint8Array(100)]);
    torn[cut] = half[cut]! ^ 0xff;
    const changes = parseHalf(torn)?.changes.length ?? 0;
    assert.equal(changes, cut < first.length ? 0 : 2, `cut at ${cut}`);
  }
  const older = Buffer.concat([first, buildGroup(4, 1, [[put("meta", 1, 9)]])]);
  assert.equal(parseHalf(older)!.changes.length, 2);
});

test("62,500 pages, a million mappings, are read back in well under two seconds", async () => {
  const directory = newDirectory();
  await filled(directory, 62_500);
  const start = performance.now();
  const store = openStore(directory);
  let bytes = 0;
  for (const { value } of store.load().entries("page")) bytes += value.length;
  const milliseconds = performance.now() - start;
  assert.equal(bytes, 62_500 * PAGE_BYTES);
  assert.ok(milliseconds < 2000, `${milliseconds} ms`);
  await store.close();
  assert.ok(existsSync(join(directory, FILE)));
});
