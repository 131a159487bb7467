/** `ipref status`, `maps` and `peers` as programs, against control sockets that tell stories. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type ControlHandler, jsonReply, refusal } from "../../../src/control/inspection/api.js";
import { startControlServer } from "../../../src/platform/control-server.js";
import { AGENT, GATEWAY, PEERS, RESOLVER, SUPERVISOR } from "./example-report.js";

const IPREF = fileURLToPath(new URL("../../../src/programs/ipref.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "ipref-inspect-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
let nextFolder = 0;

type Routes = Readonly<Record<string, ControlHandler>>;

const lines = (values: readonly unknown[]): ControlHandler => {
  const body = values.map((value) => `${JSON.stringify(value)}\n`).join("");
  return () => ({ status: 200, contentType: "application/x-ndjson", body });
};

const MAPPING = {
  ...{ kind: "remote", state: "dynamic", address: "10.240.0.22", context: "203.0.113.1" },
  ...{ reference: "1025", owner: "mapper", isPrimary: true, idleSeconds: 5 },
  expiresSeconds: 3600,
};

const SYSTEM: Readonly<Record<string, Routes>> = {
  gateway: {
    "GET /status": () => jsonReply(GATEWAY),
    "GET /peers": lines(PEERS),
    "GET /maps": lines([MAPPING]),
  },
  resolver: { "GET /status": () => jsonReply(RESOLVER) },
  agent: { "GET /status": () => jsonReply(AGENT) },
  up: { "GET /status": () => jsonReply(SUPERVISOR) },
};

async function withSystem(
  system: Readonly<Record<string, Routes>>,
  work: (runFolder: string) => Promise<void>,
): Promise<void> {
  const runFolder = join(folder, String(nextFolder++));
  const servers = await Promise.all(
    Object.entries(system).map(([part, routes]) =>
      startControlServer({
        path: join(runFolder, `${part}.control`),
        group: undefined,
        routes: new Map(Object.entries(routes)),
      }),
    ),
  );
  try {
    await work(runFolder);
  } finally {
    for (const server of servers) server.close();
  }
}

interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs to the end; `onOutput` may end it earlier. */
function ipref(
  args: readonly string[],
  options: { wrap?: readonly string[]; onOutput?: (text: string, end: () => void) => void } = {},
): Promise<Result> {
  const [program = "", ...words] = [...(options.wrap ?? []), process.execPath, IPREF, ...args];
  const child = spawn(program, words, { timeout: 30_000, cwd: "/" });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString();
    options.onOutput?.(stdout, () => child.kill("SIGINT"));
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  return new Promise((resolve) => {
    child.once("close", (status) => resolve({ status, stdout, stderr }));
  });
}

test("ipref status shows a healthy system and ends with 0", async () => {
  await withSystem(SYSTEM, async (run) => {
    const { status, stdout, stderr } = await ipref(["status", "--run", run]);
    assert.deepEqual([status, stderr], [0, ""]);
    assert.match(stdout, /^PART +STATE/);
    assert.match(stdout, /203\.0\.113\.1 +1045 +yes/);
    assert.match(stdout, /ipref status --explain/);
  });
});

test("ipref status --json gives one value that says the same", async () => {
  await withSystem(SYSTEM, async (run) => {
    const { status, stdout } = await ipref(["status", "--json", "--run", run]);
    assert.equal(status, 0);
    const value = JSON.parse(stdout);
    assert.equal(value.isHealthy, true);
    assert.deepEqual(value.parts.gateway, { state: "running", ...GATEWAY });
    assert.deepEqual(value.peers, PEERS);
  });
});

test("ipref status ends with 3 when a part is unhealthy or missing", async () => {
  const { agent: _, ...rest } = SYSTEM;
  await withSystem(rest, async (run) => {
    const { status, stdout } = await ipref(["status", "--run", run]);
    assert.equal(status, 3);
    assert.match(stdout, /agent: It does not answer/);
  });
});

test("without a running system the commands end with 4 and say how to start one", async () => {
  const run = join(folder, "nothing-here");
  for (const command of ["status", "maps", "peers"]) {
    const { status, stdout, stderr } = await ipref([command, "--run", run]);
    assert.deepEqual([status, stdout], [4, ""], command);
    assert.match(stderr, /sudo ipref up/, command);
  }
});

test("a mistyped flag ends with 2 and the nearest one", async () => {
  for (const [command, flag, nearest] of [
    ["status", "--wacth", "--watch"],
    ["maps", "--refrence", "--reference"],
    ["peers", "--verifed", "--verified"],
  ] as const) {
    const { status, stdout, stderr } = await ipref([command, flag, "x"]);
    assert.deepEqual([status, stdout], [2, ""], command);
    assert.ok(stderr.includes(`Did you mean ${nearest}?`), stderr);
  }
  const { status, stderr } = await ipref(["status", "--watch", "often"]);
  assert.equal(status, 2);
  assert.match(stderr, /^Cannot use --watch often: expected a number from 0\.1 to 3600$/m);
});

