import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeMessage, packMessage } from "../../../src/wire/dns/message.js";
import { packedInto } from "../../../src/wire/dns/packed.js";
import { RequestView } from "../../../src/wire/dns/request.js";
import { HEADER_QUERY, OPT_1232_DO, octets, QUERY, QUESTION_A, REPLY } from "./messages.js";

function faultOf(bytes: Uint8Array): string {
  const decoded = decodeMessage(bytes);
  return decoded.ok ? "none" : decoded.fault;
}

function requestFault(bytes: Uint8Array): string {
  return new RequestView().read(bytes, bytes.length) ?? "none";
}

test("decodeMessage() reads every section, compressed names and the OPT", () => {
  const decoded = decodeMessage(REPLY);
  assert(decoded.ok);
  const { message } = decoded;
  assert.equal(message.id, 0x1234);
  assert.equal(message.rcode, 0);
  assert.deepEqual(
    message.answer.map((record) => [record.owner.toString(), record.type, record.ttlSeconds]),
    [
      ["www.example.com.", 5, 300],
      ["web.example.com.", 1, 60],
      ["web.example.com.", 1, 60],
    ],
  );
  assert.deepEqual(message.answer[0]!.data, octets("03'web'07'example'03'com'00"));
  assert.deepEqual(message.answer[2]!.data, octets("c0000202"));
  assert.equal(message.authority[0]!.data.length, 16 + 18 + 20);
  assert.equal(message.additional.length, 0);
  assert.deepEqual(message.edns, {
    udpSizeBytes: 1232,
    version: 0,
    isDnssecOk: true,
    options: new Uint8Array(0),
  });
});

test("decodeMessage() and RequestView reject every truncation", () => {
  for (let length = 0; length < REPLY.length; length++) {
    assert.notEqual(faultOf(REPLY.slice(0, length)), "none", `reply cut at ${length}`);
    assert.equal(packMessage(REPLY, REPLY.length) === undefined, false);
  }
  for (let length = 0; length < QUERY.length; length++) {
    assert.notEqual(requestFault(QUERY.slice(0, length)), "none", `query cut at ${length}`);
    assert.notEqual(faultOf(QUERY.slice(0, length)), "none", `query cut at ${length}`);
  }
});

test("a truncation inside a larger buffer is seen as well", () => {
  const buffer = new Uint8Array(4096).fill(0xa5);
  buffer.set(QUERY);
  for (let length = 0; length < QUERY.length; length++) {
    assert.notEqual(new RequestView().read(buffer, length), undefined, `cut at ${length}`);
  }
  assert.equal(new RequestView().read(buffer, QUERY.length), undefined);
});

test("RequestView reads a query and its EDNS", () => {
  const view = new RequestView();
  assert.equal(view.read(QUERY, QUERY.length), undefined);
  assert.equal(view.name.toString(), "www.example.com.");
  assert.deepEqual(
    [view.id, view.flags, view.type, view.class, view.hasEdns, view.ednsSizeBytes, view.isDnssecOk],
    [0x1234, 0x0100, 1, 1, true, 1232, true],
  );
});

test("RequestView forgets the request before", () => {
  const view = new RequestView();
  view.read(QUERY, QUERY.length);
  const plain = octets(HEADER_QUERY, "01'x'00 001c 0001");
  assert.equal(view.read(plain, plain.length), undefined);
  assert.equal(view.name.toString(), "x.");
  assert.deepEqual([view.hasEdns, view.isDnssecOk, view.ednsSizeBytes], [false, false, 512]);
});

test("RequestView.retain() survives the next use of the buffer", () => {
  const buffer = QUERY.slice();
  const view = new RequestView();
  view.read(buffer, buffer.length);
  view.retain();
  buffer.fill(0);
  assert.equal(view.name.toString(), "www.example.com.");
});

