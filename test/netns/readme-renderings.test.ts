// What README and docs/OPERATIONS.md show of status, explain, doctor and top is what these commands
// print: they run on a gateway machine between a laptop at home and a published web server.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { sleep, waitFor } from "../../src/programs/demo/namespaces.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";
import { ExampleSystem, LAPTOP, WEB_NAME } from "../support/example-system.js";
import { checkRendering, masked, type Printed, renderingsOf } from "../support/renderings.js";

const why = await whyNoNamespaces(["ip", "nft", "ping", "dig", "knotd"]);
const skip = why === undefined ? false : why.reason;
const PAGES = ["README.md", "docs/OPERATIONS.md"];
/** An address of the encode net that nobody has. */
const NOBODY = "10.240.9.9";
/** Time for a rate of several samples, and for as many looks as a busy machine needs. */
const TRAFFIC_MS = 24_000;
const SETTLING_MS = 6000;
const UPLOAD_BYTES = 20_000_000;

/** Commands by the name of their rendering, with the exit status. */
const COMMANDS: Readonly<Record<string, readonly [words: string, code: number]>> = {
  explain: [`explain ${LAPTOP} ${WEB_NAME} --port 443`, 0],
  "explain-drop": [`explain ${LAPTOP} ${NOBODY} --port 443`, 3],
  top: ["top --once", 0],
  status: ["status", 0],
  doctor: ["doctor", 3],
};

describe("renderings in the documents", { skip, concurrency: 1, timeout: 120_000 }, () => {
  const system = new ExampleSystem();
  const printed = new Map<string, Printed>();

  before(async () => {
    await system.start();
    const web = await system.webAddress();
    const pings = await system.ping(web, "-c", "3", "-i", "0.2");
    assert.match(pings.stdout, /[123] received/, pings.stdout);
    system.send(web, UPLOAD_BYTES, TRAFFIC_MS);
    const count = (intervalMs: number) => String(TRAFFIC_MS / intervalMs);
    void system.ping(web, "-c", count(20), "-i", "0.02", "-s", "600");
    void system.ping(NOBODY, "-c", count(500), "-i", "0.5");
    await sleep(SETTLING_MS);
    await print("top", /:443 +tcp .*\n.* icmp /);
    await print("status", /local-destination-unknown +\d+ +[1-9]/);
    await print("explain", /fast path/);
    await print("explain-drop", /dropped/);
    await system.home.must("sysctl -q -w net.ipv4.ip_forward=0");
    await print("doctor", /failed/);
  });
  after(() => system.destroy());

  /** Runs a command until its output has what the scene is about. */
  async function print(name: string, expected: RegExp): Promise<void> {
    const [words, wanted] = COMMANDS[name]!;
    let text = "";
    const output = await waitFor(async () => {
      const { code, stdout, stderr } = await system.ipref(words);
      text = stdout + stderr;
      return code === wanted && expected.test(stdout) ? stdout : undefined;
    }, 10_000);
    assert.ok(output !== undefined, `no ${expected} from ipref ${words}:\n${text}`);
    printed.set(name, { command: `ipref ${words}`, output });
  }

  for (const rendering of PAGES.flatMap(renderingsOf)) {
    it(`${rendering.page} shows ${rendering.name} as it is printed`, () => {
      const current = printed.get(rendering.name);
      assert.ok(current !== undefined, `there is no rendering ${rendering.name}`);
      checkRendering(rendering, current);
    });
  }

  it("the doctor's only complaint is what was broken, with its fix", () => {
    const { output } = printed.get("doctor")!;
    assert.equal(output.match(/ {2}FAIL {2}/g)?.length, 1, output);
    assert.match(output, /forwarding +FAIL .*\n +fix: sysctl -w net\.ipv4\.ip_forward=1\n/);
    assert.doesNotMatch(output, / {2}(WARN|SKIP) {2}/);
  });
});

it("the README shows status, explain, doctor and top", () => {
  const names = renderingsOf("README.md").map(({ name }) => name);
  for (const name of ["status", "explain", "doctor", "top"]) assert.ok(names.includes(name), name);
});

it("masks hide values that vary and nothing else", () => {
  const table = [
    "gateway   healthy  11975  16 s      0.1.0",
    "  to tunnel           4,664  6.43 MB            16        653/s  7.17 Mb/s",
    "  203.0.113.1  1045  yes           1500  1 s ago  6.46 MB    209 kB  7.22 Mb/s  236 kb/s",
    "10.1.0.5:40632  10.250.125.159:443  tcp  1.02 k/s",
    "  local-destination-unknown       14  2/s",
    "ok  local host  10.1.0.5 is 198.51.100.7 + 6c-57f-2606-cd1f",
  ].join("\n");
  assert.equal(
    masked(table),
    "gateway healthy PID SPAN VERSION to tunnel COUNT SIZE COUNT RATE RATE " +
      "203.0.113.1 1045 yes 1500 AGO SIZE SIZE RATE RATE " +
      "10.1.0.5:PORT ENCODED:443 tcp RATE local-destination-unknown COUNT RATE " +
      "ok local host 10.1.0.5 is 198.51.100.7 + REFERENCE",
  );
  const fixed = "encode net 10.240.0.0/12, own address 10.240.0.1; 10.240.9.9 has no mapping";
  assert.equal(masked(fixed), fixed);
});
