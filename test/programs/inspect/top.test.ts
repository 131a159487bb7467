/** `ipref top`: rates between two looks, frames of any size, and the terminal given back. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type ControlHandler, jsonReply } from "../../../src/control/inspection/api.js";
import type { FlowsReport } from "../../../src/control/inspection/flows.js";
import { startControlServer } from "../../../src/platform/control-server.js";
import { hasColours, paint } from "../../../src/programs/inspect/terminal-screen.js";
import { textWidth } from "../../../src/programs/inspect/text-table.js";
import { topFrame } from "../../../src/programs/inspect/top-frame.js";
import { type TopSample, topRates } from "../../../src/programs/inspect/top-sample.js";
import { GATEWAY, PEERS } from "./example-report.js";

const IPREF = fileURLToPath(new URL("../../../src/programs/ipref.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "ipref-top-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const NONE = { packetsPerSecond: 0, bitsPerSecond: 0 };
const FLOWS: FlowsReport = {
  seconds: 1,
  sampledPackets: 1234,
  out: NONE,
  in: NONE,
  flows: [
    {
      protocol: "tcp",
      local: { address: "10.1.0.5", ipref: "198.51.100.7 + 1027", port: 443 },
      remote: { address: "10.245.91.3", ipref: "203.0.113.1 + 5f-1234-abcd", port: 51_000 },
      out: { packetsPerSecond: 120_000, bitsPerSecond: 1.4e9 },
      in: { packetsPerSecond: 60_000, bitsPerSecond: 29e6 },
    },
    {
      protocol: "icmp",
      local: { address: "fd00::5", ipref: "198.51.100.7 + 1028", port: null },
      remote: { address: null, ipref: "203.0.113.200 + 9", port: null },
      out: { packetsPerSecond: 1, bitsPerSecond: 800 },
      in: NONE,
    },
  ],
};
const SAMPLE: TopSample = { atMs: 10_000, status: GATEWAY, peers: PEERS, flows: FLOWS };

/** The gateway two seconds later. */
function later(): TopSample {
  const { toTunnel, fromTunnel } = GATEWAY.traffic;
  const [peer, other] = PEERS;
  return {
    ...SAMPLE,
    atMs: 12_000,
    status: {
      ...GATEWAY,
      traffic: {
        windowSeconds: 5,
        toTunnel: {
          ...toTunnel,
          packets: toTunnel.packets + 2000,
          bytes: toTunnel.bytes + 250_000,
          slowPackets: toTunnel.slowPackets + 20,
        },
        fromTunnel,
      },
      drops: [{ ...GATEWAY.drops[0]!, count: 1244 }, GATEWAY.drops[1]!],
    },
    peers: [
      { ...peer!, sent: { ...peer!.sent, bytes: peer!.sent.bytes + 1000 } },
      {
        ...other!,
        received: { ...other!.received, packets: 500, bytes: 100_000 },
      },
    ],
  };
}

test("the first look shows the gateway's own rates, later ones what has grown since", () => {
  const first = topRates(SAMPLE, undefined);
  assert.equal(first.toTunnel.bitsPerSecond, 1.53e9);
  assert.deepEqual(first.fromTunnel, { ...NONE, slowPerSecond: 0 });
  assert.deepEqual(first.drops, [{ reason: "local-destination-unknown", perSecond: 0.4 }]);
  const next = topRates(later(), SAMPLE);
  assert.deepEqual(next.toTunnel, {
    packetsPerSecond: 1010,
    bitsPerSecond: 1_000_000,
    slowPerSecond: 10,
  });
  assert.deepEqual(next.drops, [{ reason: "local-destination-unknown", perSecond: 5 }]);
  assert.deepEqual(
    next.peers.map(({ peer, out, in: back }) => [
      peer.address,
      out.bitsPerSecond,
      back.bitsPerSecond,
    ]),
    [
      ["203.0.113.200", 0, 400_000],
      ["203.0.113.1", 4000, 0],
    ],
  );
});

