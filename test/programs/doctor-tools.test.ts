/** What the doctor takes for parts of the system. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { test } from "node:test";
import { commandLineOf, programsRunning } from "../../src/programs/doctor/tools.js";

const skip = process.geteuid?.() !== 0 && "needs root";

/** A program of a name, as a user; known when its command line is there. */
async function impostor(name: string, uid: number): Promise<ChildProcess> {
  const child = spawn("bash", ["-c", 'exec -a "$0" sleep 20', name], { uid, gid: uid, cwd: "/" });
  for (let count = 0; count < 200 && commandLineOf(child.pid!)[0] !== name; count++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return child;
}

test("a process of an ordinary user is no part of the system, one of a service is", {
  skip,
}, async () => {
  const name = `/tmp/ipref-doctor-${process.pid}/ipref-gw`;
  const children = await Promise.all([0, 999, 1234, 61_234].map((uid) => impostor(name, uid)));
  try {
    const found = programsRunning((args) => args[0] === name).map(({ pid }) => pid);
    const [root, service, person, dynamic] = children.map(({ pid }) => pid!);
    assert.deepEqual(new Set(found), new Set([root, service, dynamic]));
    assert.ok(!found.includes(person!));
  } finally {
    for (const child of children) child.kill("SIGKILL");
  }
});
