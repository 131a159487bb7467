/** Both kernels over one shared memory, for tests that hold them together. */

import { TypescriptKernel } from "../../src/kernel/typescript-kernel.js";
import { type KernelExports, WasmKernel } from "../../src/kernel/wasm-kernel.js";
import {
  allocateWasmMemory,
  compileWasm,
  instantiateWasm,
  type WasmMemory,
} from "../../src/platform/wasm.js";
import {
  AddressTableReader,
  type AddressTableShape,
  addressTableBytes,
} from "../../src/tables/address-table.js";

/** The compiled kernel; this file runs from dist/test/kernel. */
export const KERNEL_FILE = new URL("../../src/kernel/kernel.wasm", import.meta.url);

const module = compileWasm(KERNEL_FILE);

/** The WebAssembly kernel for a table in `memory`. */
export function makeWasmKernel(memory: WasmMemory, table: AddressTableReader): WasmKernel {
  return new WasmKernel(table, instantiateWasm(module, memory) as KernelExports);
}

/** Room behind the table for what a test hands to the kernels. */
export const ROOM_BYTES = 512 * 1024;

const SHAPE = { recordsMax: 16, localVersion: 4, tunnelVersion: 4, hashSeed: 1 } as const;

/** A table at 0, empty, and both kernels; `at` is where the room begins, a multiple of 64. */
export function makeKernels(shape: AddressTableShape = SHAPE) {
  const at = addressTableBytes(shape);
  const memory = allocateWasmMemory(at + ROOM_BYTES);
  const tsTable = new AddressTableReader(memory.buffer, 0, shape);
  const wasmTable = new AddressTableReader(memory.buffer, 0, shape);
  return {
    buffer: memory.buffer,
    bytes: new Uint8Array(memory.buffer),
    at,
    ts: new TypescriptKernel(tsTable),
    tsTable,
    wasm: makeWasmKernel(memory, wasmTable),
    wasmTable,
  };
}
