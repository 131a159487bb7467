/** The program `ipref-coredns`: flags, complaints, start, reload, end. On loopback addresses. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { parseDnsFlags } from "../../src/programs/dns-flags.js";
import { MessageBuilder } from "../../src/wire/dns/builder.js";
import { type DecodedMessage, decodeMessage } from "../../src/wire/dns/message.js";
import { nameOf } from "../../src/wire/dns/name.js";
import { FLAG_RD, TYPE_A } from "../../src/wire/dns/numbers.js";

const PROGRAM = fileURLToPath(new URL("../../src/programs/ipref-coredns.js", import.meta.url));
const FOLDER = mkdtempSync(join(tmpdir(), "ipref-coredns-"));
const START_MS = 15_000;

after(() => rmSync(FOLDER, { recursive: true, force: true }));

/** A port that nobody uses at 127.0.0.1 right now, UDP and TCP. */
async function freePort(): Promise<number> {
  for (;;) {
    const tcp = createServer();
    tcp.listen(0, "127.0.0.1");
    await once(tcp, "listening");
    const { port } = tcp.address() as { port: number };
    const udp = createSocket("udp4");
    udp.on("error", () => undefined);
    const isFree = await new Promise<boolean>((resolve) => {
      udp.once("error", () => resolve(false));
      udp.bind(port, "127.0.0.1", () => resolve(true));
    });
    tcp.close();
    if (isFree) udp.close();
    if (isFree) return port;
  }
}

function write(name: string, text: string): string {
  const path = join(FOLDER, name);
  writeFileSync(path, text);
  return path;
}

function zone(serial: number, address: string): string {
  return `$ORIGIN example.internal.\n$TTL 60\n@ SOA ns admin ${serial} 60 60 60 60\n@ NS ns\nns A ${address}\nhost A ${address}\n`;
}

/** Runs the program to its end. */
function runToEnd(args: readonly string[], input = "") {
  const result = spawnSync(process.execPath, [PROGRAM, ...args], {
    cwd: FOLDER,
    input,
    encoding: "utf8",
    timeout: 20_000,
  });
  return { status: result.status, stdout: result.stdout, stderr: result.stderr };
}

/** A running server. */
class Running {
  readonly child: ChildProcess;
  output = "";

  constructor(args: readonly string[], input?: string) {
    this.child = spawn(process.execPath, [PROGRAM, ...args], { cwd: FOLDER });
    this.child.stdout!.on("data", (chunk: Buffer) => {
      this.output += chunk.toString();
    });
    this.child.stderr!.on("data", (chunk: Buffer) => {
      this.output += chunk.toString();
    });
    this.child.stdin!.end(input ?? "");
  }

  async until(pattern: RegExp, from = 0): Promise<void> {
    for (let waited = 0; !pattern.test(this.output.slice(from)); waited += 20) {
      assert.ok(
        waited < START_MS && this.child.exitCode === null,
        `no ${pattern}:\n${this.output}`,
      );
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    if (this.child.exitCode !== null) return this.child.exitCode;
    this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill("SIGKILL"), 10_000);
    await once(this.child, "exit");
    clearTimeout(timer);
    return this.child.exitCode;
  }
}

async function withServer(
  args: readonly string[],
  work: (server: Running) => Promise<void>,
  input?: string,
): Promise<void> {
  const server = new Running(args, input);
  try {
    await server.until(/Listening on/);
    await work(server);
    assert.equal(await server.stop(), 0, server.output);
  } finally {
    await server.stop("SIGKILL");
  }
}

/** Asks up to three times, as hosts do; a busy machine may be slow. */
async function ask(port: number, name: string): Promise<DecodedMessage | undefined> {
  for (let attempt = 0; attempt < 3; attempt++) {
    const reply = await askOnce(port, name);
    if (reply !== undefined) return reply;
  }
  return undefined;
}

async function askOnce(port: number, name: string): Promise<DecodedMessage | undefined> {
  const builder = new MessageBuilder();
  const request = new Uint8Array(512);
  builder.begin(request, 512, 4711, FLAG_RD);
  builder.question(nameOf(name), TYPE_A, 1);
  const socket = createSocket("udp4");
  try {
    socket.send(request.subarray(0, builder.length), port, "127.0.0.1");
    const [bytes] = (await once(socket, "message", { signal: AbortSignal.timeout(1000) })) as [
      Buffer,
    ];
    const decoded = decodeMessage(new Uint8Array(bytes));
    assert.ok(decoded.ok);
    return decoded.message;
  } catch {
    return undefined;
  } finally {
    socket.close();
  }
}

