import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "../../src/base/random.js";
import { KERNEL_NAMES, type KernelName } from "../../src/control/gateway-flags.js";
import { FastEgress } from "../../src/forward/fast-egress.js";
import { FastIngress } from "../../src/forward/fast-ingress.js";
import { FLAG_INACTIVE, FLAG_PROVISIONAL, KIND_PAIR } from "../../src/tables/address-table.js";
import { buildDatagram, buildUdp, FastWorld } from "./fast-world.js";
import { takeEgress } from "./take-egress.js";

const OPTIONS = { localVersion: 4, tunnelVersion: 4 } as const;

/** A test for both kernels. */
function rule(name: string, check: (kernel: KernelName) => void): void {
  for (const kernel of KERNEL_NAMES) test(`${name}: kernel ${kernel}`, () => check(kernel));
}

function egressOf(world: FastWorld, kernel: KernelName) {
  const { memory, offset } = world.worker("egress", kernel);
  const fast = new FastEgress(memory, world.fastSettings);
  /** Tunnel packet that goes out for a packet of host 0 to a remote host, or undefined. */
  const send = (remote: number, host = 0, length = 12): Uint8Array | undefined => {
    const packet = buildUdp(world.hosts[host]!.ip, world.remotes[remote]!.encoded, length);
    world.bytes.set(packet, offset);
    memory.refresh();
    const { start } = takeEgress(fast, offset, packet.length);
    return start === 0 ? undefined : world.bytes.slice(start, offset + packet.length);
  };
  return { send, memory };
}

function ingressOf(world: FastWorld, kernel: KernelName) {
  const { memory, offset, address } = world.worker("ingress", kernel);
  const fast = new FastIngress(memory, world.fastSettings, seededRandom(1));
  /** Native packet made from a datagram of remote host 0 to a reference, or undefined. */
  const receive = (reference: bigint, port = 1045, df = 1): Uint8Array | undefined => {
    const remote = world.remotes[0]!.ipref;
    const packet = buildDatagram(remote, { context: world.publicAddress, reference }, df);
    world.bytes.set(packet, offset);
    world.bytes.set(remote.context.bytes, address);
    memory.refresh();
    const start = fast.translate(offset, packet.length, address, port);
    return start === 0 ? undefined : world.bytes.slice(start, offset + packet.length);
  };
  return { receive, memory };
}

function recordOf(world: FastWorld, address: { bytes: Uint8Array }): number {
  const view = new DataView(address.bytes.slice().buffer);
  return world.addresses.numberOf(world.addresses.findAnyByLocal(view, 0));
}

rule("FastEgress takes a packet to a settled gateway and hands over to others", (kernel) => {
  const world = new FastWorld(OPTIONS);
  const { send } = egressOf(world, kernel);
  assert.ok(send(0), "settled");
  assert.equal(send(4), undefined, "not settled");
  assert.equal(send(5), undefined, "no entry");
  world.peerTable.setSettled(1, false);
  assert.equal(send(0), undefined, "no longer settled");
});

rule("FastEgress hands over what exceeds the path of the remote gateway", (kernel) => {
  const world = new FastWorld(OPTIONS);
  const { send } = egressOf(world, kernel);
  // Gateway 2 takes 300 octets; the header has 44 with references of 16.
  assert.equal(send(2, 0, 300 - 44)?.length, 300);
  assert.equal(send(2, 0, 300 - 43), undefined);
});

rule("FastEgress hands over to provisional and inactive remote hosts", (kernel) => {
  const world = new FastWorld(OPTIONS);
  const { send } = egressOf(world, kernel);
  const number = recordOf(world, world.remotes[0]!.encoded);
  for (const flag of [FLAG_PROVISIONAL, FLAG_INACTIVE]) {
    world.addresses.setFlags(number, flag);
    assert.equal(send(0), undefined);
    world.addresses.setFlags(number, 0);
    assert.ok(send(0));
  }
});

rule("FastEgress hands over small IPv6 packets to a narrow destination", (kernel) => {
  const world = new FastWorld({ localVersion: 6, tunnelVersion: 4 });
  const { send } = egressOf(world, kernel);
  assert.ok(send(0));
  world.control.setNarrowDestinations([world.remotes[0]!.encoded]);
  assert.equal(send(0), undefined);
  assert.ok(send(1));
  assert.ok(send(0, 0, 1290), "larger ones are answered by routers, not fragmented");
});

