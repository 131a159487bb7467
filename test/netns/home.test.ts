// The home network: names in both directions, through NAT and between IP versions, thousands of
// names, and changes while packets flow.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { randomBelow, seededRandom } from "../../src/base/random.js";
import type { HomeNetwork } from "../../src/programs/demo/home-machines.js";
import { createHomeNetwork, HOME_PROGRAMS, publish } from "../../src/programs/demo/home-network.js";
import {
  HOME,
  HOME_DOMAIN,
  HOME_PUBLIC,
  manyAddress,
  SITES,
} from "../../src/programs/demo/home-plan.js";
import { sshOptions } from "../../src/programs/demo/home-servers.js";
import { sleep, waitFor } from "../../src/programs/demo/namespaces.js";
import { whyNoNamespaces } from "../../src/programs/demo/requirements.js";

const why = await whyNoNamespaces(HOME_PROGRAMS);
const skip = why === undefined ? false : why.reason;

const NAMES = 10_000;
const FETCHES = 500;
const SEED = 20_260;

describe("the home network", { skip, concurrency: 1, timeout: 240_000 }, () => {
  let network: HomeNetwork;

  before(async () => {
    const manyNames = Array.from(
      { length: NAMES },
      (_, index) => `h${index} ${manyAddress(index)}`,
    );
    network = await createHomeNetwork({ report: () => undefined, manyNames });
  });
  after(async () => network?.destroy());

  const curl = async (machine: string, name: string): Promise<string> => {
    const certificate = join(network.folder("keys"), "web.pem");
    const args = ["-sS", "-m", "10", "--cacert", certificate, `https://${name}/`];
    const result = await network.exec(machine, "curl", ...args);
    return result.stdout + result.stderr;
  };
  const dig = async (machine: string, ...words: string[]): Promise<string> =>
    (await network.exec(machine, "dig", "+short", "+time=3", ...words)).stdout.trim();

  for (const { host, domain, hostLocal } of SITES) {
    it(`the laptop reaches ${host}.${domain} by dig, ping and https`, async () => {
      assert.match(await dig("laptop", `${host}.${domain}`), /^10\.2[45][0-9]\./);
      const args = ["-c", "2", "-i", "0.2", "-W", "3", `${host}.${domain}`];
      const ping = await network.exec("laptop", "ping", ...args);
      assert.match(ping.stdout, /[12] received/, ping.stdout + ping.stderr);
      const page = await curl("laptop", `${host}.${domain}`);
      assert.ok(page.startsWith(`${host} ${hostLocal} answers `), page);
    });

    it(`${host} reaches the published web server at home`, async () => {
      const page = await curl(host, `web.${HOME_DOMAIN}`);
      assert.match(page, new RegExp(`^web ${HOME.web} answers 10\\.2[45]`));
    });
  }

  it("ssh and scp work by name in both directions", async () => {
    const ssh = sshOptions(network);
    for (const [from, target, address] of [
      ["k41", `nas.${HOME_DOMAIN}`, HOME.nas],
      ["m41", `nas.${HOME_DOMAIN}`, HOME.nas],
      ["laptop", "k41.nexsand.us", "192.168.1.41"],
      ["laptop", "m41.nexsand.ca", "fd00:a::41"],
    ] as const) {
      const show = ["ip", "-o", "address", "show", "dev", "lan"];
      const shell = await network.exec(from, "ssh", ...ssh, `root@${target}`, ...show);
      assert.ok(shell.stdout.includes(address), `${from} to ${target}: ${shell.stderr}`);
      const source = join(network.folder("keys"), "web.pem");
      const copy = join(network.folder("copies"), `${from}-${target}`);
      const done = await network.exec(from, "scp", ...ssh, source, `root@${target}:${copy}`);
      assert.equal(done.code, 0, done.stderr);
      assert.equal(readFileSync(copy, "utf8"), readFileSync(source, "utf8"));
    }
  });

  it("a site behind two NATs reaches home and the sites", async () => {
    const page = await curl("tablet", `web.${HOME_DOMAIN}`);
    assert.match(page, new RegExp(`^web ${HOME.web} answers`));
    assert.match(await curl("tablet", "m41.nexsand.ca"), /^m41 fd00:a::41 answers fd00:240:/);
  });

  it("names without an IPREF address keep their native one", async () => {
    assert.equal(await dig("laptop", "plain.nexsand.us"), "203.0.113.1");
  });

  it("names of the own network have local addresses, the own gateway its native one", async () => {
    assert.equal(await dig("laptop", `web.${HOME_DOMAIN}`), HOME.web);
    assert.equal(await dig("laptop", "web.internal"), HOME.web);
    assert.equal(await dig("gateway", `gw.${HOME_DOMAIN}`), HOME_PUBLIC);
  });

  it("the agent publishes past a resolver that translates its gateway's name", () => {
    // Every gateway machine has its own resolver in resolv.conf (spec/dns-agent.md 5.1).
    for (const { key } of SITES.slice(0, 2)) {
      assert.match(network.log(`up-${key}-gateway`), / 1 records acknowledged/);
      assert.doesNotMatch(network.log(`up-${key}-gateway`), /is not gateway|encod.*refused/);
    }
  });

  it(`${FETCHES} of ${NAMES} published names are fetched at random (seed ${SEED})`, async () => {
    const random = seededRandom(SEED);
    const chosen = Array.from({ length: FETCHES }, () => randomBelow(random, NAMES));
    const lines = chosen.map((index) => `url = "https://h${index}.nexsand.uk/"\n`);
    const path = join(network.folder("copies"), "urls");
    writeFileSync(path, lines.join(""));
    const certificate = join(network.folder("keys"), "web.pem");
    const words = ["-sS", "--parallel", "--parallel-max", "10", "--cacert", certificate];
    const { namespaces } = network;
    const result = await namespaces.exec(
      network.of("laptop"),
      "curl",
      [...words, "-m", "100", "-K", path],
      { timeoutMs: 110_000 },
    );
    const wanted = chosen.map((index) => `o61 ${manyAddress(index)} h${index}.nexsand.uk`).sort();
    const found = result.stdout
      .trim()
      .split("\n")
      .map((line) => line.replace(/ answers \S+:/, ""))
      .sort();
    assert.deepEqual(found, wanted, result.stderr.slice(0, 2000));
  });

  it("a name published while everything runs is in force at once", async () => {
    const log = "up-gateway";
    const before = network.log(log).length;
    await publish(network, "gateway", "home", "laptop", HOME.laptop);
    const isDone = await waitFor(
      () => (/3 records acknowledged/.test(network.log(log).slice(before)) ? true : undefined),
      15_000,
    );
    assert.ok(isDone, network.log(log).slice(before));
    assert.equal(await dig("laptop", `laptop.${HOME_DOMAIN}`), HOME.laptop);
  });

  it("SIGHUP keeps pings flowing, and a bad configuration changes nothing", async () => {
    const path = join(network.folder("home"), "ipref.toml");
    const good = readFileSync(path, "utf8");
    const args = ["-c", "30", "-i", "0.1", "-W", "2", "k41.nexsand.us"];
    const pinging = network.exec("laptop", "ping", ...args);
    const before = network.log("up-gateway").length;
    const said = async (text: RegExp): Promise<void> => {
      const has = () => (text.test(network.log("up-gateway").slice(before)) ? true : undefined);
      assert.ok(await waitFor(has, 15_000), network.log("up-gateway").slice(before));
    };
    await sleep(300);
    writeFileSync(path, good.replace("[resolver]", "[resolvr]"));
    network.up("gateway").kill("SIGHUP");
    await said(/ipref\.toml:\d+:1: .*did you mean 'resolver'\?/);
    await said(/the configuration in force stays/);
    writeFileSync(path, good.replace('new-addresses = "off"', 'new-addresses = "200 50 200"'));
    network.up("gateway").kill("SIGHUP");
    await said(/Reload complete/);
    const ping = await pinging;
    assert.match(ping.stdout, / 30 received/, ping.stdout);
    assert.doesNotMatch(network.log("up-gateway").slice(before), /START ipref gateway/);
    assert.equal(await dig("laptop", "plain.nexsand.us"), "203.0.113.1");
  });
});