async function addressOf(port: number, name: string): Promise<string | undefined> {
  return (await ask(port, name))?.answer[0]?.data.join(".");
}

function fetchText(port: number, path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const request = get({ host: "127.0.0.1", port, path, agent: false }, (response) => {
      let body = "";
      response.on("data", (chunk) => {
        body += chunk;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
    });
    request.on("error", reject);
  });
}

describe("the command line of ipref-coredns", () => {
  it("takes Go's forms of flags", () => {
    for (const args of [
      ["-conf", "x", "-dns.port", "5300"],
      ["--conf=x", "--dns.port=5300"],
      ["-p", "5300", "-conf=x", "-quiet"],
    ]) {
      const command = parseDnsFlags(args);
      assert.equal(command.kind, "run");
      if (command.kind === "run")
        assert.deepEqual([command.flags.corefile, command.flags.port], ["x", 5300]);
    }
  });

  it("ends with 2 for what it does not know", () => {
    for (const [args, text] of [
      [["-conff", "x"], /-conff.*did you mean -conf\?/],
      [["Corefile"], /Found the argument 'Corefile'/],
      [["-conf", "x", "y"], /Found the argument 'y'/],
      [["-dns.port", "70000"], /expected a port from 1 to 65535/],
      [["-conf"], /a value must follow/],
      [["-quiet=maybe"], /expected true or false/],
    ] as const) {
      const result = runToEnd(args);
      assert.equal(result.status, 2, args.join(" "));
      assert.match(result.stderr, text);
      assert.equal(result.stdout, "");
    }
  });

  it("-version, -plugins and -h", () => {
    const { version } = JSON.parse(
      readFileSync(new URL("../../../package.json", import.meta.url), "utf8"),
    );
    const told = runToEnd(["-version"]);
    assert.deepEqual([told.status, told.stdout.split("\n")[0]], [0, `ipref-coredns-${version}`]);
    const plugins = runToEnd(["-plugins"]);
    for (const name of ["ipref", "forward", "file", "cache", "import"])
      assert.match(plugins.stdout, new RegExp(`^  ${name}$`, "m"));
    assert.match(plugins.stdout, /not here: .*rewrite/);
    assert.match(runToEnd(["-h"]).stdout, /-dns\.port PORT/);
  });
});

describe("a broken configuration", () => {
  it("ends with 78: no Corefile", () => {
    const result = runToEnd(["-conf", "nowhere"]);
    assert.equal(result.status, 78);
    assert.match(result.stderr, /^nowhere: Cannot read the Corefile: there is no such file/);
  });

  it("ends with 78 and names all mistakes with file, line and column", () => {
    write("broken", ". {\n    forwrad . 8.8.8.8\n    rewrite name a b\n    reload abc\n}\n");
    const result = runToEnd(["-conf", "broken"]);
    assert.equal(result.status, 78);
    const lines = result.stderr.trim().split("\n");
    assert.match(lines[0]!, /^broken:2:5: Found 'forwrad', .*did you mean 'forward'\?/);
    assert.match(lines[1]!, /^broken:3:5: .*'rewrite'.*CNAME/);
    assert.match(lines[2]!, /^broken:4:12: /);
  });

  it("ends with 78 for a zone that cannot be parsed, with the zone's line", () => {
    write(
      "bad.zone",
      "$ORIGIN example.internal.\n@ 60 SOA ns admin 1 60 60 60 60\nhost 60 A 999.1.1.1\n",
    );
    write("badzone", "example.internal {\n    bind 127.0.0.1\n    file bad.zone\n}\n");
    const result = runToEnd(["-conf", "badzone", "-p", "15353"]);
    assert.equal(result.status, 78, result.stderr);
    assert.match(result.stderr, /bad\.zone:3/);
  });

  it("-check reads everything and opens nothing", async () => {
    write("good.zone", zone(1, "10.0.0.1"));
    write("good", "example.internal {\n    file good.zone\n}\n");
    const result = runToEnd(["-conf", "good", "-check"]);
    assert.deepEqual([result.status, result.stderr], [0, ""]);
    assert.equal(runToEnd(["-conf", "badzone", "-check"]).status, 78);
  });

  it("ends with 78 when ipref asks this very server, and warns when forward does", async () => {
    const port = await freePort();
    const own = (directive: string) => `. {\n    bind 127.0.0.1\n    ${directive}\n}\n`;
    write("loop1", own(`ipref {\n        upstream 127.0.0.1:${port}\n    }`));
    const refused = runToEnd(["-conf", "loop1", "-p", String(port)]);
    assert.equal(refused.status, 78, refused.stderr);
    assert.match(refused.stderr, /loop1:3:5: .*which is this server/);
    write("loop2", own(`forward . 127.0.0.1:${port}`));
    await withServer(["-conf", "loop2", "-p", String(port)], async (server) => {
      assert.match(server.output, /\[WARNING\] loop2:3:5: .*which is this server/);
    });
  });
});

