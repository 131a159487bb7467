// A system to look at: a home with `ipref up`, a shop with a published web server, and an Internet
// between them with a name server. Addresses and names are those of the documents.
//
//   laptop 10.1.0.5 ── gateway 198.51.100.7 ── internet ── gateway 203.0.113.1 ── web 10.1.0.22
//                      10.1.0.1                192.0.2.53  10.1.0.1
//
// The home machine is a DoctorMachine, so that its folders are those of an installed system.

import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gatewayProgram } from "../../src/programs/demo/gateway-process.js";
import { type CommandResult, Namespaces, waitFor } from "../../src/programs/demo/namespaces.js";
import { startKnot } from "./dns-lab.js";
import { DoctorMachine, IPREF } from "./doctor-lab.js";

const TRAFFIC = fileURLToPath(new URL("./traffic.js", import.meta.url));
const HOME = { gateway: "198.51.100.7", inside: "10.1.0.1", laptop: "10.1.0.5" } as const;
const SHOP = { gateway: "203.0.113.1", inside: "10.1.0.1", web: "10.1.0.22" } as const;
const NAME_SERVER = "192.0.2.53";
const DOMAIN = "home.example";
/** The web server of the shop, as others know it. */
export const WEB_NAME = "web.shop.example";
export const LAPTOP = HOME.laptop;
const HTTPS = 443;
const START_TIMEOUT_MS = 15_000;

const CONFIGURATION = `[gateway]
bind = "${HOME.gateway}"
public = "${HOME.gateway}"
[resolver]
listen = ["${HOME.inside}", "127.0.0.1"]
upstream = ["${NAME_SERVER}"]
[publish]
domain = "${DOMAIN}"
servers = ["${NAME_SERVER}"]
`;

/** The system and its network. */
export class ExampleSystem {
  readonly namespaces = new Namespaces();
  /** The gateway machine at home. */
  #home: DoctorMachine | undefined;
  #laptop = "";

  /** Builds and starts everything; destroy() also after a failure. */
  async start(): Promise<void> {
    await this.#cable();
    await this.#startInternet();
    await this.#startShop();
    await this.#startHome();
  }

  async destroy(): Promise<void> {
    await this.#home?.destroy();
    await this.namespaces.destroy();
  }

