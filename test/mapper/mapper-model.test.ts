/**
 * Random lives of a gateway in simulated time against a simple model: what was acknowledged is
 * never given to another while it may be in use, survives every crash, and the table never
 * contradicts itself. The refresh by a packet may be lost in a crash unless it was stored; an
 * answer may not. SEED repeats a run.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { formatIp, type IpAddress } from "../../src/base/ip.js";
import { type RandomSource, randomBelow, seededRandom } from "../../src/base/random.js";
import { ip, World, type WorldOptions } from "./world.js";

const HOUR = 3600;
/** A use refreshes when less than this is left, so this much is sure after each use. */
const SURE_LIFE = 3 * HOUR;

interface Known {
  /** `gateway reference` or host. */
  readonly who: string;
  /** Last time at which the mapper said so, wall seconds. */
  toldSeconds: number;
}

/** What clients were told: value to owner, for encoded addresses and references. */
class Model {
  readonly told = new Map<string, Known>();

  /** Checks an answer against what was told before, and keeps it. */
  answer(value: string, who: string, wallSeconds: number): void {
    const known = this.told.get(value);
    if (known !== undefined && known.who !== who) {
      const age = wallSeconds - known.toldSeconds;
      assert.ok(age > SURE_LIFE, `${value} was given to ${known.who} ${age} s before ${who}`);
    }
    this.told.set(value, { who, toldSeconds: wallSeconds });
  }
}

class Life {
  world: World;
  readonly #options: WorldOptions;
  readonly #model = new Model();
  readonly #random: RandomSource;
  #wall = 1_000_000;
  #worldStartWall = this.#wall;
  #worldStartNow: number;
  /** Encoded addresses that were told, by remote. */
  readonly #addresses = new Map<string, { address: IpAddress; wall: number }>();

  constructor(random: RandomSource, options: WorldOptions) {
    this.#random = random;
    this.#options = { ...options, wallSeconds: this.#wall };
    this.world = new World(this.#options);
    this.#worldStartNow = this.world.now;
  }

  step(): void {
    const dice = randomBelow(this.#random, 100);
    if (dice < 35) this.#resolve();
    else if (dice < 55) this.#packetIn();
    else if (dice < 70) this.#packetOut();
    else if (dice < 80) this.#local();
    else if (dice < 90) this.world.flush(randomBelow(this.#random, 10) === 0);
    else if (dice < 98) this.#pass(randomBelow(this.#random, 2) === 0 ? 30 : 2 * HOUR);
    else this.#crash();
    this.#wall = this.#worldStartWall + this.world.now - this.#worldStartNow;
  }

  get #remoteName(): { gateway: string; reference: bigint } {
    return {
      gateway: `192.0.2.${1 + randomBelow(this.#random, 4)}`,
      reference: BigInt(1 + randomBelow(this.#random, 40)),
    };
  }

  #resolve(): void {
    const { gateway, reference } = this.#remoteName;
    const found = this.world.mapper.getEncodedAddress(ip(gateway), reference);
    if (found.status === "found") this.#tell(gateway, reference, found.value);
  }

  #packetIn(): void {
    const { gateway, reference } = this.#remoteName;
    const remote = { context: ip(gateway), reference };
    const found = this.world.mapper.iprefToTheirs(remote, true);
    if (found.status === "found") {
      const back = this.world.mapper.theirsToIpref(found.value);
      assert.ok(back.status === "found");
      assert.equal(back.value.reference, reference);
      this.world.flush();
      this.#tell(gateway, reference, found.value);
    }
  }

  /** A client uses an address that it was told within a lifetime: it must mean the same. */
  #packetOut(): void {
    const entries = [...this.#addresses];
    if (entries.length === 0) return;
    const [who, { address, wall }] = entries[randomBelow(this.#random, entries.length)]!;
    const back = this.world.mapper.theirsToIpref(address);
    if (this.#wall - wall < SURE_LIFE) assert.equal(back.status, "found", `${who} is lost`);
    if (back.status !== "found") return;
    const name = `${formatIp(back.value.context)} ${back.value.reference}`;
    if (this.#wall - wall < SURE_LIFE) assert.equal(name, who);
    this.world.flush();
    if (name === who) this.#addresses.set(who, { address, wall: this.#wall });
  }

  #local(): void {
    const host = `10.1.1.${1 + randomBelow(this.#random, 30)}`;
    const found = this.world.mapper.oursToIpref(ip(host), true);
    if (found.status === "found") {
      this.world.flush();
      this.#model.answer(`ref ${found.value.reference}`, host, this.#wall);
    }
  }

  #tell(gateway: string, reference: bigint, address: IpAddress): void {
    const who = `${gateway} ${reference}`;
    this.#model.answer(formatIp(address), who, this.#wall);
    this.#addresses.set(who, { address, wall: this.#wall });
  }

  #pass(seconds: number): void {
    this.world.pass(seconds, Math.max(30, seconds / 8));
  }

  /** Whatever was not stored is lost; the wall clock goes on. */
  #crash(): void {
    // Refreshes of the last moment may be lost: a live record has hours left (spec/mapper.md 3.1).
    const wallSeconds = this.#wall + randomBelow(this.#random, 60);
    this.world = new World({ ...this.#options, store: this.world.store, wallSeconds });
    this.#worldStartWall = wallSeconds;
    this.#worldStartNow = this.world.now;
    this.#wall = wallSeconds;
  }
}

test("nothing acknowledged is lost or given twice, over random lives with crashes", () => {
  const seed = Number(process.env.SEED ?? Date.now() % 0x1_0000_0000);
  console.log(`seed ${seed}`);
  const random = seededRandom(seed);
  for (let round = 0; round < 30; round++) {
    const life = new Life(random, {
      seed: random.word(),
      recordsMax: 60 + randomBelow(random, 400),
      limits: { perContextRate: 1000, totalRate: 1000 },
    });
    for (let step = 0; step < 600; step++) life.step();
    checkTable(life.world);
  }
});

/** No value twice, no remote twice, and look-ups agree with the list. */
function checkTable(world: World): void {
  const values = new Set<string>();
  world.mapper.forEachMapping((mapping) => {
    const local = `${mapping.kind} ${formatIp(mapping.address)}`;
    const other = `${mapping.kind} ${formatIp(mapping.context)} ${mapping.reference}`;
    assert.ok(!values.has(local) && !values.has(other), `${local} ${other}`);
    values.add(local).add(other);
    if (mapping.state !== "active") return;
    if (mapping.kind === "remote") {
      const back = world.mapper.theirsToIpref(mapping.address);
      assert.ok(back.status === "found" && back.value.reference === mapping.reference);
    } else {
      const back = world.mapper.iprefToOurs(mapping);
      assert.ok(back.status === "found" && formatIp(back.value) === formatIp(mapping.address));
    }
  });
}
