/**
 * The translator of the WebAssembly kernel against the TypeScript fast path, in two worlds that
 * change alike: same decisions, same bytes, same stamps, also where the slow path is not asked.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "../../src/base/random.js";
import type { KernelName } from "../../src/control/gateway-flags.js";
import { FastEgress } from "../../src/forward/fast-egress.js";
import { FastIngress } from "../../src/forward/fast-ingress.js";
import { PacketBatch, VNET_HEADER_BYTES } from "../../src/forward/ports.js";
import { VnetReader } from "../../src/forward/vnet-header.js";
import { DEVICE_HEADER_BYTES, RESULT_UNKNOWN } from "../../src/kernel/translation.js";
import {
  FLAG_DETACHED,
  FLAG_INACTIVE,
  FLAG_MULTIPLE,
  FLAG_PROVISIONAL,
  FLAG_SECONDARY,
  KIND_PAIR,
} from "../../src/tables/address-table.js";
import { ALL_WORLDS, buildUdp, Dice, FastWorld, makeDatagram, makeNative } from "./fast-world.js";

/** Packets of one run; the environment asks for longer ones. */
const PACKETS = Number(process.env["IPREF_TEST_PACKETS"] ?? 2500);
const HEADROOM = 160;

function newSeed(): number {
  return Number(process.env["IPREF_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
}

/** Leaves an entry as its writer does in the middle of a change. */
function beginWriting(world: FastWorld, offset: number): void {
  new Int32Array(world.buffer)[offset >>> 2]! |= 1;
}

/** Ends what was begun. */
function endWriting({ buffer, addresses, peerTable, peers }: FastWorld): void {
  const words = new Int32Array(buffer);
  for (let number = 1; number <= addresses.highest; number++) {
    words[addresses.offsetOf(number) >>> 2]! &= ~1;
  }
  for (const index of peers.keys()) words[peerTable.offsetOf(index + 1) >>> 2]! &= ~1;
}

/** One change of tables, drawn from dice: the same in every world that gets the same dice. */
function change(world: FastWorld, dice: Dice, secondary: number): void {
  const { addresses, peerTable, control, hosts, remotes } = world;
  endWriting(world);
  const host = 1 + dice.below(hosts.length);
  const remote = 1 + hosts.length + dice.below(remotes.length);
  const peer = 1 + dice.below(world.peers.length);
  const isOn = dice.percent(75);
  const hidden = [0, FLAG_INACTIVE, FLAG_PROVISIONAL, FLAG_DETACHED];
  switch (dice.below(12)) {
    case 0:
      return addresses.setFlags(remote, dice.percent(60) ? 0 : dice.pick(hidden));
    case 1:
      return addresses.setFlags(host, dice.percent(60) ? 0 : dice.pick([2, 4]) & ~FLAG_SECONDARY);
    case 2:
      return addresses.setFlags(1, dice.percent(70) ? FLAG_MULTIPLE : 0);
    case 3: {
      const flags = FLAG_MULTIPLE | FLAG_SECONDARY;
      return addresses.setFlags(secondary, isOn ? flags : flags | FLAG_INACTIVE);
    }
    case 4: {
      const numbers = [0, 1, 2, 3, secondary];
      const pair = secondary + 1 + dice.below(remotes.length);
      return addresses.setHint(pair, dice.pick(numbers));
    }
    case 5:
      return peerTable.setVerified(peer, isOn);
    case 6:
      return peerTable.setSettled(peer, isOn);
    case 7:
      return peerTable.setPacketBytesMax(peer, dice.pick([0, 100, 300, 1400, 9000]));
    case 8:
      return addresses.setHint(remote, dice.below(12));
    case 10:
      return beginWriting(
        world,
        dice.percent(50) ? addresses.offsetOf(remote) : peerTable.offsetOf(peer),
      );
    case 9:
      return control.setPublicAddress(isOn ? world.publicAddress : world.contextIp(dice.below(4)));
    default:
      control.setNowSeconds(1000 + dice.below(5));
      if (world.options.localVersion === 4) return;
      control.setNarrowDestinations(remotes.filter(() => dice.percent(15)).map((r) => r.encoded));
  }
}

/** A world with a second reference of host 0 and a PAIR record for each remote host. */
function makeWorld(options: (typeof ALL_WORLDS)[number]): { world: FastWorld; secondary: number } {
  const world = new FastWorld(options);
  const { secondary } = world.addSecondReference(0x9999n);
  for (const { encoded } of world.remotes) {
    world.insert(KIND_PAIR, { local: world.hosts[0]!.ip, context: encoded }, secondary);
  }
  return { world, secondary };
}

/** Everything that translating may change, behind and before the packet as well. */
function stateOf(world: FastWorld, offset: number, length: number): Buffer[] {
  const { bytes, plan } = world;
  const part = (start: number, end: number) => Buffer.from(bytes.slice(start, end));
  const { peersOffset, addressesOffset, lanes } = plan;
  const packet = part(offset - HEADROOM, offset + length + HEADROOM);
  const tables = part(peersOffset, addressesOffset + 64 * 64);
  assert.ok(lanes.length === 1 && peersOffset < addressesOffset);
  return [packet, tables];
}

function compareStates(a: Buffer[], b: Buffer[], about: string): void {
  assert.equal(a[0]!.toString("hex"), b[0]!.toString("hex"), `${about}: packets differ`);
  assert.ok(a[1]!.equals(b[1]!), `${about}: tables differ`);
}

/** A device header: mostly one that fits the packet, sometimes with random octets in it. */
function makeDeviceHeader(dice: Dice, packet: Uint8Array, ipLength: number): Uint8Array {
  const header = new Uint8Array(DEVICE_HEADER_BYTES);
  const view = new DataView(header.buffer);
  const isTcp = packet[ipLength === 20 ? 9 : 6] === 6;
  if (dice.percent(60)) {
    header[0] = 1;
    view.setUint16(6, ipLength, true);
    view.setUint16(8, isTcp ? 16 : 6, true);
  }
  if (dice.percent(5)) header[1] = dice.pick([1, 3, 4, 5, 0x81]);
  if (dice.percent(8)) header[dice.below(DEVICE_HEADER_BYTES)] = dice.below(256);
  return header;
}

/** A packet from the local network; now and then one at the edge of a rule. */
function makePacket(world: FastWorld, dice: Dice): Uint8Array {
  if (dice.percent(93)) return makeNative(world, dice);
  const [host, { encoded }] = [dice.pick(world.hosts), dice.pick(world.remotes)];
  if (dice.percent(50)) {
    const ipLength = world.options.localVersion === 4 ? 20 : 40;
    return buildUdp(host.ip, encoded, dice.pick([1279, 1280, 1281]) - ipLength);
  }
  return withZeroForm(buildUdp(host.ip, encoded, 12));
}

/** Makes an echo request of a packet whose checksum becomes a zero in the tunnel. */
function withZeroForm(packet: Uint8Array): Uint8Array {
  const isIpv4 = packet[0] === 0x45;
  const [at, addresses] = isIpv4 ? [20, 12] : [40, 8];
  packet[isIpv4 ? 9 : 6] = isIpv4 ? 1 : 58;
  packet.set([isIpv4 ? 8 : 128, 0], at);
  const view = new DataView(packet.buffer);
  // What the tunnel's form leaves out: pseudo header, and the difference of the types.
  let sum = packet.length - at + 58 + 0x8000 - 0x0800;
  for (let word = addresses; word < at; word += 2) sum += view.getUint16(word);
  view.setUint16(at + 2, 0xffff - (sum % 0xffff));
  return packet;
}

/** Sometimes makes the unfinished checksum one whose completion is a zero. */
function zeroCompletion(dice: Dice, packet: Uint8Array, header: Uint8Array): void {
  const fields = new DataView(header.buffer);
  const start = fields.getUint16(6, true);
  const place = start + fields.getUint16(8, true);
  if (dice.percent(90) || header[0] !== 1 || place + 2 > packet.length) return;
  const view = new DataView(packet.buffer);
  view.setUint16(place, 0);
  let sum = 0;
  for (let at = start; at < packet.length; at++) {
    sum += (at - start) % 2 === 0 ? packet[at]! << 8 : packet[at]!;
  }
  view.setUint16(place, 0xffff - (sum % 0xffff));
}

function egressSide(options: (typeof ALL_WORLDS)[number], kernel: KernelName) {
  const { world, secondary } = makeWorld(options);
  const { memory, offset } = world.worker("egress", kernel);
  const fast = new FastEgress(memory, world.fastSettings);
  return { world, secondary, memory, offset, fast, reader: new VnetReader(memory) };
}

/** Result and port as the egress loop finds them without a translator; bad headers are unknown. */
function judge(side: ReturnType<typeof egressSide>, length: number, hasHeader: boolean) {
  const { fast, reader, offset } = side;
  if (hasHeader && reader.read(offset, length) !== 0) return { result: RESULT_UNKNOWN, port: 0 };
  const result = fast.translate(offset, length);
  return { result, port: fast.port };
}

for (const options of ALL_WORLDS) {
  const { localVersion, tunnelVersion, decrementTtl } = options;
  const name = `local IPv${localVersion}, tunnel IPv${tunnelVersion}, -dec-ttl ${decrementTtl}`;

  test(`Egress batches are translated as packet by packet: ${name}`, (context) => {
    const seed = newSeed();
    context.diagnostic(`seed ${seed}`);
    const dice = new Dice(seed);
    const ts = egressSide(options, "ts");
    const wasm = egressSide(options, "wasm");
    const batch = new PacketBatch(1);
    let taken = 0;
    for (let count = 0; count < PACKETS; count++) {
      const about = `seed ${seed}, packet ${count}`;
      const changeSeed = dice.below(2 ** 32);
      const packet = makePacket(ts.world, dice);
      const hasHeader = dice.percent(50);
      const header = makeDeviceHeader(dice, packet, localVersion === 4 ? 20 : 40);
      zeroCompletion(dice, packet, header);
      for (const { world, memory, offset, secondary } of [ts, wasm]) {
        if (count % 3 === 0) change(world, new Dice(changeSeed), secondary);
        world.bytes.fill(0xa5, offset - HEADROOM, offset + packet.length + HEADROOM);
        world.bytes.set(packet, offset);
        world.bytes.set(header, offset - DEVICE_HEADER_BYTES);
        memory.refresh();
      }
      const expected = judge(ts, packet.length, hasHeader);
      batch.count = 0;
      batch.addLocal(wasm.offset, packet.length);
      assert.ok(wasm.fast.translateBatch(batch, hasHeader));
      assert.equal(wasm.fast.resultOf(0), expected.result, about);
      if (expected.result > 0) {
        taken++;
        assert.equal(wasm.fast.portOf(0), expected.port, about);
      }
      const state = stateOf(wasm.world, wasm.offset, packet.length);
      compareStates(state, stateOf(ts.world, ts.offset, packet.length), about);
    }
    assert.ok(taken > PACKETS / 30, `only ${taken} of ${PACKETS} packets were taken`);
  });

  test(`Datagrams are translated as by FastIngress: ${name}`, (context) => {
    const seed = newSeed();
    context.diagnostic(`seed ${seed}`);
    const dice = new Dice(seed);
    const [ts, wasm] = (["ts", "wasm"] as const).map((kernel) => {
      const { world, secondary } = makeWorld(options);
      const { memory, offset, address } = world.worker("ingress", kernel);
      const fast = new FastIngress(memory, world.fastSettings, seededRandom(seed));
      return { world, secondary, memory, offset, address, fast };
    });
    let taken = 0;
    for (let count = 0; count < PACKETS; count++) {
      const about = `seed ${seed}, datagram ${count}`;
      const changeSeed = dice.below(2 ** 32);
      const { packet, source, port } = makeDatagram(ts!.world, dice);
      const results = [ts!, wasm!].map(({ world, memory, offset, address, secondary, fast }) => {
        if (count % 3 === 0) change(world, new Dice(changeSeed), secondary);
        world.bytes.fill(0xa5, offset - HEADROOM, offset + packet.length + HEADROOM);
        world.bytes.set(packet, offset);
        world.bytes.set(source.bytes, address);
        memory.refresh();
        return fast.translate(offset, packet.length, address, port);
      });
      assert.equal(results[1], results[0], about);
      if (results[0]! > 0) taken++;
      const state = stateOf(wasm!.world, wasm!.offset, packet.length);
      compareStates(state, stateOf(ts!.world, ts!.offset, packet.length), about);
    }
    assert.ok(taken > PACKETS / 30, `only ${taken} of ${PACKETS} datagrams were taken`);
  });
}

test("both sides know the device header by the same length", () => {
  assert.equal(DEVICE_HEADER_BYTES, VNET_HEADER_BYTES);
});
