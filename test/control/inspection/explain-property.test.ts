/**
 * Asking changes nothing: of two equal gateways that meet the same packets, one is asked for
 * explanations in between, and both stay equal, in memory, store and everything they put out.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../../../src/base/hex.js";
import { parseIp } from "../../../src/base/ip.js";
import { seededRandom } from "../../../src/base/random.js";
import { nativePacketOf, tunnelPacketOf } from "../../../src/control/inspection/explain-packet.js";
import type { ExplainQuestion } from "../../../src/control/inspection/explain-report.js";
import { settle } from "../fake-machine.js";
import { ExplainWorld, flow, PUBLIC_ADDRESS, REMOTE_GATEWAY, usualWorld } from "./explain-world.js";

const ROUNDS = 250;

/** An event of a test run: what both gateways meet. */
type Event =
  | { readonly kind: "local"; readonly packet: Uint8Array }
  | { readonly kind: "tunnel"; readonly packet: Uint8Array; readonly port: number }
  | { readonly kind: "time"; readonly seconds: number };

class Chance {
  readonly #random;
  readonly #version: 4 | 6;

  constructor(seed: number, version: 4 | 6) {
    this.#random = seededRandom(seed);
    this.#version = version;
  }

  below(bound: number): number {
    return this.#random.word() % bound;
  }

  pick<Value>(values: readonly Value[]): Value {
    return values[this.below(values.length)]!;
  }

  host(): string {
    const last = this.pick(["22", "23", "24", "25", "26"]);
    return this.#version === 4 ? `10.1.0.${last}` : `2001:db8:1::${last}`;
  }

  encoded(): string {
    const last = this.pick(["22", "22", "22", "99"]);
    return this.#version === 4 ? `10.240.0.${last}` : `fd00:240::${last}`;
  }

  remote(): { context: string; reference: number } {
    return { context: REMOTE_GATEWAY, reference: this.pick([1025, 1025, 2000, 2001, 2002, 1]) };
  }

  flow() {
    const protocol = this.pick([6, 17, 17, 1, 1, 132]);
    const size = this.pick([undefined, undefined, 200, 1300, 3000]);
    const df = this.below(2) === 0;
    return { protocol, size, df, syn: this.below(2) === 0, port: this.pick([53, 443]) };
  }

  question(): ExplainQuestion {
    const remote = this.remote();
    const ipref = `${remote.context} + ${remote.reference}`;
    const kind = this.below(5);
    if (kind === 0) return flow(this.host(), this.encoded(), this.flow());
    if (kind === 1) return flow(this.host(), ipref, this.flow());
    if (kind === 2) return flow(ipref, this.host(), this.flow());
    if (kind === 3) return { packet: toHex(this.native()), side: "local" };
    return { packet: toHex(this.datagram()), side: "tunnel", from: REMOTE_GATEWAY };
  }

  event(): Event {
    const kind = this.below(9);
    if (kind === 0) return { kind: "time", seconds: this.pick([1, 1, 2, 61, 700]) };
    if (kind < 5) return { kind: "local", packet: this.native() };
    return { kind: "tunnel", packet: this.datagram(), port: this.pick([1045, 1045, 1045, 5555]) };
  }

  native(): Uint8Array {
    const [source, destination] = [parseIp(this.host())!, parseIp(this.encoded())!];
    const packet = nativePacketOf(flow("", "", this.flow()), source, destination);
    return this.#cut(this.#isFragmented() ? this.#asFragment(packet) : packet);
  }

  datagram(): Uint8Array {
    const { context, reference } = this.remote();
    const source = { context: parseIp(context)!, reference: BigInt(reference) };
    const to = this.pick([1025n, 1025n, 1n, 77n]);
    const destination = { context: parseIp(PUBLIC_ADDRESS)!, reference: to };
    return this.#cut(tunnelPacketOf(flow("", "", this.flow()), source, destination, this.#version));
  }