test("a gateway that was started anew gives no negative rates", () => {
  const fresh = { ...SAMPLE, atMs: 11_000, status: { ...GATEWAY, pid: 1 } };
  assert.equal(topRates(fresh, SAMPLE).toTunnel.bitsPerSecond, 1.53e9);
  const [peer] = PEERS;
  const smaller = { ...peer!, sent: { ...peer!.sent, bytes: 500, packets: 5 } };
  const rates = topRates({ ...SAMPLE, atMs: 11_000, peers: [smaller] }, SAMPLE);
  assert.equal(rates.peers[0]!.out.bitsPerSecond, 4000);
});

test("a frame of 80 x 24 shows traffic, gateways, conversations and drops", () => {
  const size = { columns: 80, rows: 24 };
  const frame = topFrame({ sample: SAMPLE, before: undefined, hint: "q: end" }, size);
  assert.deepEqual(
    frame.map(({ text }) => text),
    [
      "198.51.100.7 + 1, up 2 h 3 min, wasm, 2 lanes; 12,348 remote, 9 local hosts",
      "               PACKETS       BITS  SLOW PATH",
      "to tunnel      147 k/s  1.53 Gb/s        0/s",
      "from tunnel        0/s      0 b/s        0/s",
      "dropped      local-destination-unknown 0.4/s",
      "",
      "REMOTE GATEWAY   PORT        OUT         IN  PKT OUT    PKT IN  HEARD",
      "203.0.113.1      1045  1.50 Gb/s  29.0 Mb/s  130 k/s  60.0 k/s  now",
      "203.0.113.200   40001      0 b/s      0 b/s      0/s       0/s  never",
      "",
      "LOCAL HOST    REMOTE HOST        PROTO        OUT         IN  IPREF ADDRESS",
      "10.1.0.5:443  10.245.91.3:51000  tcp    1.40 Gb/s  29.0 Mb/s  203.0.113.1 + 5f-…",
      "fd00::5       not mapped         icmp     800 b/s      0 b/s  203.0.113.200 + 9",
      "estimated from 1,234 packets in 1.0 s",
      "q: end",
    ],
  );
});

test("a frame fits terminals of every size", () => {
  const peers = Array.from({ length: 200 }, (_, index) => ({
    ...PEERS[0]!,
    address: `203.0.${index}.1`,
  }));
  const flows = { ...FLOWS, flows: Array.from({ length: 100 }, () => FLOWS.flows[0]!) };
  const sample = { ...SAMPLE, peers, flows };
  for (let rows = 1; rows <= 60; rows++) {
    for (const columns of [1, 2, 10, 40, 80, 200]) {
      const input = { sample, before: undefined, hint: "q: end", complaint: "old" };
      const frame = topFrame(input, { columns, rows });
      assert.ok(frame.length <= Math.max(2, rows), `${columns} x ${rows}: ${frame.length}`);
      assert.ok(frame.every(({ text }) => textWidth(text) <= columns));
      assert.ok(frame.some(({ style }) => style === "alert"));
    }
  }
  const full = topFrame({ sample, before: undefined, hint: "q" }, { columns: 80, rows: 24 });
  assert.equal(full.length, 24);
  const texts = full.map(({ text }) => text);
  assert.ok(texts.filter((text) => text.startsWith("203.0.")).length >= 5);
  assert.ok(texts.filter((text) => text.startsWith("10.1.0.5:443")).length >= 5);
});

test("colours are only where they are wanted, and leave the text as it is", () => {
  const lines = [
    { text: "a", style: "heading" },
    { text: "b", style: "plain" },
  ] as const;
  assert.equal(paint(lines, false, "\n"), "a\nb");
  assert.equal(paint(lines, true, "\n"), "\u001b[7ma\u001b[0m\nb");
  const terminal = { isTTY: true } as NodeJS.WriteStream;
  assert.equal(hasColours({}, terminal), true);
  assert.equal(hasColours({ NO_COLOR: "1" }, terminal), false);
  assert.equal(hasColours({ TERM: "dumb" }, terminal), false);
  assert.equal(hasColours({}, { isTTY: false } as NodeJS.WriteStream), false);
});

