// A machine for the doctor: a network namespace with mounts of its own, so that files of /etc,
// /run, /var and /dev/net can be broken and put right, by the printed command lines, without
// touching the machine that runs the tests.

import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Finding, Verdict } from "../../src/control/doctor/finding.js";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";
import {
  type CommandResult,
  type Namespaces,
  run,
  waitFor,
} from "../../src/programs/demo/namespaces.js";

export const IPREF = join(repositoryRoot(), "dist", "src", "programs", "ipref.js");
const DOCTOR_TIMEOUT_MS = 40_000;
const START_TIMEOUT_MS = 30_000;

/** What a run of the doctor said. */
export interface Diagnosis {
  readonly code: number;
  readonly findings: readonly Finding[];
}

/** What a fault has to look like. */
export interface Fault {
  readonly check: string;
  readonly verdict: Verdict;
  readonly evidence: RegExp;
  /** The fix, as a pattern; all findings of the fault have one that fits. */
  readonly fix: RegExp;
}

/** One machine. */
export class DoctorMachine {
  readonly namespace: string;
  /** Folder that takes the place of programs on the search path. */
  readonly tools: string;
  readonly #namespaces: Namespaces;
  readonly #holder: ChildProcess;
  readonly #folder: string;
  #serial = 0;

  private constructor(namespaces: Namespaces, namespace: string, holder: ChildProcess) {
    this.#namespaces = namespaces;
    this.namespace = namespace;
    this.#holder = holder;
    this.#folder = namespaces.subdirectory(`machine-${namespace}`);
    this.tools = join(this.#folder, "tools");
    mkdirSync(this.tools);
  }

  /** Gives a namespace private copies of /etc and empty /run and /var. */
  static async create(namespaces: Namespaces, namespace: string): Promise<DoctorMachine> {
    const script = "mount --make-rprivate / && echo ready && exec sleep 3600";
    const holder = namespaces.spawn(namespace, "unshare", ["-m", "sh", "-c", script]);
    let output = "";
    holder.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    assert.ok(await waitFor(() => (output.includes("ready") ? true : undefined), 10_000));
    const machine = new DoctorMachine(namespaces, namespace, holder);
    const etc = join(machine.#folder, "etc");
    await machine.must(
      `cp -a /etc/. ${etc} && rm -f ${etc}/resolv.conf && mount --bind ${etc} /etc && ` +
        "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var && " +
        "mkdir -p /run/systemd/timesync /var/lib /var/tmp /var/cache/apt/archives/partial && " +
        "touch /run/systemd/timesync/synchronized && echo nameserver 127.0.0.1 > /etc/resolv.conf",
    );
    return machine;
  }

  /** Puts a script in the place of a program. */
  standIn(program: string, script: string): void {
    writeFileSync(join(this.tools, program), `#!/bin/sh\n${script}\n`);
    chmodSync(join(this.tools, program), 0o755);
  }

  /** Runs a command line in a root shell of the machine. */
  shell(command: string, timeoutMs = DOCTOR_TIMEOUT_MS): Promise<CommandResult> {
    return run("nsenter", [...this.#enter(), "sh", "-c", command], {
      timeoutMs,
      env: { PATH: this.path },
    });
  }

  async must(command: string): Promise<string> {
    const result = await this.shell(command);
    assert.equal(result.code, 0, `${command}\n${result.stdout}${result.stderr}`);
    return result.stdout;
  }

  get path(): string {
    return `${this.tools}:${process.env.PATH}:/usr/sbin:/sbin`;
  }

  /** Starts a program that stays; waits for words in its output. */
  async start(command: string, ready: RegExp): Promise<{ child: ChildProcess; log(): string }> {
    const logPath = join(this.#folder, `log-${++this.#serial}`);
    const words = [...this.#enter(), "sh", "-c", `exec ${command}`];
    const env = { PATH: this.path };
    const child = this.#namespaces.spawn(this.namespace, "nsenter", words, { logPath, env });
    const log = () => (existsSync(logPath) ? readFileSync(logPath, "utf8") : "");
    const has = await waitFor(
      () => (ready.test(log()) ? true : child.exitCode === null ? undefined : false),
      START_TIMEOUT_MS,
    );
    assert.ok(has === true, `no ${ready} from ${command}:\n${log()}`);
    return { child, log };
  }

  /** Runs the doctor with all its checks, or as the words say. */
  async doctor(...words: readonly string[]): Promise<Diagnosis> {
    const result = await this.shell(
      [process.execPath, IPREF, "doctor", "--json", ...words].join(" "),
    );
    assert.notEqual(result.stdout, "", `the doctor says nothing: ${result.code} ${result.stderr}`);
    const { findings } = JSON.parse(result.stdout) as { findings: Finding[] };
    return { code: result.code, findings };
  }

  /** Nothing at all is wrong. */
  async assertHealthy(...words: readonly string[]): Promise<void> {
    const { code, findings } = await this.doctor(...words);
    assert.deepEqual(complaintsOf(findings), [], "the machine should be healthy");
    assert.equal(code, 0);
  }

  /**
   * Breaks something, sees exactly this fault and nothing else, runs the printed fix, and sees that
   * nothing is wrong any more. Returns the fault's findings.
   */
  async assertFault(
    breaking: string,
    fault: Fault,
    options: { readonly words?: readonly string[]; readonly settle?: () => Promise<void> } = {},
  ): Promise<readonly Finding[]> {
    const { words = [], settle } = options;
    await this.must(breaking);
    const { code, findings } = await this.doctor(...words);
    const complaints = findings.filter(isComplaint);
    assert.ok(complaints.length > 0, `nothing is found after ${breaking}`);
    for (const finding of complaints) assertIsFault(finding, fault);
    assert.equal(code, fault.verdict === "FAIL" ? 3 : 0);
    for (const command of commandsOf(complaints, fault)) {
      const fixed = await this.shell(command);
      assert.ok(!fixed.timedOut, `${command} does not end`);
    }
    await settle?.();
    const after = await this.doctor(...words);
    assert.deepEqual(complaintsOf(after.findings), [], "the fix has not helped");
    assert.ok(
      after.findings.some(({ check, verdict }) => check === fault.check && verdict === "PASS"),
    );
    return complaints;
  }

  /** Ends a server that runs in the background of the machine. */
  async endProgram(program: string): Promise<void> {
    const running = async () =>
      (await this.#pids()).filter((pid) => nameOf(pid) === program.slice(0, 15));
    for (const pid of await running()) process.kill(pid, "SIGTERM");
    const gone = await waitFor(
      async () => ((await running()).length === 0 ? true : undefined),
      5000,
    );
    assert.ok(gone, `${program} does not end`);
  }

  /** Ends everything that fixes have left in the background. */
  async destroy(): Promise<void> {
    for (const pid of await this.#pids()) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // Already gone.
      }
    }
  }

  async #pids(): Promise<number[]> {
    const { stdout } = await run("ip", ["netns", "pids", this.namespace]);
    return stdout.split("\n").filter(Boolean).map(Number);
  }

  #enter(): string[] {
    return ["-t", String(this.#holder.pid), "-m", "-n"];
  }
}

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "";
  }
}

function assertIsFault({ check, verdict, subject, evidence, fixes }: Finding, fault: Fault): void {
  const text = `${verdict} ${check}: ${subject}: ${evidence}`;
  assert.equal(check, fault.check, text);
  assert.equal(verdict, fault.verdict, text);
  assert.match(`${subject}: ${evidence}`, fault.evidence);
  assert.ok(
    fixes.some(({ command }) => fault.fix.test(command)),
    `${text}\nno ${fault.fix} in ${JSON.stringify(fixes)}`,
  );
}

/** Each fitting command once. */
function commandsOf(findings: readonly Finding[], { fix }: Fault): string[] {
  const commands = findings.flatMap(({ fixes }) => fixes.map(({ command }) => command));
  return [...new Set(commands.filter((command) => fix.test(command)))];
}

function isComplaint({ verdict }: Finding): boolean {
  return verdict === "FAIL" || verdict === "WARN";
}

/** Complaints as lines, for comparison. */
export function complaintsOf(findings: readonly Finding[]): string[] {
  return findings
    .filter(isComplaint)
    .map(({ check, verdict, subject, evidence }) => `${verdict} ${check}: ${subject}: ${evidence}`);
}