  #isFragmented(): boolean {
    return this.#version === 4 && this.below(6) === 0;
  }

  /** The first octets of an IPv4 packet as its first fragment. */
  #asFragment(packet: Uint8Array): Uint8Array {
    const length = Math.min(packet.length - (packet.length % 8) + 4, 220);
    const part = packet.slice(0, Math.max(28, length));
    part.set([part.length >> 8, part.length & 0xff], 2);
    part.set([0x20, 0], 6);
    return part;
  }

  /** Now and then a bit is wrong, or the end missing. */
  #cut(packet: Uint8Array): Uint8Array {
    const chance = this.below(12);
    if (chance === 0) return packet.slice(0, this.below(packet.length));
    if (chance > 2) return packet;
    const wrong = packet.slice();
    wrong[this.below(Math.min(60, wrong.length))]! ^= 1 << this.below(8);
    return wrong;
  }
}

async function meet(world: ExplainWorld, event: Event): Promise<void> {
  if (event.kind === "time") world.machine.pass(event.seconds);
  else if (event.kind === "local") world.fromLocal(event.packet);
  else world.fromTunnel(event.packet, REMOTE_GATEWAY, event.port);
}

for (const version of [4, 6] as const) {
  test(`a gateway that is asked stays equal to one that is not (IPv${version})`, async () => {
    const seed = Number(process.env.IPREF_TEST_SEED ?? Date.now() % 1_000_000);
    const chance = new Chance(seed, version);
    const asked = await new ExplainWorld(usualWorld(version)).start();
    const silent = await new ExplainWorld(usualWorld(version)).start();
    const reasons = new Set<string>();
    for (let round = 0; round < ROUNDS; round++) {
      const event = chance.event();
      for (const world of [asked, silent]) await meet(world, event);
      // Between the packet and the commit there are pending mappings and waiting packets.
      if (chance.below(3) > 0) await settle();
      for (let count = chance.below(3); count >= 0; count--) {
        const reply = await asked.ask("POST", "/explain", JSON.stringify(chance.question()));
        const { verdict } = JSON.parse(String(reply.body));
        if (verdict !== undefined) reasons.add(verdict.drop?.reason ?? verdict.kind);
      }
      await settle();
      assert.equal(asked.digest(), silent.digest(), `seed ${seed}, round ${round}`);
    }
    assert.ok(reasons.size > 5, `seed ${seed}: ${[...reasons].join(" ")}`);
    await asked.gateway.stop();
    await silent.gateway.stop();
  });
}

test("what is explained of a packet is what happens to it", async () => {
  const seed = Number(process.env.IPREF_TEST_SEED ?? Date.now() % 1_000_000);
  const chance = new Chance(seed, 4);
  const world = await new ExplainWorld().start();
  for (let round = 0; round < ROUNDS; round++) {
    const event = chance.event();
    if (event.kind === "time") {
      world.machine.pass(event.seconds);
      continue;
    }
    const { kind: side, packet } = event;
    const origin = side === "local" ? {} : { from: REMOTE_GATEWAY, fromPort: event.port };
    const report = await world.explain({ packet: toHex(packet), side, ...origin });
    const drops = total(world);
    const { sent, written } = world.machine;
    const [sentBefore, writtenBefore] = [sent.length, written.length];
    await meet(world, event);
    await settle();
    const note = `seed ${seed}, round ${round}: ${toHex(packet)}\n${JSON.stringify(report)}`;
    const reason = report.verdict.drop?.reason;
    if (reason !== undefined) assert.ok((world.drops().get(reason) ?? 0) > 0, note);
    assert.equal(total(world) > drops, reason !== undefined, note);
    if (reason !== undefined) continue;
    // A probe of a new port is a datagram of its own.
    const probes = report.steps.some(({ text }) => text.includes("to prove it first")) ? 1 : 0;
    const sizes = sent.slice(sentBefore).map(({ payload }) => payload.length);
    assert.ok(sizes.length - report.sentBytes.length <= probes, note);
    assert.deepEqual(sizes.slice(sizes.length - report.sentBytes.length), report.sentBytes, note);
    const writtenSizes = written.slice(writtenBefore).map(({ length }) => length);
    assert.deepEqual(writtenSizes, report.writtenBytes, note);
  }
  await world.gateway.stop();
});

function total(world: ExplainWorld): number {
  return [...world.drops().values()].reduce((sum, count) => sum + count, 0);
}
