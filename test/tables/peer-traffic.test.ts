/** Traffic by remote gateway: sums over threads, and entries that change hands. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  PeerTrafficBlock,
  PeerTrafficReader,
  peerTrafficBytes,
} from "../../src/tables/peer-traffic.js";

const PEERS = 5;
const WRITERS = 5;

function makeTraffic() {
  const base = 64;
  const memory = new SharedArrayBuffer(base + peerTrafficBytes(PEERS, WRITERS));
  const blocks = Array.from(
    { length: WRITERS },
    (_, writer) => new PeerTrafficBlock(memory, base, PEERS, writer),
  );
  return { blocks, reader: new PeerTrafficReader(memory, base, PEERS, WRITERS) };
}

test("the main thread and egress workers count as sent, ingress workers as received", () => {
  const { blocks, reader } = makeTraffic();
  for (const [writer, block] of blocks.entries()) block.add(3, 10 ** writer, 2 * 10 ** writer);
  assert.deepEqual(reader.read(3), {
    sentPackets: 1 + 10 + 1000,
    sentBytes: 2 * (1 + 10 + 1000),
    receivedPackets: 100 + 10_000,
    receivedBytes: 2 * (100 + 10_000),
  });
});

test("blocks and entries do not touch each other", () => {
  const { blocks, reader } = makeTraffic();
  for (const block of blocks) for (const entry of [0, 2, 4, PEERS]) block.add(entry, 7, 7);
  const nothing = { sentPackets: 0, sentBytes: 0, receivedPackets: 0, receivedBytes: 0 };
  for (const entry of [1, 3]) assert.deepEqual(reader.read(entry), nothing);
  assert.equal(reader.read(PEERS).sentPackets, 3 * 7);
});

test("a new owner of an entry begins at zero while workers go on counting", () => {
  const { blocks, reader } = makeTraffic();
  blocks[1]!.add(2, 5, 500);
  blocks[2]!.add(2, 6, 600);
  reader.begin(2);
  assert.equal(reader.read(2).sentBytes, 0);
  blocks[1]!.add(2, 1, 100);
  blocks[2]!.add(2, 2, 250);
  const expected = { sentPackets: 1, sentBytes: 100, receivedPackets: 2, receivedBytes: 250 };
  assert.deepEqual(reader.read(2), expected);
});
