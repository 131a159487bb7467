/** pcapng blocks: read back by our own reader in any pieces, and by tshark; outer headers. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseIp } from "../../src/base/ip.js";
import { buildDatagram, outerLength } from "../../src/capture/outer-header.js";
import {
  BlockReader,
  interfaceBlock,
  PACKET_INBOUND,
  PACKET_OUTBOUND,
  packetBlock,
  sectionBlock,
  statisticsBlock,
} from "../../src/capture/pcapng.js";
import { run } from "../../src/programs/demo/namespaces.js";
import { Dice } from "../forward/fast-world.js";

const SEED = Number(process.env.IPREF_TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));
const hasTshark = (await run("tshark", ["--version"])).code === 0;
const skip = hasTshark ? false : "tshark is not installed";
const START_NS = 1_700_000_000_123_456_789n;

/** Packets of every length up to `count`, on both interfaces. */
function file(count: number, dice: Dice): { blocks: Uint8Array[]; packets: Uint8Array[] } {
  const filter = "host 10.1.0.5";
  const blocks = [
    sectionBlock("ipref-gw 1.2.3", "both sides"),
    interfaceBlock({ name: "ipref0", description: "local", snaplen: 65_535, filter }),
    interfaceBlock({ name: "tunnel", description: "tunnel", snaplen: 65_535, filter: "" }),
  ];
  const packets: Uint8Array[] = [];
  for (let length = 0; length < count; length++) {
    const packet = dice.bytes(length);
    packets.push(packet);
    blocks.push(
      packetBlock({
        ...{ on: length % 2, timeNs: START_NS + BigInt(length), packet },
        ...{ originalLength: length + 3, flags: length % 2 ? PACKET_OUTBOUND : PACKET_INBOUND },
        comment: `packet ${length}; "quoted" \u001b[31m`,
      }),
    );
  }
  for (const on of [0, 1]) {
    const [startNs, endNs] = [START_NS, START_NS + 5n];
    blocks.push(statisticsBlock({ on, startNs, endNs, received: count - on, dropped: 7 + on }));
  }
  return { blocks, packets };
}

test("A stream of blocks is read in whatever pieces it comes", () => {
  console.log(`seed ${SEED}`);
  const dice = new Dice(SEED);
  const { blocks } = file(40, dice);
  const bytes = Uint8Array.from(blocks.flatMap((block) => [...block]));
  for (let round = 0; round < 50; round++) {
    const reader = new BlockReader();
    const read = [];
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(bytes.length, at + 1 + dice.below(dice.pick([3, 100, 2000])));
      const piece = reader.take(bytes.subarray(at, end));
      assert.ok(piece !== undefined);
      read.push(...piece);
      at = end;
    }
    assert.equal(reader.isInBlock, false);
    assert.equal(read.length, blocks.length);
    assert.equal(read.filter(({ kind }) => kind === "packet").length, 40);
    assert.deepEqual(read.slice(-2), [
      { kind: "statistics", on: 0, received: 40, dropped: 7 },
      { kind: "statistics", on: 1, received: 39, dropped: 8 },
    ]);
  }
});

test("What is no stream of blocks is told, never thrown", () => {
  console.log(`seed ${SEED}`);
  const dice = new Dice(SEED);
  const { blocks } = file(3, dice);
  const bytes = Uint8Array.from(blocks.flatMap((block) => [...block]));
  for (let round = 0; round < 2000; round++) {
    const broken = bytes.slice(0, 1 + dice.below(bytes.length));
    for (let count = dice.below(4); count >= 0; count--) {
      broken[dice.below(broken.length)] = dice.below(256);
    }
    const read = new BlockReader().take(broken);
    if (read !== undefined) assert.ok(read.length <= blocks.length);
  }
  const endless = Uint8Array.of(6, 0, 0, 0, 0, 0, 0, 0x40);
  assert.equal(new BlockReader().take(endless), undefined);
});