test("what the gateway refuses about a filter is told, with 2", async () => {
  const routes = {
    "GET /maps": () => refusal(400, "Cannot read the query: found address x, expected y"),
  };
  await withSystem({ gateway: routes }, async (run) => {
    const { status, stderr } = await ipref(["maps", "--address", "x", "--run", run]);
    assert.equal(status, 2);
    assert.match(stderr, /found address x, expected y/);
  });
  const busy = { "GET /maps": () => refusal(503, "Too many questions", "ask again later") };
  await withSystem({ gateway: busy }, async (run) => {
    const { status, stderr } = await ipref(["maps", "--run", run]);
    assert.deepEqual([status, stderr], [69, "Too many questions; ask again later\n"]);
  });
  await withSystem({ gateway: {} }, async (run) => {
    const { status, stderr } = await ipref(["peers", "--run", run]);
    assert.equal(status, 69);
    assert.match(stderr, /There is no GET \/peers here/);
  });
});

test("filters reach the gateway as they were given", async () => {
  let asked = "";
  const routes: Routes = {
    "GET /maps": ({ query }) => {
      asked = query.toString();
      return lines([])({} as never);
    },
  };
  await withSystem({ gateway: routes }, async (run) => {
    const args = ["--kind", "remote", "--owner", "a & b", "--limit", "7", "web", "10.1"];
    const { status, stdout, stderr } = await ipref(["maps", ...args, "--run", run]);
    assert.deepEqual([status, stdout], [0, ""]);
    assert.equal(stderr, "No mapping fits\n");
    assert.equal(asked, "kind=remote&owner=a+%26+b&limit=7&word=web&word=10.1");
  });
});

test("maps and peers print tables, or one JSON value a line", async () => {
  await withSystem(SYSTEM, async (run) => {
    const maps = await ipref(["maps", "--run", run]);
    assert.equal(
      maps.stdout,
      "KIND    STATE    ADDRESS      IPREF ADDRESS       IDLE  EXPIRES IN  OWNER\n" +
        "remote  dynamic  10.240.0.22  203.0.113.1 + 1025   5 s         1 h  mapper\n",
    );
    const json = await ipref(["peers", "--json", "--run", run]);
    const values = json.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual(values, PEERS);
  });
});

test("a list without end stops when its reader goes", async () => {
  let isAborted = false;
  const endless: ControlHandler = ({ signal }) => ({
    status: 200,
    contentType: "application/x-ndjson",
    body: (async function* () {
      signal.addEventListener("abort", () => {
        isAborted = true;
      });
      const text = `${JSON.stringify(MAPPING)}\n`.repeat(1000);
      while (!signal.aborted) {
        yield text;
        await new Promise((resolve) => setImmediate(resolve));
      }
    })(),
  });
  await withSystem({ gateway: { "GET /maps": endless } }, async (run) => {
    const script = `"$0" "$1" maps --run "$2" | head -n 3`;
    const wrap = ["timeout", "20", "bash", "-o", "pipefail", "-c", script];
    const result = await new Promise<Result>((resolve) => {
      const [program = "", ...words] = [...wrap, process.execPath, IPREF, run];
      const child = spawn(program, words);
      let stdout = "";
      let stderr = "";
      child.stdout.on("data", (chunk: Buffer) => {
        stdout += chunk.toString();
      });
      child.stderr.on("data", (chunk: Buffer) => {
        stderr += chunk.toString();
      });
      child.once("close", (status) => resolve({ status, stdout, stderr }));
    });
    assert.deepEqual([result.status, result.stderr], [0, ""]);
    assert.equal(result.stdout.trimEnd().split("\n").length, 3);
    for (let count = 0; count < 100 && !isAborted; count++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.ok(isAborted, "the gateway hears that the reader has gone");
  });
});

test("a list that breaks off ends with 69 and says so", async () => {
  const broken: ControlHandler = () => ({
    status: 200,
    contentType: "application/x-ndjson",
    body: (async function* () {
      yield `${JSON.stringify(MAPPING)}\n`;
      throw new Error("out of order");
    })(),
  });
  await withSystem({ gateway: { "GET /maps": broken } }, async (run) => {
    const { status, stderr } = await ipref(["maps", "--run", run]);
    assert.equal(status, 69);
    assert.equal(stderr, `The answer from ${run}/gateway.control broke off\n`);
  });
});

test("--watch looks again and again until Ctrl-C, then ends with 0", async () => {
  await withSystem(SYSTEM, async (run) => {
    const { status, stdout } = await ipref(["status", "--json", "--watch", "0.1", "--run", run], {
      onOutput: (text, end) => {
        if (text.split("\n").length > 3) end();
      },
    });
    assert.equal(status, 0);
    for (const line of stdout.trimEnd().split("\n")) assert.equal(JSON.parse(line).isHealthy, true);
  });
});

const isRoot = process.geteuid?.() === 0;

test("who may not ask gets 77 and how to be allowed", {
  skip: !isRoot && "needs root",
}, async () => {
  await withSystem(SYSTEM, async (run) => {
    chmodSync(folder, 0o755);
    const wrap = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    for (const command of ["status", "maps", "peers"]) {
      const { status, stdout, stderr } = await ipref([command, "--run", run], { wrap });
      assert.deepEqual([status, stdout], [77, ""], command);
      assert.match(stderr, /may not ask|run the command with sudo/, command);
    }
  });
});
