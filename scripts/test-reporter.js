/** Reporter for node:test: one JSON line for each finished test, for scripts/run-tests.js. */

import { inspect } from "node:util";

export default async function* report(source) {
  for await (const { type, data } of source) {
    if (type !== "test:pass" && type !== "test:fail") continue;
    // A suite counts only when it was skipped as a whole or failed by itself.
    const isSuite = data.details?.type === "suite";
    if (isSuite && type === "test:pass" && data.skip === undefined) continue;
    // A parent of failed tests has not failed by itself.
    if (data.details?.error?.failureType === "subtestsFailed") continue;
    yield `${JSON.stringify(summary(type, data))}\n`;
  }
}

function summary(type, data) {
  const error = data.details?.error;
  return {
    name: data.name,
    isPassed: type === "test:pass",
    skip: data.skip === undefined ? data.todo : data.skip || "no reason given",
    error: error === undefined ? undefined : inspect(error.cause ?? error, { depth: 4 }),
  };
}
