/** Device headers and super-packets of a real TUN device, in a network namespace of its own. */

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { parseIp } from "../../src/base/ip.js";
import { PacketBatch, WriteBatch } from "../../src/forward/ports.js";
import { closeEventFd, createEventFd } from "../../src/platform/eventfd.js";
import { IFF_VNET_HDR, openTun, type TunOffloads } from "../../src/platform/tun.js";
import { TunDevicePort } from "../../src/platform/tun-port.js";
import { openUdpSocket, receiveFrom, sendTo, setOption } from "../../src/platform/udp-socket.js";
import { WorkerMemory } from "../../src/platform/worker-memory.js";
import { headerSlotOffset, READ_PACKETS_MAX, slabLayout } from "../../src/tables/arena.js";
import { CounterBlock } from "../../src/tables/counters.js";
import {
  expandWritten,
  finishNative,
  leaveChecksum,
  segmentNative,
  VNET_BYTES,
  vnetFor,
} from "../forward/super-packets.js";
import { enterPrivateNetwork, SKIP_WITHOUT_ROOT } from "./private-network.js";

const OWN = parseIp("10.240.0.1")!;
const REMOTE = parseIp("10.240.7.7")!;
const ALL: TunOffloads = { csum: true, tso: true, uso: true };
const NONE: TunOffloads = { csum: false, tso: false, uso: false };

/** A device, and a port over it in memory of its own. */
function openDevice(offloads: TunOffloads) {
  const tun = openTun({ address: OWN, prefixBits: 12, mtuBytes: 1400, offloads });
  const stopFd = createEventFd();
  const slabOffset = 4096;
  const memory = new SharedArrayBuffer(slabLayout(slabOffset).endOffset);
  const worker = new WorkerMemory(memory, slabOffset, stopFd);
  const counters = new CounterBlock(memory, 0, 0);
  const port = new TunDevicePort(tun.fd, worker, counters, tun.offloads.csum);
  const close = (): void => {
    tun.close();
    closeEventFd(stopFd);
  };
  return { tun, port, slab: worker.slab, bytes: new Uint8Array(memory), close };
}

/** A UDP packet from the remote host to port 5000 here. */
function udpPacket(length: number): Uint8Array {
  const head = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, ...REMOTE.bytes, ...OWN.bytes];
  const udp = [0x13, 0x88, 0x13, 0x88, 0, 0, 0, 0];
  const payload = Array.from({ length }, (_, index) => index & 255);
  return finishNative(Uint8Array.from([...head, ...udp, ...payload]));
}

/** Reads what the kernel has put on the device, device headers included. */
function readAll({ port, bytes }: ReturnType<typeof openDevice>, headerBytes: number) {
  const batch = new PacketBatch(READ_PACKETS_MAX);
  port.readBatch(batch);
  return Array.from({ length: batch.count }, (_, index) => {
    const start = batch.offsets[index]! - headerBytes;
    return bytes.slice(start, batch.offsets[index]! + batch.lengths[index]!);
  });
}

