/** Reading vector files, the report, and the exit status of `ipref vectors`. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { runVectors } from "../../src/programs/vectors/run.js";
import { parseVectorFile, VectorFileError } from "../../src/programs/vectors/vector-file.js";

const folder = mkdtempSync(join(tmpdir(), "ipref-vectors-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const CONFIG = {
  ea_net: "10.240.0.0/12",
  ea_ip: "10.240.0.1",
  gw_pub: "198.51.100.1",
  gw_ref: "1",
  local_version: 4,
  tunnel_version: 4,
  mappings: [
    { kind: "our", ip: "192.168.1.10", gw: "198.51.100.1", ref: "0-1234" },
    { kind: "their", ea: "10.240.9.34", gw: "203.0.113.5", ref: "0-2a0b" },
  ],
};
/** spec/tunnel.md 2.6 with the encoded address 10.240.9.34. */
const VECTOR = {
  name: "dump/udp",
  class: "dump",
  note: "",
  config: CONFIG,
  direction: "encap",
  verdict: "accept",
  input_hex: "450000201c4640003f1149c3c0a8010a0af0092214e90007000c365170696e67",
  output_hex: "11403f11c6336401cb0071050000123400002a0b14e90007000c0c1670696e67",
  outer: { src: "198.51.100.1", dst: "203.0.113.5", sport: 1045, dport: 1045 },
};

function fileOf(vectors: readonly unknown[]): unknown {
  return { format: 1, source: "test", class: "dump", vectors };
}

function write(name: string, json: unknown): string {
  const path = join(folder, name);
  writeFileSync(path, typeof json === "string" ? json : JSON.stringify(json));
  return path;
}

/** Runs `ipref vectors` and returns its status and output. */
async function run(files: string[], json = false): Promise<{ status: number; text: string }> {
  let text = "";
  const add = (more: string) => {
    text += more;
  };
  const status = await runVectors(files, { json }, { print: add, complain: add });
  return { status, text };
}

test("a right vector passes with status 0", async () => {
  const { status, text } = await run([write("good.json", fileOf([VECTOR]))]);
  assert.equal(text.includes("1 passed, 0 failed"), true, text);
  assert.equal(status, 0);
});

test("a wrong vector is reported by field with status 1", async () => {
  const wrong = { ...VECTOR, output_hex: VECTOR.output_hex.replace("0c1670", "0c1770") };
  const { status, text } = await run([write("wrong.json", fileOf([wrong]))]);
  assert.match(text, /dump\/udp: output 1, udp checksum, at octet 26: expected 0c17, got 0c16/);
  assert.equal(status, 1);
});

test("another verdict and another port are reported", async () => {
  const dropped = { ...VECTOR, verdict: "drop", output_hex: undefined };
  const verdict = await run([write("verdict.json", fileOf([dropped]))]);
  assert.match(verdict.text, /outputs: expected drop: no output, got 1 packet to the tunnel side/);
  const outer = { ...VECTOR.outer, dst: "203.0.113.6" };
  const other = await run([write("outer.json", fileOf([{ ...VECTOR, outer }]))]);
  assert.match(other.text, /outer destination: expected 203.0.113.6, got 203.0.113.5/);
  assert.deepEqual([verdict.status, other.status], [1, 1]);
});

test("a suspect vector is informative, or judged by its suggestion", async () => {
  const suspect = { ...VECTOR, suspect: true, verdict: "drop", output_hex: undefined };
  const suggested = { verdict: "accept", outputs_hex: [VECTOR.output_hex] };
  const vectors = [suspect, { ...suspect, suggested }];
  const { status, text } = await run([write("suspect.json", fileOf(vectors))]);
  assert.match(text, /1 passed, 0 failed, 1 informative/);
  assert.equal(status, 0);
  const bad = { ...suspect, suggested: { verdict: "drop" } };
  assert.equal((await run([write("bad.json", fileOf([bad]))])).status, 1);
});

