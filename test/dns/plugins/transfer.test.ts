import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ANSWER_COUNT_OFFSET,
  AUTHORITY_COUNT_OFFSET,
  MessageBuilder,
} from "../../../src/wire/dns/builder.js";
import { decodeMessage } from "../../../src/wire/dns/message.js";
import { Name, nameOf } from "../../../src/wire/dns/name.js";
import { recordOf } from "../../../src/wire/dns/record.js";
import { recordText, requestOf, see, settle, TestServer } from "../world.js";

const ZONE = `@ 60 SOA ns hm 10 1 1 1 1
@ 60 NS ns
Zebra 60 A 192.0.2.9
ns 60 A 192.0.2.53
@ 60 MX 1 ns
a.b 60 TXT x
`;
const SUB = "@ 60 SOA ns hm 3 1 1 1 1\n@ 60 NS ns\nns 60 A 192.0.2.54\n";

function corefile(transfer: string): string {
  return `zone.test {\n file z zone.test\n file s sub.zone.test\n ${transfer}\n}\n`;
}

function start(transfer: string) {
  return TestServer.start(corefile(transfer), { z: ZONE, s: SUB });
}

function soaData(serial: number): Uint8Array {
  const data = new Uint8Array(22);
  data[5] = serial;
  return data;
}

function ixfr(serial: number | undefined): Uint8Array {
  const target = new Uint8Array(600);
  const builder = new MessageBuilder();
  builder.begin(target, 512, 9, 0);
  builder.question(nameOf("zone.test."), 251, 1);
  if (serial !== undefined) {
    builder.record(AUTHORITY_COUNT_OFFSET, recordOf(nameOf("zone.test."), 6, 0, soaData(serial)));
  }
  return target.slice(0, builder.length);
}

test("AXFR gives SOA, NS, the rest in canonical order, SOA", async () => {
  const server = await start("transfer {\n to *\n }");
  const messages = await server.exchange(requestOf("ZONE.test. AXFR", { edns: true }), {
    transport: "tcp",
  });
  assert.equal(messages.length, 1);
  const seen = see(messages[0]!);
  assert.equal(seen.flags, "aa rd");
  assert.deepEqual(
    seen.answer.map((text) => text.toLowerCase()),
    [
      "zone.test. 60 soa ns.zone.test.",
      "zone.test. 60 ns ns.zone.test.",
      "zone.test. 60 mx ns.zone.test.",
      'a.b.zone.test. 60 txt "x"',
      "ns.zone.test. 60 a 192.0.2.53",
      "zebra.zone.test. 60 a 192.0.2.9",
      "zone.test. 60 soa ns.zone.test.",
    ],
  );
  assert(
    seen.answer.some((text) => text.startsWith("Zebra.")),
    "case is kept",
  );
  assert.notEqual(seen.message.edns, undefined);
  assert.match(
    server.world.texts("INFO").join("\n"),
    /AXFR of zone\.test\. to 127\.0\.0\.1: 7 records, \d+ octets, serial 10/,
  );
});

test("AXFR of 10,000 records comes in messages of at most 16 KiB, complete", async () => {
  const lines = Array.from(
    { length: 10_000 },
    (_, index) => `h${index} 60 AAAA 2001:db8::${index.toString(16)}`,
  );
  const server = await TestServer.start(corefile("transfer {\n to *\n }"), {
    z: `${ZONE}${lines.join("\n")}\n`,
    s: SUB,
  });
  const messages = await server.exchange(requestOf("zone.test. AXFR"), { transport: "tcp" });
  assert(messages.length > 10);
  let total = 0;
  for (const [index, message] of messages.entries()) {
    assert(message.length <= 16_384);
    const decoded = decodeMessage(message);
    assert(decoded.ok);
    assert.equal(decoded.message.questions.length, index === 0 ? 1 : 0);
    total += decoded.message.answer.length;
  }
  assert.equal(total, 10_007);
  assert.equal(recordText(see(messages.at(-1)!).message.answer.at(-1)!).split(" ")[2], "SOA");
});

test("AXFR of records larger than a message gives each one of its own", async () => {
  const text = Array.from({ length: 80 }, () => `"${"t".repeat(255)}"`).join(" ");
  const server = await TestServer.start(corefile("transfer {\n to *\n }"), {
    z: `${ZONE}big1 60 TXT ${text}\nbig2 60 TXT ${text}\n`,
    s: SUB,
  });
  const messages = await server.exchange(requestOf("zone.test. AXFR"), { transport: "tcp" });
  const records = messages.flatMap((message) => see(message).answer);
  assert.equal(records.length, 9);
  assert(messages.some((message) => message.length > 20_000));
});

