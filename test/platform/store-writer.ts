/**
 * A process that commits until it is killed: `node store-writer.js DIRECTORY FIRST`. Commit n puts
 * n into two pages that must stay equal, and prints n after it has been acknowledged.
 */

import { writeSync } from "node:fs";
import { openLmdbStore } from "../../src/platform/store-lmdb.js";

const [directory, firstText] = process.argv.slice(2);
const store = openLmdbStore({
  directory: directory!,
  encodedVersion: 4,
  gatewayVersion: 4,
  journalHalfBytes: 32 << 10,
});

for (let number = Number(firstText); ; number++) {
  const value = new Uint8Array(904);
  new DataView(value.buffer).setUint32(0, number);
  await store.commit([
    { shelf: "page", key: number % 50, value },
    { shelf: "seen", key: number % 50, value: value.slice() },
  ]);
  writeSync(1, `${number}\n`);
}
