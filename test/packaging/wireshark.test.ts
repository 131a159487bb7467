/**
 * The Wireshark dissector against the gateway's own parsers: tshark reads files made from packets
 * of both formats, golden vectors where there are some, whole and cut at every length.
 */

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { type IpAddress, parseIp } from "../../src/base/ip.js";
import { formatIprefAddress, formatReference } from "../../src/base/reference.js";
import { buildDatagram } from "../../src/capture/outer-header.js";
import { interfaceBlock, packetBlock, sectionBlock } from "../../src/capture/pcapng.js";
import { repositoryRoot } from "../../src/programs/demo/gateway-process.js";
import { run } from "../../src/programs/demo/namespaces.js";
import { buildDraft } from "../../src/wire/draft-header.js";
import type { TunnelFormat, TunnelPacket } from "../../src/wire/packet-fields.js";
import { buildTunnel, parseTunnel } from "../../src/wire/tunnel-header.js";
import { parseTunnelPacket } from "../../src/wire/tunnel-packet.js";
import { Dice } from "../forward/fast-world.js";
import { VECTORS_FOLDER } from "../support/vectors.js";

const SCRIPT = join(repositoryRoot(), "packaging", "wireshark", "ipref.lua");
const SEED = Number(process.env.IPREF_TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));
const hasTshark = (await run("tshark", ["--version"])).code === 0;
const skip = hasTshark ? false : "tshark is not installed";
const folder = mkdtempSync(join(tmpdir(), "ipref-wireshark-"));

after(() => rmSync(folder, { recursive: true, force: true }));

interface Sample {
  readonly format: TunnelFormat;
  readonly bytes: Uint8Array;
  readonly tunnelVersion: 4 | 6;
}

const ENDS = {
  4: ["192.0.2.1", "198.51.100.7"].map((text) => parseIp(text)!),
  6: ["2001:db8::1", "2001:db8:7::7"].map((text) => parseIp(text)!),
} as const;

/** A capture file of the samples, one packet for each. */
function writeSamples(name: string, samples: readonly Sample[], port = 1045): string {
  const interfaceOf = { name: "tunnel", description: "", snaplen: 65_535, filter: "" };
  const blocks = [sectionBlock("test", ""), interfaceBlock(interfaceOf)];
  for (const [index, { bytes, tunnelVersion }] of samples.entries()) {
    const [source, destination] = ENDS[tunnelVersion];
    const packet = buildDatagram(
      { address: source!, port },
      { address: destination!, port: port === 1045 ? 1045 : 40_000 },
      bytes,
      bytes.length,
    );
    blocks.push(
      packetBlock({
        ...{ on: 0, timeNs: BigInt(index), packet, originalLength: packet.length, flags: 1 },
        comment: `sample ${index}`,
      }),
    );
  }
  const path = join(folder, name);
  writeFileSync(path, Buffer.concat(blocks));
  return path;
}

const FIELDS = [
  ...["ipref.format", "ipref.source", "ipref.destination", "ipref.ttl", "ipref.protocol"],
  ...["ipref.header_length", "ipref.dont_fragment", "ipref.fragment_offset"],
  ...["ipref.more_fragments", "ipref.identification", "frame.protocols", "_ws.expert.message"],
  ...["ipref.checksum.status", "ipref.icmp.message", "udp.checksum.status"],
] as const;

type Row = Readonly<Record<(typeof FIELDS)[number], string>>;

/** What tshark says about each packet; of fields that occur again in quotes, the first. */
async function dissect(path: string): Promise<Row[]> {
  const fields = FIELDS.flatMap((field) => ["-e", field]);
  const args = ["-n", "-X", `lua_script:${SCRIPT}`, "-r", path, "-T", "fields"];
  const options = ["-E", "separator=|", "-E", "occurrence=a", "-E", "aggregator=;"];
  const result = await run("tshark", [...args, ...options, ...fields], { timeoutMs: 60_000 });
  assert.equal(result.code, 0, result.stderr);
  assert.doesNotMatch(result.stdout + result.stderr, /Lua Error|Lua: /);
  const lines = result.stdout.split("\n").slice(0, -1);
  return lines.map((line) => {
    const values = line.split("|");
    const entries = FIELDS.map((field, index) => {
      const value = values[index]!;
      return [field, field === "_ws.expert.message" ? value : value.split(";")[0]!];
    });
    return Object.fromEntries(entries) as Row;
  });
}

