// Traffic of one host, as a command: servers, and clients that print one line of JSON.
//
//   serve <tcpPort> <udpPort>             both servers until killed; prints "ready"
//   tcp <address> <port> <bytes> [ms]     sends and receives <bytes>, spread over [ms]
//   udp <address> <port> <size,size,...>  echo of each size, with retries
//   refused <address> <port>              connected socket to a closed port
//
// The TCP server hashes what it gets, then answers with one line of JSON and as many random bytes,
// so that one connection checks both directions.

import { createHash, randomBytes } from "node:crypto";
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { connect, createServer, type Socket as TcpSocket } from "node:net";

/** Longest time a client keeps trying. A first packet may be lost to path MTU discovery. */
const CLIENT_LIMIT_MS = 30_000;

/** Time after which an unanswered datagram is sent again. */
const UDP_RETRY_MS = 400;

const UDP_ATTEMPTS_MAX = 12;

function sha256(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

function family(address: string): "udp4" | "udp6" {
  return address.includes(":") ? "udp6" : "udp4";
}

function serve(tcpPort: number, udpPort: number): void {
  const tcp = createServer({ allowHalfOpen: true }, answerTransfer);
  const waiting = [new Promise<void>((resolve) => tcp.listen(tcpPort, "::", resolve))];
  const udp = createSocket({ type: "udp6", ipv6Only: false });
  udp.on("message", (message, peer: RemoteInfo) => udp.send(message, peer.port, peer.address));
  udp.on("error", () => undefined);
  waiting.push(new Promise<void>((resolve) => udp.bind(udpPort, "::", resolve)));
  void Promise.all(waiting).then(() => console.log("ready"));
}

function answerTransfer(socket: TcpSocket): void {
  const received: Buffer[] = [];
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk) => received.push(chunk));
  socket.on("end", () => {
    const got = Buffer.concat(received);
    const reply = randomBytes(got.length);
    const line = { got: sha256(got), sent: sha256(reply), peer: socket.remoteAddress };
    socket.write(`${JSON.stringify(line)}\n`);
    socket.end(reply);
  });
}

function transfer(address: string, port: number, bytes: number, durationMs: number): void {
  const data = randomBytes(bytes);
  const socket = connect({ host: address, port, allowHalfOpen: true });
  const received: Buffer[] = [];
  setTimeout(() => finish({ ok: false, error: "timeout" }), CLIENT_LIMIT_MS + durationMs).unref();
  socket.on("error", (error) => finish({ ok: false, error: error.message }));
  socket.on("data", (chunk) => received.push(chunk));
  socket.on("connect", () => void sendSpread(socket, data, durationMs));
  socket.on("end", () => {
    const all = Buffer.concat(received);
    const lineEnd = all.indexOf(10);
    const line = JSON.parse(all.subarray(0, lineEnd).toString() || "{}");
    const body = all.subarray(lineEnd + 1);
    const ok = line.got === sha256(data) && line.sent === sha256(body) && body.length === bytes;
    finish({ ok, bytes: body.length, hash: line.got, hashBack: line.sent, seenAs: line.peer });
  });
}

/** Sends `data` in 40 equal steps over `durationMs`, then closes the sending direction. */
async function sendSpread(socket: TcpSocket, data: Buffer, durationMs: number): Promise<void> {
  const steps = durationMs === 0 ? 1 : 40;
  const size = Math.ceil(data.length / steps);
  for (let offset = 0; offset < data.length; offset += size) {
    socket.write(data.subarray(offset, offset + size));
    if (durationMs > 0) await new Promise((resolve) => setTimeout(resolve, durationMs / steps));
  }
  socket.end();
}

async function echoAll(address: string, port: number, sizes: readonly number[]): Promise<void> {
  const socket = createSocket(family(address));
  const results: Record<string, string> = {};
  for (const size of sizes) results[size] = await echoOne(socket, address, port, size);
  finish({ ok: Object.values(results).every((result) => result === "ok"), results });
}

/** One echo; the answer must equal what was sent and come from where it was sent. */
async function echoOne(
  socket: Socket,
  address: string,
  port: number,
  size: number,
): Promise<string> {
  const data = randomBytes(size);
  let last = "no answer";
  for (let attempt = 0; attempt < UDP_ATTEMPTS_MAX && last !== "ok"; attempt += 1) {
    last = await new Promise<string>((resolve) => {
      const timer = setTimeout(() => done("no answer"), UDP_RETRY_MS);
      const onMessage = (message: Buffer, peer: RemoteInfo): void => {
        if (message.equals(data)) done(peer.address === address ? "ok" : `from ${peer.address}`);
      };
      const done = (result: string): void => {
        clearTimeout(timer);
        socket.off("message", onMessage);
        resolve(result);
      };
      socket.on("message", onMessage);
      socket.send(data, port, address, (error) => {
        // EMSGSIZE once after the path MTU became known is part of path MTU discovery.
        if (error) setTimeout(() => done(error.message), 50);
      });
    });
  }
  return last;
}

function refused(address: string, port: number): void {
  const socket = createSocket(family(address));
  const started = Date.now();
  socket.on("error", (error: NodeJS.ErrnoException) =>
    finish({ ok: error.code === "ECONNREFUSED", error: error.code }),
  );
  socket.connect(port, address, () => {
    const tick = (): void => {
      if (Date.now() - started > 6_000) finish({ ok: false, error: "no error within 6 s" });
      socket.send("anybody there?", (error) => {
        const code = (error as NodeJS.ErrnoException | null)?.code;
        if (code !== undefined) finish({ ok: code === "ECONNREFUSED", error: code });
      });
    };
    tick();
    setInterval(tick, 500);
  });
}

function finish(result: object): never {
  console.log(JSON.stringify(result));
  process.exit(0);
}

const [command = "", first = "", second = "", third = "", fourth = "0"] = process.argv.slice(2);
if (command === "serve") serve(Number(first), Number(second));
else if (command === "tcp") transfer(first, Number(second), Number(third), Number(fourth));
else if (command === "udp") void echoAll(first, Number(second), third.split(",").map(Number));
else if (command === "refused") refused(first, Number(second));
else {
  console.error(`Unknown command "${command}", expected serve, tcp, udp or refused`);
  process.exit(2);
}
