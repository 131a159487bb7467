/**
 * Plays scenarios of the DNS agent through the real agent in simulated time and compares every
 * message, octet by octet up to the parts that are free, and the sets that result.
 *
 * What chance decides (the order of a poll and an announcement that fall together) is tried with
 * several seeds; one that plays the record exactly is enough. Suspect scenarios are judged by what
 * the README of the vectors says of them: records that a gateway refuses and names deeper than one
 * label are left out, and an empty set is announced by host data without records.
 */

import { Agent } from "../../agent/agent.js";
import { NO_KEYS } from "../../agent/key-file.js";
import { parseSourceSpec } from "../../agent/source-spec.js";
import { toHex } from "../../base/hex.js";
import { parseIp } from "../../base/ip.js";
import { parseReference } from "../../base/reference.js";
import { recordLayout } from "../../wire/mapper-message.js";
import type { AgentScenario, ExpectedRecord, ExpectedSet, RecordedMessage } from "./agent-file.js";
import { ScenarioWorld, type SentMessage } from "./agent-world.js";
import type { Judgement } from "./judge.js";
import type { Finding } from "./played.js";

/** Seeds that are tried. */
const SEEDS = 24;
const COMMAND_DATA = 0x4e;
const COMMAND_HASH = 0x4f;
/** Offsets of MC_HOST_DATA and MC_HOST_DATA_HASH (spec/mapper.md 2.7). */
const ID = 2;
const BATCH = 8;
const HASH = 12;
const NAMES = 20;
/** Messages may come this much earlier or later than recorded: the spread of the timers. */
const TIME_TOLERANCE_MS = 30_000;

/** Messages with one command and one hash in a row: one delivery, or one announcement. */
interface Group {
  readonly command: number;
  readonly hash: string;
  readonly messages: readonly { readonly atMs: number; readonly bytes: Uint8Array }[];
}

const NOTE_SUSPECT = "README: suspect records are left out, an empty set is announced";

/** Plays one scenario. */
export async function runAgentScenario(scenario: AgentScenario): Promise<Judgement> {
  const correct = scenario.suspect ? corrected(scenario) : scenario;
  let first: Finding[] | undefined;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const sent = await play(correct, seed);
    const findings = compare(correct, sent);
    if (findings.length === 0) {
      return { status: "passed", findings, ...(scenario.suspect ? { note: NOTE_SUSPECT } : {}) };
    }
    first ??= findings;
  }
  return { status: "failed", findings: first! };
}

/** The messages that the agent sends in the observed time. */
async function play(scenario: AgentScenario, seed: number): Promise<readonly SentMessage[]> {
  const { config } = scenario;
  const parsed = parseSourceSpec(config.source);
  if (!parsed.ok) throw new Error(`${scenario.name}: ${parsed.error}`);
  const script = answersOf(scenario);
  const around = new ScenarioWorld(scenario, seed, script);
  const agent = new Agent(
    {
      specs: [parsed.spec],
      intervalSeconds: 60 * config.poll_interval_minutes,
      localVersion: config.ea_ipver,
      gatewayVersion: config.gw_ipver,
      encodeNet: undefined,
      ownGateway: undefined,
      keys: NO_KEYS,
    },
    around.world,
  );
  agent.start();
  await around.time.runUntil(1000 * scenario.observed_seconds);
  agent.close();
  return around.sent;
}

/** The recorded answers in order, with packet id and batch number of the agent's message. */
function answersOf(scenario: AgentScenario): (message: Uint8Array) => Uint8Array | undefined {
  let next = 0;
  return (message) => {
    const answer = scenario.messages[next++]?.answer_hex;
    if (answer === undefined || answer === null) return undefined;
    const reply = answer.slice();
    reply.set(message.subarray(ID, ID + 2), ID);
    if (message[1] === COMMAND_DATA) reply.set(message.subarray(BATCH, BATCH + 4), BATCH);
    return reply;
  };
}

/** What a correct agent does where the recorded one does not (README, "DNS agent"). */
function corrected(scenario: AgentScenario): AgentScenario {
  const suspects = new Set<string>();
  for (const { zone } of scenario.servers) {
    for (const { name, txt } of zone) {
      if (!name.includes(".")) continue;
      for (const text of txt) suspects.add(text.replace(/^AA/, "").replace(/\s/g, ""));
    }
  }
  const isRight = ({ gw, ref }: ExpectedRecord) => {
    const reference = referenceValue(ref);
    return reference !== 0n && ((reference >> 8n) & 255n) < 16n && !suspects.has(`${gw}+${ref}`);
  };
  const sets = scenario.expected.map((set) => {
    const records = set.records.filter(isRight);
    return { count: records.length, hash: naiveHash(records), records };
  });
  const hashes = new Map(scenario.expected.map((set, index) => [set.hash, sets[index]!]));
  const messages = scenario.messages.map((message) => correctedMessage(message, scenario, hashes));
  const first = messages[0];
  if (first !== undefined && first.hex[1] === COMMAND_HASH) messages[0] = emptyData(first);
  return { ...scenario, expected: sets, messages };
}

