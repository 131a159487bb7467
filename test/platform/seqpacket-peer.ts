/**
 * A client process for the socket tests: `node seqpacket-peer.js PATH MODE COUNT`.
 *   echo     sends COUNT numbered messages, pipelined, prints the answers' count and rate, exits
 *   hang     sends one message and then neither reads nor ends
 */

import { Reactor } from "../../src/platform/reactor.js";
import { connectSeqpacket } from "../../src/platform/seqpacket.js";

const MESSAGE_BYTES = 36; // a 4/4 request of spec/mapper.md 2.3
const OUTSTANDING_MAX = 512;

const [path, mode, countText] = process.argv.slice(2);
const count = Number(countText);
const reactor = new Reactor();
const message = new Uint8Array(MESSAGE_BYTES);
const view = new DataView(message.buffer);
let sent = 0;
let received = 0;
const start = process.hrtime.bigint();

const connection = connectSeqpacket(reactor, path!, {
  onMessages(_connection, messages) {
    for (const { bytes } of messages) {
      const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
      if (number !== received++) throw new Error(`answer ${number} out of order`);
    }
    fill();
    if (received === count) finish();
  },
  onClose(_connection, reason) {
    if (reason !== "closed-here") throw new Error(reason);
  },
});

function fill(): void {
  while (sent < count && sent - received < OUTSTANDING_MAX) {
    view.setUint32(0, sent++);
    connection.send(message);
  }
}

function finish(): void {
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  process.stdout.write(`${received} ${Math.round(received / seconds)}\n`);
  connection.close();
  reactor.close();
}

if (mode === "hang") {
  connection.send(message);
  reactor.defer(() => process.kill(process.pid, "SIGSTOP"));
} else fill();
