/** The `forward` and `loop` directives from query to reply: spec/resolver.md 4. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Environment, UpstreamOptions, UpstreamServer } from "../../src/dns/ports.js";
import { Upstreams } from "../../src/dns/upstream/upstreams.js";
import { nameOf } from "../../src/wire/dns/name.js";
import { recordOf } from "../../src/wire/dns/record.js";
import { answerTo, Network } from "./upstream-world.js";
import { requestOf, type Seen, see, TestServer } from "./world.js";

interface Asked {
  readonly servers: readonly UpstreamServer[];
  readonly options: UpstreamOptions;
}

/** A server with this Corefile in front of a scripted network. */
async function start(corefile: string, network: Network, files: Record<string, string> = {}) {
  const upstreams = new Upstreams(network.upstreamWorld);
  const groups: Asked[] = [];
  const environment = network.world.environment as {
    -readonly [Key in keyof Environment]: Environment[Key];
  };
  environment.timers = network.upstreamWorld.timers;
  environment.upstream = (servers, options) => {
    groups.push({ servers, options });
    return upstreams.group(servers, options);
  };
  const server = await TestServer.start(corefile, files, network.world);
  return { server, groups };
}

/** Asks and lets time pass until the reply is there. */
async function ask(
  network: Network,
  server: TestServer,
  question: string,
  options: Parameters<TestServer["ask"]>[1] = {},
): Promise<Seen> {
  let seen: Seen | undefined;
  void server.ask(question, options).then((reply) => {
    seen = reply;
  });
  for (let waitedMs = 0; seen === undefined && waitedMs < 6000; waitedMs += 5) {
    await network.pass(5);
  }
  return seen ?? assert.fail(`no reply to ${question}`);
}

test("forward relays a reply with RA, the client's spelling and an OPT of its own", async () => {
  const network = new Network();
  network.server(1).behaviour = (question) => {
    question.reply(answerTo(question, { flags: 0x0420 }));
  };
  const { server } = await start(". {\n forward . 192.0.2.1\n}\n", network);
  const plain = await ask(network, server, "WWW.Example. A");
  assert.equal(plain.rcode, "NOERROR");
  assert.equal(plain.flags, "aa rd ra");
  assert.deepEqual(plain.answer, ["WWW.Example. 300 A 192.0.2.1"]);
  assert.equal(plain.message.edns, undefined);
  assert.equal(plain.message.id, 0x4711);
  const edns = await ask(network, server, "other.example. A", { edns: true });
  assert.equal(edns.message.edns?.udpSizeBytes, 1232);
});

test("forward cuts a reply that came over TCP to the client's size", async () => {
  const network = new Network();
  const answer = Array.from({ length: 100 }, (_, index) =>
    recordOf(nameOf("big.example."), 1, 60, Uint8Array.of(10, 0, 0, index)),
  );
  network.server(1).behaviour = (question) => {
    question.reply(
      answerTo(question, question.isStream ? { answer } : { flags: 0x200, answer: [] }),
    );
  };
  const { server } = await start(". {\n forward . 192.0.2.1\n}\n", network);
  const udp = await ask(network, server, "big.example. A");
  assert.equal(udp.flags, "tc rd ra");
  assert.equal(udp.answer.length, 0);
  const tcp = await ask(network, server, "big.example. A", { transport: "tcp" });
  assert.equal(tcp.flags, "rd ra");
  assert.equal(tcp.answer.length, 100);
});

test("forward passes unknown types and negative answers through", async () => {
  const network = new Network();
  const soa = Uint8Array.of(0, 0, ...new Array<number>(20).fill(1));
  network.server(1).behaviour = (question) => {
    const [asked] = question.message.questions;
    const unknown = recordOf(asked!.name, 65_400, 60, Uint8Array.of(0xc0, 0x0c, 1));
    const authority = [recordOf(nameOf("example."), 6, 60, soa)];
    const isUnknown = asked!.type === 65_400;
    const parts = isUnknown ? { answer: [unknown] } : { rcode: 3, answer: [], authority };
    question.reply(answerTo(question, parts));
  };
  const { server } = await start(". {\n forward . 192.0.2.1\n}\n", network);
  const unknown = await ask(network, server, "x.example. TYPE65400");
  assert.deepEqual([...unknown.message.answer[0]!.data], [0xc0, 0x0c, 1]);
  const negative = await ask(network, server, "y.example. A");
  assert.equal(negative.rcode, "NXDOMAIN");
  assert.equal(negative.authority.length, 1);
});

test("forward answers SERVFAIL with extended error 23 when nobody replies", async () => {
  const network = new Network();
  const { server } = await start(". {\n errors\n forward . 192.0.2.1\n}\n", network);
  const startMs = network.world.nowMs;
  const seen = await ask(network, server, "a.example. A", { edns: true });
  assert.equal(seen.rcode, "SERVFAIL");
  assert.deepEqual([...seen.message.edns!.options], [0, 15, 0, 2, 0, 23]);
  assert(network.world.nowMs - startMs < 4000);
  assert.match(network.world.texts("ERROR")[0]!, /2 a\.example\. A: timeout: no reply from/);
});

test("the first forward whose FROM matches and whose except does not takes the query", async () => {
  const network = new Network();
  for (const last of [1, 2, 3]) {
    network.server(last).behaviour = (question) => {
      const owner = question.message.questions[0]!.name;
      const answer = [recordOf(owner, 1, 60, Uint8Array.of(10, 0, 0, last))];
      question.reply(answerTo(question, { answer }));
    };
  }
  const corefile = `. {
    forward corp.example 192.0.2.1 {
        except public.corp.example
    }
    forward example 192.0.2.2
    forward . 192.0.2.3
    whoami
}
`;
  const { server } = await start(corefile, network);
  const from = async (name: string) => (await ask(network, server, `${name} A`)).answer[0]!;
  assert.match(await from("a.CORP.example."), /10\.0\.0\.1$/);
  assert.match(await from("x.public.corp.example."), /10\.0\.0\.2$/);
  assert.match(await from("badcorp.example."), /10\.0\.0\.2$/);
  assert.match(await from("elsewhere."), /10\.0\.0\.3$/);
});

