// Child process of the mapper benchmark: opens a store and restores it, or fills one.
//
//   node mapper-restore.js fill DIRECTORY COUNT
//   node mapper-restore.js restore DIRECTORY COUNT      prints {"openMs", "restoreMs", ...}

import { performance } from "node:perf_hooks";
import { type IpAddress, parsePrefix } from "../src/base/ip.js";
import { ownEncodedAddress } from "../src/mapper/allocator.js";
import { Committer } from "../src/mapper/committer.js";
import { Mapper } from "../src/mapper/mapper.js";
import type { MappingStore } from "../src/mapper/store.js";
import { startTimeBase } from "../src/mapper/time-base.js";
import { systemRandom } from "../src/platform/random.js";
import { openLmdbStore } from "../src/platform/store-lmdb.js";
import { addressTableBytes } from "../src/tables/address-table.js";
import { AddressTableWriter } from "../src/tables/address-table-writer.js";

const PER_CONTEXT = 1000;
const PER_BATCH = 20_000;

/** A mapper of 10.0.0.0/8 with room for `count` mappings on a store. */
function open(store: MappingStore, count: number): { mapper: Mapper; committer: Committer } {
  const encodeNet = parsePrefix("10.0.0.0/8")!;
  const recordsMax = Math.ceil(1.04 * count);
  const shape = { recordsMax, localVersion: 4, tunnelVersion: 4, hashSeed: 12_345 } as const;
  const memory = new SharedArrayBuffer(addressTableBytes(shape));
  const base = startTimeBase(store.load(), Date.now());
  const mapper: Mapper = new Mapper({
    config: {
      encodeNet,
      ownEncoded: ownEncodedAddress(encodeNet),
      publicAddress: { version: 4, bytes: Uint8Array.of(198, 51, 100, 1) },
      gatewayReference: 1n,
    },
    table: new AddressTableWriter(memory, 0, shape),
    random: systemRandom(),
    nowSeconds: () => base.startSeconds,
    timeBaseMs: base.baseMs,
    onChangesWaiting: () => committer.kick(),
    onSettled: () => {},
    onEvent: ({ text }) => console.error(text),
  });
  const committer = new Committer(store, () => mapper);
  return { mapper, committer };
}

/** Context number `index`: addresses from 20.0.0.0 on. */
function context(index: number): IpAddress {
  const bytes = Uint8Array.of(20, index >> 16, (index >> 8) & 255, index & 255);
  return { version: 4, bytes };
}

async function fill(directory: string, count: number): Promise<void> {
  const store = openLmdbStore({ directory, encodedVersion: 4, gatewayVersion: 4 });
  const { mapper, committer } = open(store, count);
  mapper.restore(store.load());
  for (let index = 0; index < count; index++) {
    const gateway = context(Math.floor(index / PER_CONTEXT));
    const { status } = mapper.getEncodedAddress(gateway, BigInt(1 + (index % PER_CONTEXT)));
    if (status !== "pending") throw new Error(`mapping ${index} is ${status}`);
    if (index % PER_BATCH === PER_BATCH - 1) await committer.drain();
  }
  await committer.drain();
  await store.close();
}

async function restore(directory: string, count: number): Promise<void> {
  const startMs = performance.now();
  const store = openLmdbStore({ directory, encodedVersion: 4, gatewayVersion: 4 });
  const openedMs = performance.now();
  const { mapper } = open(store, count);
  const { restored, dropped } = mapper.restore(store.load());
  const endMs = performance.now();
  const residentBytes = process.memoryUsage().rss;
  const figures = {
    openMs: openedMs - startMs,
    restoreMs: endMs - startMs,
    restored,
    dropped,
    residentBytes,
  };
  console.log(JSON.stringify(figures));
  await store.close();
}

const [action, directory, count] = process.argv.slice(2);
if (action === "fill") await fill(directory!, Number(count));
else await restore(directory!, Number(count));
