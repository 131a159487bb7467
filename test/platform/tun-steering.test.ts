/** The kernel sorts packets into the queues of a TUN device, in a network namespace of its own. */

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { parseIp } from "../../src/base/ip.js";
import { randomBelow, seededRandom } from "../../src/base/random.js";
import { createSharedValue } from "../../src/platform/bpf.js";
import * as libc from "../../src/platform/libc.js";
import { allocateMemory } from "../../src/platform/memory.js";
import { openTun, type TunDevice } from "../../src/platform/tun.js";
import { KnownAddresses } from "../../src/tables/known-addresses.js";
import { enterPrivateNetwork, run, SKIP_WITHOUT_ROOT } from "./private-network.js";

const AF_PACKET = 17;
const SOCK_DGRAM = 2;
/** struct sockaddr_ll, packet(7): family, protocol, interface index. */
const SOCKADDR_LL_LENGTH = 20;
const PACKETS = 400;
const LANES = 2;
const SIDE = LANES;

const OWN = { 4: parseIp("10.240.0.1")!, 6: parseIp("fd00:eaea::1")! } as const;

/** What system calls read and write; it outlives them all. */
const outgoing = allocateMemory(SOCKADDR_LL_LENGTH + 2048);
const incoming = allocateMemory(2048);

/** Addresses that are known, and others. */
function addresses(version: 4 | 6, isKnown: boolean): Uint8Array[] {
  return Array.from({ length: 8 }, (_, index) => {
    const host = (isKnown ? 0x10 : 0x90) + index;
    const text = version === 4 ? `10.240.3.${host}` : `fd00:eaea::77:${host.toString(16)}`;
    return parseIp(text)!.bytes;
  });
}

function openSteered(version: 4 | 6, seed: number): TunDevice {
  const prefixBits = version === 4 ? 12 : 64;
  const mtuBytes = 1400;
  return openTun({ address: OWN[version], prefixBits, mtuBytes, queues: LANES, side: { seed } });
}

/** Fills the buckets of a device as the address table does. */
function publish(device: TunDevice, version: 4 | 6, seed: number): void {
  const known = new KnownAddresses(device.side!.known, seed);
  for (const bytes of addresses(version, true)) {
    const words = new Int32Array(bytes.slice().buffer);
    known.add(words, 0, words.length);
  }
}

/** Sends a packet out of the device, whatever is in it. */
function makeSender(device: TunDevice, version: 4 | 6): (packet: Uint8Array) => void {
  const link = JSON.parse(run("ip", "-j", "link", "show", device.name))[0];
  const fd = libc.socket(AF_PACKET, SOCK_DGRAM, 0);
  assert.ok(fd >= 0);
  return (packet) => {
    const { bytes, view, address } = outgoing;
    view.setUint16(0, AF_PACKET, true);
    view.setUint16(2, version === 4 ? 0x0800 : 0x86dd);
    view.setInt32(4, link.ifindex, true);
    bytes.set(packet, SOCKADDR_LL_LENGTH);
    const start = address + SOCKADDR_LL_LENGTH;
    const sent = libc.sendto(fd, start, packet.length, 0, address, SOCKADDR_LL_LENGTH);
    assert.equal(sent, packet.length);
  };
}

/** The queue in which the one packet lies that waits; it is taken out. */
function takeFrom(device: TunDevice): number {
  const { address } = incoming;
  const queues = [...device.queueFds, device.side!.fd];
  const found = queues.map((fd) => libc.read(fd, address, 2048) > 0);
  assert.equal(found.filter(Boolean).length, 1, "one queue has the packet");
  return found.indexOf(true);
}

/** Packets that waited in a queue. */
function drain(fd: number): number {
  const { address } = incoming;
  let count = 0;
  while (libc.read(fd, address, 2048) > 0) count++;
  return count;
}

/** An empty datagram of IPv4. */
function udpPacket(from: Uint8Array, to: Uint8Array): Uint8Array {
  const head = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
  return Uint8Array.from([...head, ...from, ...to, 0, 9, 0, 9, 0, 8, 0, 0]);
}

/**
 * The queue that a packet shall go to: the rules of tun-steering.ts in plain words; -1 for a
 * truncated one, which may go anywhere.
 */
function queueOf(packet: Uint8Array, version: 4 | 6, seed: number): number {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const layer4 = version === 4 ? 20 : 40;
  if (packet.length < layer4 + 4) return -1;
  if (version === 4 && (packet[0] !== 0x45 || (view.getUint16(6) & 0x3fff) !== 0)) return SIDE;
  if (version === 6 && packet[0]! >> 4 !== 6) return SIDE;
  if (![6, 17].includes(packet[version === 4 ? 9 : 6]!)) return SIDE;
  let sum = view.getUint32(layer4);
  const length = version === 4 ? 4 : 16;
  for (const start of [layer4 - 2 * length, layer4 - length]) {
    const bytes = packet.subarray(start, start + length);
    const isKnown = addresses(version, true).some((own) => Buffer.compare(own, bytes) === 0);
    if (!isKnown) return SIDE;
    sum = (sum + hashOf(bytes, seed)) | 0;
  }
  return (Math.imul(sum, 0x9e3779b1) >>> 16) % LANES;
}