test("a name that no forward takes goes to the next directive", async () => {
  const network = new Network();
  const corefile = ". {\n forward example 192.0.2.1\n whoami\n}\n";
  const { server } = await start(corefile, network);
  const seen = await ask(network, server, "elsewhere. A");
  assert.equal(seen.rcode, "NOERROR");
  assert.equal(seen.answer.length, 0);
  assert(seen.additional.length > 0);
});

test("next passes the named response codes to the following forward", async () => {
  const network = new Network();
  network.server(1).behaviour = (question) => {
    const rcode = question.name.toLowerCase().startsWith("known") ? 0 : 3;
    question.reply(answerTo(question, { rcode, answer: [] }));
  };
  network.server(2);
  const corefile = `. {
    forward . 192.0.2.1 {
        next NXDOMAIN
    }
    forward . 192.0.2.2
}
`;
  const { server } = await start(corefile, network);
  assert.equal((await ask(network, server, "unknown. A")).answer.length, 1);
  assert.equal((await ask(network, server, "known. A")).answer.length, 0);
});

test("max_concurrent answers REFUSED above its limit, the built-in limit SERVFAIL", async () => {
  const network = new Network();
  network.server(1).behaviour = () => {};
  const corefile = `a {
    forward . 192.0.2.1 {
        max_concurrent 1
    }
}
b {
    forward . 192.0.2.1
}
`;
  const { server } = await start(corefile, network);
  void server.exchange(requestOf("one.a. A"));
  assert.equal((await ask(network, server, "two.a. A")).rcode, "REFUSED");
  for (let index = 0; index < 1024; index++) void server.exchange(requestOf(`h${index}.b. A`));
  assert.equal((await ask(network, server, "more.b. A")).rcode, "SERVFAIL");
});

test("servers of a resolv.conf and all properties reach the upstream client", async () => {
  const network = new Network();
  network.server(7);
  const corefile = `. {
    forward . /etc/upstream.conf tls://192.0.2.8 {
        tls_servername dns.example
        policy round_robin
        max_fails 5
        expire 20s
        health_check 2s no_rec domain check.example
        force_tcp
        failfast_all_unhealthy_upstreams
    }
}
`;
  const files = { "/etc/upstream.conf": "# mine\nnameserver 192.0.2.7\noptions edns0\n" };
  const { server, groups } = await start(corefile, network, files);
  const [{ servers, options }] = groups as [Asked];
  assert.deepEqual(
    servers.map(({ endpoint, transport, tlsServerName }) => [
      endpoint.address.bytes.join("."),
      endpoint.port,
      transport,
      tlsServerName,
    ]),
    [
      ["192.0.2.7", 53, "dns", undefined],
      ["192.0.2.8", 853, "tls", "dns.example"],
    ],
  );
  assert.equal(options.policy, "round_robin");
  assert.equal(options.maxFails, 5);
  assert.equal(options.expireMs, 20_000);
  assert.equal(options.healthCheckMs, 2000);
  assert.equal(options.isHealthCheckRecursive, false);
  assert.equal(options.healthCheckName.toString(), "check.example.");
  assert(options.isTcpForced && options.isFailfast);
  assert.equal((await ask(network, server, "a. A")).rcode, "NOERROR");
});

test("a resolv.conf or certificate that cannot be read keeps the server from starting", async () => {
  for (const body of ["/etc/nowhere", "/etc/empty", "tls://192.0.2.1 {\n tls /etc/nowhere\n }"]) {
    const network = new Network();
    const files = { "/etc/empty": "search example\n" };
    const started = start(`. {\n forward . ${body}\n}\n`, network, files);
    await assert.rejects(started, /Cannot read '\/etc\/nowhere'|Found no nameserver/);
  }
});

test("loop takes an upstream that leads back here out of use", async () => {
  const network = new Network();
  const upstream = network.server(1);
  const { server } = await start(". {\n loop\n forward . 192.0.2.1\n}\n", network);
  upstream.behaviour = (question) => {
    const [asked] = question.message.questions;
    const type = asked!.type === 13 ? "HINFO" : "A";
    void server.ask(`${asked!.name} ${type}`).then((seen) => {
      question.reply(answerTo(question, { rcode: seen.message.rcode, answer: [] }));
    });
  };
  await network.pass(1100);
  assert.match(network.world.texts("ERROR")[0]!, /leads back to this server/);
  const before = upstream.asked.length;
  const seen = await ask(network, server, "a.example. A");
  assert.equal(seen.rcode, "SERVFAIL");
  assert.equal(upstream.asked.length, before);
});

test("forward needs no name server for a reply's shape: every octet flip is survived", async () => {
  const network = new Network();
  const upstream = network.server(1);
  let flip = 0;
  upstream.behaviour = (question) => {
    const bytes = answerTo(question);
    bytes[flip >> 3]! ^= 1 << (flip & 7);
    question.reply(bytes);
    question.reply(answerTo(question), 5);
  };
  const { server } = await start(". {\n forward . 192.0.2.1 {\n max_fails 0\n }\n}\n", network);
  for (flip = 0; flip < 12 * 8; flip++) {
    const request = requestOf(`h${flip}.example. A`);
    let reply: Uint8Array[] | undefined;
    void server.exchange(request).then((messages) => {
      reply = messages;
    });
    while (reply === undefined) await network.pass(5);
    see(reply[0]!);
  }
});
