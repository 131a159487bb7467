/**
 * WebAssembly: shared memories, modules from files, instances. Any thread; a memory and a module
 * can be handed to other threads, an instance belongs to its thread.
 */

import { readFileSync } from "node:fs";

/** Pages of 64 KiB, WebAssembly core specification 2.5.5. */
const WASM_PAGE_BYTES = 65_536;

/** A memory that threads share; can be handed to workers. */
export interface WasmMemory {
  readonly buffer: SharedArrayBuffer;
}

/** A compiled module; can be handed to workers. */
export type WasmModule = object;

/** The part of the WebAssembly interface that is used here. */
declare const WebAssembly: {
  Memory: new (descriptor: { initial: number; maximum: number; shared: true }) => WasmMemory;
  Module: new (bytes: Uint8Array) => WasmModule;
  Instance: new (module: WasmModule, imports: object) => { readonly exports: object };
};

/** A new zeroed memory; the system commits a page when it is first touched. */
export function allocateWasmMemory(bytes: number): WasmMemory {
  const pages = Math.ceil(bytes / WASM_PAGE_BYTES);
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
}

/** Compiles a file; throws when it is missing or this machine cannot run it. */
export function compileWasm(file: URL): WasmModule {
  return new WebAssembly.Module(readFileSync(file));
}

/** A new instance over a memory; its exports. The caller knows their types. */
export function instantiateWasm(module: WasmModule, memory: WasmMemory): object {
  return new WebAssembly.Instance(module, { env: { memory } }).exports;
}