function correctedMessage(
  message: RecordedMessage,
  scenario: AgentScenario,
  sets: ReadonlyMap<string, ExpectedSet>,
): RecordedMessage {
  const set = sets.get(toHex(message.hex.subarray(HASH, NAMES)))!;
  const hash = Buffer.from(set.hash, "hex");
  const answer = message.answer_hex?.slice() ?? null;
  answer?.set(hash, HASH);
  if (message.command === "MC_HOST_DATA_HASH") {
    const bytes = message.hex.slice();
    bytes.set(hash, HASH);
    return { ...message, hex: bytes, answer_hex: answer };
  }
  const { ea_ipver: local, gw_ipver: tunnel } = scenario.config;
  const size = recordLayout("oldv1", { local, tunnel }).length;
  const start = recordsStart(message.hex);
  const wanted = new Set(set.records.map((record) => recordHex(record, local)));
  const kept: Uint8Array[] = [];
  for (let at = start; at < message.hex.length; at += size) {
    const bytes = message.hex.subarray(at, at + size);
    if (wanted.has(toHex(bytes))) kept.push(bytes);
  }
  const bytes = Buffer.concat([message.hex.subarray(0, start), ...kept]);
  bytes.set(hash, HASH);
  bytes.writeUInt16BE(bytes.length / 4, 6);
  return { ...message, hex: new Uint8Array(bytes), answer_hex: answer };
}

/** Host data without records in place of the announcement of an empty set. */
function emptyData(message: RecordedMessage): RecordedMessage {
  const bytes = message.hex.slice();
  bytes[1] = COMMAND_DATA;
  const answer = bytes.slice();
  answer[1] = 0x8e;
  return { ...message, command: "MC_HOST_DATA", hex: bytes, answer_hex: answer };
}

/** All differences of one run. */
function compare(scenario: AgentScenario, sent: readonly SentMessage[]): Finding[] {
  const recorded = scenario.messages.map(({ after_seconds: seconds, hex }) => ({
    atMs: 1000 * seconds,
    bytes: hex,
  }));
  const expected = groupsOf(recorded);
  const got = groupsOf(sent);
  const findings = [...compareIds(sent), ...compareSets(scenario, got)];
  if (expected.length !== got.length || sent.length !== recorded.length) {
    findings.push({ field: "messages", expected: outline(expected), got: outline(got) });
    return findings;
  }
  const { ea_ipver: local, gw_ipver: tunnel } = scenario.config;
  const size = recordLayout("oldv1", { local, tunnel }).length;
  for (const [index, group] of expected.entries()) {
    findings.push(...compareGroup(group, got[index]!, size));
  }
  return findings;
}

function groupsOf(messages: Group["messages"]): Group[] {
  const groups: { command: number; hash: string; messages: Group["messages"][number][] }[] = [];
  for (const message of messages) {
    const command = message.bytes[1]!;
    const hash = toHex(message.bytes.subarray(HASH, NAMES));
    const last = groups.at(-1);
    const isSame = last?.command === command && last.hash === hash && command === COMMAND_DATA;
    if (isSame) last.messages.push(message);
    else groups.push({ command, hash, messages: [message] });
  }
  return groups;
}

function outline(groups: readonly Group[]): string {
  const words = groups.map(({ command, hash, messages }) => {
    const kind = command === COMMAND_DATA ? "data" : command === COMMAND_HASH ? "hash" : "other";
    const seconds = messages.map(({ atMs }) => (atMs / 1000).toFixed(2)).join(" ");
    return `${kind} ${hash} at ${seconds}`;
  });
  return words.join(", ") || "none";
}

/** Header, hash and names octet by octet; records as a set over the whole delivery. */
function compareGroup(expected: Group, got: Group, recordSize: number): Finding[] {
  const findings: Finding[] = [];
  const wanted: string[] = [];
  const found: string[] = [];
  for (const [index, message] of expected.messages.entries()) {
    const other = got.messages[index];
    if (other === undefined) return [{ field: "messages", expected: "one more", got: "none" }];
    findings.push(...compareHeads(message.bytes, other.bytes));
    if (Math.abs(message.atMs - other.atMs) > TIME_TOLERANCE_MS) {
      const [want, have] = [message.atMs / 1000, other.atMs / 1000];
      findings.push({ field: "time", expected: `${want} s`, got: `${have} s` });
    }
    wanted.push(...recordsOf(message.bytes, recordSize));
    found.push(...recordsOf(other.bytes, recordSize));
  }
  const [want, have] = [wanted.sort().join(" "), found.sort().join(" ")];
  if (want !== have) findings.push({ field: "records", expected: want, got: have });
  return findings;
}

