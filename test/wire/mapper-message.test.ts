/** Messages of the mapper socket against the worked examples of spec/mapper.md 2.12. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fromHex, toHex } from "../../src/base/hex.js";
import {
  COMMAND_GET_EA,
  headerFault,
  ipverOf,
  isRecordPrefix,
  MESSAGE_HEADER_BYTES,
  MODE_REQUEST,
  messageBatch,
  messageHash,
  readSourceNames,
  readStringItem,
  recordLayout,
  stringItemBytes,
  writeHeaderInto,
  writeRecordPrefixInto,
  writeStringItemInto,
} from "../../src/wire/mapper-message.js";

const V44 = { local: 4, tunnel: 4 } as const;
const V64 = { local: 6, tunnel: 4 } as const;

function bytes(...parts: string[]): Uint8Array {
  return fromHex(parts.join("").replaceAll(" ", ""))!;
}

const REQUEST = bytes(
  "11 47 12 34 44 00 00 0e 00 00 00 00 00 00 00 00 c0 00 02 07",
  "00 00 00 00 00 00 00 00 00 00 00 00 00 00 04 01",
  "04 10 77 65 62 2e 65 78 61 6d 70 6c 65 2e 63 6f 6d 2e 00 00",
);
const HOST_DATA_NAMES = bytes(
  "11 4e 20 02 44 00 00 0c de ad be ef e7 d9 51 3f 8e 18 e0 80",
  "04 08 69 6e 74 65 72 6e 61 6c 00 00 04 0b 65 78 61 6d 70 6c 65 2e 63 6f 6d 00 00 00",
);

/** Builds MC_GET_EA for 192.0.2.7 + 1025 with a name. */
function buildRequest(versions: typeof V44 | typeof V64, isNew: boolean): Uint8Array {
  const layout = recordLayout(isNew ? "newv1" : "oldv1", versions);
  const name = "web.example.com.";
  const length = MESSAGE_HEADER_BYTES + layout.length + stringItemBytes(name.length);
  const target = new Uint8Array(length);
  const ipver = isNew ? 0 : ipverOf(versions);
  const at = writeHeaderInto(target, MODE_REQUEST | COMMAND_GET_EA, 0x1234, ipver, length);
  if (isNew) writeRecordPrefixInto(target, at, versions);
  target.set([192, 0, 2, 7], at + layout.gw);
  target.set([4, 1], at + layout.reference + 14);
  assert.equal(writeStringItemInto(target, at + layout.length, name), length);
  return target;
}

test("MC_GET_EA of the worked examples: 4/4, 6/4 and newv1", () => {
  assert.equal(toHex(buildRequest(V44, false)), toHex(REQUEST));
  const wide = buildRequest(V64, false);
  assert.equal(wide.length, 80);
  assert.equal(toHex(wide.subarray(0, 8)), "1147123464000014");
  assert.equal(toHex(wide.subarray(40, 44)), "c0000207");
  const young = buildRequest(V44, true);
  assert.equal(toHex(young.subarray(0, 12)), "114712340000000f04040404");
  assert.equal(toHex(young.subarray(12)), toHex(REQUEST.subarray(8)));
  assert.equal(isRecordPrefix(young, 8, V44), true);
  assert.equal(isRecordPrefix(young, 8, V64), false);
});

test("record layouts have the lengths of spec/mapper.md 2.3 and 2.11", () => {
  const lengths = ([4, 6] as const).flatMap((local) =>
    ([4, 6] as const).flatMap((tunnel) => [
      recordLayout("oldv1", { local, tunnel }).length,
      recordLayout("newv1", { local, tunnel }).length,
    ]),
  );
  assert.deepEqual(lengths, [28, 32, 40, 44, 52, 56, 64, 68]);
});

test("headerFault() names the first failing check", () => {
  const change = (at: number, value: number) => {
    const copy = REQUEST.slice();
    copy[at] = value;
    return headerFault(copy, copy.length, V44);
  };
  assert.equal(headerFault(REQUEST, REQUEST.length, V44), undefined);
  assert.equal(headerFault(REQUEST, 4, V44), "shorter than its header");
  assert.equal(headerFault(REQUEST, 57, V44), "length not a multiple of 4");
  assert.equal(change(0, 0x12), "wrong signature");
  assert.equal(change(7, 5), "wrong length field");
  assert.equal(change(4, 0x64), "wrong version of encoded addresses");
  assert.equal(change(4, 0x46), "wrong version of gateway addresses");
  assert.equal(change(5, 1), "reserved byte not zero");
  assert.equal(change(4, 0), undefined);
});

test("every truncation of a message is a fault", () => {
  for (let length = 0; length < REQUEST.length; length++) {
    assert.notEqual(headerFault(REQUEST, length, V44), undefined, `${length} bytes`);
  }
});

test("string items: examples of spec/mapper.md 2.4, padding, and every truncation", () => {
  for (const [text, hex] of [
    ["a", "04016100"],
    ["ab", "04026162"],
    ["abc", "0403616263000000"],
  ] as const) {
    const target = new Uint8Array(12).fill(0xa5);
    const end = writeStringItemInto(target, 0, text);
    assert.equal(toHex(target.subarray(0, end)), hex);
    assert.equal(target[end], 0xa5);
    assert.deepEqual(readStringItem(target, end, 0), { text, end });
    for (let length = 0; length < end; length++) {
      assert.equal(readStringItem(target, length, 0), undefined);
    }
  }
  assert.equal(readStringItem(bytes("04000000"), 4, 0), undefined);
  assert.equal(readStringItem(bytes("05016100"), 4, 0), undefined);
});

test("readSourceNames() reads the worked example, at no shorter length", () => {
  const message = HOST_DATA_NAMES;
  assert.deepEqual(readSourceNames(message, message.length), {
    local: "internal",
    public: "example.com",
    joined: "internal:example.com",
    end: 48,
  });
  assert.equal(messageBatch(message), 0xdeadbeef);
  assert.equal(messageHash(message), "\xe7\xd9\x51\x3f\x8e\x18\xe0\x80");
  for (let length = 20; length < message.length; length++) {
    assert.equal(readSourceNames(message, length), undefined, `${length} bytes`);
  }
});

test("readSourceNames() refuses a colon and names of more than 255 bytes together", () => {
  const make = (local: string, domain: string) => {
    const target = new Uint8Array(600);
    const middle = writeStringItemInto(target, 20, local);
    const end = writeStringItemInto(target, middle, domain);
    return readSourceNames(target, end);
  };
  assert.equal(make("a:b", "c"), undefined);
  assert.equal(make("a", "b:c"), undefined);
  assert.equal(make("x".repeat(128), "y".repeat(127)), undefined);
  assert.equal(make("x".repeat(127), "y".repeat(127))?.joined.length, 255);
});