const lines = (values: readonly unknown[]): ControlHandler => {
  const body = values.map((value) => `${JSON.stringify(value)}\n`).join("");
  return () => ({ status: 200, contentType: "application/x-ndjson", body });
};

async function withGateway(name: string, work: (run: string) => Promise<void>): Promise<void> {
  const run = join(folder, name);
  const server = await startControlServer({
    path: join(run, "gateway.control"),
    group: undefined,
    routes: new Map([
      ["GET /status", () => jsonReply(GATEWAY)],
      ["GET /peers", lines(PEERS)],
      [
        "GET /flows",
        async ({ query }) => {
          const seconds = Number(query.get("seconds"));
          await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
          return jsonReply({ ...FLOWS, seconds });
        },
      ],
    ]),
  });
  try {
    await work(run);
  } finally {
    server.close();
  }
}

function start(program: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}) {
  const env = { ...process.env, TERM: "xterm", ...environment };
  const child = spawn(program, args, { env, timeout: 30_000 });
  let output = "";
  let errors = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  return { child, ended, output: () => output, errors: () => errors };
}

test("--once prints one frame without any control sequence", async () => {
  await withGateway("once", async (run) => {
    const args = [IPREF, "top", "--once", "--interval", "0.2", "--run", run];
    const program = start(process.execPath, args);
    assert.equal(await program.ended, 0, program.errors());
    assert.match(program.output(), /^198\.51\.100\.7 \+ 1, up/);
    assert.match(program.output(), /\n10\.1\.0\.5:443 +10\.245\.91\.3:51000 +tcp/);
    assert.doesNotMatch(program.output(), /[^\P{Cc}\n]/u);
    assert.match(program.output(), /in 0\.2 s\n$/);
  });
});

test("without a terminal, a gateway or a sensible interval there is a clear answer", async () => {
  await withGateway("answers", async (run) => {
    const piped = start(process.execPath, [IPREF, "top", "--run", run]);
    assert.equal(await piped.ended, 2);
    assert.match(piped.errors(), /needs a terminal.*--once/);
    for (const interval of ["0", "6", "soon"]) {
      const args = [IPREF, "top", "--once", "--interval", interval, "--run", run];
      const program = start(process.execPath, args);
      assert.equal(await program.ended, 2, interval);
      assert.match(program.errors(), /expected a number from 0\.2 to 5/);
    }
  });
  const args = [IPREF, "top", "--once", "--run", join(folder, "nothing")];
  const program = start(process.execPath, args);
  assert.equal(await program.ended, 4);
  assert.match(program.errors(), /sudo ipref up/);
});

/** script(1) of bsdutils gives a program a terminal. */
const SCRIPT = "/usr/bin/script";
const needsScript = { skip: !existsSync(SCRIPT) && `${SCRIPT} is not installed` };

interface TerminalOptions {
  readonly environment?: NodeJS.ProcessEnv;
  /** Shell commands that run beside the program, in its terminal. */
  readonly beside?: string;
  readonly pidFile?: string;
}

/** Starts the program in a terminal of 80 x 24 and waits for its second frame. */
async function startInTerminal(run: string, options: TerminalOptions = {}) {
  const { environment = {}, beside, pidFile = "/dev/null" } = options;
  const top = `exec "${process.execPath}" "${IPREF}" top --interval 0.2 --run "${run}"`;
  const other = beside === undefined ? "" : `(${beside}) < /dev/tty & `;
  const command = `stty cols 80 rows 24; ${other}echo $$ > "${pidFile}"; ${top}`;
  const program = start(SCRIPT, ["-qefc", command, "/dev/null"], {
    SHELL: "/bin/sh",
    ...environment,
  });
  await waitForFrames(program, 2);
  return program;
}

type Started = ReturnType<typeof start>;

const framesOf = (program: Started): string[] => program.output().split("\u001b[H").slice(1);