test("steps are played on one gateway and named in a difference", async () => {
  const step = { ...VECTOR, name: undefined, config: undefined, verdict: undefined };
  const back = {
    direction: "decap",
    input_hex: "11403f11cb007105c633640100002a0b00001234000714e9000c0c16 70696e67".replace(" ", ""),
    output_hex: "450000200000400 03f11".replace(" ", ""),
    outer: { src: "203.0.113.5", dst: "198.51.100.1", sport: 1045, dport: 1045 },
  };
  const vector = { name: "dump/steps", config: CONFIG, steps: [step, back] };
  const { status, text } = await run([write("steps.json", fileOf([vector]))]);
  assert.match(text, /dump\/steps: output 1, step 2: length: expected 10, got 32/);
  assert.equal(status, 1);
});

test("an agent scenario that is not in the format gives status 66 and names the place", async () => {
  const file = { format: 1, scenarios: [{ name: "a" }, { name: "b" }] };
  const { status, text } = await run([write("agent.json", file)]);
  assert.match(text, /agent\.json at scenarios\.0\.config/);
  assert.equal(status, 66);
});

test("--json prints one object with counts and differences", async () => {
  const wrong = { ...VECTOR, output_hex: VECTOR.output_hex.replace("70696e67", "70696e68") };
  const { status, text } = await run([write("json.json", fileOf([VECTOR, wrong]))], true);
  const report = JSON.parse(text) as { passed: number; failed: number; files: unknown[] };
  assert.deepEqual([report.passed, report.failed, report.files.length], [1, 1, 1]);
  const [file] = report.files as { differences: { vector: string; field: string }[] }[];
  assert.equal(file!.differences[0]!.vector, "dump/udp");
  assert.equal(file!.differences[0]!.field, "layer-4 data");
  assert.equal(status, 1);
});

test("unreadable and malformed files give status 66 and a sentence", async () => {
  const missing = await run([join(folder, "missing.json")]);
  assert.match(missing.text, /Cannot read .*missing.json: ENOENT/);
  const noJson = await run([write("text.json", "{")]);
  assert.match(noJson.text, /Cannot parse .*text.json as JSON/);
  const noHex = await run([write("hex.json", fileOf([{ ...VECTOR, input_hex: "4" }]))]);
  assert.match(noHex.text, /vectors.0.input_hex: expected an even number of hex digits/);
  assert.deepEqual([missing.status, noJson.status, noHex.status], [66, 66, 66]);
});

test("the other files are run although one cannot be read", async () => {
  const { status, text } = await run([
    join(folder, "none.json"),
    write("one.json", fileOf([VECTOR])),
  ]);
  assert.match(text, /one.json: 1 passed/);
  assert.equal(status, 66);
});

test("no file at all is a usage error", async () => {
  assert.equal((await run([])).status, 2);
});

test("parseVectorFile() names the place of each mistake", () => {
  const cases: [unknown, RegExp][] = [
    [7, /found no "vectors", "exchanges" or "scenarios"/],
    [{ format: 2, vectors: [] }, /at format/],
    [fileOf([{ ...VECTOR, direction: "up" }]), /vectors\.0\.direction/],
    [fileOf([{ ...VECTOR, input_hex: undefined }]), /dump\/udp: found no input/],
    [fileOf([{ ...VECTOR, config: { ...CONFIG, ea_ip: "fd00::1" } }]), /expected IPv4/],
    [fileOf([{ ...VECTOR, config: { ...CONFIG, gw_ref: "1-" } }]), /expected a reference/],
    [
      fileOf([{ ...VECTOR, variable: [{ output: 0, offset: 30, length: 4, rule: "x" }] }]),
      /a variable part lies outside of its output/,
    ],
  ];
  for (const [json, pattern] of cases) {
    assert.throws(
      () => parseVectorFile(json, "f.json"),
      (error) => error instanceof VectorFileError && pattern.test(error.message),
      String(pattern),
    );
  }
});
