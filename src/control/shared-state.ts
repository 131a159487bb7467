/**
 * The memory that the main thread shares with the forwarding workers: its plan, and the views
 * through which the main thread, its only writer, fills the tables.
 */

import { AddressTableWriter } from "../tables/address-table-writer.js";
import { type ArenaPlan, COUNTER_WRITER_MAIN, planArena } from "../tables/arena.js";
import { ControlBlock } from "../tables/control-block.js";
import { CounterBlock, CounterReader } from "../tables/counters.js";
import { PeerTableWriter } from "../tables/peer-table.js";
import { PeerTrafficBlock, PeerTrafficReader } from "../tables/peer-traffic.js";
import type { GatewaySettings } from "./gateway-flags.js";
import type { Machine } from "./ports.js";

/**
 * Mappings at a time: 2^21 records of 64 bytes and their indexes are 184 MiB of address space,
 * used as far as there are mappings. Twice the addresses of the default encode net.
 */
const RECORDS_MAX = 2 ** 21;
/** Remote gateways when -max-remote-gateways sets no limit: 4 MiB of entries. */
const PEERS_UNLIMITED = 65_536;
/** And at most, whatever the flag says. */
const PEERS_MAX = 2 ** 20;
/** Room for packets on their way to the slow path, in each of a lane's two rings: -max-buffers
 * packets of the largest size, but never less than 1 MiB. A power of two. */
const RING_BYTES_MIN = 2 ** 20;
const PACKET_BYTES_MAX = 65_536;

/** Shared memory with its views. */
export interface SharedState {
  readonly memory: SharedArrayBuffer;
  readonly plan: ArenaPlan;
  readonly control: ControlBlock;
  readonly counters: CounterBlock;
  readonly totals: CounterReader;
  readonly peers: PeerTableWriter;
  /** Traffic of the remote gateways: what the main thread sends, and the sums. */
  readonly peerTraffic: PeerTrafficBlock;
  readonly peerTotals: PeerTrafficReader;
  readonly addresses: AddressTableWriter;
}

/** Plans and makes the shared memory. */
export function makeSharedState(
  settings: GatewaySettings,
  machine: Pick<Machine, "random" | "allocateShared" | "recordsMax">,
): SharedState {
  const { random, recordsMax = RECORDS_MAX } = machine;
  const peersMax = Math.min(PEERS_MAX, settings.remoteGatewaysMax ?? PEERS_UNLIMITED);
  const plan = planArena({
    recordsMax,
    localVersion: settings.localVersion,
    tunnelVersion: settings.tunnelVersion,
    hashSeed: random.word() * 2 ** 20 + (random.word() >>> 12),
    peersMax,
    lanes: settings.lanes,
    ringBytes: ringBytes(settings.buffersMax),
  });
  const memory = machine.allocateShared(plan.totalBytes);
  const { peerTrafficOffset: traffic, counterWriters } = plan;
  const control = new ControlBlock(memory, plan.controlOffset);
  control.setPublicAddress(settings.publicAddress);
  return {
    memory,
    plan,
    control,
    counters: new CounterBlock(memory, plan.countersOffset, COUNTER_WRITER_MAIN),
    totals: new CounterReader(memory, plan.countersOffset, counterWriters),
    peers: new PeerTableWriter(memory, plan.peersOffset, peersMax),
    peerTraffic: new PeerTrafficBlock(memory, traffic, peersMax, COUNTER_WRITER_MAIN),
    peerTotals: new PeerTrafficReader(memory, traffic, peersMax, counterWriters),
    addresses: new AddressTableWriter(memory, plan.addressesOffset, plan.options),
  };
}

function ringBytes(buffersMax: number): number {
  let bytes = RING_BYTES_MIN;
  while (bytes < buffersMax * PACKET_BYTES_MAX) bytes *= 2;
  return bytes;
}