function compareHeads(expected: Uint8Array, got: Uint8Array): Finding[] {
  const end = recordsStart(expected);
  const isData = expected[1] === COMMAND_DATA;
  const findings: Finding[] = [];
  if (expected.length !== got.length) {
    const [want, have] = [String(expected.length), String(got.length)];
    findings.push({ field: "length", expected: want, got: have });
  }
  for (let offset = 0; offset < end; offset++) {
    const isFree =
      (offset >= ID && offset < ID + 2) || (isData && offset >= BATCH && offset < BATCH + 4);
    if (isFree || expected[offset] === got[offset]) continue;
    const [want, have] = [toHex(expected.subarray(0, end)), toHex(got.subarray(0, end))];
    findings.push({ field: "header and names", offset, expected: want, got: have });
    break;
  }
  return findings;
}

/** Packet ids count up by one and are never 0; batch numbers are new for every packet, never 0. */
function compareIds(sent: readonly SentMessage[]): Finding[] {
  const findings: Finding[] = [];
  const batches = new Set<number>();
  let last: number | undefined;
  for (const { bytes } of sent) {
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const id = view.getUint16(ID);
    const wanted = last === undefined ? id : last === 0xffff ? 1 : last + 1;
    if (id === 0 || id !== wanted) {
      findings.push({ field: "packet id", expected: String(wanted), got: String(id) });
    }
    last = id;
    if (bytes[1] !== COMMAND_DATA) continue;
    const batch = view.getUint32(BATCH);
    if (batch === 0 || batches.has(batch)) {
      findings.push({ field: "batch", expected: "a new number, not 0", got: String(batch) });
    }
    batches.add(batch);
  }
  return findings;
}

/** The sets that were delivered, in their order, against `expected`. */
function compareSets(scenario: AgentScenario, got: readonly Group[]): Finding[] {
  const delivered: string[] = [];
  for (const { command, hash } of got) {
    if (command === COMMAND_DATA && delivered.at(-1) !== hash) delivered.push(hash);
  }
  const wanted = scenario.expected.map(({ hash }) => hash);
  const findings: Finding[] = [];
  for (const { records, hash } of scenario.expected) {
    const computed = naiveHash(records);
    if (computed !== hash) findings.push({ field: "expected hash", expected: computed, got: hash });
  }
  if (wanted.join() === delivered.join()) return findings;
  const [want, have] = [wanted.join(", ") || "none", delivered.join(", ") || "none"];
  return [...findings, { field: "sets", expected: want, got: have }];
}

/** End of both names. */
function recordsStart(bytes: Uint8Array): number {
  let at = NAMES;
  for (let item = 0; item < 2; item++) at += (bytes[at + 1]! + 5) & ~3;
  return at;
}

function recordsOf(bytes: Uint8Array, size: number): string[] {
  if (bytes[1] !== COMMAND_DATA) return [];
  const records: string[] = [];
  for (let at = recordsStart(bytes); at < bytes.length; at += size) {
    records.push(toHex(bytes.subarray(at, at + size)));
  }
  return records;
}

function referenceValue(text: string): bigint {
  const parsed = parseReference(text);
  return parsed.ok ? parsed.value : 0n;
}

function recordHex({ ip, gw, ref }: ExpectedRecord, local: 4 | 6): string {
  const zeros = "00".repeat(local === 4 ? 4 : 16);
  const [host, gateway] = [toHex(parseIp(ip)!.bytes), toHex(parseIp(gw)!.bytes)];
  return `${zeros}${host}${gateway}${referenceValue(ref).toString(16).padStart(32, "0")}`;
}

/** FNV-1a in plain arithmetic, apart from the agent's own (spec/dns-agent.md 6). */
function naiveHash(records: readonly ExpectedRecord[]): string {
  const entries = records.map(({ ip, gw, ref }) => {
    const gateway = toHex(parseIp(gw)!.bytes);
    const reference = referenceValue(ref).toString(16).padStart(32, "0");
    const order = `${gateway.length === 8 ? 4 : 6}${gateway}${reference}`;
    return { order, fed: toHex(parseIp(ip)!.bytes) + gateway + reference };
  });
  entries.sort((a, b) => (a.order < b.order ? -1 : 1));
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(entries.map(({ fed }) => fed).join(""), "hex")) {
    hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffff_ffff_ffff_ffffn;
  }
  return hash.toString(16).padStart(16, "0");
}
