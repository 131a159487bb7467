/**
 * Which kernel the forwarding workers run: WebAssembly where it can run, TypeScript otherwise. Both
 * give the same bytes.
 */

import type { KernelName } from "../control/gateway-flags.js";
import type { Kernel } from "../kernel/kernel.js";
import { TypescriptKernel } from "../kernel/typescript-kernel.js";
import { type KernelExports, WasmKernel } from "../kernel/wasm-kernel.js";
import {
  compileWasm,
  instantiateWasm,
  type WasmMemory,
  type WasmModule,
} from "../platform/wasm.js";
import type { AddressTableReader } from "../tables/address-table.js";

/** The compiled kernel: src/kernel/assembly, built by scripts/prepare.sh. */
const KERNEL_FILE = new URL("../kernel/kernel.wasm", import.meta.url);

/** The chosen kernel; can be handed to workers. */
export interface KernelChoice {
  /** Undefined: TypeScript. */
  readonly module: WasmModule | undefined;
  /** Why it is not the one that was asked for. */
  readonly warning: string | undefined;
}

/** Finds the kernel that was asked for, or the TypeScript one and the reason. */
export function chooseKernel(name: KernelName, file = KERNEL_FILE): KernelChoice {
  if (name === "ts") return { module: undefined, warning: undefined };
  try {
    return { module: compileWasm(file), warning: undefined };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return {
      module: undefined,
      warning: `the WebAssembly kernel cannot run here, going on with -kernel ts: ${reason}`,
    };
  }
}

/** What a worker needs to make its kernel. */
export interface WasmParts {
  readonly module: WasmModule;
  readonly memory: WasmMemory;
}

/** The kernel of one thread over a table that lies in `parts.memory`. */
export function makeKernel(table: AddressTableReader, parts: WasmParts | undefined): Kernel {
  if (parts === undefined) return new TypescriptKernel(table);
  return new WasmKernel(table, instantiateWasm(parts.module, parts.memory) as KernelExports);
}