function hashOf(address: Uint8Array, seed: number): number {
  let hash = seed;
  for (let at = 0; at < address.length; at += 4) {
    const word = new DataView(address.buffer, address.byteOffset + at, 4).getInt32(0);
    hash = Math.imul(hash ^ word, 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  return hash;
}

/** A sandbox may forbid bpf(2) even to root. */
function whyNoPrograms(): string | false {
  try {
    libc.close(createSharedValue(1).fd);
    return false;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const skip = SKIP_WITHOUT_ROOT || whyNoPrograms();

describe("Queues of a TUN device", { skip }, () => {
  before(() => enterPrivateNetwork());

  for (const version of [4, 6] as const) {
    const testSeed = Number(process.env["IPREF_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
    test(`IPv${version}: random packets reach the queue of the rules, seed ${testSeed}`, () => {
      const random = seededRandom(testSeed);
      const below = (bound: number): number => randomBelow(random, bound);
      const pick = <Value>(list: readonly Value[]): Value => list[below(list.length)]!;
      const seed = random.word();
      const device = openSteered(version, seed);
      assert.ok(device.side, device.warnings.join());
      publish(device, version, seed);
      const send = makeSender(device, version);
      const used = new Set<number>();
      for (let count = 0; count < PACKETS; count++) {
        const packet = randomPacket(version, pick, below);
        const wanted = queueOf(packet, version, seed);
        send(packet);
        const queue = takeFrom(device);
        used.add(queue);
        if (wanted >= 0) assert.equal(queue, wanted, Buffer.from(packet).toString("hex"));
      }
      assert.deepEqual([...used].sort(), [0, 1, SIDE]);
      device.close();
    });
  }

  test("A flood that overruns the side queue costs no packet of a known flow", () => {
    const device = openSteered(4, 7);
    publish(device, 4, 7);
    const link = JSON.parse(run("ip", "-j", "link", "show", device.name))[0];
    const send = makeSender(device, 4);
    const [from, to] = addresses(4, true);
    const [unknown] = addresses(4, false);
    const fragment = udpPacket(from!, to!);
    fragment[6] = 0x20;
    const known = udpPacket(from!, to!);
    for (let count = 0; count < 2 * link.txqlen; count++) {
      send(count % 2 === 0 ? fragment : udpPacket(from!, unknown!));
      if (count % 20 === 0) send(known);
    }
    const wanted = (2 * link.txqlen) / 20;
    assert.equal(
      device.queueFds.map(drain).reduce((sum, count) => sum + count),
      wanted,
    );
    assert.equal(drain(device.side!.fd), link.txqlen);
    device.close();
  });

  test("An address that is forgotten goes to the side queue again", () => {
    const device = openSteered(4, 5);
    const known = new KnownAddresses(device.side!.known, 5);
    const send = makeSender(device, 4);
    const [from, to] = addresses(4, true);
    const packet = udpPacket(from!, to!);
    const words = [from, to].map((bytes) => new Int32Array(bytes!.slice().buffer));
    for (const address of words) known.add(address, 0, 1);
    send(packet);
    assert.ok(takeFrom(device) < SIDE);
    known.remove(words[1]!, 0, 1);
    send(packet);
    assert.equal(takeFrom(device), SIDE);
    device.close();
  });

  test("CAP_NET_ADMIN and CAP_BPF are enough; without CAP_BPF a warning says what to do", () => {
    const script = `
      const { openTun } = await import("${new URL("../../src/platform/tun.js", import.meta.url)}");
      const { parseIp } = await import("${new URL("../../src/base/ip.js", import.meta.url)}");
      const address = parseIp("10.240.0.1");
      const options = { address, prefixBits: 12, mtuBytes: 1400, queues: 2, side: { seed: 1 } };
      const { side, queueFds, warnings } = openTun(options);
      console.log(JSON.stringify([side && { fd: side.fd }, queueFds.length, warnings]));`;
    const node = [process.execPath, "--input-type=module", "-e", script];
    const openWith = (capabilities: string) =>
      JSON.parse(run("setpriv", `--bounding-set=-all,${capabilities}`, ...node));
    assert.ok(openWith("+net_admin,+bpf")[0].fd > 0);
    const [side, queues, warnings] = openWith("+net_admin");
    assert.equal(side, null);
    assert.equal(queues, 2);
    assert.match(warnings.join(" "), /flood.*ipref.*Cannot create a BPF map.*CAP_BPF/);
  });

  test("Without a side queue the device has the queues of the lanes alone", () => {
    const device = openTun({ address: OWN[4], prefixBits: 12, mtuBytes: 1400, queues: LANES });
    assert.equal(device.side, undefined);
    assert.equal(device.queueFds.length, LANES);
    device.close();
  });
});

/** Mostly plain packets between known addresses; now and then something else about them. */
function randomPacket(
  version: 4 | 6,
  pick: <Value>(list: readonly Value[]) => Value,
  below: (bound: number) => number,
): Uint8Array {
  const header = version === 4 ? 20 : 40;
  const packet = new Uint8Array(
    pick([header + 8, header + 8, header + 100, header + 4, header, 8]),
  );
  const view = new DataView(packet.buffer);
  const place = (at: number, bytes: readonly number[] | Uint8Array): void => {
    if (at + bytes.length <= packet.length) packet.set(bytes, at);
  };
  place(0, [version === 4 ? pick([0x45, 0x45, 0x45, 0x46]) : pick([0x60, 0x60, 0x6b, 0x40])]);
  const flags = pick([0, 0x4000, 0x4000, 0x8000, 0x2000, 1, 0x1fff]);
  if (version === 4) view.setUint16(6, flags);
  place(version === 4 ? 9 : 6, [pick([6, 17, 6, 17, 1, 58, 44, 0])]);
  const ends = pick([true, true, true, false]);
  const length = version === 4 ? 4 : 16;
  place(header - 2 * length, pick(addresses(version, pick([true, true, true, false]))));
  place(header - length, pick(addresses(version, ends)));
  place(header, [below(256), below(256), below(256), below(256)]);
  return packet;
}
