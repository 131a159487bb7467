// Sudden death of the gateway while clients get addresses: nothing that was acknowledged is lost
// or given twice (spec/mapper.md 6). The moments and the seed are printed with a failure.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { randomBelow, seededRandom } from "../../src/base/random.js";
import { Reactor } from "../../src/platform/reactor.js";
import { connectSeqpacket } from "../../src/platform/seqpacket.js";
import type { SeqpacketConnection } from "../../src/platform/seqpacket-connection.js";
import { gatewayProgram, gatewayProgramExists } from "../../src/programs/demo/gateway-process.js";
import { sleep } from "../../src/programs/demo/namespaces.js";
import { enterPrivateNetwork, run, SKIP_WITHOUT_ROOT } from "../platform/private-network.js";

const ROUNDS = 200;
/** Requests on their way at a time. */
const WINDOW = 48;
/**
 * The gateway is killed at a random moment of this span after the first answer of a round, in
 * every fourth round after the first request.
 */
const KILL_WITHIN_MS = 40;
/** Addresses of earlier rounds compared in each round; all of them after the last one. */
const SAMPLE = 200;
const SEED = Number(process.env.IPREF_TEST_SEED ?? Date.now() % 0x7fffffff);

const skip = SKIP_WITHOUT_ROOT || (gatewayProgramExists() ? false : "the gateway is not built");

/** MC_GET_EA for 192.0.2.7 + reference (spec/mapper.md 2.6). */
function request(id: number, reference: number): Uint8Array {
  const bytes = new Uint8Array(36);
  const view = new DataView(bytes.buffer);
  bytes.set([0x11, 0x47]);
  view.setUint16(2, id);
  bytes.set([0x44, 0, 0, 9], 4);
  bytes.set([192, 0, 2, 7], 16);
  view.setUint32(32, reference);
  return bytes;
}

/** A gateway that dies and comes back on the same data directory. */
class MortalGateway {
  readonly directory = mkdtempSync(join(tmpdir(), "ipref-crash-"));
  readonly reactor = new Reactor();
  /** Address by reference: everything that was ever acknowledged. */
  readonly given = new Map<number, string>();
  readonly ownerOf = new Map<string, number>();
  #child: ChildProcess | undefined;
  #connection: SeqpacketConnection | undefined;
  readonly #waiting = new Map<number, (address: string | undefined) => void>();
  #nextId = 1;

  async start(): Promise<void> {
    const path = (name: string) => join(this.directory, name);
    const flags = ["-gateway", "192.0.2.1", "-hosts", "", "-data", path("data")];
    const child = spawn(gatewayProgram(), [...flags, "-mapper-socket", path("mapper.sock")], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#child = child;
    let log = "";
    child.stderr.on("data", (chunk) => {
      log += chunk;
    });
    for (let tries = 0; tries < 500; tries++) {
      assert.equal(child.exitCode, null, log);
      if (this.#connect(path("mapper.sock"))) return;
      await sleep(10);
    }
    assert.fail(`the gateway did not start: ${log}`);
  }

  #connect(path: string): boolean {
    try {
      this.#connection = connectSeqpacket(this.reactor, path, {
        onMessages: (_connection, messages) => {
          for (const { bytes } of messages) this.#answer(bytes);
        },
        onClose: () => this.#abandon(),
      });
      return true;
    } catch {
      return false;
    }
  }

  #answer(bytes: Uint8Array): void {
    const id = (bytes[2]! << 8) | bytes[3]!;
    const settle = this.#waiting.get(id);
    this.#waiting.delete(id);
    settle?.(bytes[1] === 0x87 ? bytes.slice(8, 12).join(".") : undefined);
  }

  #abandon(): void {
    for (const settle of this.#waiting.values()) settle(undefined);
    this.#waiting.clear();
  }

  /** The address of a reference; undefined when the gateway died or refused. */
  ask(reference: number): Promise<string | undefined> {
    const id = this.#nextId;
    this.#nextId = (this.#nextId % 65_535) + 1;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      if (this.#connection!.send(request(id, reference))) return;
      this.#waiting.delete(id); // the gateway has died since its last answer
      resolve(undefined);
    });
  }

  /** Asks for new references until the gateway dies; records what was acknowledged. */
  async allocateUntilDeath(firstReference: number, onAnswer: () => void): Promise<number> {
    let next = firstReference;
    const client = async () => {
      for (;;) {
        const reference = next++;
        const address = await this.ask(reference);
        if (address === undefined) return;
        this.#record(reference, address);
        onAnswer();
      }
    };
    await Promise.all(Array.from({ length: WINDOW }, client));
    return next;
  }

  #record(reference: number, address: string): void {
    assert.equal(this.ownerOf.get(address), undefined, `${address} was given twice`);
    this.given.set(reference, address);
    this.ownerOf.set(address, reference);
  }

  /** Compares addresses given earlier with what the gateway says now. */
  async compare(references: readonly number[]): Promise<void> {
    for (let start = 0; start < references.length; start += 1000) {
      const part = references.slice(start, start + 1000);
      const answers = await Promise.all(part.map((reference) => this.ask(reference)));
      const expected = part.map((reference) => this.given.get(reference));
      assert.deepEqual(answers, expected, "an acknowledged address was lost or changed");
    }
  }

  async kill(): Promise<void> {
    const child = this.#child!;
    if (child.exitCode !== null || child.signalCode !== null) return;
    await new Promise((resolve) => {
      child.once("exit", resolve);
      child.kill("SIGKILL");
    });
  }

  async end(): Promise<void> {
    await this.kill();
    this.#connection?.close();
    this.reactor.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

test(`ipref-gw loses no acknowledged address in ${ROUNDS} sudden deaths`, { skip }, async (t) => {
  t.diagnostic(`seed ${SEED}`);
  enterPrivateNetwork();
  run("ip", "address", "add", "192.0.2.1/32", "dev", "lo");
  const random = seededRandom(SEED);
  const gateway = new MortalGateway();
  try {
    let nextReference = 1;
    for (let round = 0; round < ROUNDS; round++) {
      await gateway.start();
      const known = [...gateway.given.keys()];
      const latest = known.slice(-SAMPLE);
      const older = Array.from({ length: Math.min(SAMPLE, known.length) }, () => {
        return known[randomBelow(random, known.length)]!;
      });
      await gateway.compare([...new Set([...latest, ...older])]);
      const delayMs = randomBelow(random, KILL_WITHIN_MS);
      let death: Promise<void> | undefined;
      const die = () => {
        death ??= sleep(delayMs).then(() => gateway.kill());
      };
      if (round % 4 === 0) die();
      nextReference = await gateway.allocateUntilDeath(nextReference, die);
      await (death ?? gateway.kill());
    }
    await gateway.start();
    await gateway.compare([...gateway.given.keys()]);
    t.diagnostic(`${gateway.given.size} addresses acknowledged`);
    assert.ok(gateway.given.size > 5 * ROUNDS, `only ${gateway.given.size} were acknowledged`);
  } finally {
    await gateway.end();
  }
  assert.equal(
    run("ip", "-o", "link")
      .split("\n")
      .filter((line) => /ipref/.test(line)).length,
    0,
  );
});
