/** Plays packet vectors, each on a gateway of its own, and judges what comes out. */

import { type IpAddress, isUnspecified } from "../../base/ip.js";
import { writeReferenceInto } from "../../base/reference.js";
import { writeU16 } from "./adopt.js";
import { type Judgement, judge } from "./judge.js";
import type { Finding, PlayChanges, Played } from "./played.js";
import type { StartGateway, TestGateway } from "./test-gateway.js";
import type { OuterHeader, PacketVector, Passage, VectorConfig } from "./vector-file.js";

/** Judges all passages of a vector; the first that fails decides. */
export async function runPacketVector(
  vector: PacketVector,
  start: StartGateway,
): Promise<Judgement> {
  const notes: string[] = [];
  const findings: Finding[] = [];
  let isInformative = false;
  for (const [index, passage] of vector.passages.entries()) {
    const play = (inputs: readonly Uint8Array[], changes?: PlayChanges) =>
      playOn(start, vector, index, inputs, changes);
    const played = await play(passage.inputs);
    const judgement = await judge({ passage, config: vector.config, played, play });
    if (judgement.status === "failed") return inStep(judgement, vector, passage);
    findings.push(...judgement.findings);
    isInformative ||= judgement.status === "informative";
    if (judgement.note !== undefined) notes.push(judgement.note);
  }
  const note = notes.length > 0 ? { note: [...new Set(notes)].join("; ") } : {};
  return { status: isInformative ? "informative" : "passed", findings, ...note };
}

/** Names the step in the findings of a sequence. */
function inStep(judgement: Judgement, vector: PacketVector, passage: Passage): Judgement {
  if (vector.passages.length === 1) return judgement;
  const step = passage.name.slice(vector.name.length + 1);
  const findings = judgement.findings.map((one) => ({ ...one, field: `${step}: ${one.field}` }));
  return { ...judgement, findings };
}

/** Plays inputs on a fresh gateway that has seen the passages before `index`. */
async function playOn(
  start: StartGateway,
  vector: PacketVector,
  index: number,
  inputs: readonly Uint8Array[],
  changes: PlayChanges = {},
): Promise<Played> {
  const { tunnelMtu } = changes;
  const mtu = tunnelMtu === undefined ? {} : { tunnel_mtu: tunnelMtu };
  const gateway = start({ ...vector.config, ...mtu });
  for (const earlier of vector.passages.slice(0, index)) {
    await feed(gateway, earlier, earlier.inputs, vector.config);
  }
  const passage = vector.passages[index]!;
  await teachPort(gateway, passage, vector.config);
  gateway.take();
  await feed(gateway, passage, inputs, vector.config);
  return gateway.take();
}

/** Feeds inputs in the direction of a passage, one after the other. */
export async function feed(
  gateway: TestGateway,
  passage: Passage,
  inputs: readonly Uint8Array[],
  config: VectorConfig,
): Promise<void> {
  const { source, port } = datagramSource(passage, config);
  for (const input of inputs) {
    if (passage.direction === "encap") gateway.fromLocal(input.slice());
    else gateway.fromTunnel(input.slice(), source, port);
    await gateway.settle();
  }
}

/** Where the datagrams of a passage come from. */
function datagramSource(
  { outer }: Passage,
  config: VectorConfig,
): { source: IpAddress; port: number } {
  const anyRemote = config.mappings.find((one) => one.kind === "their")?.gw ?? config.gw_pub;
  return { source: outer?.src ?? anyRemote, port: outer?.sport ?? config.remote_gw_port };
}

/**
 * Packets that go to another port than the configured one rely on a datagram that came from there
 * before (README, packet vectors): feeds one.
 */
async function teachPort(
  gateway: TestGateway,
  { direction, recorded, outer }: Passage,
  config: VectorConfig,
): Promise<void> {
  const isSent = direction === "encap" && recorded.verdict === "accept";
  if (!isSent || outer === undefined || outer.dport === config.remote_gw_port) return;
  gateway.fromTunnel(greeting(outer, config), outer.dst, outer.dport);
  await gateway.settle();
}

/** A UDP datagram without data or checksum from the remote gateway to one of our hosts. */
function greeting(outer: OuterHeader, config: VectorConfig): Uint8Array {
  const { mappings, gw_pub: own } = config;
  const host = mappings.find((one) => one.kind === "our")?.ref ?? config.gw_ref;
  const isThere = (gw: IpAddress) => gw.bytes.join() === outer.dst.bytes.join();
  const remote = mappings.find((one) => one.kind === "their" && isThere(one.gw))?.ref ?? 0x1000n;
  const size = own.bytes.length;
  const datagram = new Uint8Array(4 + 2 * size + 32 + 8);
  datagram.set([0x18, own.version << 4, 64, 17]);
  datagram.set(outer.dst.bytes, 4);
  datagram.set(isUnspecified(own) ? outer.src.bytes : own.bytes, 4 + size);
  for (const [index, reference] of [remote, host].entries()) {
    writeReferenceInto(datagram, 4 + 2 * size + 16 * index, reference);
  }
  const at = datagram.length - 8;
  writeU16(datagram, at, 7);
  writeU16(datagram, at + 2, 7);
  writeU16(datagram, at + 4, 8);
  return datagram;
}