test("RequestView names each reason of spec/resolver.md 1.2", () => {
  const opt = OPT_1232_DO;
  const cases: [string, Uint8Array][] = [
    ["message-too-short", octets("1234 0100 0001 0000 0000 00")],
    ["message-is-response", octets("1234 8100 0001 0000 0000 0000", QUESTION_A)],
    ["opcode-unknown", octets("1234 2900 0001 0000 0000 0000", QUESTION_A)],
    ["question-count", octets("1234 0100 0000 0000 0000 0000")],
    ["question-count", octets("1234 0100 0002 0000 0000 0000", QUESTION_A, QUESTION_A)],
    ["record-count", octets("1234 0100 0001 0002 0000 0000", QUESTION_A)],
    ["record-count", octets("1234 0100 0001 0000 0002 0000", QUESTION_A)],
    ["record-count", octets("1234 0100 0001 0000 0000 0003", QUESTION_A)],
    ["counts-exceed-length", octets("1234 0100 0001 0000 0000 0001", "00 0001 0001")],
    ["name-truncated", octets(HEADER_QUERY, "0f'ww' 0000")],
    ["name-label-type", octets(HEADER_QUERY, "40 00 0001 0001")],
    ["name-label-type", octets(HEADER_QUERY, "80 00 0001 0001")],
    ["name-pointer-header", octets(HEADER_QUERY, "c000 0001 0001")],
    ["name-pointer-forward", octets(HEADER_QUERY, "c00c 0001 0001")],
    ["name-pointer-forward", octets(HEADER_QUERY, "01'a'c00c 0001 0001")],
    ["name-too-long", octets(HEADER_QUERY, `3f${"61".repeat(63)}`.repeat(4), "00 0001 0001")],
    ["question-truncated", octets(HEADER_QUERY, "03'www'00 0001 00")],
    ["opt-repeated", octets("1234 0100 0001 0000 0000 0002", QUESTION_A, opt, opt)],
    ["opt-misplaced", octets("1234 0100 0001 0001 0000 0000", QUESTION_A, opt)],
    ["opt-misplaced", octets("1234 0100 0001 0000 0001 0000", QUESTION_A, opt)],
    [
      "opt-misplaced",
      octets("1234 0100 0001 0000 0000 0001", QUESTION_A, "01'x'00 0029 04d0 00000000 0000"),
    ],
    [
      "opt-data",
      octets("1234 0100 0001 0000 0000 0001", QUESTION_A, "00 0029 04d0 00000000 0003 000a00"),
    ],
    [
      "opt-data",
      octets(
        "1234 0100 0001 0000 0000 0001",
        QUESTION_A,
        "00 0029 04d0 00000000 0005 000a 0002 00",
      ),
    ],
    ["trailing-octets", octets(HEADER_QUERY, QUESTION_A, "00")],
    ["trailing-octets", octets("1234 0100 0001 0000 0000 0001", QUESTION_A, opt, "00")],
  ];
  for (const [fault, bytes] of cases) assert.equal(requestFault(bytes), fault, fault);
});

test("decodeMessage() follows no pointer forward, to itself, in a loop or into the header", () => {
  const reply = (...tail: string[]) =>
    octets(
      "1234 8180 0001 0001 0000 0000",
      QUESTION_A,
      ...tail,
      "0001 0001 0000003c 0004 c0000201",
    );
  assert.equal(faultOf(reply("c00c")), "none");
  assert.equal(faultOf(reply("c021")), "name-pointer-forward");
  assert.equal(faultOf(reply("01'a'c021")), "name-pointer-forward");
  assert.equal(faultOf(reply("c030")), "name-pointer-forward");
  assert.equal(faultOf(reply("c004")), "name-pointer-header");
  // Two records that point at each other: the second pointer would go forward.
  const mutual = octets(
    "1234 8180 0001 0002 0000 0000",
    QUESTION_A,
    "01'a'c033 0001 0001 0000003c 0004 c0000201",
    "c021 0001 0001 0000003c 0004 c0000201",
  );
  assert.equal(faultOf(mutual), "name-pointer-forward");
});

