#!/bin/sh
# Compiles the WebAssembly kernel: scripts/build-kernel.sh TARGET
#
# The memory is imported, shared, and at most 2 GiB (src/tables/arena.ts); the module brings no heap
# and no data, so that nothing in the shared memory is ever overwritten. The same sources and
# compiler give the same bytes.

set -eu
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"
target=$1
mkdir -p "$(dirname "$target")"
node_modules/.bin/asc src/kernel/assembly/kernel.ts \
  --outFile "$target.new" -O3 --noAssert --runtime stub \
  --importMemory --sharedMemory --maximumMemory 32768 --noExportMemory \
  --enable threads,simd,bulk-memory --disable mutable-globals
mv "$target.new" "$target"
