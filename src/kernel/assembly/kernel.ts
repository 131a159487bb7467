/**
 * The kernel in AssemblyScript, compiled to WebAssembly: every function of ../kernel.ts over the
 * shared memory, which it imports. It owns no memory: no heap, no static data; what it remembers
 * lies in globals, one set for each instance.
 */

export { copy, sum } from "./checksum";
export { joinable } from "./joining";
export { segmentInto } from "./segmenting";
export {
  findByLocal,
  findLocalByReference,
  findPair,
  findRemote,
  foundSequence,
  useTable,
} from "./table";