function expectedEnd({ source, destination }: TunnelPacket, of: "source" | "destination"): string {
  return formatIprefAddress(of === "source" ? source : destination);
}

function hasContexts({ format, bytes }: Sample): boolean {
  return format === "G" || (bytes[0]! & 0x10) !== 0;
}

/** The row of a good packet says what the parser says. */
function assertRow(row: Row, sample: Sample, label: string): void {
  const parsed = parseTunnelPacket(sample.bytes, sample.format, sample.tunnelVersion);
  assert.ok(typeof parsed !== "string", `${label}: ${parsed}`);
  const { source, destination, fragment } = parsed;
  assert.equal(row["ipref.format"], sample.format, label);
  const isTold = hasContexts(sample);
  const wanted = (end: "source" | "destination") =>
    isTold
      ? expectedEnd(parsed, end)
      : `outer + ${formatReference((end === "source" ? source : destination).reference)}`;
  assert.equal(row["ipref.source"], wanted("source"), label);
  assert.equal(row["ipref.destination"], wanted("destination"), label);
  assert.equal(row["ipref.ttl"], String(parsed.ttl), label);
  assert.equal(row["ipref.header_length"], String(parsed.headerLength), label);
  assert.equal(row["ipref.dont_fragment"], parsed.dontFragment ? "1" : "0", label);
  // An ICMP error may quote a fragment.
  if (fragment || parsed.protocol !== 1) {
    assert.equal(row["ipref.fragment_offset"], fragment ? String(fragment.offset) : "", label);
  }
  if (fragment) {
    assert.equal(Number(row["ipref.identification"]), fragment.identification, label);
    assert.equal(row["ipref.more_fragments"], fragment.moreFragments ? "1" : "0", label);
  }
  assert.doesNotMatch(row["_ws.expert.message"], /Shorter|Reserved|format|context/, label);
}

/** Tunnel packets of the golden vectors. */
function vectorSamples(): { sample: Sample; name: string }[] {
  const files = ["udp", "tcp", "icmp-echo", "icmp-errors", "fragments", "refs", "ports", "ttl"];
  return files.flatMap((file) => {
    const path = join(VECTORS_FOLDER, `${file}.json`);
    if (!existsSync(path)) return [];
    const { vectors } = JSON.parse(readFileSync(path, "utf8")) as { vectors: Vector[] };
    return vectors.flatMap(({ name, direction, input_hex, output_hex, config }) => {
      const hex = direction === "encap" ? output_hex : input_hex;
      if (typeof hex !== "string" || hex === "") return [];
      const bytes = Uint8Array.from(Buffer.from(hex, "hex"));
      if (typeof parseTunnel(bytes) === "string") return [];
      return [{ name, sample: { format: "G", bytes, tunnelVersion: config.tunnel_version } }];
    });
  });
}

interface Vector {
  readonly name: string;
  readonly direction: string;
  readonly input_hex?: unknown;
  readonly output_hex?: unknown;
  readonly config: { readonly tunnel_version: 4 | 6 };
}

const REFERENCES = [
  ...[0n, 1n, 1025n, 65_535n, 65_536n, (1n << 24n) - 1n, 1n << 24n],
  ...[0x12_3456_0701n, (5n << 120n) + 3n, (1n << 128n) - 1n],
];

/** Packets of both formats with every option, and a UDP datagram inside. */
function madeSamples(dice: Dice): Sample[] {
  return Array.from({ length: 150 }, () => {
    const tunnelVersion = dice.pick([4, 6] as const);
    const [source, destination] = ENDS[tunnelVersion] as unknown as [IpAddress, IpAddress];
    const isFragment = dice.percent(40);
    const offset = dice.pick([0, 8, 1480, 65_528]);
    const header = {
      source: { context: source, reference: dice.pick(REFERENCES) },
      destination: { context: destination, reference: dice.pick(REFERENCES) },
      ttl: dice.below(256),
      protocol: 17,
      dontFragment: dice.percent(50),
      fragment: isFragment
        ? { offset, moreFragments: dice.percent(50), identification: dice.below(2 ** 32) }
        : undefined,
    };
    const payload = Uint8Array.of(0x1f, 0x91, 0x1f, 0x92, 0, 12, 0, 0, 1, 2, 3, 4);
    const format = dice.pick(["G", "D"] as const);
    const ports = dice.percent(50) ? { source: 1045, destination: 4000 } : undefined;
    const bytes =
      format === "G" ? buildTunnel(header, payload) : buildDraft(header, payload, ports);
    return { format, bytes, tunnelVersion };
  });
}