  get home(): DoctorMachine {
    assert.ok(this.#home !== undefined);
    return this.#home;
  }

  /** Runs `ipref` on the home gateway machine. */
  ipref(words: string): Promise<CommandResult> {
    return this.home.shell(`${process.execPath} ${IPREF} ${words}`);
  }

  /** The encoded address of the web server, by the laptop's resolver. */
  async webAddress(): Promise<string> {
    const words = ["+short", "+time=3", "+tries=2", `@${HOME.inside}`, WEB_NAME];
    const { stdout } = await this.namespaces.exec(this.#laptop, "dig", words);
    assert.match(stdout, /^10\.2\d\d\./, "the name has no encoded address");
    return stdout.trim();
  }

  /** Runs ping(8) on the laptop. */
  ping(target: string, ...args: readonly string[]): Promise<CommandResult> {
    const words = ["-n", "-W", "2", ...args, target];
    return this.namespaces.exec(this.#laptop, "ping", words, { timeoutMs: 40_000 });
  }

  /** Starts sending to the web server. */
  send(address: string, bytes: number, durationMs: number): ChildProcess {
    const words = [TRAFFIC, "tcp", address, String(HTTPS), String(bytes), String(durationMs)];
    return this.namespaces.spawn(this.#laptop, process.execPath, words);
  }

  async #cable(): Promise<void> {
    const { namespaces } = this;
    this.#laptop = await namespaces.add("laptop");
    const home = await namespaces.add("home");
    const internet = await namespaces.add("internet");
    const shop = await namespaces.add("shop");
    const web = await namespaces.add("web");
    await namespaces.ip(home, [
      `link add name lan type veth peer name lan netns ${this.#laptop}`,
      `link add name wan type veth peer name home netns ${internet}`,
      ...upWith("lan", `${HOME.inside}/24`),
      ...upWith("wan", `${HOME.gateway}/24`),
      "route add default via 198.51.100.254",
    ]);
    await namespaces.ip(shop, [
      `link add name lan type veth peer name lan netns ${web}`,
      `link add name wan type veth peer name shop netns ${internet}`,
      ...upWith("lan", `${SHOP.inside}/24`),
      ...upWith("wan", `${SHOP.gateway}/24`),
      "route add default via 203.0.113.254",
    ]);
    await namespaces.ip(internet, [
      ...upWith("home", "198.51.100.254/24"),
      ...upWith("shop", "203.0.113.254/24"),
      `addr add ${NAME_SERVER}/32 dev lo`,
    ]);
    const host = (address: string) => [
      ...upWith("lan", `${address}/24`),
      "route add default via 10.1.0.1",
    ];
    await namespaces.ip(this.#laptop, host(HOME.laptop));
    await namespaces.ip(web, host(SHOP.web));
    for (const router of [internet, shop]) {
      await namespaces.sysctl(router, { "net.ipv4.ip_forward": 1 });
    }
  }

  async #startInternet(): Promise<void> {
    const soa = "@ 60 SOA ns admin 1 3600 600 86400 60\n@ 60 NS ns\n";
    const zone = (records: string) => `${soa}ns 60 A ${NAME_SERVER}\n${records}\n`;
    const zones = {
      [DOMAIN]: zone(`nas 60 TXT "AA ${HOME.gateway} + 1101"`),
      "shop.example": zone(`web 60 TXT "AA ${SHOP.gateway} + 1025"`),
    };
    await startKnot(this.namespaces, this.namespaces.fullName("internet"), zones, {
      extra: `acl:\n  - id: home\n    address: ${HOME.gateway}\n    action: transfer\n`,
      zoneExtra: "    acl: home\n",
    });
  }

  async #startShop(): Promise<void> {
    const folder = this.namespaces.subdirectory("shop");
    writeFileSync(join(folder, "hosts"), `${SHOP.web} web #= pub + 1025\n`);
    const words = ["-gateway", SHOP.gateway, "-data", join(folder, "data")];
    words.push("-mapper-socket", join(folder, "mapper.sock"), "-hosts", join(folder, "hosts"));
    const shop = this.namespaces.fullName("shop");
    await this.#started(shop, gatewayProgram(), words, /mapper socket/);
    const serve = [TRAFFIC, "serve", String(HTTPS), "5000"];
    await this.#started(this.namespaces.fullName("web"), process.execPath, serve, /ready/);
  }

  async #startHome(): Promise<void> {
    this.#home = await DoctorMachine.create(this.namespaces, this.namespaces.fullName("home"));
    await this.home.must(`mkdir -p /etc/ipref && cat > /etc/ipref/ipref.toml <<'END'
${CONFIGURATION}END
echo nameserver 127.0.0.1 > /etc/resolv.conf`);
    const publish = await this.ipref("publish nas 10.1.0.23 --ref 1101");
    assert.equal(publish.code, 0, publish.stderr);
    await this.home.start(`${process.execPath} ${IPREF} up`, /ready in/);
    const isInForce = await waitFor(async () => {
      const { stdout } = await this.ipref("status");
      return /in force/.test(stdout) ? true : undefined;
    }, START_TIMEOUT_MS);
    assert.ok(isInForce, "the DNS source is not in force");
  }

  async #started(
    namespace: string,
    command: string,
    words: readonly string[],
    ready: RegExp,
  ): Promise<void> {
    const child = this.namespaces.spawn(namespace, command, words);
    let output = "";
    const keep = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-10_000);
    };
    child.stdout?.on("data", keep);
    child.stderr?.on("data", keep);
    const isReady = await waitFor(() => ready.test(output) || undefined, START_TIMEOUT_MS);
    assert.ok(isReady, `${command} does not start:\n${output}`);
  }
}

function upWith(device: string, address: string): string[] {
  return [`link set ${device} up`, `addr add ${address} dev ${device}`];
}
