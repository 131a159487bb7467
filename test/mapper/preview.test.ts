/**
 * The preview says of each look-up what the look-up then does, and does nothing itself: random
 * lives of a small mapper whose limits are reached. SEED repeats a run.
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import type { Lookup } from "../../src/base/address-lookup.js";
import { formatIp } from "../../src/base/ip.js";
import { type RandomSource, randomBelow, seededRandom } from "../../src/base/random.js";
import type { HostsRecord } from "../../src/mapper/hosts-file.js";
import type { MapperPreview, PreviewFinding } from "../../src/mapper/preview.js";
import { ip, World } from "./world.js";

const STEPS = 1500;
/** Shares of a remote gateway: one that is reached, and one so large that the table is full first. */
const SHARES = [4, 15];

class PreviewLife {
  readonly world: World;
  readonly outcomes = new Set<string>();
  readonly #random: RandomSource;

  constructor(random: RandomSource, perContextMax: number) {
    this.#random = random;
    this.world = new World({
      recordsMax: 60,
      limits: { perContextMax, perContextRate: 5, totalRate: 20, pairsMax: 8 },
    });
    this.world.mapper.installHosts("/h", [
      hostsRecord("local", "10.1.1.1", "198.51.100.1", 1025n),
      hostsRecord("local", "10.1.1.1", "198.51.100.1", 1026n),
      hostsRecord("remote", "10.240.0.22", "192.0.2.1", 1025n),
    ]);
    this.world.flush();
  }

