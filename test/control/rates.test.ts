/** Rates over the last seconds: window, start, counters of remote gateways that come and go. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseIp } from "../../src/base/ip.js";
import { RateSampler } from "../../src/control/inspection/rates.js";
import {
  CounterBlock,
  CounterReader,
  counterIndex,
  countersBytes,
  dropCounterIndex,
} from "../../src/tables/counters.js";
import {
  PeerTrafficBlock,
  PeerTrafficReader,
  peerTrafficBytes,
} from "../../src/tables/peer-traffic.js";

const PEERS = 5000;
const ADDRESS = parseIp("203.0.113.1")!;
const OTHER = parseIp("203.0.113.2")!;

function makeSampler() {
  const counterMemory = new SharedArrayBuffer(countersBytes(1));
  const trafficMemory = new SharedArrayBuffer(peerTrafficBytes(PEERS, 1));
  const counters = new CounterBlock(counterMemory, 0, 0);
  const traffic = new PeerTrafficBlock(trafficMemory, 0, PEERS, 0);
  const peerTotals = new PeerTrafficReader(trafficMemory, 0, PEERS, 1);
  const peers = new Map([[1, ADDRESS]]);
  const sampler = new RateSampler({
    totals: new CounterReader(counterMemory, 0, 1),
    peerTotals,
    peers: () => [...peers].map(([entry, address]) => ({ entry, address })),
  });
  return { counters, traffic, peerTotals, peers, sampler };
}

test("there are no rates before the second sample", () => {
  const { sampler } = makeSampler();
  assert.equal(sampler.windowSeconds, 0);
  assert.equal(sampler.counterPerSecond("egress-packets"), undefined);
  sampler.tick(1000);
  assert.equal(sampler.counterPerSecond("egress-packets"), undefined);
  assert.equal(sampler.peer(1), undefined);
  sampler.tick(1500);
  assert.equal(sampler.windowSeconds, 0.5);
  assert.equal(sampler.counterPerSecond("egress-packets"), 0);
});

test("rates are of the last five seconds, however late the samples come", () => {
  const { sampler, counters } = makeSampler();
  for (const [second, packets] of [5000, 0, 100, 100, 100, 100, 100].entries()) {
    counters.add(counterIndex("ingress-packets"), packets);
    counters.add(dropCounterIndex("ttl-expired"), 2);
    sampler.tick(1000 * second);
  }
  assert.equal(sampler.windowSeconds, 5);
  assert.equal(sampler.counterPerSecond("ingress-packets"), 100);
  assert.equal(sampler.dropsPerSecond("ttl-expired"), 2);
  assert.equal(sampler.dropsPerSecond("tunnel-empty"), 0);
  counters.add(counterIndex("ingress-packets"), 600);
  sampler.tick(8000);
  assert.equal(sampler.windowSeconds, 6);
  assert.equal(sampler.counterPerSecond("ingress-packets"), 1000 / 6);
});

test("a remote gateway's rates are in packets and bits, and end with its record", () => {
  const { sampler, traffic, peers } = makeSampler();
  sampler.tick(0);
  traffic.add(1, 10, 1250);
  sampler.tick(1000);
  const { sent, received } = sampler.peer(1)!;
  assert.deepEqual(sent, { packetsPerSecond: 10, bitsPerSecond: 10_000 });
  assert.deepEqual(received, { packetsPerSecond: 0, bitsPerSecond: 0 });
  peers.clear();
  sampler.tick(2000);
  assert.equal(sampler.peer(1), undefined);
});

test("the next owner of an entry inherits no samples", () => {
  const { sampler, traffic, peers, peerTotals } = makeSampler();
  sampler.tick(0);
  traffic.add(1, 1000, 1_000_000);
  sampler.tick(1000);
  peerTotals.begin(1);
  peers.set(1, OTHER);
  sampler.tick(2000);
  assert.equal(sampler.peer(1), undefined);
  traffic.add(1, 1, 100);
  sampler.tick(3000);
  assert.deepEqual(sampler.peer(1)!.sent, { packetsPerSecond: 1, bitsPerSecond: 800 });
});

test("with very many remote gateways only the sums are kept", () => {
  const { sampler, counters, peers } = makeSampler();
  for (let entry = 1; entry <= PEERS; entry++) peers.set(entry, ADDRESS);
  sampler.tick(0);
  counters.add(counterIndex("egress-packets"), 7);
  sampler.tick(1000);
  assert.equal(sampler.peer(1), undefined);
  assert.equal(sampler.counterPerSecond("egress-packets"), 7);
});
