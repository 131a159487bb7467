/** What the DNS agent tells of its sources, and when that is a problem. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { agentProblems, agentSources } from "../../src/control/inspection/part-status.js";

const FRESH = {
  label: "192.0.2.1:53",
  serial: 7,
  recordCount: 3,
  confirmedAtMs: 60_000,
  failure: undefined,
};
const BROKEN = {
  label: "192.0.2.2:53",
  serial: undefined,
  recordCount: undefined,
  confirmedAtMs: undefined,
  failure: "transfer refused",
};
const SOURCE = { name: "home:example", hostCount: 3, isComplete: true };

test("a source tells each server with serial, age of the last sync, and failure", () => {
  const [source] = agentSources([{ ...SOURCE, places: [FRESH, BROKEN] }], 65_400);
  assert.deepEqual(source, {
    name: "home:example",
    hostCount: 3,
    isDelivered: true,
    places: [
      {
        label: "192.0.2.1:53",
        serial: 7,
        recordCount: 3,
        lastSyncSecondsAgo: 5,
        failure: null,
      },
      {
        label: "192.0.2.2:53",
        serial: null,
        recordCount: null,
        lastSyncSecondsAgo: null,
        failure: "transfer refused",
      },
    ],
  });
});

test("one server of several that fails is no problem, all of them are", () => {
  const sources = (places: (typeof FRESH | typeof BROKEN)[]) =>
    agentSources([{ ...SOURCE, places }], 0);
  assert.deepEqual(agentProblems(sources([FRESH, BROKEN]), true), []);
  const [problem] = agentProblems(sources([BROKEN, BROKEN]), true);
  assert.match(problem!, /home:example.*192\.0\.2\.2:53: transfer refused/);
});

test("an agent with sources needs the mapper, one without has nothing to do", () => {
  const sources = agentSources([{ ...SOURCE, places: [FRESH] }], 0);
  assert.deepEqual(agentProblems(sources, false), ["No connection to the gateway's mapper"]);
  assert.deepEqual(agentProblems([], false), []);
});
