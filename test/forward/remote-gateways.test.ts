import assert from "node:assert/strict";
import { test } from "node:test";
import { type IpAddress, parseIp } from "../../src/base/ip.js";
import { RemoteGateways } from "../../src/forward/remote-gateways.js";
import {
  PEER_SETTLED,
  PEER_VERIFIED,
  PeerTableWriter,
  peerTableBytes,
} from "../../src/tables/peer-table.js";

const REMOTE = parseIp("203.0.113.5")!;

function makeDirectory(peersMax = 4, pathMtu: (address: IpAddress) => number = () => 1500) {
  const table = new PeerTableWriter(new SharedArrayBuffer(peerTableBytes(peersMax)), 0, peersMax);
  return { table, remotes: new RemoteGateways({ table, defaultPort: 1045, pathMtu }) };
}

function address(index: number): IpAddress {
  return { version: 4, bytes: Uint8Array.of(203, 0, 113, index) };
}

test("RemoteGateways sends to the default port and fills the path MTU", () => {
  const { remotes } = makeDirectory();
  assert.deepEqual(remotes.routeTo(REMOTE, 1), { port: 1045, packetBytesMax: 1472 });
});

test("RemoteGateways makes no record for a datagram alone, but answers its port", () => {
  const { remotes } = makeDirectory();
  for (let index = 0; index < 1000; index++)
    remotes.noteDatagram(address(index % 250), index + 1, 1);
  assert.equal(remotes.size, 0);
  remotes.noteDatagram(REMOTE, 40_001, 2);
  assert.equal(remotes.routeTo(REMOTE, 3)?.port, 40_001);
});

test("RemoteGateways remembers who came before anything was sent there, within limits", () => {
  const { remotes } = makeDirectory();
  remotes.routeTo(REMOTE, 1);
  remotes.noteDatagram(REMOTE, 1045, 2);
  assert.deepEqual(remotes.callers(), [], "this one was sent to first");
  remotes.noteDatagram(address(9), 1045, 3);
  remotes.noteDatagram(address(9), 1045, 4);
  assert.deepEqual(remotes.callers(), [{ address: address(9), seconds: 4 }]);
  remotes.routeTo(address(9), 5);
  assert.equal(remotes.callers().length, 1, "an answer changes nothing");
  for (let index = 0; index < 250; index++) remotes.noteDatagram(address(index), 1045, 6);
  assert.ok(remotes.callers().length <= 64);
});

test("RemoteGateways verifies a remote when one of our hosts answers it", () => {
  const { remotes, table } = makeDirectory();
  remotes.noteDatagram(REMOTE, 40_001, 1);
  remotes.noteAccepted(REMOTE, 40_001);
  remotes.routeTo(REMOTE, 2);
  const flags = table.flags(remotes.entryOf(REMOTE));
  assert.equal(flags & (PEER_VERIFIED | PEER_SETTLED), PEER_VERIFIED | PEER_SETTLED);
});

test("RemoteGateways takes the next send of an accepted remote away from the workers", () => {
  const { remotes, table } = makeDirectory();
  remotes.routeTo(REMOTE, 1);
  const entry = remotes.entryOf(REMOTE);
  assert.equal(table.flags(entry) & (PEER_VERIFIED | PEER_SETTLED), PEER_SETTLED);
  remotes.noteAccepted(REMOTE, 40_001);
  assert.equal(table.flags(entry) & PEER_SETTLED, 0);
  assert.equal(remotes.routeTo(REMOTE, 2)?.port, 40_001);
  assert.equal(table.flags(entry) & PEER_SETTLED, PEER_SETTLED);
});

test("RemoteGateways keeps a verified port until it is silent for 30 s", () => {
  const { remotes } = makeDirectory();
  remotes.noteAccepted(REMOTE, 40_001);
  remotes.routeTo(REMOTE, 10);
  assert.equal(remotes.noteDatagram(REMOTE, 50_000, 39), true);
  assert.equal(remotes.routeTo(REMOTE, 39)?.port, 40_001);
  assert.equal(remotes.noteDatagram(REMOTE, 50_000, 40), false);
  assert.equal(remotes.routeTo(REMOTE, 40)?.port, 50_000);
});

test("RemoteGateways moves a verified port at once when the new port is proven", () => {
  const { remotes } = makeDirectory();
  remotes.noteAccepted(REMOTE, 40_001);
  remotes.routeTo(REMOTE, 10);
  remotes.prove(REMOTE, 50_000, 11);
  assert.equal(remotes.routeTo(REMOTE, 11)?.port, 50_000);
});

test("RemoteGateways counts stamps of the workers as signs of life", () => {
  const { remotes, table } = makeDirectory();
  remotes.noteAccepted(REMOTE, 40_001);
  remotes.routeTo(REMOTE, 10);
  table.stampReceived(remotes.entryOf(REMOTE), 60);
  assert.equal(remotes.noteDatagram(REMOTE, 50_000, 70), true);
});

test("RemoteGateways evicts the least recently used record and remembers its port", () => {
  const { remotes } = makeDirectory(2);
  remotes.noteDatagram(address(1), 40_001, 1);
  remotes.routeTo(address(1), 1);
  remotes.routeTo(address(2), 2);
  remotes.routeTo(address(3), 3);
  assert.deepEqual(
    [...remotes.list()].map(({ address }) => address.bytes[3]),
    [2, 3],
  );
  assert.equal(remotes.routeTo(address(1), 4)?.port, 40_001);
});

test("RemoteGateways believes no path MTU below the minimum and forgets it after 10 minutes", () => {
  const { remotes } = makeDirectory();
  remotes.routeTo(REMOTE, 1);
  remotes.notePathMtu(REMOTE, 300, 2);
  assert.equal(remotes.routeTo(REMOTE, 3)?.packetBytesMax, 576 - 28);
  assert.equal(remotes.routeTo(REMOTE, 601)?.packetBytesMax, 576 - 28);
  assert.equal(remotes.routeTo(REMOTE, 602)?.packetBytesMax, 1472);
});

test("RemoteGateways shrinks a route when the kernel refuses a size without a reason", () => {
  const { remotes } = makeDirectory();
  remotes.routeTo(REMOTE, 1);
  const first = remotes.refreshPathMtu(REMOTE, 1472, 2)!;
  assert.ok(first.packetBytesMax < 1472);
  const second = remotes.refreshPathMtu(REMOTE, first.packetBytesMax, 2)!;
  assert.ok(second.packetBytesMax < first.packetBytesMax);
});
