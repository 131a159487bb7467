/**
 * The kernel in AssemblyScript, compiled to WebAssembly: every function of ../kernel.ts over the
 * shared memory, which it imports. It owns no memory: no heap, no static data; what it remembers
 * lies in globals, one set for each instance.
 */

export { copy, sum } from "./checksum";
export { egress } from "./egress";
export { ingress } from "./ingress";
export { joinable } from "./joining";
export { planPeers } from "./peers";
export { planPlaces, planTranslation } from "./plan";
export { segmentInto } from "./segmenting";
export {
  findByLocal,
  findLocalByReference,
  findPair,
  findRemote,
  foundSequence,
  useTable,
} from "./table";
