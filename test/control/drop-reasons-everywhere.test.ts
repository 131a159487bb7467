/**
 * Each drop reason is provoked, and found under the same name in the metrics, in the status, in the
 * explanation of the packet and in a capture that runs meanwhile.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { DROP_REASONS, type DropReason, dropReasonIndex } from "../../src/base/drop-reason.js";
import { toHex } from "../../src/base/hex.js";
import { KERNEL_NAMES } from "../../src/control/gateway-flags.js";
import { CAPTURE_DEFAULTS } from "../../src/control/inspection/capture-question.js";
import type { ExplainReport } from "../../src/control/inspection/explain-report.js";
import type { PacketOfFile } from "../support/capture-packets.js";
import { PROVOCATIONS, type Provocation } from "../support/drop-provocations.js";
import { DropWorld, explainedStatus } from "../support/drop-world.js";
import { REMOTE_GATEWAY } from "./inspection/explain-world.js";

/** Reasons that no explanation can give, and why. Each test below asserts that it gives none. */
const UNEXPLAINED: ReadonlyMap<DropReason, string> = new Map([
  ["local-bad-offload", "The device header is no part of the packet"],
  ["local-bad-segment-size", "The device header is no part of the packet"],
  ["local-bad-checksum-place", "The device header is no part of the packet"],
  ["tunnel-bad-control", "Control data is no part of the datagram"],
  ["tunnel-bad-segment-size", "Control data is no part of the datagram"],
  ["tunnel-too-long", "What the buffer does not hold has been cut before anybody sees it"],
  ["send-failed", "Nothing is sent: whether the kernel refuses shows when it is tried"],
  ["write-failed", "Nothing is written: whether the kernel refuses shows when it is tried"],
  ["slow-path-full", "The thread that explains empties the queue first"],
]);

/** IPv4 and UDP in front of each tunnel packet of a capture. */
const OUTER_BYTES = 28;
const ALL_NAMES = DROP_REASONS.map(({ name }) => name as DropReason);

test("each drop reason is provoked", () => {
  const provoked = new Set(PROVOCATIONS.map(({ reason }) => reason));
  assert.deepEqual(
    ALL_NAMES.filter((name) => !provoked.has(name)),
    [],
  );
  for (const [reason, why] of UNEXPLAINED) {
    assert.ok(ALL_NAMES.includes(reason), reason);
    assert.notEqual(why, "");
  }
});

for (const kernel of KERNEL_NAMES) {
  for (const provocation of PROVOCATIONS) {
    const { reason, about, oddities, pathMtu = 1500, flags = [] } = provocation;
    test(`${reason} has one name everywhere: ${about}; kernel ${kernel}`, async () => {
      const world = new DropWorld(provocation.world, { ...oddities, kernel });
      world.machine.pathMtu = pathMtu;
      await world.start(...flags);
      try {
        await provoke(world, provocation);
      } finally {
        await world.gateway.stop();
      }
    });
  }
}

async function provoke(world: DropWorld, provocation: Provocation): Promise<void> {
  const { reason, side, from = REMOTE_GATEWAY, details, act, also = [] } = provocation;
  assert.deepEqual(await world.metrics(), new Map(ALL_NAMES.map((name) => [name, 0])));
  const packet = provocation.packet();
  // A commit would come after the first wait: what depends on it must not wait.
  const preparation = provocation.before?.(world);
  if (preparation !== undefined) await preparation;
  const before = world.drops();
  const question = { packet: toHex(packet), side, ...(side === "tunnel" && { from }) };
  const explaining = world.explain(question);
  const endCapture = world.capture();
  world.emptiesRings = true;
  if (act !== undefined) act(world);
  else if (side === "local") world.fromLocal(packet, details);
  else world.fromTunnel(packet, from, 1045, details);
  await world.settled();
  const after = world.drops();
  assert.deepEqual(difference(before, after), new Map([reason, ...also].toSorted().map(once)));
  checkExplanation(await explaining, reason);
  checkCapture(await endCapture(), provocation, packet);
  await checkMetrics(world, after);
  await checkStatus(world, reason, after);
}

function once(reason: DropReason): [string, number] {
  return [reason, 1];
}

/** What was counted in between, in order of names. */
function difference(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
): Map<string, number> {
  const found = [...after].map(([name, count]) => [name, count - (before.get(name) ?? 0)] as const);
  return new Map(found.filter(([, count]) => count !== 0).toSorted());
}

function checkExplanation({ verdict }: ExplainReport, reason: DropReason): void {
  const names = [verdict.drop?.reason, /not told \(([a-z-]+):/.exec(verdict.told ?? "")?.[1]];
  const text = JSON.stringify(verdict);
  if (UNEXPLAINED.has(reason)) assert.ok(!text.includes(reason), text);
  else assert.ok(names.includes(reason), text);
}

/** The packet is there, as far as captures go, with a comment that names the reason. */
function checkCapture(
  captured: readonly PacketOfFile[],
  { reason, side }: Provocation,
  packet: Uint8Array,
): void {
  const { meaning } = DROP_REASONS[dropReasonIndex(reason)]!;
  const dropped = captured.filter(({ comment }) => comment.includes(`dropped: ${reason} (`));
  const isSame = ({ on, packet: bytes, length }: PacketOfFile): boolean => {
    const outer = side === "local" ? 0 : OUTER_BYTES;
    const kept = packet.subarray(0, CAPTURE_DEFAULTS.snaplen - outer);
    const isThere = toHex(bytes.subarray(outer)) === toHex(kept);
    return isThere && on === (side === "local" ? 0 : 1) && length === outer + packet.length;
  };
  const shown = captured.map(({ on, length, comment }) => `${on} ${length} ${comment}`).join("\n");
  assert.equal(dropped.filter(isSame).length, 1, shown);
  assert.ok(
    dropped.every(({ comment }) => comment.includes(meaning)),
    shown,
  );
}

async function checkMetrics(world: DropWorld, after: ReadonlyMap<string, number>): Promise<void> {
  const expected = new Map(ALL_NAMES.map((name) => [name as string, after.get(name) ?? 0]));
  assert.deepEqual(await world.metrics(), expected);
}

async function checkStatus(
  world: DropWorld,
  reason: DropReason,
  after: ReadonlyMap<string, number>,
): Promise<void> {
  const { meaning } = DROP_REASONS[dropReasonIndex(reason)]!;
  const status = await world.status();
  const counts = new Map<string, number>(status.drops.map((drop) => [drop.reason, drop.count]));
  assert.deepEqual(counts, after);
  assert.equal(status.drops.find((drop) => drop.reason === reason)?.meaning, meaning);
  assert.ok(explainedStatus(status).includes(` ${meaning}. Usually: `), meaning);
}