test("AXFR is refused over UDP, without transfer, and from addresses not named", async () => {
  const open = await start("transfer {\n to *\n }");
  assert.equal((await open.ask("zone.test. AXFR")).rcode, "REFUSED");
  const none = await start("log");
  assert.equal((await none.ask("zone.test. AXFR", { transport: "tcp" })).rcode, "REFUSED");
  const named = await start("transfer {\n to 192.0.2.7 2001:db8::7\n }");
  assert.equal((await named.ask("zone.test. AXFR", { transport: "tcp" })).rcode, "REFUSED");
  const other = await named.exchange(requestOf("zone.test. AXFR"), {
    transport: "tcp",
    client: "192.0.2.7",
  });
  assert.equal(see(other[0]!).rcode, "NOERROR");
});

test("AXFR of a name that is no apex is NOTAUTH, the subzone is preferred", async () => {
  const server = await start("transfer {\n to *\n }");
  assert.equal((await server.ask("ns.zone.test. AXFR", { transport: "tcp" })).rcode, "NOTAUTH");
  const sub = await server.ask("sub.zone.test. AXFR", { transport: "tcp" });
  assert.equal(sub.answer.length, 4);
});

test("the rule with the longest zone decides", async () => {
  const server = await start(
    "transfer zone.test {\n to *\n }\n transfer sub.zone.test {\n to 192.0.2.7\n }",
  );
  assert.equal((await server.ask("sub.zone.test. AXFR", { transport: "tcp" })).rcode, "REFUSED");
  assert.equal((await server.ask("zone.test. AXFR", { transport: "tcp" })).rcode, "NOERROR");
});

test("IXFR: current gives one SOA, older the whole zone, without SOA FORMERR, UDP one SOA", async () => {
  const server = await start("transfer {\n to *\n }");
  const ask = async (serial: number | undefined, transport: "udp" | "tcp") =>
    see((await server.exchange(ixfr(serial), { transport }))[0]!);
  assert.equal((await ask(10, "tcp")).answer.length, 1);
  assert.equal((await ask(11, "tcp")).answer.length, 1);
  assert.equal((await ask(9, "tcp")).answer.length, 7);
  assert.equal((await ask(9, "udp")).answer.length, 1);
  assert.equal((await ask(undefined, "tcp")).rcode, "FORMERR");
});

test("at most ten transfers run at once", async () => {
  const server = await start("transfer {\n to *\n }");
  const open: { close(): void }[] = [];
  const listener = server.listeners[0]!;
  const origin = {
    transport: "tcp" as const,
    client: { address: listener.address, port: 1 },
    local: { address: listener.address, port: 53 },
  };
  const request = requestOf("zone.test. AXFR");
  const target = new Uint8Array(70_000);
  const again = () =>
    server.server.receive(
      request,
      request.length,
      {
        listener,
        origin,
        deliver: () => {},
        deliverStream: (answer) => open.push(answer),
      },
      target,
    );
  for (let count = 0; count < 10; count++) assert.equal(again(), -1);
  assert.equal(see(target.slice(0, again())).rcode, "SERVFAIL");
  open[0]!.close();
  open[0]!.close();
  assert.equal(again(), -1);
  assert.match(server.world.texts("INFO").join(), /connection closed before the end/);
});

test("NOTIFY goes to every named address after start and reload, three times without answer", async () => {
  const server = await start("transfer {\n to * 192.0.2.7 192.0.2.8:5353\n }\n bind 127.0.0.1");
  assert.equal(server.world.sent.length, 0);
  await server.world.pass(1000);
  await settle();
  const toFirst = server.world.sent.filter(({ to }) => to.port === 5353);
  assert.equal(toFirst.length, 2 * 3);
  assert.deepEqual(
    server.world.sent.map(({ from }) => from?.address.bytes.join(".")),
    new Array(12).fill("127.0.0.1"),
  );
  const decoded = decodeMessage(toFirst[0]!.message);
  assert(decoded.ok);
  assert.equal(decoded.message.flags, 0x2400);
  assert.equal(decoded.message.questions[0]!.name.toString(), "zone.test.");
  assert.equal(decoded.message.answer.length, 1);
  assert.equal(
    server.world.texts("WARNING").filter((text) => text.includes("No answer to NOTIFY")).length,
    4,
  );
  server.world.sent.length = 0;
  server.world.replyTo = (message) =>
    Uint8Array.from(message, (octet, at) => (at === 2 ? octet | 0x80 : octet));
  server.world.writeFile("z", ZONE.replace(" 10 ", " 11 "));
  await server.site.reload();
  await server.world.pass(1000);
  assert.equal(server.world.sent.length, 2);
});

test("a NOTIFY received is answered NOTAUTH", async () => {
  const server = await start("transfer {\n to *\n }");
  const target = new Uint8Array(600);
  const builder = new MessageBuilder();
  builder.begin(target, 512, 9, 0x2400);
  builder.question(nameOf("zone.test."), 6, 1);
  builder.record(ANSWER_COUNT_OFFSET, recordOf(Name.ROOT, 6, 0, soaData(1)));
  const [reply] = await server.exchange(target.slice(0, builder.length));
  const seen = see(reply!);
  assert.equal(seen.rcode, "NOTAUTH");
  assert.equal((seen.message.flags >> 11) & 15, 4);
});