async function waitForFrames(program: Started, count: number): Promise<void> {
  const deadline = Date.now() + 15_000;
  while (framesOf(program).length < count) {
    assert.ok(Date.now() < deadline, JSON.stringify(program.output() + program.errors()));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const LEFT = "\u001b[?25h\u001b[?1049l";

for (const [name, key] of [
  ["q", "q"],
  ["Ctrl-C", "\u0003"],
] as const) {
  test(
    `in a terminal ${name} ends it, and the terminal gets back what it had`,
    needsScript,
    async () => {
      await withGateway(`terminal-${name}`, async (run) => {
        const program = await startInTerminal(run);
        program.child.stdin.write(key);
        assert.equal(await program.ended, 0, program.output());
        const text = program.output();
        assert.ok(text.includes("\u001b[?1049h\u001b[?25l"));
        assert.ok(text.trimEnd().endsWith(LEFT), JSON.stringify(text));
        const [, frame = ""] = text.split("\u001b[H");
        assert.equal(frame.split("\r\n").length, 15);
        assert.ok(frame.includes("\u001b[7mREMOTE GATEWAY"), "headings stand out");
      });
    },
  );
}

test("NO_COLOR leaves the colours out", needsScript, async () => {
  await withGateway("no-colour", async (run) => {
    const program = await startInTerminal(run, { environment: { NO_COLOR: "1" } });
    assert.doesNotMatch(program.output(), /\[[0-9]*m/);
    program.child.stdin.write("q");
    assert.equal(await program.ended, 0);
  });
});

test("a terminal that becomes smaller gets frames that fit", needsScript, async () => {
  await withGateway("resize", async (run) => {
    const beside = "sleep 1; stty cols 40 rows 9";
    const program = await startInTerminal(run, { beside, environment: { NO_COLOR: "1" } });
    // The terminal's driver may add a carriage return of its own.
    const linesOf = (frame: string): string[] =>
      frame
        .split("\u001b[J")[0]!
        .replaceAll("\u001b[K", "")
        .split("\n")
        .map((line) => line.trimEnd());
    // stty sets columns and rows one after the other, and there may be a frame between.
    const isSmall = (frame: string): boolean =>
      frame.includes("\u001b[J") && linesOf(frame)[0]!.endsWith("…") && linesOf(frame).length === 9;
    const deadline = Date.now() + 15_000;
    while (!framesOf(program).some(isSmall)) {
      assert.ok(Date.now() < deadline, JSON.stringify(program.output()));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    program.child.stdin.write("q");
    assert.equal(await program.ended, 0);
    const small = framesOf(program).filter(isSmall);
    const lines = linesOf(small[0]!);
    assert.ok(
      lines.every((line) => textWidth(line) <= 40),
      JSON.stringify(lines),
    );
    assert.equal(lines.at(-1), "q or Ctrl-C: end");
  });
});

test("SIGTERM ends it as well, and the terminal gets back what it had", needsScript, async () => {
  await withGateway("sigterm", async (run) => {
    const pidFile = join(folder, "top.pid");
    const program = await startInTerminal(run, { pidFile });
    process.kill(Number(readFileSync(pidFile, "utf8")), "SIGTERM");
    assert.equal(await program.ended, 0, program.output());
    assert.ok(program.output().trimEnd().endsWith(LEFT));
  });
});

test(
  "when the gateway goes the last frame stays, with the reason, and it is asked again",
  needsScript,
  async () => {
    let program: Started | undefined;
    await withGateway("gone", async (run) => {
      program = await startInTerminal(run, { environment: { NO_COLOR: "1" } });
    });
    const deadline = Date.now() + 15_000;
    while (!/Nothing answers at/.test(framesOf(program!).at(-1)!)) {
      assert.ok(Date.now() < deadline, JSON.stringify(program!.output()));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.match(framesOf(program!).at(-1)!, /^198\.51\.100\.7/);
    await withGateway("gone", async () => {
      const before = framesOf(program!).length;
      await waitForFrames(program!, before + 3);
      assert.doesNotMatch(framesOf(program!).at(-1)!, /Nothing answers/);
      program!.child.stdin.write("q");
      assert.equal(await program!.ended, 0);
    });
  },
);