describe("the Wireshark dissector", { skip }, () => {
  it("reads the golden packets like the gateway", async () => {
    const samples = vectorSamples();
    if (samples.length === 0) return assert.ok(!existsSync(VECTORS_FOLDER));
    assert.ok(samples.length > 100, `${samples.length} packets`);
    const all = samples.map(({ sample }) => sample);
    const rows = await dissect(writeSamples("vectors.pcapng", all));
    assert.equal(rows.length, samples.length);
    const seen = new Set<string>();
    for (const [index, { sample, name }] of samples.entries()) {
      const row = rows[index]!;
      assertRow(row, sample, name);
      seen.add(row["ipref.icmp.message"]);
      seen.add(row["frame.protocols"].split(":").slice(3, 5).join(":"));
      if (name.includes("icmp-echo") && !name.includes("fragment")) {
        assert.match(row["frame.protocols"], /:ipref:icmp/, name);
      }
    }
    for (const wanted of ["ipref:tcp", "ipref:udp", "ipref:icmp", "too big", "port unreachable"]) {
      assert.ok(seen.has(wanted), `${wanted} in ${[...seen].join(", ")}`);
    }
    const verified = rows.filter((row) => row["ipref.checksum.status"] === "right");
    assert.ok(verified.length > 20, `${verified.length} checksums are right`);
  });

  it("reads both formats with every option, on the port and by their looks", async () => {
    console.log(`seed ${SEED}`);
    const samples = madeSamples(new Dice(SEED));
    const rows = await dissect(writeSamples("made.pcapng", samples));
    for (const [index, sample] of samples.entries()) assertRow(rows[index]!, sample, `${index}`);
    const onlyG = samples.filter(({ format }) => format === "G");
    const elsewhere = await dissect(writeSamples("elsewhere.pcapng", onlyG, 33_333));
    for (const [index, sample] of onlyG.entries()) {
      assertRow(elsewhere[index]!, sample, `elsewhere ${index}`);
    }
  });

  it("calls each cut packet malformed, and no whole one", async () => {
    const [contextG, contextD] = [ENDS[6], ENDS[4]] as unknown as [IpAddress, IpAddress][];
    const header = (ends: readonly IpAddress[]) => ({
      source: { context: ends[0]!, reference: (5n << 120n) + 3n },
      destination: { context: ends[1]!, reference: 1n },
      ...{ ttl: 9, protocol: 17, dontFragment: false },
      fragment: { offset: 8, moreFragments: true, identification: 7 },
    });
    const payload = new Uint8Array(8);
    const wholeG = buildTunnel(header(contextG!), payload);
    const ports = { source: 1045, destination: 1045 };
    const wholeD = buildDraft(header(contextD!), payload, ports);
    for (const [format, whole, tunnelVersion] of [
      ["G", wholeG, 6],
      ["D", wholeD, 4],
    ] as const) {
      const headerLength = whole.length - payload.length;
      const samples = Array.from({ length: whole.length }, (_, length) => {
        return { format, bytes: whole.subarray(0, length + 1), tunnelVersion };
      });
      const rows = await dissect(writeSamples(`cut-${format}.pcapng`, samples));
      for (const [index, row] of rows.entries()) {
        const isCut = index + 1 < headerLength;
        const message = row["_ws.expert.message"];
        const says = message.includes("Shorter than its header");
        assert.equal(says, isCut, `${format} cut to ${index + 1} of ${headerLength}: ${message}`);
      }
    }
  });

  it("survives whatever octets arrive", async () => {
    console.log(`seed ${SEED}`);
    const dice = new Dice(SEED);
    const models = [...madeSamples(dice), ...vectorSamples().map(({ sample }) => sample)];
    const samples = Array.from({ length: 600 }, (): Sample => {
      const model = dice.pick(models);
      const bytes = dice.percent(20) ? dice.bytes(dice.below(90)) : model.bytes.slice();
      for (let count = dice.below(4); count > 0 && bytes.length > 0; count--) {
        bytes[dice.below(dice.percent(70) ? Math.min(16, bytes.length) : bytes.length)] =
          dice.below(256);
      }
      const end = dice.percent(30) ? dice.below(bytes.length + 1) : bytes.length;
      return { ...model, bytes: bytes.subarray(0, end) };
    });
    const rows = await dissect(writeSamples("fuzz.pcapng", samples));
    assert.equal(rows.length, samples.length);
    // An empty datagram has nothing to dissect.
    const shown = rows.filter((row) => row["frame.protocols"].includes("ipref"));
    const octets = samples.filter(({ bytes }) => bytes.length > 0);
    assert.equal(shown.length, octets.length);
  });

  it("names what is wrong with a packet that no gateway accepts", async () => {
    const plain = buildTunnel(
      {
        source: { context: ENDS[4][0]!, reference: 5n },
        destination: { context: ENDS[4][1]!, reference: 6n },
        ...{ ttl: 64, protocol: 17, dontFragment: true, fragment: undefined },
      },
      Uint8Array.of(0x1f, 0x91, 0x1f, 0x92, 0, 12, 0xbe, 0xef, 1, 2, 3, 4),
    );
    const changed = (...octets: [at: number, value: number][]): Sample => {
      const bytes = plain.slice();
      for (const [at, value] of octets) bytes[at] = value;
      return { format: "G", bytes, tunnelVersion: 4 };
    };
    const samples = [
      changed([0, 0x21]),
      changed([0, 0x1d]),
      changed([1, 0x41]),
      changed([1, 0x50]),
      changed([1, 0], [4, 9]),
      changed(),
    ];
    const rows = await dissect(writeSamples("wrong.pcapng", samples));
    const messages = rows.map((row) => row["_ws.expert.message"]);
    const expected = [
      ...["Of no known tunnel format", "The reference length code is the reserved one"],
      ...["Reserved bits are set", "Of no known tunnel format", "A context of an unknown type"],
      "The checksum of layer 4, which covers no addresses here, is wrong",
    ];
    for (const [index, text] of expected.entries()) {
      assert.ok(messages[index]!.includes(text), `${index}: ${messages[index]}`);
    }
    assert.equal(rows.at(-1)!["ipref.checksum.status"], "wrong");
  });
});

