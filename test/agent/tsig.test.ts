/** Transaction signatures (RFC 8945) and key files. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseKeyFile } from "../../src/agent/key-file.js";
import {
  checkRequest,
  findTsig,
  signMessage,
  type TsigKey,
  TsigStream,
} from "../../src/agent/tsig.js";
import { nameOf } from "../../src/wire/dns/name.js";
import { TYPE_AXFR } from "../../src/wire/dns/numbers.js";
import { hmac, response, soaRecord, txtRecord } from "./agent-lab.js";

const NOW = 1_750_000_000;
const KEY: TsigKey = {
  name: nameOf("Transfer."),
  algorithm: "sha256",
  secret: new Uint8Array(32).fill(7),
};
const REQUEST = response({ id: 77, type: TYPE_AXFR }, [], 0);

function tsigOf(message: Uint8Array) {
  const tsig = findTsig(message);
  assert.ok(typeof tsig === "object");
  return tsig;
}

test("a signed request is accepted, in every algorithm", () => {
  for (const algorithm of ["sha256", "sha384", "sha512"] as const) {
    const key = { ...KEY, algorithm };
    const { message } = signMessage(REQUEST, key, hmac, NOW);
    assert.equal(checkRequest(message, tsigOf(message), key, hmac, NOW + 299), undefined);
  }
});

test("a changed octet anywhere makes the signature wrong or the message unreadable", () => {
  const { message } = signMessage(REQUEST, KEY, hmac, NOW);
  for (let index = 0; index < message.length; index++) {
    const changed = message.slice();
    changed[index]! ^= 0x41;
    const tsig = findTsig(changed);
    if (typeof tsig !== "object") continue;
    const isOfNoWeight = isOutsideOfMac(message, index);
    const fault = checkRequest(changed, tsig, KEY, hmac, NOW);
    if (!isOfNoWeight) assert.notEqual(fault, undefined, `octet ${index}`);
  }
});

/** The id of the header, type, class and TTL are not what is signed (RFC 8945 4.3). */
function isOutsideOfMac(message: Uint8Array, index: number): boolean {
  const nameEnd = tsigOf(message).start + KEY.name.wire.length;
  return index < 2 || (index >= nameEnd && index < nameEnd + 10) || index >= message.length - 4;
}

test("every truncation is malformed or unsigned, never accepted", () => {
  const { message } = signMessage(REQUEST, KEY, hmac, NOW);
  for (let length = 0; length < message.length; length++) {
    assert.ok(typeof findTsig(message.slice(0, length)) !== "object", `${length} octets`);
  }
});

test("another key, another secret and an old signature are refused", () => {
  const { message } = signMessage(REQUEST, KEY, hmac, NOW);
  const other = { ...KEY, name: nameOf("other.") };
  const secret = { ...KEY, secret: new Uint8Array(32) };
  assert.equal(checkRequest(message, tsigOf(message), other, hmac, NOW), "another key");
  assert.equal(checkRequest(message, tsigOf(message), secret, hmac, NOW), "a wrong signature");
  assert.match(checkRequest(message, tsigOf(message), KEY, hmac, NOW + 301)!, /clocks/);
});

/** First message of an answer, signed over the request's MAC. */
function firstAnswer(requestMac: Uint8Array) {
  const plain = response({ id: 77, type: TYPE_AXFR }, [soaRecord(1)]);
  return signMessage(plain, KEY, hmac, NOW, requestMac);
}

test("an answer in many messages must begin and end with a signature", () => {
  const { mac } = signMessage(REQUEST, KEY, hmac, NOW);
  const middle = response({ id: 77, type: TYPE_AXFR }, [txtRecord("a", "b")]);
  const stream = new TsigStream(KEY, hmac, mac);
  assert.equal(stream.check(middle, NOW), "the answer is not signed");
  assert.equal(stream.check(firstAnswer(mac).message, NOW), undefined);
  assert.ok(stream.isSigned);
  assert.equal(stream.check(middle, NOW), undefined);
  assert.ok(!stream.isSigned);
  for (let count = 1; count < 99; count++) assert.equal(stream.check(middle, NOW), undefined);
  assert.equal(stream.check(middle, NOW), "too many messages without signature");
});

test("an answer to another request is refused", () => {
  const stream = new TsigStream(KEY, hmac, new Uint8Array(32));
  const { mac } = signMessage(REQUEST, KEY, hmac, NOW);
  assert.equal(stream.check(firstAnswer(mac).message, NOW), "the signature is wrong");
});

const SECRET = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

test("a key file with one key serves all servers", () => {
  const inside = `\talgorithm hmac-sha512;\n\tsecret "${SECRET}";\n`;
  const text = `// made by tsig-keygen\nkey "Transfer.Key." {\n${inside}};\n`;
  const parsed = parseKeyFile(text);
  assert.ok(parsed.ok);
  assert.equal(parsed.keys.common!.name.toString(), "transfer.key.");
  assert.equal(parsed.keys.common!.algorithm, "sha512");
  assert.equal(parsed.keys.common!.secret.length, 32);
});

test("server clauses choose among several keys", () => {
  const key = (name: string) => `key ${name} { algorithm hmac-sha256; secret "${SECRET}"; };`;
  const text = `${key("a")} ${key("b")} server 192.0.2.1 { keys { "b"; }; }; # rest without`;
  const parsed = parseKeyFile(text);
  assert.ok(parsed.ok);
  assert.equal(parsed.keys.common, undefined);
  assert.equal(parsed.keys.byServer.get("192.0.2.1")!.name.toString(), "b.");
});

test("mistakes in a key file are named with their line", () => {
  const cases: [string, number, RegExp][] = [
    ["", 1, /no key/],
    [`key a { algorithm hmac-sha256; secret "${SECRET}"; };`.replace("key", "kee"), 1, /'kee'/],
    ['key a {\n algorithm hmac-md5;\n secret "eA==";\n};', 2, /hmac-md5/],
    ['key a {\n algorithm hmac-sha256;\n secret "eA==";\n};', 3, /secret/],
    ["key a {\n algorithm hmac-sha256;\n};", 1, /needs an algorithm and a secret/],
    ["key a {\n algorithm hmac-sha256", 2, /expected ';'/],
    [
      `key a { algorithm hmac-sha256; secret "${SECRET}"; };\nserver x { keys { b; }; };`,
      2,
      /no key 'b'/,
    ],
  ];
  for (const [text, line, pattern] of cases) {
    const parsed = parseKeyFile(text);
    assert.ok(!parsed.ok, text);
    assert.equal(parsed.line, line, text);
    assert.match(parsed.error, pattern);
  }
});
