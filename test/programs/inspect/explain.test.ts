/** `ipref explain` as a program, against the control socket of a gateway in memory. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createSocket } from "node:dgram";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { fromHex, toHex } from "../../../src/base/hex.js";
import { parseIp } from "../../../src/base/ip.js";
import { seededRandom } from "../../../src/base/random.js";
import { jsonReply } from "../../../src/control/inspection/api.js";
import { nativePacketOf } from "../../../src/control/inspection/explain-packet.js";
import { startControlServer } from "../../../src/platform/control-server.js";
import {
  FileRefused,
  isCaptureFile,
  packetOfFile,
  readInput,
} from "../../../src/programs/inspect/packet-file.js";
import { ExplainWorld, flow } from "../../control/inspection/explain-world.js";
import { ROOT } from "../../repository/source-files.js";

const IPREF = fileURLToPath(new URL("../../../src/programs/ipref.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "ipref-explain-"));
const world = new ExplainWorld();
const ends: (() => void)[] = [];
/** What the name servers were asked for. */
const asked: string[] = [];

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function ipref(args: readonly string[], input = ""): Promise<Result> {
  return new Promise((resolve) => {
    const options = { timeout: 30_000, encoding: "utf8" } as const;
    const all = [IPREF, "explain", ...args];
    const child = execFile(process.execPath, all, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
    child.stdin!.end(input);
  });
}

const explain = (...args: string[]): Promise<Result> => ipref([...args, "--run", folder]);

before(async () => {
  await world.start();
  const routes = world.machine.controlRoutes;
  const path = join(folder, "gateway.control");
  const gateway = await startControlServer({ path, group: undefined, routes });
  const [front, behind] = [await startNames("front"), await startNames("behind")];
  const status = {
    listening: [`0.0.0.0:${front}`],
    upstreams: [{ server: "tls://192.0.2.1:853" }, { server: `127.0.0.1:${behind}` }],
  };
  const resolver = await startControlServer({
    path: join(folder, "resolver.control"),
    group: undefined,
    routes: new Map([["GET /status", () => jsonReply(status)]]),
  });
  ends.push(
    () => gateway.close(),
    () => resolver.close(),
  );
});

after(async () => {
  for (const end of ends) end();
  await world.gateway.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A name server that knows four names; returns its port. */
async function startNames(where: string): Promise<number> {
  const texts: Readonly<Record<string, string>> = {
    "web.example": "AA 203.0.113.1 + 1025",
    "new.example": "AA gw.example + 4000",
    "plain.example": "v=spf1 -all",
  };
  const addresses: Readonly<Record<string, string>> = {
    "gw.example": "203.0.113.1",
    "plain.example": "192.0.2.80",
  };
  const server = createSocket("udp4");
  server.on("message", (message, { port, address }) => {
    const { name, type } = questionOf(message);
    asked.push(`${where}: ${name} ${type}`);
    const text = type === "TXT" ? texts[name] : undefined;
    const ip = type === "A" ? addresses[name] : undefined;
    const data =
      text === undefined ? ip?.split(".").map(Number) : [text.length, ...Buffer.from(text)];
    server.send(answerOf(message, data), port, address);
  });
  ends.push(() => server.close());
  await new Promise<void>((resolve) => server.bind(0, "127.0.0.1", resolve));
  return server.address().port;
}

const TYPES: Readonly<Record<number, string>> = { 1: "A", 16: "TXT", 28: "AAAA" };

/** Name and type of the one question (RFC 1035 4.1.2). */
function questionOf(message: Buffer): { name: string; type: string; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = message[at]!; length > 0; length = message[at]!) {
    labels.push(message.toString("latin1", at + 1, at + 1 + length).toLowerCase());
    at += 1 + length;
  }
  const type = message.readUInt16BE(at + 1);
  return { name: labels.join("."), type: TYPES[type] ?? String(type), end: at + 5 };
}

/** The message as an answer with one record, or none; with neither the name does not exist. */
function answerOf(message: Buffer, data: readonly number[] | undefined): Buffer {
  const { end } = questionOf(message);
  const head = Buffer.from(message.subarray(0, end));
  head.writeUInt16BE(0x8180, 2);
  head.writeUInt16BE(data === undefined ? 0 : 1, 6);
  head.fill(0, 8, 12);
  if (data === undefined) return head;
  const record = Buffer.from([
    0xc0,
    12,
    ...head.subarray(end - 4, end),
    0,
    0,
    0,
    1,
    0,
    data.length,
  ]);
  return Buffer.concat([head, record, Buffer.from(data)]);
}

test("a packet is walked to its delivery, exit status 0", async () => {
  const { code, stdout } = await explain(
    "10.1.0.22",
    "10.240.0.22",
    "--proto",
    "udp",
    "--port",
    "53",
  );
  assert.equal(code, 0);
  assert.equal(
    stdout,
    `ok  packet          UDP, 10.1.0.22 port 49152 -> 10.240.0.22 port 53, 28 octets, TTL 64 [tunnel 3.1]
ok  remote host     10.240.0.22 is 203.0.113.1 + 1025 (published by /h) [mapper 3.5, 3.6]
ok  local host      10.1.0.22 is 198.51.100.1 + 1025 (published by /h) [mapper 3.4, 3.8]
ok  remote gateway  203.0.113.1 port 1045 (the configured port; nothing heard from there yet; would
                    become known by this packet); the path carries tunnel packets of 1472 octets
                    [tunnel 7.3, 7.4]
ok  size            a tunnel packet of 28 octets fits [tunnel 2.1]
--  code path       slow path: the main thread takes it: nothing was sent to its remote gateway yet

=> delivered to the remote gateway 203.0.113.1 port 1045 as 198.51.100.1 + 1025 ->
   203.0.113.1 + 1025, in one datagram of 28 octets
`,
  );
});

test("the examples of docs/EXPLAIN.md are what the command prints", async () => {
  const page = readFileSync(join(ROOT, "docs/EXPLAIN.md"), "utf8");
  const examples = [...page.matchAll(/^\$ ipref explain (.*)\n([^`]*)/gm)];
  assert.equal(examples.length, 2);
  for (const [, words, printed] of examples) {
    assert.equal((await explain(...words!.split(" "))).stdout, printed, words);
  }
});

test("a packet that is dropped is told with causes and fix, exit status 3", async () => {
  const { code, stdout } = await explain("10.1.0.22", "10.240.9.9");
  assert.equal(code, 3);
  assert.match(stdout, /^NO {2}remote host {2}10\.240\.9\.9 has no mapping/m);
  assert.match(stdout, /^=> dropped: local-destination-unknown$/m);
  assert.match(
    stdout,
    /^ {3}meaning {2}No remote host has this encoded address; sender was told$/m,
  );
  assert.match(stdout, /^ {3}fix {6}Look the name up again/m);
  assert.match(stdout, /^ {3}sender {3}is told: ICMP network unreachable/m);
});

test("a name is asked for as TXT only, which makes no resolver create a mapping", async () => {
  asked.length = 0;
  const { code, stdout } = await explain("10.1.0.22", "web.example", "--json");
  assert.equal(code, 0);
  const { mappings, notes } = JSON.parse(stdout);
  assert.deepEqual(notes, ["web.example has an AA record: 203.0.113.1 + 1025"]);
  assert.equal(mappings[0].address, "10.240.0.22");
  assert.deepEqual(asked, ["front: web.example TXT"]);
});

test("a gateway that is named is looked up behind the resolver, which would map it", async () => {
  asked.length = 0;
  const before = world.digest();
  const { code, stdout } = await explain("10.1.0.22", "new.example");
  assert.equal(code, 0);
  assert.deepEqual(asked, ["front: new.example TXT", "behind: gw.example A"]);
  assert.match(stdout, /its gateway being gw\.example/);
  assert.match(stdout.replace(/\s+/g, " "), /one would be created when its name is asked for/);
  assert.equal(world.digest(), before);
});

test("names without IPREF address are left to routing, unknown ones refused", async () => {
  const plain = await explain("10.1.0.22", "plain.example");
  assert.equal(plain.code, 0);
  assert.match(plain.stdout, /^=> left to the routing of the local network$/m);
  const unknown = await explain("10.1.0.22", "nowhere.example");
  assert.equal(unknown.code, 2);
  assert.match(
    unknown.stderr,
    /^nowhere\.example has neither an AA record nor an address \(asked at/,
  );
});

const PACKET = nativePacketOf(
  flow("", "", { protocol: 132 }),
  parseIp("10.1.0.22")!,
  parseIp("10.240.0.22")!,
);

test("raw packets come as hexadecimal, from a file, and from standard input", async () => {
  const hex = toHex(PACKET);
  const file = join(folder, "packet.hex");
  writeFileSync(file, hex.replace(/../g, "$& "));
  const local = ["--side", "local", "--run", folder, "--packet"];
  for (const result of [
    await ipref([...local, hex]),
    await ipref([...local, file]),
    await ipref([...local, "-"], `${hex}\n`),
  ]) {
    assert.equal(result.code, 3, result.stderr);
    assert.match(result.stdout, /^=> dropped: protocol-not-supported$/m);
  }
});

/** A pcap file of the classic kind, little-endian, link type RAW. */
function pcap(packets: readonly Uint8Array[]): Uint8Array {
  const head = Buffer.alloc(24);
  head.writeUInt32LE(0xa1b2c3d4, 0);
  head.writeUInt32LE(101, 20);
  const records = packets.map((packet) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(packet.length, 8);
    record.writeUInt32LE(packet.length, 12);
    return Buffer.concat([record, packet]);
  });
  return Buffer.concat([head, ...records]);
}

/** IPv4 and UDP around a datagram to the tunnel port. */
function outer(datagram: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(28 + datagram.length);
  bytes.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17]);
  bytes.writeUInt16BE(bytes.length, 2);
  bytes.set(parseIp("203.0.113.1")!.bytes, 12);
  bytes.set(parseIp("198.51.100.1")!.bytes, 16);
  bytes.writeUInt16BE(5555, 20);
  bytes.writeUInt16BE(1045, 22);
  bytes.writeUInt16BE(8 + datagram.length, 24);
  bytes.set(datagram, 28);
  return bytes;
}

test("a capture file shows which side a packet is from, and its outer addresses", async () => {
  const file = join(folder, "two.pcap");
  writeFileSync(file, pcap([PACKET, outer(Uint8Array.of(0x20, 0x40, ...new Uint8Array(30)))]));
  const first = await explain("--packet", file);
  assert.match(first.stdout, /^=> dropped: protocol-not-supported$/m);
  const second = await explain("--packet", file, "--number", "2");
  assert.match(second.stdout, /^=> dropped: tunnel-bad-version$/m);
  assert.match(second.stdout.replace(/\s+/g, " "), /from 203\.0\.113\.1 port 5555/);
  const third = await explain("--packet", file, "--number", "3");
  assert.equal(third.code, 66);
  assert.equal(third.stderr, "The file has 2 packets; number 3 was asked for\n");
});

test("capture files cut anywhere, and any octets behind a magic, end in a packet or a sentence", () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const random = seededRandom(seed);
  const whole = pcap([PACKET, PACKET]);
  const judge = (bytes: Uint8Array, number: number): void => {
    try {
      assert.ok(isCaptureFile(bytes) && packetOfFile(bytes, number).length < 65_600);
    } catch (error) {
      const isSentence = error instanceof FileRefused || bytes.length < 4;
      assert.ok(isSentence, `seed ${seed}: ${error} of ${toHex(bytes)}`);
    }
  };
  for (let length = 0; length <= whole.length; length++) judge(whole.subarray(0, length), 2);
  const magics = ["0a0d0d0a", "a1b2c3d4", "d4c3b2a1", "4d3cb2a1"].map((text) => fromHex(text)!);
  for (let round = 0; round < 5000; round++) {
    const bytes = Uint8Array.from({ length: 4 + (random.word() % 120) }, () =>
      // Small numbers make lengths and block types that fit.
      random.word() % 3 === 0 ? random.word() & 0xff : (random.word() % 8) * 4,
    );
    bytes.set(magics[round % magics.length]!);
    judge(bytes, 1 + (round % 3));
  }
});

test("a packet file is read up to a bound, and one packet up to what IP can carry", async () => {
  const file = join(folder, "long");
  writeFileSync(file, new Uint8Array(200_000));
  assert.throws(() => readInput(file, 100_000), /longer than 100000 octets; cut it with editcap/);
  assert.equal(readInput(file, 200_000).length, 200_000);
  writeFileSync(file, pcap([new Uint8Array(70_000)]));
  const long = await explain("--packet", file);
  assert.deepEqual(
    [long.code, long.stderr],
    [66, "The packet of the file is longer than IP can carry\n"],
  );
  const digits = await ipref(
    ["--side", "local", "--run", folder, "--packet", "-"],
    "4".repeat(3e6),
  );
  assert.deepEqual(
    [digits.code, digits.stderr],
    [66, "- is neither a capture file nor hexadecimal\n"],
  );
});

test("complaints show no control characters", async () => {
  const { code, stderr } = await explain("--drop", "\u001b[2Jx");
  assert.deepEqual([code, stderr.includes("\u001b")], [2, false]);
  const named = await explain("10.1.0.5", "\u001b[2J + 1025");
  assert.deepEqual([named.code, named.stderr.includes("\u001b")], [2, false]);
});

test("mistakes are told with what was expected, exit status 2", async () => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [["10.1.0.5"], /^Expected SOURCE and DESTINATION/],
    [["10.1.0.5", "203.0.113.1", "+", "1025"], /too many arguments|in quotes/],
    [["10.1.0.5", "10.240.0.22", "--proto", "tpc"], /did you mean tcp\?$/m],
    [
      ["10.1.0.5", "10.240.0.22", "--port", "99999"],
      /--port 99999: expected a whole number from 0 to 65535/,
    ],
    [["10.1.0.5", "10.240.0.22", "--source-port", "x"], /--source-port x: expected/],
    [["10.1.0.5", "203.0.113.1 + "], /expected GATEWAY \+ REFERENCE/],
    [["--packet", "45"], /^Expected --side local or --side tunnel/],
    [["--packet", "45", "--side", "up"], /--side up: expected local or tunnel/],
    [["--drop", "packet-to-big"], /did you mean packet-too-big\?/],
    [["2001:db8::1", "10.240.0.22"], /the local network of this gateway is IPv4/],
    [["10.1.0.5", "10.240.0.22", "--sise", "9"], /did you mean one of --side, --size\?/i],
  ];
  for (const [args, expected] of cases) {
    const { code, stderr, stdout } = await explain(...args);
    assert.equal(code, 2, `${args.join(" ")}: ${stdout}${stderr}`);
    assert.match(stderr, expected);
  }
});

test("a gateway that does not run is exit status 4, a file that is none 66", async () => {
  const nowhere = await ipref(["10.1.0.5", "10.240.0.22", "--run", join(folder, "nowhere")]);
  assert.equal(nowhere.code, 4);
  assert.match(nowhere.stderr, /sudo ipref up/);
  const file = await explain("--packet", join(folder, "missing.pcap"), "--side", "local");
  assert.equal(file.code, 66);
  assert.match(file.stderr, /Cannot read .*missing\.pcap: ENOENT/);
});

test("a drop reason is explained without a gateway", async () => {
  const { code, stdout } = await ipref(["--drop", "tunnel-source-mismatch", "--json"]);
  assert.equal(code, 0);
  const { reason, meaning, fix } = JSON.parse(stdout);
  assert.equal(reason, "tunnel-source-mismatch");
  assert.match(meaning, /source context is not the address/);
  assert.match(fix, /-gateway-pub/);
});
