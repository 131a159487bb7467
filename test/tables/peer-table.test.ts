import assert from "node:assert/strict";
import { test } from "node:test";
import { type IpAddress, parseIp } from "../../src/base/ip.js";
import {
  PEER_IN_USE,
  PEER_SETTLED,
  PEER_VERIFIED,
  PeerTableReader,
  PeerTableWriter,
  peerTableBytes,
} from "../../src/tables/peer-table.js";
import { Dice } from "../forward/fast-world.js";

const PEERS_MAX = 32;
const BASE = 128;
const ADDRESS_WORD = 4;

function makeTable(version: 4 | 6) {
  const memory = new SharedArrayBuffer(BASE + peerTableBytes(PEERS_MAX));
  const writer = new PeerTableWriter(memory, BASE, PEERS_MAX);
  const reader = new PeerTableReader(memory, BASE, PEERS_MAX);
  const words = version === 4 ? 1 : 4;
  const place = (address: IpAddress): void => {
    new Uint8Array(memory).set(address.bytes, 4 * ADDRESS_WORD);
  };
  const find = (address: IpAddress): number => {
    place(address);
    return reader.findAt(ADDRESS_WORD, words);
  };
  const read = (entry: number, flags: number, address: IpAddress): boolean => {
    place(address);
    return reader.read(entry, flags, ADDRESS_WORD, words);
  };
  return { writer, reader, find, read };
}

function address(version: 4 | 6, number: number): IpAddress {
  return parseIp(version === 4 ? `198.51.${number >> 8}.${number & 255}` : `2001:db8::${number}`)!;
}

for (const version of [4, 6] as const) {
  test(`read() answers for the right IPv${version} address and flags only`, () => {
    const { writer, reader, read } = makeTable(version);
    const entry = writer.insert(address(version, 1));
    writer.setPort(entry, 4711);
    writer.setPacketBytesMax(entry, 1472);
    assert.equal(read(entry, PEER_IN_USE | PEER_VERIFIED, address(version, 1)), false);
    writer.setVerified(entry, true);
    assert.equal(read(entry, PEER_IN_USE | PEER_VERIFIED, address(version, 1)), true);
    assert.deepEqual([reader.foundPort, reader.foundBytesMax], [4711, 1472]);
    assert.equal(read(entry, PEER_IN_USE | PEER_SETTLED, address(version, 1)), false);
    assert.equal(read(entry, PEER_IN_USE, address(version, 2)), false);
    assert.equal(read(0, 0, address(version, 1)), false);
    assert.equal(read(PEERS_MAX + 1, 0, address(version, 1)), false);
    writer.remove(entry);
    assert.equal(read(entry, PEER_IN_USE, address(version, 1)), false);
  });

  test(`findAt() agrees with a Map over random IPv${version} insertions and removals`, (context) => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    context.diagnostic(`seed ${seed}`);
    const dice = new Dice(seed);
    const { writer, find } = makeTable(version);
    const model = new Map<number, number>();
    for (let round = 0; round < 5000; round++) {
      const number = dice.below(60);
      const known = model.get(number);
      if (known !== undefined && dice.percent(60)) {
        writer.remove(known);
        model.delete(number);
      } else if (known === undefined) {
        const entry = writer.insert(address(version, number));
        if (entry !== 0) model.set(number, entry);
        else assert.equal(model.size, PEERS_MAX);
      }
      const asked = dice.below(60);
      assert.equal(find(address(version, asked)), model.get(asked) ?? 0, `round ${round}`);
    }
  });
}

test("leastRecentlyUsed() counts both directions", () => {
  const { writer } = makeTable(4);
  const [a, b, c] = [1, 2, 3].map((number) => writer.insert(address(4, number)));
  writer.stampSent(a!, 50);
  writer.stampReceived(b!, 40);
  writer.stampReceived(c!, 10);
  writer.stampSent(c!, 60);
  assert.equal(writer.leastRecentlyUsed(), b);
});