  step(): void {
    const dice = this.#below(100);
    if (dice < 40) this.#packetIn();
    else if (dice < 60) this.#packetOut();
    else if (dice < 80) this.#local();
    else if (dice < 85) this.#toReference();
    else if (dice < 95) this.world.flush(this.#below(8) === 0);
    // More than the interval between two searches for values that can be used again.
    else this.world.pass([11, 30, 30, 60, 60, 9000, 30_000][this.#below(7)]!, 11);
  }

  #below(bound: number): number {
    return randomBelow(this.#random, bound);
  }

  #packetIn(): void {
    const context = ip(`192.0.2.${1 + this.#below(6)}`);
    const remote = { context, reference: BigInt(1020 + this.#below(25)) };
    const mayCreate = this.#below(10) > 0;
    this.#compare(
      (mapper) => mapper.iprefToTheirs(remote, mayCreate),
      () => this.world.mapper.iprefToTheirs(remote, mayCreate),
      (value) => formatIp(value),
    );
  }

  #packetOut(): void {
    const all: string[] = ["10.240.0.22", "10.240.0.99"];
    this.world.mapper.forEachMapping(({ kind, address }) => {
      if (kind === "remote") all.push(formatIp(address));
    });
    const encoded = ip(all[this.#below(all.length)]!);
    this.#compare(
      (mapper) => mapper.theirsToIpref(encoded),
      () => this.world.mapper.theirsToIpref(encoded),
      ({ context, reference }) => `${formatIp(context)} ${reference}`,
    );
  }

  #local(): void {
    const host = ip(["10.1.1.1", "10.240.3.4", "224.0.0.1"][this.#below(30)] ?? this.#host());
    const peer = ip("10.240.0.22");
    const mayCreate = this.#below(10) > 0;
    if (this.#below(5) === 0) this.world.mapper.noteContact(host, peer, 1026n);
    this.#compare(
      (mapper) => mapper.oursToIpref(host, mayCreate, peer),
      () => this.world.mapper.oursToIpref(host, mayCreate, peer),
      ({ context, reference }) => `${formatIp(context)} ${reference}`,
    );
  }

  #host(): string {
    return `10.1.1.${2 + this.#below(60)}`;
  }

  #toReference(): void {
    const reference = BigInt(1020 + this.#below(10));
    const address = { context: ip("198.51.100.1"), reference };
    this.#compare(
      (mapper) => mapper.iprefToOurs(address),
      () => this.world.mapper.iprefToOurs(address),
      (value) => formatIp(value),
    );
  }

  /** Previews, checks that nothing changed, looks up, and compares the two. */
  #compare<Value>(
    preview: (mapper: MapperPreview) => Lookup<Value>,
    lookUp: () => Lookup<Value>,
    text: (value: Value) => string,
  ): void {
    const findings: PreviewFinding[] = [];
    const before = this.#digest();
    const seen = preview(this.world.mapper.preview((finding) => void findings.push(finding)));
    assert.equal(this.#digest(), before, "a preview changes nothing");
    const real = lookUp();
    const finding = findings[0]!;
    const { outcome, reason, mapping } = finding;
    this.outcomes.add(reason ?? outcome);
    const note = JSON.stringify({ real, finding }, (_, each) =>
      typeof each === "bigint" ? String(each) : each,
    );
    const isWaiting =
      outcome === "created" || outcome === "revived" || mapping?.state === "pending";
    if (outcome === "refused") {
      assert.deepEqual(
        [real.status, real.status === "refused" && real.reason],
        ["refused", reason],
        note,
      );
    } else if (isWaiting) assert.equal(real.status, "pending", note);
    else {
      assert.ok(real.status === "found" && seen.status === "found", note);
      assert.equal(text(seen.value), text(real.value), note);
    }
  }

  #digest(): string {
    const { table, mapper } = this.world;
    const statistics = mapper.statistics();
    const refused = [...statistics.refused].join(";");
    const hash = createHash("sha256");
    hash.update(new Uint8Array(table.view.buffer));
    hash.update(JSON.stringify({ ...statistics, refused }));
    hash.update(`${mapper.isAllStored} ${mapper.currentToken} ${this.world.events.length}`);
    return hash.digest("hex");
  }
}

function hostsRecord(
  kind: HostsRecord["kind"],
  address: string,
  gateway: string,
  reference: bigint,
): HostsRecord {
  return { kind, address: ip(address), gateway: ip(gateway), reference, line: 1, column: 1 };
}

/** What has to happen in the lives, so that they try what they are for. */
const WANTED = [
  ...["found", "created", "revived", "mapping-rate", "mapping-quota"],
  ...["reference-exhausted", "tunnel-reference-unknown"],
];
/** A life seldom misses one of them; several never do. */
const LIVES_MAX = 6;

test("a preview says what the look-up then does, and does nothing", () => {
  const first = Number(process.env.SEED ?? Date.now() % 1_000_000);
  const outcomes = new Set<string>();
  const isComplete = () => WANTED.every((outcome) => outcomes.has(outcome));
  for (let seed = first; seed < first + LIVES_MAX && !isComplete(); seed++) {
    for (const share of SHARES) liveThrough(seed, share, outcomes);
  }
  assert.deepEqual(
    WANTED.filter((outcome) => !outcomes.has(outcome)),
    [],
    `never seen from seed ${first} on`,
  );
});

function liveThrough(seed: number, share: number, outcomes: Set<string>): void {
  const life = new PreviewLife(seededRandom(seed), share);
  for (let step = 0; step < STEPS; step++) {
    try {
      life.step();
    } catch (error) {
      throw new Error(`seed ${seed}, share ${share}, step ${step}`, { cause: error });
    }
  }
  for (const outcome of life.outcomes) outcomes.add(outcome);
}

test("a full table is told before the packet that meets it", () => {
  const world = new World({ recordsMax: 40 });
  for (let host = 0; host < 40; host++) world.resolve(`192.0.2.${host % 5}`, String(2000 + host));
  const remote = { context: ip("192.0.2.77"), reference: 1n };
  const findings: PreviewFinding[] = [];
  world.mapper.preview((finding) => void findings.push(finding)).iprefToTheirs(remote, true);
  assert.equal(findings[0]!.reason, "encoded-address-exhausted");
  const refused = { status: "refused", reason: "encoded-address-exhausted" };
  assert.deepEqual(world.mapper.iprefToTheirs(remote, true), refused);
});