describe("a taken address", () => {
  it("ends with 69, names the holder and the ways out", async () => {
    const other = createSocket("udp4");
    other.bind(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address();
    write("taken", ". {\n    bind 127.0.0.1\n    whoami\n}\n");
    // The program is a child that runs while this process holds the port.
    const server = new Running(["-conf", "taken", "-p", String(port)]);
    await once(server.child, "exit");
    other.close();
    assert.equal(server.child.exitCode, 69, server.output);
    assert.match(server.output, new RegExp(`Cannot listen on udp://127\\.0\\.0\\.1:${port}`));
    assert.match(server.output, new RegExp(`pid ${process.pid} `));
    assert.match(
      server.output,
      /stop that program, or let this server use another address \('bind' in the Corefile\) or port/,
    );
  });

  it("ends with 69 for an address that the machine does not have", async () => {
    write("foreign", ". {\n    bind 192.0.2.77\n    whoami\n}\n");
    const result = runToEnd(["-conf", "foreign", "-p", "15354"]);
    assert.equal(result.status, 69, result.stderr);
    assert.match(result.stderr, /192\.0\.2\.77.*this machine does not have the address/);
  });
});

describe("a running server", () => {
  it("answers, logs one line for each query, ends with 0 and removes its pid file", async () => {
    const port = await freePort();
    write("run.zone", zone(1, "10.0.0.1"));
    write("run", "example.internal {\n    bind 127.0.0.1\n    file run.zone\n    log\n}\n");
    const pidFile = join(FOLDER, "pid");
    await withServer(
      ["-conf", "run", "-dns.port", String(port), "-pidfile", pidFile],
      async (server) => {
        assert.equal(await addressOf(port, "host.example.internal."), "10.0.0.1");
        await server.until(
          /\[INFO\] 127\.0\.0\.1:\d+ - 4711 "A IN host\.example\.internal\. udp 39 false 512" NOERROR qr,aa,rd 55 [0-9.e-]+s\n/,
        );
        assert.equal(readFileSync(pidFile, "utf8"), `${server.child.pid}\n`);
        assert.match(server.output, new RegExp(`Listening on 127\\.0\\.0\\.1:${port}`));
        assert.match(server.output, /example\.internal\.:\d+ answers local sources only/);
      },
    );
    assert.throws(() => readFileSync(pidFile));
  });

  it("reads its Corefile from standard input and says nothing at start with -quiet", async () => {
    const port = await freePort();
    const server = new Running(
      ["-conf", "stdin", "-quiet", "-p", String(port)],
      ". {\n    bind 127.0.0.1\n    whoami\n}\n",
    );
    try {
      let reply: DecodedMessage | undefined;
      for (let attempt = 0; attempt < 20 && reply === undefined; attempt++)
        reply = await ask(port, "x.");
      assert.equal(reply?.additional.length, 2);
      assert.equal(await server.stop("SIGINT"), 0);
      assert.doesNotMatch(server.output, /Listening|answers/);
    } finally {
      await server.stop("SIGKILL");
    }
  });

  it("takes a new configuration on SIGHUP and SIGUSR1 and keeps the old one when it is broken", async () => {
    const port = await freePort();
    const corefile = "example.internal {\n    bind 127.0.0.1\n    file hup.zone\n}\n";
    write("hup.zone", zone(1, "10.0.0.1"));
    write("hup", corefile);
    await withServer(["-conf", "hup", "-p", String(port)], async (server) => {
      for (const [signal, address] of [
        ["SIGHUP", "10.0.0.2"],
        ["SIGUSR1", "10.0.0.3"],
      ] as const) {
        write("hup.zone", zone(1, address));
        const from = server.output.length;
        server.child.kill(signal);
        await server.until(/Reloading complete/, from);
        assert.equal(await addressOf(port, "host.example.internal."), address);
      }
      for (const [name, text] of [
        ["hup", `${corefile}nonsense {\n    bogus\n}\n`],
        ["hup.zone", "garbage here"],
      ] as const) {
        const good = readFileSync(join(FOLDER, name), "utf8");
        write(name, text);
        const from = server.output.length;
        server.child.kill("SIGHUP");
        await server.until(/\[ERROR\] .*:\d+.*\n\[ERROR\] The configuration in force stays/, from);
        assert.equal(await addressOf(port, "host.example.internal."), "10.0.0.3");
        write(name, good);
      }
    });
  });

  it("opens and closes ports on reload", async () => {
    const [first, second] = [await freePort(), await freePort()];
    const on = (port: number) => `.:${port} {\n    bind 127.0.0.1\n    whoami\n}\n`;
    write("ports", on(first));
    await withServer(["-conf", "ports"], async (server) => {
      assert.ok(await ask(first, "x."));
      write("ports", on(second));
      const from = server.output.length;
      server.child.kill("SIGHUP");
      await server.until(/Reloading complete/, from);
      assert.ok(await ask(second, "x."));
      assert.equal(await ask(first, "x."), undefined);
    });
  });

  it("notices a changed Corefile and changed imports with `reload`", async () => {
    const port = await freePort();
    write("part", "whoami\n");
    write("watched", `.:${port} {\n    bind 127.0.0.1\n    reload 2s 1s\n    import part\n}\n`);
    await withServer(["-conf", "watched"], async (server) => {
      assert.equal((await ask(port, "x."))?.rcode, 0);
      write("part", "any\n");
      await server.until(/Reloading complete/);
      assert.equal((await ask(port, "x."))?.rcode, 2);
    });
  });

  it("serves /health, /ready and /metrics", async () => {
    const [port, health, ready, metrics] = [
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort(),
    ];
    write(
      "http",
      `.:${port} {\n    bind 127.0.0.1\n    health 127.0.0.1:${health}\n    ready 127.0.0.1:${ready}\n    prometheus 127.0.0.1:${metrics}\n    whoami\n}\n`,
    );
    await withServer(["-conf", "http"], async () => {
      assert.deepEqual(await fetchText(health, "/health"), { status: 200, body: "OK" });
      assert.deepEqual(await fetchText(ready, "/ready"), { status: 200, body: "OK" });
      assert.equal((await fetchText(ready, "/else")).status, 404);
      for (let index = 0; index < 3; index++) await ask(port, "x.example.");
      const { body } = await fetchText(metrics, "/metrics");
      const labels = `server="dns://.:${port}",zone=".",view=""`;
      assert.ok(
        body.includes(`coredns_dns_requests_total{${labels},proto="udp",family="1",type="A"} 3\n`),
        body,
      );
      assert.ok(
        body.includes(`coredns_dns_responses_total{${labels},rcode="NOERROR",plugin=""} 3\n`),
        body,
      );
      assert.ok(body.includes(`coredns_dns_request_duration_seconds_count{${labels}} 3\n`), body);
      assert.match(body, /# TYPE coredns_dns_request_duration_seconds histogram/);
    });
  });

  it("tells in /ready what it waits for", async () => {
    const [port, ready] = [await freePort(), await freePort()];
    write(
      "waiting",
      `.:${port} {\n    bind 127.0.0.1\n    ready 127.0.0.1:${ready}\n    ipref {\n        upstream 127.0.0.1:9\n        mapper ${join(FOLDER, "no.sock")}\n    }\n}\n`,
    );
    await withServer(["-conf", "waiting"], async () => {
      assert.deepEqual(await fetchText(ready, "/ready"), { status: 503, body: "ipref" });
    });
  });

  it("survives 2,000 damaged messages and answers afterwards", async () => {
    const port = await freePort();
    write("robust", `.:${port} {\n    bind 127.0.0.1\n    whoami\n}\n`);
    await withServer(["-conf", "robust", "-source-rate", "0"], async (server) => {
      const socket = createSocket("udp4");
      let state = 42;
      const random = () => {
        state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
        return state >>> 16;
      };
      for (let index = 0; index < 2000; index++) {
        const bytes = Buffer.from(Array.from({ length: random() % 80 }, () => random() & 255));
        socket.send(bytes, port, "127.0.0.1");
        if (index % 100 === 99) await new Promise((resolve) => setTimeout(resolve, 5));
      }
      assert.equal((await ask(port, "x."))?.rcode, 0);
      socket.close();
      assert.doesNotMatch(server.output, /Recovered|ERROR/);
    });
  });
});
