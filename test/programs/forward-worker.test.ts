/**
 * The worker threads with real system calls over loopback. A pair of connected UDP sockets stands
 * for the TUN device: one packet per read and write, as there.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type IpAddress, parseIp } from "../../src/base/ip.js";
import { KERNEL_NAMES, type KernelName } from "../../src/control/gateway-flags.js";
import { NO_OFFLOADS } from "../../src/forward/offloads.js";
import {
  closeEventFd,
  createEventFd,
  drainEventFd,
  signalEventFd,
} from "../../src/platform/eventfd.js";
import * as libc from "../../src/platform/libc.js";
import { allocateMemory } from "../../src/platform/memory.js";
import { encodeSockaddrInto } from "../../src/platform/sockaddr.js";
import {
  openUdpSocket,
  receiveFrom,
  sendTo,
  type UdpSocket,
} from "../../src/platform/udp-socket.js";
import { startForwardWorker } from "../../src/programs/forward-worker.js";
import { KIND_REMOTE } from "../../src/tables/address-table.js";
import { PacketRingConsumer } from "../../src/tables/packet-ring.js";
import { buildDatagram, buildUdp, FastWorld } from "../forward/fast-world.js";

const OURS = parseIp("127.0.0.1")!;
const PEER = parseIp("127.0.0.2")!;
const REFERENCE = 0x7777n;

function connect(socket: UdpSocket, address: IpAddress, port: number): void {
  const memory = allocateMemory(32);
  const end = encodeSockaddrInto(memory.view, 0, address, port);
  assert.equal(libc.connect(socket.fd, memory.address, end), 0);
}

/** A gateway with both workers, the far end of its TUN device, and its peer's socket. */
function startGateway(kernel: KernelName) {
  const world = new FastWorld({ localVersion: 4, tunnelVersion: 4 });
  const [tun, host] = [0, 0].map(() => openUdpSocket({ address: OURS, port: 0 }));
  connect(tun!, OURS, host!.port);
  connect(host!, OURS, tun!.port);
  const tunnel = openUdpSocket({ address: OURS, port: 0 });
  const peer = openUdpSocket({ address: PEER, port: 0 });
  world.control.setPublicAddress(OURS);
  const entry = world.peerTable.insert(PEER);
  world.peerTable.setPort(entry, peer.port);
  world.peerTable.setPacketBytesMax(entry, 1400);
  world.peerTable.setVerified(entry, true);
  world.peerTable.setSettled(entry, true);
  const encoded = world.encodedIp(50);
  world.insert(KIND_REMOTE, { local: encoded, context: PEER, reference: REFERENCE });
  const [stopFd, wakeFd] = [createEventFd(), createEventFd()];
  const { plan, buffer, fastSettings: settings } = world;
  const wasm = world.wasmParts(kernel);
  const descriptors = { tunFd: tun!.fd, sideFd: -1, tunnelFd: tunnel.fd, stopFd, wakeFd };
  const workers = (["egress", "ingress"] as const).map((role) =>
    startForwardWorker({
      role,
      lane: 0,
      buffer,
      wasm,
      plan,
      settings,
      offloads: NO_OFFLOADS,
      localMssMax: 1400,
      coalesceUs: 0,
      ...descriptors,
    }),
  );
  const exits = workers.map((worker) => new Promise((resolve) => worker.once("exit", resolve)));
  const stop = async (): Promise<unknown[]> => {
    signalEventFd(stopFd);
    const codes = await Promise.all(exits);
    for (const socket of [tun!, host!, tunnel, peer]) socket.close();
    for (const fd of [stopFd, wakeFd]) closeEventFd(fd);
    return codes;
  };
  return { world, host: host!, tunnel, peer, encoded, wakeFd, stop };
}

/** Asks until there is an answer; two seconds at most. */
async function eventually<Value>(ask: () => Value | undefined): Promise<Value> {
  for (let attempt = 0; attempt < 400; attempt++) {
    const value = ask();
    if (value !== undefined) return value;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error("no answer in time");
}

for (const kernel of KERNEL_NAMES) {
  const name = `Workers carry packets both ways and end when told: kernel ${kernel}`;
  test(name, { timeout: 20_000 }, () => carryBothWays(kernel));
}

async function carryBothWays(kernel: KernelName): Promise<void> {
  const { world, host, tunnel, peer, encoded, wakeFd, stop } = startGateway(kernel);
  let codes: unknown[] = [];
  try {
    const ours = world.hosts[0]!;
    assert.ok(libc.write(host.fd, ...packetAt(buildUdp(ours.ip, encoded, 40))) > 0);
    const sent = await eventually(() => receiveFrom(peer.fd));
    assert.equal(sent.port, tunnel.port);
    assert.deepEqual(sent.source, OURS);
    assert.equal(sent.payload.length, 20 + 40);
    assert.deepEqual([...sent.payload.subarray(4, 12)], [127, 0, 0, 1, 127, 0, 0, 2]);

    const from = { context: PEER, reference: REFERENCE };
    const to = { context: OURS, reference: ours.reference };
    assert.ok(sendTo(peer.fd, buildDatagram(from, to, 1), OURS, tunnel.port).ok);
    const arrived = await eventually(() => receiveFrom(host.fd));
    assert.equal(arrived.payload.length, 20 + 12);
    assert.deepEqual(arrived.payload.slice(12, 16), encoded.bytes);
    assert.deepEqual(arrived.payload.slice(16, 20), ours.ip.bytes);

    const { ringBytes } = world.plan.options;
    const at = world.plan.lanes[0]!.ingressRingOffset;
    const ring = new PacketRingConsumer(world.buffer, at, ringBytes, 4);
    assert.ok(ring.sleep());
    assert.ok(sendTo(peer.fd, new Uint8Array(0), OURS, tunnel.port).ok);
    await eventually(() => drainEventFd(wakeFd) || undefined);
    const handedOver = ring.take()!;
    assert.deepEqual([handedOver.packet.length, handedOver.port], [0, peer.port]);
  } finally {
    codes = await stop();
  }
  assert.deepEqual(codes, [0, 0]);
}

function packetAt(packet: Uint8Array): [address: number, length: number] {
  const memory = allocateMemory(2048);
  memory.bytes.set(packet);
  kept.push(memory);
  return [memory.address, packet.length];
}

/** Memory that system calls were given: kept alive to the end of the test. */
const kept: unknown[] = [];