test("decodeMessage() bounds names that grow through pointers", () => {
  const label = `3f${"61".repeat(63)}`;
  const bytes = octets(
    "1234 8180 0001 0001 0000 0000",
    label.repeat(3),
    "00 0001 0001",
    `3f${"62".repeat(63)} c00c`,
    "0001 0001 0000003c 0004 c0000201",
  );
  assert.equal(faultOf(bytes), "name-too-long");
});

test("decodeMessage() honours data lengths exactly", () => {
  const record = (type: string, length: string, data: string) =>
    octets(
      "1234 8180 0001 0001 0000 0000",
      QUESTION_A,
      `c00c ${type} 0001 0000003c ${length} ${data}`,
    );
  const bad: [string, string, string][] = [
    ["0001", "0000", ""],
    ["0001", "0005", "0102030405"],
    ["001c", "0004", "01020304"],
    ["0010", "0000", ""],
    ["0010", "0003", "0461 62"],
    ["0005", "0001", "01"],
    ["0005", "0003", "c00c00"],
    ["000f", "0002", "000a"],
    ["0006", "0002", "0000"],
    ["0041", "0001", "00"],
    ["0101", "0003", "00 05 61"],
  ];
  for (const [type, length, data] of bad) {
    assert.notEqual(faultOf(record(type, length, data)), "none", `type ${type} data ${data}`);
  }
  assert.equal(faultOf(record("0001", "0005", "01020304")), "record-truncated");
  assert.equal(faultOf(record("ff00", "0000", "")), "none");
  assert.equal(faultOf(record("0010", "0001", "00")), "none");
});

test("decodeMessage() stops a count bomb before reading", () => {
  assert.equal(faultOf(octets("1234 8180 ffff ffff ffff ffff")), "counts-exceed-length");
});

test("decodeMessage() reads a message of 65,535 octets", () => {
  const head = octets("1234 8180 0001 0001 0000 0000", QUESTION_A, "c00c ff00 0001 00000000");
  const bytes = new Uint8Array(65_535);
  bytes.set(head);
  const length = bytes.length - head.length - 2;
  bytes[head.length] = length >> 8;
  bytes[head.length + 1] = length & 255;
  const decoded = decodeMessage(bytes);
  assert(decoded.ok);
  assert.equal(decoded.message.answer[0]!.data.length, length);
});

test("decodeMessage() counts a TTL with its top bit as zero", () => {
  const bytes = octets(
    "1234 8180 0001 0001 0000 0000",
    QUESTION_A,
    "c00c 0001 0001 80000001 0004 c0000201",
  );
  const decoded = decodeMessage(bytes);
  assert(decoded.ok);
  assert.equal(decoded.message.answer[0]!.ttlSeconds, 0);
});

test("packMessage() and packedInto() give the same records with lower TTLs", () => {
  const packed = packMessage(REPLY, REPLY.length)!;
  assert.equal(packed.ttlSecondsMin, 60);
  assert.deepEqual([packed.answerCount, packed.authorityCount, packed.additionalCount], [3, 1, 0]);
  const target = new Uint8Array(512).fill(0xa5);
  target.set(octets("9999 8180 0001 0000 0000 0000", "03'wWw'07'EXample'03'com'00 0001 0001"));
  const end = packedInto(target, packed, 10, 200);
  const decoded = decodeMessage(target, end);
  assert(decoded.ok);
  const { answer, authority } = decoded.message;
  assert.deepEqual(
    answer.map((record) => record.ttlSeconds),
    [200, 50, 50],
  );
  assert.equal(answer[0]!.owner.toString(), "wWw.EXample.com.");
  assert.equal(authority[0]!.ttlSeconds, 200);
  assert.equal(decoded.message.edns, undefined);
});

test("packMessage() refuses an OPT before other records", () => {
  const record = "c00c 0001 0001 0000003c 0004 c0000201";
  const bytes = octets("1234 8180 0001 0000 0000 0002", QUESTION_A, OPT_1232_DO, record);
  assert(decodeMessage(bytes).ok);
  assert.equal(packMessage(bytes, bytes.length), undefined);
});
