/**
 * A TCP proxy for the test of a name server that dies in mid-transfer:
 *
 *   node agent-proxy.js LISTEN_PORT SERVER_PORT FLAG_FILE BYTES
 *
 * Passes everything on until FLAG_FILE exists; it holds a process id. Then the first answer that
 * reaches BYTES octets ends that process with SIGKILL, removes the file and breaks off.
 */

import { existsSync, readFileSync, rmSync } from "node:fs";
import { createConnection, createServer } from "node:net";

const [listenPort, serverPort, flagFile, bytesText] = process.argv.slice(2);
const bytesMax = Number(bytesText);

const server = createServer((client) => {
  const upstream = createConnection({ host: "127.0.0.1", port: Number(serverPort) });
  let bytes = 0;
  const end = () => {
    client.destroy();
    upstream.destroy();
  };
  for (const socket of [client, upstream]) {
    socket.on("error", end);
    socket.on("close", end);
  }
  client.pipe(upstream);
  upstream.on("data", (chunk) => {
    bytes += chunk.length;
    if (bytes > bytesMax && existsSync(flagFile!)) {
      process.kill(Number(readFileSync(flagFile!, "utf8")), "SIGKILL");
      rmSync(flagFile!);
      end();
    } else client.write(chunk);
  });
});
server.listen(Number(listenPort), "127.0.0.1", () => process.stdout.write("listening\n"));