rule("FastEgress uses the reference that the peer knows a host by", (kernel) => {
  const world = new FastWorld(OPTIONS);
  const { send } = egressOf(world, kernel);
  const { secondary } = world.addSecondReference(0x9999n);
  const referenceOf = (packet: Uint8Array | undefined): number => {
    assert.ok(packet);
    return new DataView(packet.buffer).getUint32(12);
  };
  assert.equal(referenceOf(send(0)), 0x1234, "primary, without a pair");
  const ends = { local: world.hosts[0]!.ip, context: world.remotes[0]!.encoded };
  const pair = world.insert(KIND_PAIR, ends, secondary);
  assert.equal(referenceOf(send(0)), 0x9999, "secondary, by the pair");
  world.addresses.setFlags(secondary, FLAG_INACTIVE);
  assert.equal(send(0), undefined, "the pair's record is gone");
  world.addresses.remove(pair);
  assert.equal(referenceOf(send(0)), 0x1234);
});

rule("FastIngress takes a second reference only while its pair exists", (kernel) => {
  const world = new FastWorld(OPTIONS);
  const { receive } = ingressOf(world, kernel);
  assert.ok(receive(0x1234n));
  const { primary, secondary } = world.addSecondReference(0x9999n);
  assert.equal(receive(0x1234n), undefined, "no pair yet");
  const ends = { local: world.hosts[0]!.ip, context: world.remotes[0]!.encoded };
  const pair = world.insert(KIND_PAIR, ends, secondary);
  assert.ok(receive(0x9999n));
  assert.equal(receive(0x1234n), undefined, "the pair names the other one");
  world.addresses.setHint(pair, primary);
  assert.ok(receive(0x1234n));
  assert.equal(receive(0x9999n), undefined);
});

rule(
  "FastIngress hands over another port, an unverified gateway, and our own address",
  (kernel) => {
    const world = new FastWorld(OPTIONS);
    const { receive } = ingressOf(world, kernel);
    assert.equal(receive(0x1234n, 5555), undefined);
    world.peerTable.setVerified(1, false);
    assert.equal(receive(0x1234n), undefined);
    world.peerTable.setVerified(1, true);
    assert.ok(receive(0x1234n));
    world.control.setPublicAddress(world.contextIp(1));
    assert.equal(receive(0x1234n), undefined);
  },
);

rule("FastIngress gives fragmentable IPv4 packets different identifications", (kernel) => {
  const world = new FastWorld(OPTIONS);
  const { receive } = ingressOf(world, kernel);
  const identification = (df: number): number => {
    const packet = receive(0x1234n, 1045, df);
    assert.ok(packet);
    return new DataView(packet.buffer).getUint16(4);
  };
  const seen = new Set(Array.from({ length: 1000 }, () => identification(0)));
  assert.equal(seen.size, 1000);
  assert.equal(identification(1), 0);
});

rule("A changed public address is in force with the next batch", (kernel) => {
  const world = new FastWorld(OPTIONS);
  const { send } = egressOf(world, kernel);
  assert.deepEqual([...send(0)!.subarray(4, 8)], [203, 0, 113, 5]);
  world.control.setPublicAddress(world.contextIp(99));
  assert.deepEqual([...send(0)!.subarray(4, 8)], [198, 51, 100, 99]);
});

rule("Packets taken stamp both records and the gateway's entry", (kernel) => {
  const world = new FastWorld(OPTIONS);
  const { send } = egressOf(world, kernel);
  const { receive } = ingressOf(world, kernel);
  const { addresses, peerTable } = world;
  const used = (address: { bytes: Uint8Array }): number =>
    addresses.lastUsed(addresses.offsetOf(recordOf(world, address)));
  world.control.setNowSeconds(2000);
  assert.ok(send(0));
  assert.deepEqual([used(world.hosts[0]!.ip), used(world.remotes[0]!.encoded)], [2000, 2000]);
  assert.equal(peerTable.lastSentSeconds(1), 2000);
  world.control.setNowSeconds(3000);
  assert.ok(receive(0x1234n));
  assert.deepEqual([used(world.hosts[0]!.ip), used(world.remotes[0]!.encoded)], [3000, 3000]);
  assert.equal(peerTable.lastReceivedSeconds(1), 3000);
});