interface Exchange {
  readonly name: string;
  readonly request_hex?: string;
  readonly response_hex?: string | null;
}

/** A message in hexadecimal, as text2pcap(1) reads it. */
function hexDump(hex: string): string {
  return `0000 ${hex.replaceAll(/../g, "$& ").trim()}\n`;
}

const MAPPER_FIELDS = [
  ...["ipref_mapper.command", "ipref_mapper.mode", "ipref_mapper.id", "ipref_mapper.dialect"],
  ...["ipref_mapper.address", "ipref_mapper.name", "ipref_mapper.local_domain"],
  ...["ipref_mapper.public_domain", "ipref_mapper.count", "_ws.expert.message"],
];

async function dissectMessages(name: string, messages: readonly string[]): Promise<string[][]> {
  const [text, file] = [join(folder, `${name}.txt`), join(folder, `${name}.pcap`)];
  writeFileSync(text, messages.map(hexDump).join("\n"));
  const made = await run("text2pcap", ["-q", "-l", "147", text, file]);
  assert.equal(made.code, 0, made.stderr);
  const fields = MAPPER_FIELDS.flatMap((field) => ["-e", field]);
  const args = ["-n", "-X", `lua_script:${SCRIPT}`, "-r", file, "-T", "fields"];
  const result = await run("tshark", [...args, "-E", "separator=|", ...fields]);
  assert.equal(result.code, 0, result.stderr);
  assert.doesNotMatch(result.stdout, /Lua Error/);
  return result.stdout
    .split("\n")
    .slice(0, -1)
    .map((line) => line.split("|"));
}

