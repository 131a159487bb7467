/**
 * Sizes of small areas in shared memory. Constants only: the WebAssembly kernel is compiled with
 * this file as well.
 */

/** The set of narrow destinations in the control block. */
export const NARROW_WORDS = 32;
export const NARROW_BITS = 32 * NARROW_WORDS;

/** One entry of a batch that a kernel translates (kernel/translation.ts). */
export const TRANSLATION_BYTES = 16;

/** Counters of identifications of IPv4 packets (spec/tunnel.md 3.4), 16 bits each. */
export const IDENTIFICATIONS = 4096;
/** The counter of two addresses is the upper bits of a hash of 32 bits, this many dropped. */
export const IDENTIFICATION_SHIFT = 20;
