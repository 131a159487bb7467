/** The log of the DNS server: CoreDNS's form, JSON, limits, and a reader that is too slow. */

import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { LogFormat } from "../../src/control/log-format.js";
import { ProgramLog } from "../../src/programs/dns-log.js";

const folder = mkdtempSync(join(tmpdir(), "ipref-dns-log-"));
after(() => rmSync(folder, { recursive: true }));
let serial = 0;

/** Lines that `write` leaves in a file. */
function linesOf(write: (log: ProgramLog) => void, format?: LogFormat): string[] {
  const path = join(folder, String(++serial));
  const fd = openSync(path, "w");
  const log = new ProgramLog(fd, format);
  write(log);
  log.end();
  closeSync(fd);
  return readFileSync(path, "utf8").split("\n").slice(0, -1);
}

test("a line of text is [LEVEL], the plugin and the text", () => {
  const lines = linesOf((log) => {
    log.write("INFO", undefined, "Listening on 127.0.0.1:53", "dns-listening");
    log.write("WARNING", "hosts", "Cannot read /h");
    log.write("DEBUG", undefined, "not shown");
    log.isDebug = true;
    log.write("DEBUG", undefined, "shown");
  });
  assert.deepEqual(lines, [
    "[INFO] Listening on 127.0.0.1:53",
    "[WARNING] plugin/hosts: Cannot read /h",
    "[DEBUG] shown",
  ]);
});

test("JSON names the event, by the plugin when the line names none", () => {
  const lines = linesOf((log) => {
    log.write("INFO", undefined, "Listening", "dns-listening");
    log.write("ERROR", "errors", "2 a. A: timeout");
    log.write("WARNING", "unheard-of", "x");
  }, "json");
  const records = lines.map((line) => JSON.parse(line) as Record<string, string>);
  assert.deepEqual(
    records.map(({ level, event, text }) => [level, event, text]),
    [
      ["info", "dns-listening", "Listening"],
      ["error", "dns-error", "plugin/errors: 2 a. A: timeout"],
      ["warning", "dns-plugin", "plugin/unheard-of: x"],
    ],
  );
});

test("events that repeat are limited and counted; the query log that was asked for is not", () => {
  let counts: unknown;
  const lines = linesOf((log) => {
    for (let index = 0; index < 500; index++) {
      log.write("INFO", undefined, `query ${index}`, "dns-query");
      log.write("WARNING", "ipref", `name ${index} leaves IPREF`);
    }
    counts = log.counts();
  });
  assert.equal(lines.filter((line) => line.startsWith("[INFO] query ")).length, 500);
  assert.equal(lines.filter((line) => line.includes("leaves IPREF")).length, 10);
  assert.equal(lines.at(-1), "[WARNING] 490 more suppressed: dns-ipref");
  assert.deepEqual(counts, {
    lines: { debug: 0, info: 500, warning: 10, error: 0 },
    suppressed: 490,
  });
});

test("text of others cannot move the cursor; a stack trace keeps its lines in text", () => {
  const evil = "name \u001b[2J\u009b0m\u0000.example";
  const text = linesOf((log) => log.write("ERROR", undefined, `${evil}\n    at x`));
  assert.deepEqual(text, ["[ERROR] name \\u001b[2J\\u009b0m\\u0000.example", "    at x"]);
  const [journal, ...rest] = linesOf((log) => {
    log.write("ERROR", undefined, `${evil}\n<0>forged`, "internal-error");
  }, "journal");
  assert.deepEqual(rest, []);
  assert.match(journal!, /^<3>internal-error: name [\x20-\x7e]+ <0>forged$/);
});

test("a descriptor that takes nothing loses lines and stops nothing", () => {
  const fd = openSync("/dev/full", "w");
  const log = new ProgramLog(fd);
  log.write("INFO", undefined, "x".repeat(1000));
  log.end();
  closeSync(fd);
  assert.equal(log.counts().lines.info, 1);
});