describe("messages of the mapper socket in Wireshark", { skip }, () => {
  it("shows the worked examples of the specification", async () => {
    const question =
      "114712344400000e0000000000000000c0000207000000000000000000000000000004010410" +
      "7765622e6578616d706c652e636f6d2e0000";
    const answer = "11871234440000090afe9dcb00000000c000020700000000000000000000000000000401";
    const refused = "11c7123444000002";
    const newer =
      "114712340000000f040404040000000000000000c00002070000000000000000000000000000040104107765622e" +
      "6578616d706c652e636f6d2e0000";
    const names = "0408696e7465726e616c0000040b6578616d706c652e636f6d000000";
    const records =
      "000000000a00000ac000020100000000000000000000000000000401" +
      "000000000a000016c000020100000000000000000000000000000402";
    const data = `114e20024400001adeadbeefe7d9513f8e18e080${names}${records}`;
    const hash = `114f20034400000c00000002e7d9513f8e18e080${names}`;
    const address = "192.0.2.7 + 1025";
    const rows = await dissectMessages("examples", [question, answer, refused, newer, data, hash]);
    assert.deepEqual(rows, [
      ["7", "1", "0x1234", "oldv1", address, "web.example.com.", "", "", "", ""],
      ["7", "2", "0x1234", "oldv1", address, "", "", "", "", ""],
      ["7", "3", "0x1234", "oldv1", "", "", "", "", "", ""],
      ["7", "1", "0x1234", "newv1", address, "web.example.com.", "", "", "", ""],
      [
        ...["14", "1", "0x2002", "oldv1", "192.0.2.1 + 1025,192.0.2.1 + 1026", ""],
        ...["internal", "example.com", "", ""],
      ],
      ["15", "1", "0x2003", "oldv1", "", "", "internal", "example.com", "2", ""],
    ]);
  });

  it("reads the golden exchanges of all four pairs of versions without complaint", async () => {
    for (const pair of ["ea4-gw4", "ea4-gw6", "ea6-gw4", "ea6-gw6"]) {
      const path = join(VECTORS_FOLDER, `mapper-${pair}.json`);
      if (!existsSync(path)) continue;
      const { exchanges } = JSON.parse(readFileSync(path, "utf8")) as { exchanges: Exchange[] };
      const answers = exchanges.flatMap(({ response_hex: answer }) => answer || []);
      assert.ok(answers.length > 5);
      const rows = await dissectMessages(pair, answers);
      assert.equal(rows.length, answers.length);
      for (const [index, row] of rows.entries()) {
        assert.equal(row.at(-1), "", `${pair} ${answers[index]}`);
        assert.ok(["7", "14", "15"].includes(row[0]!), row[0]);
      }
    }
  });

  it("survives whatever octets a message has", async () => {
    console.log(`seed ${SEED}`);
    const dice = new Dice(SEED);
    const models = [
      "114712340000000f040404040000000000000000c000020700000000000000000000000000000401",
      "114e20024400001adeadbeefe7d9513f8e18e0800408696e7465726e616c0000040b6578616d706c652e636f",
    ].map((hex) => Buffer.from(hex, "hex"));
    const messages = Array.from({ length: 300 }, () => {
      const bytes = dice.percent(20) ? dice.bytes(1 + dice.below(60)) : dice.pick(models).slice();
      for (let count = dice.below(5); count > 0; count--) {
        bytes[dice.below(bytes.length)] = dice.below(256);
      }
      return Buffer.from(bytes.subarray(0, 1 + dice.below(bytes.length))).toString("hex");
    });
    const rows = await dissectMessages("fuzz", messages);
    assert.equal(rows.length, messages.length);
  });

  it("names what is wrong with a message", async () => {
    const rows = await dissectMessages("wrong", [
      ...["1147", "1247123444000002", "1147123444000003", "1147123445000002", "1160123444000002"],
      "114e123444000002",
    ]);
    const expected = [
      ...["Shorter than its fields", "The signature is not 11"],
      ...["The length field is not the message's length", "IP versions that do not exist"],
      ...["A command unknown on the socket", "Shorter than its fields"],
    ];
    for (const [index, text] of expected.entries()) {
      assert.ok(rows[index]!.at(-1)!.includes(text), `${index}: ${rows[index]!.at(-1)}`);
    }
  });
});
