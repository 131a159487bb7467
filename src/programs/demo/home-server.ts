// The web server of the home network's hosts: HTTPS on port 443, one page that says who asks.
//
//   node home-server.js CERTIFICATE KEY NAME

import { readFileSync } from "node:fs";
import { createServer } from "node:https";

const [certificate = "", key = "", name = ""] = process.argv.slice(2);

/** Without the prefix of IPv4-mapped addresses. */
function plain(address: string | undefined): string {
  return (address ?? "").replace("::ffff:", "");
}

createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (request, response) => {
  const { remoteAddress, localAddress } = request.socket;
  response.setHeader("content-type", "text/plain");
  response.end(
    `${name} ${plain(localAddress)} answers ${plain(remoteAddress)}: ${request.headers.host}\n`,
  );
}).listen(443, "::", () => {
  process.stdout.write("ready\n");
});