describe("TUN device with offloads", { skip: SKIP_WITHOUT_ROOT }, () => {
  before(() => enterPrivateNetwork());

  test("openTun() grants what is asked for as far as the kernel has it", () => {
    for (const asked of [ALL, NONE, { csum: true, tso: true, uso: false }]) {
      const { tun, close } = openDevice(asked);
      assert.equal(tun.offloads.csum, asked.csum);
      assert.equal(tun.offloads.tso, asked.tso);
      assert.ok(asked.uso || !tun.offloads.uso);
      assert.equal((tun.queueFlags & IFF_VNET_HDR) !== 0, asked.csum);
      close();
    }
  });

  test("A super-packet in pieces arrives as the datagrams that it stands for", () => {
    const device = openDevice(ALL);
    const socket = openUdpSocket({ address: OWN, port: 5000 });
    try {
      if (!device.tun.offloads.uso) return;
      const { slab, bytes, port } = device;
      const packet = udpPacket(2500);
      const parts = segmentNative(packet, 1000);
      const start = headerSlotOffset(slab, 0) + 16;
      bytes.set(vnetFor(packet, 1000), start - VNET_BYTES);
      bytes.set(leaveChecksum(packet).subarray(0, 28), start);
      const batch = new WriteBatch(4);
      const index = batch.add(start, 28);
      for (const [piece, length] of [1000, 1000, 500].entries()) {
        const at = slab.slotsOffset + piece * 4096 + 1;
        bytes.set(packet.subarray(28 + piece * 1000, 28 + piece * 1000 + length), at);
        batch.addPiece(index, at, length);
      }
      assert.equal(port.writeBatch(batch), 0);
      for (const part of parts) {
        assert.deepEqual(receiveFrom(socket.fd)?.payload, part.subarray(28));
      }
      assert.equal(receiveFrom(socket.fd), undefined);
    } finally {
      socket.close();
      device.close();
    }
  });

  test("What is no packet is refused and counted as what it was joined of", () => {
    const device = openDevice(ALL);
    try {
      const batch = new WriteBatch(4);
      const index = batch.add(headerSlotOffset(device.slab, 0) + 16, 28);
      batch.packetCounts[index] = 7;
      assert.equal(device.port.writeBatch(batch), 1);
      assert.equal(batch.refusedPackets, 7);
    } finally {
      device.close();
    }
  });

  test("readBatch() brings super-packets and unfinished checksums with their headers", () => {
    const device = openDevice(ALL);
    const socket = openUdpSocket({ address: OWN, port: 5000 });
    try {
      sendTo(socket.fd, new Uint8Array(100).fill(7), REMOTE, 53);
      setOption(socket.fd, 17, 103, 500); // UDP_SEGMENT
      sendTo(socket.fd, new Uint8Array(1200).fill(8), REMOTE, 53);
      const packets = readAll(device, VNET_BYTES);
      const shown = packets.flatMap((packet) =>
        packet[1] === 0 ? [finishNative(packet.slice(VNET_BYTES))] : expandWritten(packet),
      );
      const lengths = shown.map(({ length }) => length - 28);
      assert.deepEqual(lengths, [100, 500, 500, 200]);
      if (device.tun.offloads.uso) assert.equal(packets.length, 2);
    } finally {
      socket.close();
      device.close();
    }
  });

  test("Without offloads packets are whole and have no header in front", () => {
    const device = openDevice(NONE);
    const socket = openUdpSocket({ address: OWN, port: 5000 });
    try {
      for (let count = 0; count < 10; count++) {
        sendTo(socket.fd, new Uint8Array(100).fill(count), REMOTE, 53);
      }
      const packets = readAll(device, 0);
      assert.equal(packets.length, 10);
      for (const packet of packets) assert.deepEqual(finishNative(packet.slice()), packet);
    } finally {
      socket.close();
      device.close();
    }
  });

  test("waitReadable() pauses before it looks when it is told to", () => {
    const device = openDevice(NONE);
    const socket = openUdpSocket({ address: OWN, port: 5000 });
    try {
      for (let count = 0; count < 3; count++) sendTo(socket.fd, new Uint8Array(10), REMOTE, 53);
      const startMs = performance.now();
      assert.ok(device.port.waitReadable(0, 20_000));
      assert.ok(performance.now() - startMs >= 20, `${performance.now() - startMs} ms`);
      assert.equal(readAll(device, 0).length, 3);
    } finally {
      socket.close();
      device.close();
    }
  });

  test("waitReadable() does not wait while more packets may be there", () => {
    const device = openDevice(NONE);
    const socket = openUdpSocket({ address: OWN, port: 5000 });
    try {
      for (let count = 0; count < READ_PACKETS_MAX + 10; count++) {
        sendTo(socket.fd, new Uint8Array(10), REMOTE, 53);
      }
      assert.ok(device.port.waitReadable(0, 0));
      assert.equal(readAll(device, 0).length, READ_PACKETS_MAX);
      assert.ok(device.port.waitReadable(0, 0));
      assert.equal(readAll(device, 0).length, 10);
    } finally {
      socket.close();
      device.close();
    }
  });
});
