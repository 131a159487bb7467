/** The command line of ipref capture, and its lines of text. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { CaptureLine } from "../../src/control/capture/lines.js";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";
import { run } from "../../src/programs/demo/namespaces.js";
import { readWish } from "../../src/programs/inspect/capture-options.js";
import { captureText, messageText } from "../../src/programs/inspect/capture-text.js";

const PROGRAM = join(repositoryRoot(), "dist", "src", "programs", "ipref.js");

test("Options become a question to the gateway, with bounds by default", () => {
  const plain = readWish({ side: "both" }, []);
  assert.deepEqual(plain, {
    question: {
      ...{ filter: "", format: "lines", snaplen: 65_535, count: 1_000_000 },
      ...{ durationMs: 60_000, bytes: 100_000_000, mapper: false },
    },
    file: undefined,
    isJson: false,
  });
  const all = readWish(
    {
      ...{ side: "tunnel", write: "x.pcapng", count: "5", duration: "1.5m" },
      ...{ maxSize: "2GB", snaplen: "128", mapper: true },
    },
    ["port", "53", "or", "port", "443"],
  );
  assert.deepEqual(all, {
    question: {
      ...{ filter: "(port 53 or port 443) and side tunnel", format: "pcapng", snaplen: 128 },
      ...{ count: 5, durationMs: 90_000, bytes: 2_000_000_000, mapper: true },
    },
    file: "x.pcapng",
    isJson: false,
  });
  const side = readWish({ side: "local", json: true }, []);
  assert.ok(typeof side !== "string");
  assert.equal(side.question.filter, "side local");
});

test("An option that cannot be used is named with what it would take", () => {
  const cases: readonly [options: object, message: RegExp][] = [
    [{ duration: "1d" }, /^Cannot use --duration 1d: expected a time up to a day, such as 30s/],
    [{ duration: "25h" }, /^Cannot use --duration 25h/],
    [{ duration: "60" }, /^Cannot use --duration 60: expected a time/],
    [{ maxSize: "10M" }, /^Cannot use --max-size 10M: expected a size from 4096B to 1000GB/],
    [{ maxSize: "1kB" }, /^Cannot use --max-size 1kB/],
    [{ count: "0" }, /^Cannot use --count 0: expected a number of packets/],
    [{ count: "1.5" }, /^Cannot use --count 1\.5/],
    [{ snaplen: "12" }, /^Cannot use --snaplen 12: expected a number of octets from 64 to 65535/],
    [{ snaplen: "toString" }, /^Cannot use --snaplen toString/],
    [{ write: "f", json: true }, /^--json and --write exclude each other$/],
  ];
  for (const [options, message] of cases) {
    const wish = readWish({ side: "both", ...options }, []);
    assert.ok(typeof wish === "string", JSON.stringify(options));
    assert.match(wish, message);
  }
});

test("A line shows time, side, direction, ends and what the gateway knows", () => {
  const line: CaptureLine = {
    ...{ time: "2026-11-21T12:00:01.000000042Z", side: "local", direction: "to-tunnel" },
    protocol: "tcp",
    source: { native: "10.1.0.5", ipref: "192.0.2.1 + 5f-1", port: 40_000 },
    destination: { native: "fd00:240::22", port: 443 },
    ...{ length: 60, path: "fast", verdict: "forwarded", comment: "a -> b; fast path; forwarded" },
  };
  const rest = "length 60; a -> b; fast path; forwarded";
  const start = "12:00:01.000000042";
  const ends = "10.1.0.5:40000 > [fd00:240::22]:443";
  assert.equal(captureText(line), `${start} local  => tcp    ${ends} ${rest}`);
  const outer = { from: "192.0.2.1:1045", to: "[2001:db8::1]:1045" };
  const back = { ...line, ...outer, side: "tunnel", direction: "from-tunnel" } as const;
  assert.equal(
    captureText(back),
    `${start} tunnel <= tcp    192.0.2.1:1045 > [2001:db8::1]:1045 ${rest}`,
  );
  const unknown = { ...line, source: {}, destination: { ipref: "192.0.2.1 + 7" } };
  assert.ok(captureText(unknown).includes(" ? > 192.0.2.1 + 7 length"));
  const hostile = captureText({ ...line, comment: "\u001b[2J\u202e" });
  assert.ok(!hostile.includes("\u001b") && !hostile.includes("\u202e"));
});

test("A message of the mapper socket has a line of its own", () => {
  const text = messageText({
    ...{ time: "2026-11-21T12:00:01.000000042Z", side: "mapper", direction: "received" },
    ...{ kind: "MC_GET_EA request", pid: 12, uid: 105, length: 36, message: "1147" },
  });
  const client = "process 12 of user 105";
  assert.equal(text, `12:00:01.000000042 mapper <= ${client} MC_GET_EA request, length 36`);
});

test("Mistakes end with status 2 and say what is wrong; no gateway, with status 4", async () => {
  const folder = mkdtempSync(join(tmpdir(), "ipref-capture-"));
  try {
    const call = (...args: string[]) => run(process.execPath, [PROGRAM, "capture", ...args]);
    const filter = await call("host", "10.1.0.5", "and", "prot", "tcp");
    assert.equal(filter.code, 2);
    assert.equal(
      filter.stderr,
      'Cannot read the filter at character 19: found "prot", expected "host", "net", "port", ' +
        '"proto", "gateway", "reference", "side", "verdict" or "drop", "not" or "("\n' +
        `  host 10.1.0.5 and prot tcp\n  ${" ".repeat(18)}^\n`,
    );
    const flag = await call("--durration", "5s");
    assert.equal(flag.code, 2);
    assert.match(flag.stderr, /unknown option '--durration'.*Did you mean --duration/s);
    const side = await call("--side", "left");
    assert.equal(side.code, 2);
    assert.match(side.stderr, /Allowed choices are local, tunnel, both/);
    const help = await call("-h");
    assert.equal(help.code, 0);
    assert.match(help.stdout, /verdict forwarded\|dropped\|slow/);
    const nobody = await call("--run", folder);
    assert.equal(nobody.code, 4);
    assert.match(nobody.stderr, /^Nothing answers at .*gateway\.control: start the system with/);
    assert.equal(nobody.stdout, "");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
