/** Recorded scenarios of the DNS agent; the judgement finds what is not as recorded. */

import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { AgentScenario } from "../../src/programs/vectors/agent-file.js";
import { runAgentScenario } from "../../src/programs/vectors/agent-scenarios.js";
import { readVectorFile } from "../../src/programs/vectors/vector-file.js";
import { VECTORS_FOLDER } from "../support/vectors.js";

/** The repository lies beside the shared folder; this file runs from dist/test/agent. */
const skip = existsSync(VECTORS_FOLDER) ? false : `no vectors in ${VECTORS_FOLDER}`;
const SCENARIOS = 15;

async function scenarios(): Promise<AgentScenario[]> {
  const names = readdirSync(VECTORS_FOLDER).filter((name) => name.startsWith("dns-agent-"));
  const files = await Promise.all(names.map((name) => readVectorFile(join(VECTORS_FOLDER, name))));
  return files.flatMap((file) => (file.kind === "scenarios" ? file.scenarios : []));
}

test("every recorded scenario passes", { skip }, async () => {
  const all = await scenarios();
  assert.equal(all.length, SCENARIOS);
  for (const scenario of all) {
    const { status, findings } = await runAgentScenario(scenario);
    assert.equal(status, "passed", `${scenario.name}: ${JSON.stringify(findings)}`);
  }
});

test("a flipped bit in a recorded message is found, but for id and batch", { skip }, async () => {
  const scenario = (await scenarios()).find(({ name }) => name.endsWith("/basic44"))!;
  const [first] = scenario.messages;
  for (let offset = 0; offset < first!.hex.length; offset += 5) {
    const isFree = (offset >= 2 && offset < 4) || (offset >= 8 && offset < 12);
    const hex = first!.hex.slice();
    hex[offset]! ^= 4;
    if (offset === 0 || (offset >= 20 && offset < 68)) continue; // the lengths of names lead astray
    const messages = [{ ...first!, hex }, ...scenario.messages.slice(1)];
    const { status } = await runAgentScenario({ ...scenario, messages });
    assert.equal(status, isFree ? "passed" : "failed", `octet ${offset}`);
  }
});

test("a message too few, one too many and another set are found", { skip }, async () => {
  const scenario = (await scenarios()).find(({ name }) => name.endsWith("/changed"))!;
  const { messages, expected } = scenario;
  const wrong: AgentScenario[] = [
    { ...scenario, messages: messages.slice(0, 1) },
    { ...scenario, messages: [...messages, messages[0]!] },
    { ...scenario, expected: expected.slice(0, 1) },
    { ...scenario, local_hosts: {} },
    { ...scenario, zone_after_change: [] },
  ];
  for (const [index, one] of wrong.entries()) {
    assert.equal((await runAgentScenario(one)).status, "failed", `change ${index}`);
  }
});
