/** Judges of transfers and AA records. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Finding } from "../../../src/control/doctor/finding.js";
import {
  type AaFacts,
  type AaRecord,
  judgeAaRecords,
  judgeTransfer,
  LOCAL_SOURCE,
  type LocalAnswer,
  type TransferFacts,
} from "../../../src/control/doctor/publishing.js";

function line({ verdict, evidence, fixes }: Finding): string {
  return [`${verdict} ${evidence}`, ...fixes.map(({ command }) => command)].join(" | ");
}

const TRANSFER: TransferFacts = {
  zone: "h.example",
  server: "192.0.2.53",
  keyName: undefined,
  result: { kind: "zone", serial: 7, recordCount: 3 },
  ownAddress: "198.51.100.7",
  withoutServers: "edit",
  reload: "kill -HUP 9",
  clockFix: "set the clock",
};

test("judgeTransfer() says whom the name server has to allow", () => {
  assert.equal(line(judgeTransfer(TRANSFER)), "PASS serial 7, 3 records of interest");
  const failed = (reason: string, more: Partial<TransferFacts> = {}) =>
    line(judgeTransfer({ ...TRANSFER, ...more, result: { kind: "failed", reason } }));
  assert.match(failed("REFUSED"), /allow transfers to 198\.51\.100\.7 \| edit && kill -HUP 9$/);
  assert.match(failed("NOTAUTH", { keyName: "home" }), /allow transfers to key "home"/);
  assert.match(
    failed("BADTIME", { keyName: "home" }),
    /the clocks differ \| set the clock \| edit/,
  );
  assert.match(
    failed("no answer after 5 s", { keyName: "home" }),
    /^FAIL no answer after 5 s \| edit/,
  );
  assert.equal(
    failed("connection refused", { reload: undefined }),
    "FAIL connection refused | edit",
  );
});

function record(label: string, reference: string, problem?: string): AaRecord {
  return {
    owner: `${label}.h.example`,
    label,
    text: `AA 198.51.100.7 + ${reference}`,
    problem,
    gateway: "198.51.100.7",
    reference,
  };
}

const found = (address: string): LocalAnswer => ({ kind: "found", address });

function judged(records: readonly AaRecord[], more: Partial<AaFacts> = {}): string[] {
  const facts: AaFacts = {
    zone: "h.example",
    localZone: "internal",
    source: "192.0.2.53",
    records,
    locals: new Map([
      ["web", found("10.1.0.22")],
      ["www", found("10.1.0.22")],
      ["mail", found("10.1.0.23")],
      ["lost", { kind: "absent", reason: "it does not exist" }],
      ["dark", { kind: "unknown", reason: "the resolver does not answer" }],
    ]),
    freeReferences: ["1024", "1025"],
    publish: "ipref publish",
    update: { server: "[2001:db8::53]:5353", keyFile: "/etc/my key" },
  };
  return judgeAaRecords({ ...facts, ...more }).map(line);
}

test("judgeAaRecords() passes records with hosts, and names of one host with one reference", () => {
  assert.deepEqual(judged([]), ["PASS no AA records: nothing is published"]);
  const same = [record("web", "1030"), record("www", "1030"), record("mail", "1031")];
  assert.deepEqual(judged(same), ["PASS 3 AA records, each with a host in internal"]);
});

test("judgeAaRecords() gives two hosts with one reference two of them", () => {
  const [twin] = judged([record("web", "1030"), record("mail", "1030")]);
  assert.match(twin!, /^FAIL has the reference of web\.h\.example/);
  assert.ok(twin!.endsWith(" | ipref publish mail 10.1.0.23 --ref 1024"), twin);
  const [twice] = judged([record("web", "1030"), record("web", "1030")]);
  assert.match(twice!, /^FAIL has the reference of web\.h\.example/);
});

test("judgeAaRecords() removes records by update, by publish, or says by whom", () => {
  const lost = [record("lost", "1030")];
  const [byUpdate] = judged(lost);
  assert.equal(
    byUpdate,
    "FAIL leads to no host: lost.internal: it does not exist | printf '%s\\n' " +
      "'server 2001:db8::53 5353' 'zone h.example.' " +
      `'update delete lost.h.example. TXT "AA 198.51.100.7 + 1030"' send | ` +
      "nsupdate -v -k '/etc/my key'",
  );
  assert.match(judged(lost, { source: LOCAL_SOURCE })[0]!, /\| ipref publish --remove lost$/);
  assert.match(judged(lost, { update: undefined })[0]!, /\| ipref publish --list$/);
  assert.match(judged([record("dark", "1030")])[0]!, /^SKIP dark\.internal could not be looked up/);
});

test("judgeAaRecords() quotes what a hostile zone contains", () => {
  const text = `AA it's "$(reboot)" \\ + x`;
  const [hostile] = judged([{ ...record("web", ""), text, problem: "invalid" }]);
  assert.ok(hostile!.includes(`TXT "AA it'\\''s \\"$(reboot)\\" \\\\ + x"'`), hostile);
});

test("a record whose text has line ends and marks is one command of the update", () => {
  const text = 'AA 198.51.100.7 + 1\n"update add evil.h.example. 60 A 192.0.2.66\\\u00e9';
  const [finding] = judged([{ ...record("lost", "1030"), text }]);
  const written = 'AA 198.51.100.7 + 1\\010\\"update add evil.h.example. 60 A 192.0.2.66\\\\\\233';
  assert.ok(finding!.includes(`'update delete lost.h.example. TXT "${written}"' send | `), finding);
  assert.equal(finding!.includes("\n"), false);
});
