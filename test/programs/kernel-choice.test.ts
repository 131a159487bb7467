import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { TypescriptKernel } from "../../src/kernel/typescript-kernel.js";
import { WasmKernel } from "../../src/kernel/wasm-kernel.js";
import { allocateWasmMemory } from "../../src/platform/wasm.js";
import { chooseKernel, makeKernel } from "../../src/programs/kernel-choice.js";
import { AddressTableReader, addressTableBytes } from "../../src/tables/address-table.js";

const SHAPE = { recordsMax: 16, localVersion: 4, tunnelVersion: 4, hashSeed: 1 } as const;

test("WebAssembly is chosen when it is there, TypeScript when it is asked for", () => {
  const memory = allocateWasmMemory(addressTableBytes(SHAPE));
  const table = new AddressTableReader(memory.buffer, 0, SHAPE);
  const { module, warning } = chooseKernel("wasm");
  assert.equal(warning, undefined);
  assert.ok(makeKernel(table, { module: module!, memory }) instanceof WasmKernel);
  assert.deepEqual(chooseKernel("ts"), { module: undefined, warning: undefined });
  assert.ok(makeKernel(table, undefined) instanceof TypescriptKernel);
});

test("without a WebAssembly kernel that can run, the choice is TypeScript, and says why", () => {
  const directory = mkdtempSync(join(tmpdir(), "ipref-kernel-"));
  try {
    const file = pathToFileURL(join(directory, "kernel.wasm"));
    const missing = chooseKernel("wasm", file);
    assert.equal(missing.module, undefined);
    assert.match(missing.warning!, /going on with -kernel ts: ENOENT/);
    writeFileSync(file, "not a module");
    const broken = chooseKernel("wasm", file);
    assert.equal(broken.module, undefined);
    assert.match(broken.warning!, /going on with -kernel ts: WebAssembly.Module/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
