/**
 * Mutates Corefiles and master files. Reading must end without an exception, every complaint must
 * point into the file, and a zone that loads must answer and transfer all of itself.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type RandomSource, randomBelow, seededRandom } from "../../../src/base/random.js";
import { readConfiguration } from "../../../src/dns/configuration.js";
import { ProblemList } from "../../../src/dns/corefile/parser.js";
import type { Problem } from "../../../src/dns/corefile/structure.js";
import { lookup } from "../../../src/dns/zone/lookup.js";
import { parseMasterFile } from "../../../src/dns/zone/master-file.js";
import { buildZone } from "../../../src/dns/zone/zone-checks.js";
import { nameOf } from "../../../src/wire/dns/name.js";

const ROUNDS = Number(process.env.IPREF_FUZZ_TEXTS ?? 4000);
const SEED = Number(process.env.IPREF_FUZZ_SEED ?? Date.now() % 1_000_000_000);

const COREFILE = `(common) {
  log . "{common}" {
    class denial
  }
}
internal, 10.0.0.0/23:1053 {
  import common
  file db reverse.test { # zone
    reload 1h30m
  }
  transfer {
    to * 192.0.2.1 [2001:db8::1]:53
  }
}
dns://. {
  bind "127.0.0.1" {$X}
  ipref example.com {
    except www.example.com
    upstream 8.8.8.8
  }
  cache 60 {
    success 10 20 30
  }
  forward . 8.8.8.8 tls://1.1.1.1%name {
    health_check 1s domain x
  }
}
`;

const ZONE = `$ORIGIN zone.test.
$TTL 1h
@ IN SOA ns hm ( 1 ; serial
   2h 3m 4w 5 )
  NS ns
ns 60 IN A 192.0.2.1
a\\.b IN 60 TXT "x \\"y\\" \\065" z
*.w CNAME sub.ns
sub NS ns.sub
ns.sub AAAA 2001:db8::1
d DNAME w
h HTTPS 1 . alpn="h2,h3" port=1
g TYPE65400 \\# 3 01 0203
$ORIGIN deep
x MX 10 @
$INCLUDE other inc
`;

function mutate(text: string, random: RandomSource): string {
  const alphabet = '{}()"\\;#$@*. \n\t,:/-0aZ\u00e9';
  let result = text;
  for (let count = 1 + randomBelow(random, 5); count > 0; count--) {
    const at = randomBelow(random, result.length + 1);
    const kind = randomBelow(random, 4);
    const piece = alphabet[randomBelow(random, alphabet.length)]!;
    if (kind === 0) result = result.slice(0, at) + piece + result.slice(at);
    else if (kind === 1)
      result = result.slice(0, at) + result.slice(at + 1 + randomBelow(random, 8));
    else if (kind === 2) result = result.slice(0, at) + piece + result.slice(at + 1);
    else {
      const from = randomBelow(random, result.length + 1);
      result = result.slice(0, at) + result.slice(from, from + 30) + result.slice(at);
    }
  }
  return result;
}

function checkPositions(problems: readonly Problem[], text: string): void {
  const lines = text.split("\n").length;
  for (const { position, message } of problems) {
    assert(position.line >= 1 && position.column >= 1, message);
    assert(position.file !== "main" || position.line <= lines, message);
    assert.match(message, /^[A-Z]/);
  }
}

test(`${ROUNDS} mutated Corefiles are read or refused (seed ${SEED})`, async () => {
  const random = seededRandom(SEED);
  for (let round = 0; round < ROUNDS; round++) {
    const text = mutate(COREFILE, random);
    const configuration = await readConfiguration({
      text,
      file: "main",
      defaultPort: 53,
      variables: () => "::1",
      imports: { read: async () => ({ text: COREFILE }), entries: async () => ["a"] },
    }).catch((error: unknown) => assert.fail(`seed ${SEED} round ${round}: ${error}\n${text}`));
    checkPositions(configuration.problems, text);
    assert.equal(
      configuration.hasErrors,
      configuration.problems.some((problem) => problem.severity === "error"),
    );
  }
});

test(`${ROUNDS} mutated zones are loaded or refused (seed ${SEED})`, async () => {
  const random = seededRandom(SEED);
  const origin = nameOf("zone.test.");
  for (let round = 0; round < ROUNDS; round++) {
    const text = mutate(ZONE, random);
    const list = new ProblemList();
    const encoder = new TextEncoder();
    const read = async () => ({ bytes: encoder.encode("i 60 A 192.0.2.9\n") });
    try {
      const records = await parseMasterFile(encoder.encode(text), "main", origin, read, list);
      const zone = buildZone(origin, records, "main", list);
      if (zone === undefined) assert(list.hasErrors);
      else {
        assert.equal([...zone.transferRecords()].length, zone.recordCount);
        for (const record of zone.transferRecords()) lookup(zone, record.owner, record.type);
      }
    } catch (error) {
      assert.fail(`seed ${SEED} round ${round}: ${error}\n${text}`);
    }
    checkPositions(list.problems, text);
  }
});