test("tshark reads packets, times, comments, directions and interfaces", { skip }, async () => {
  console.log(`seed ${SEED}`);
  const { blocks, packets } = file(60, new Dice(SEED));
  const folder = mkdtempSync(join(tmpdir(), "ipref-pcapng-"));
  try {
    const path = join(folder, "all.pcapng");
    writeFileSync(path, Buffer.concat(blocks));
    const fields = [
      ...["frame.len", "frame.cap_len", "frame.interface_name", "frame.time_epoch"],
      ...["frame.packet_flags_direction", "frame.comment"],
    ].flatMap((field) => ["-e", field]);
    const args = ["-r", path, "-T", "fields", "-E", "separator=|", ...fields];
    const result = await run("tshark", args);
    assert.equal(result.code, 0, result.stderr);
    const rows = result.stdout.trimEnd().split("\n");
    assert.equal(rows.length, packets.length);
    for (const [index, row] of rows.entries()) {
      const [length, kept, name, time, direction, comment] = row.split("|");
      assert.equal(length, String(index + 3));
      assert.equal(kept, String(index));
      assert.equal(name, index % 2 ? "tunnel" : "ipref0");
      assert.equal(time!.replace(".", ""), String(START_NS + BigInt(index)));
      assert.equal(Number(direction), index % 2 ? 2 : 1);
      assert.equal(comment!.replaceAll("\\", ""), `packet ${index}; "quoted" ?[31m`);
    }
    const about = await run("capinfos", [path]);
    assert.equal(about.code, 0, about.stderr);
    assert.match(about.stdout, /Capture application: +ipref-gw 1\.2\.3/);
    assert.match(about.stdout, /timestamp precision: +nanoseconds/);
    assert.match(about.stdout, /Filter string = host 10\.1\.0\.5|Capture filter.*host 10\.1\.0\.5/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("Outer headers have right lengths and checksums, as tshark verifies", { skip }, async () => {
  const interfaceOf = { name: "tunnel", description: "", snaplen: 65_535, filter: "" };
  const blocks = [sectionBlock("test", ""), interfaceBlock(interfaceOf)];
  const ends = [
    ["192.0.2.1", "198.51.100.7"],
    ["2001:db8::1", "2001:db8:7::7"],
  ].map((texts) => texts.map((text) => parseIp(text)!));
  const add = (packet: Uint8Array, originalLength: number) =>
    blocks.push(
      packetBlock({ ...{ on: 0, timeNs: 1n, packet, originalLength, flags: 1 }, comment: "" }),
    );
  const expected: string[] = [];
  for (const [source, destination] of ends as [[never, never], [never, never]]) {
    const [from, to] = [
      { address: source, port: 1045 },
      { address: destination, port: 40_000 },
    ];
    for (const length of [20, 21, 1400]) {
      const kept = new Uint8Array(length).fill(0xc5);
      add(buildDatagram(from, to, kept, length), length + outerLength(source));
      expected.push(`1045|40000|${length + 8}|1`);
    }
    const cut = new Uint8Array(64).fill(0xc5);
    add(buildDatagram(from, to, cut, 1400), 1400 + outerLength(source));
    expected.push("1045|40000|1408|");
  }
  const folder = mkdtempSync(join(tmpdir(), "ipref-outer-"));
  try {
    const path = join(folder, "outer.pcapng");
    writeFileSync(path, Buffer.concat(blocks));
    const options = ["-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"];
    const fields = ["udp.srcport", "udp.dstport", "udp.length", "udp.checksum.status"];
    const wanted = fields.flatMap((field) => ["-e", field]);
    const args = [...options, "-r", path, "-T", "fields", "-E", "separator=|", ...wanted];
    const result = await run("tshark", args);
    assert.equal(result.code, 0, result.stderr);
    const rows = result.stdout.trimEnd().split("\n");
    for (const [index, row] of rows.entries()) {
      // Of a cut datagram nothing can be verified: "unverified" or "not present".
      const shown = expected[index]!.endsWith("|") ? row.replace(/[0-9]$/, "") : row;
      assert.equal(shown, expected[index]);
    }
    const bad = await run("tshark", [...options, "-r", path, "-Y", "ip.checksum.status == 0"]);
    assert.equal(bad.stdout, "");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
