/** What ping prints, its statistics, ICMP errors in words, numbers among options, files. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseIp } from "../../../src/base/ip.js";
import type { ExplainReport } from "../../../src/control/inspection/explain-report.js";
import { errorText } from "../../../src/programs/inspect/echo-probes.js";
import { explainLines } from "../../../src/programs/inspect/explain-text.js";
import { BadNumber, numberOption } from "../../../src/programs/inspect/number-option.js";
import {
  FileRefused,
  isCaptureFile,
  packetOfFile,
} from "../../../src/programs/inspect/packet-file.js";
import {
  headText,
  outcomeLine,
  PingStatistics,
  timeText,
} from "../../../src/programs/inspect/ping-text.js";

const TARGET = {
  text: "web.example",
  address: parseIp("10.240.0.22")!,
  ipref: { context: parseIp("198.51.100.7")!, reference: 1025n },
  route: {
    ...{ gateway: "198.51.100.7", port: 1045, packetBytesMax: 1472 },
    ...{ isNew: false, isVerified: true, portFrom: "heard" as const },
  },
  notes: [],
};

test("the head names the encoded address, the IPREF address and the gateway", () => {
  assert.equal(
    headText(TARGET),
    "web.example (10.240.0.22 = 198.51.100.7 + 1025 via gateway 198.51.100.7 port 1045)",
  );
  const bare = { ...TARGET, ipref: undefined, route: undefined };
  assert.equal(headText(bare), "web.example (10.240.0.22)");
});

test("control characters of names and owners do not reach the terminal", () => {
  const text = "published by \u001b[2J\u0007 zone";
  const report = {
    ...{ direction: "outbound", packet: "", octets: 1, path: "slow", mappings: [] },
    ...{ sentBytes: [], writtenBytes: [], verdict: { kind: "delivered", text } },
    steps: [{ title: "remote host", result: "ok", text, rule: "mapper 3.5" }],
  } as const satisfies ExplainReport;
  const lines = explainLines(report, [text], 100);
  assert.ok(
    lines.every((line) => !/\p{Cc}/u.test(line)),
    JSON.stringify(lines),
  );
  assert.equal(lines[0], "ok  name         published by \\u001b[2J\\u0007 zone");
});

test("each end of a request has a line", () => {
  const source = parseIp("10.240.0.22")!;
  const reply = { kind: "reply", source, ttl: 63, octets: 64, roundTripMs: 1.234 } as const;
  assert.equal(outcomeLine(3, reply, "X"), "64 octets from X: icmp_seq=3 ttl=63 time=1.23 ms");
  const text = "network unreachable";
  const rest = { offender: source, isTimeExceeded: false, text, roundTripMs: 1 };
  assert.equal(outcomeLine(4, { kind: "error", ...rest }, "X"), `From X icmp_seq=4 ${text}`);
  const refused = { kind: "refused", code: "ENETUNREACH" } as const;
  assert.equal(outcomeLine(5, refused, "X"), "icmp_seq=5 not sent: ENETUNREACH");
  assert.equal(outcomeLine(6, { kind: "silent" }, "X"), "icmp_seq=6 no answer");
});

test("statistics count answers, errors and losses, and the spread of times", () => {
  const statistics = new PingStatistics();
  const source = parseIp("10.240.0.22")!;
  for (const roundTripMs of [1, 2, 3]) {
    statistics.take({ kind: "reply", source, ttl: undefined, octets: 64, roundTripMs });
  }
  statistics.take({ kind: "silent" });
  statistics.take({ kind: "refused", code: "EPERM" });
  statistics.transmitted = 5;
  assert.deepEqual(statistics.lines("x", 4005.4), [
    "",
    "--- x ping statistics ---",
    "5 packets transmitted, 3 received, +1 errors, 40% packet loss, time 4005 ms",
    "rtt min/avg/max/mdev = 1.000/2.000/3.000/0.816 ms",
  ]);
  const none = new PingStatistics();
  none.transmitted = 3;
  assert.equal(none.lines("x", 1).length, 3);
  assert.equal(none.lossPercent, 100);
});

test("times keep three figures", () => {
  const shown = [0.0421, 0.9994, 1.239, 12.34, 123.6].map(timeText);
  assert.deepEqual(shown, ["0.042 ms", "0.999 ms", "1.24 ms", "12.3 ms", "124 ms"]);
});

test("ICMP errors are told in words", () => {
  const error = (icmpType: number, icmpCode: number, kind = "unreachable" as const) => {
    return { icmpType, icmpCode, kind, mtuBytes: 1280, code: "EHOSTUNREACH" };
  };
  assert.equal(errorText(error(3, 0), 4), "network unreachable");
  assert.equal(errorText(error(3, 4), 4), "packet too big, the path carries 1280 octets");
  assert.equal(errorText(error(11, 0), 4), "time to live exceeded");
  assert.equal(errorText(error(3, 99), 4), "ICMP type 3 code 99 (EHOSTUNREACH)");
  assert.equal(errorText(error(1, 3), 6), "address unreachable");
  assert.equal(errorText(error(2, 0), 6), "packet too big, the path carries 1280 octets");
  assert.equal(errorText(error(3, 0), 6), "time to live exceeded");
});

test("numbers of options keep to their range", () => {
  const range = { min: 1, max: 10, isWhole: true };
  assert.equal(numberOption({ count: "7" }, "count", range), 7);
  assert.equal(numberOption({}, "count", range), undefined);
  assert.equal(numberOption({ wait: "0.5" }, "wait", { min: 0, max: 1 }), 0.5);
  for (const bad of ["0", "11", "1.5", "-1", "1e1", "x", ""]) {
    assert.throws(() => numberOption({ maxHops: bad }, "maxHops", range), {
      name: "BadNumber",
      message: `Cannot use --max-hops ${bad}: expected a whole number from 1 to 10`,
    });
  }
  assert.ok(new BadNumber("x") instanceof Error);
});

const IP = Uint8Array.of(0x45, 0, 0, 4);

/** A pcapng file: section, interfaces, one block of a packet. */
function pcapng(link: number, packet: Uint8Array, isSimple: boolean): Uint8Array {
  const block = (type: number, body: Buffer): Buffer => {
    const bytes = Buffer.alloc(12 + Math.ceil(body.length / 4) * 4);
    bytes.writeUInt32BE(type, 0);
    bytes.writeUInt32BE(bytes.length, 4);
    bytes.set(body, 8);
    bytes.writeUInt32BE(bytes.length, bytes.length - 4);
    return bytes;
  };
  const section = Buffer.alloc(16);
  section.writeUInt32BE(0x1a2b3c4d, 0);
  const interfaceBody = Buffer.alloc(8);
  interfaceBody.writeUInt16BE(link, 0);
  const head = Buffer.alloc(isSimple ? 4 : 20);
  head.writeUInt32BE(packet.length, isSimple ? 0 : 12);
  const body = Buffer.concat([head, packet]);
  return Buffer.concat([
    block(0x0a0d0d0a, section),
    block(1, interfaceBody),
    block(isSimple ? 3 : 6, body),
  ]);
}

test("capture files of both kinds give their packets without link headers", () => {
  for (const isSimple of [false, true]) {
    const raw = pcapng(101, IP, isSimple);
    assert.ok(isCaptureFile(raw));
    assert.deepEqual(Uint8Array.from(packetOfFile(raw, 1)), IP);
    const tagged = Uint8Array.of(...new Uint8Array(12), 0x81, 0, 0, 5, 8, 0, ...IP);
    assert.deepEqual(Uint8Array.from(packetOfFile(pcapng(1, tagged, isSimple), 1)), IP);
    const cooked = pcapng(113, Uint8Array.of(...new Uint8Array(16), ...IP), isSimple);
    assert.deepEqual(Uint8Array.from(packetOfFile(cooked, 1)), IP);
  }
  assert.throws(() => packetOfFile(pcapng(147, IP, false), 1), FileRefused);
});

test("a capture file that is cut anywhere gives a packet or a refusal, never anything else", () => {
  const whole = pcapng(101, IP, false);
  for (let length = 4; length < whole.length; length++) {
    assert.throws(() => packetOfFile(whole.slice(0, length), 1), FileRefused);
  }
  assert.equal(isCaptureFile(Uint8Array.of(1, 2, 3)), false);
});
