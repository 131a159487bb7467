/**
 * A small Debian 12 in a folder, made from the packages of this machine: the files of a set of
 * packages with all that they depend on, and dpkg's records of them. Like debootstrap(8), in two
 * seconds and without a mirror. With IPREF_DEBOOTSTRAP=1 debootstrap(8) makes it.
 */

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

const DPKG = "/var/lib/dpkg";
/** Folders that are links on a system with merged /usr. */
const MERGED = ["bin", "sbin", "lib", "lib64"];
const FOLDERS = [
  ...["proc", "sys", "dev", "run", "tmp", "root", "home", "etc", "mnt", "var/tmp", "var/log"],
  ...["var/cache/apt/archives/partial", "var/lib/dpkg/info", "var/lib/dpkg/updates"],
  ...["var/lib/dpkg/triggers", "var/lib/systemd"],
];
const DEBOOTSTRAP_TIME_MAX_MS = 240_000;
const BYTES_MAX = 2 ** 26;

interface InstalledPackage {
  readonly isEssential: boolean;
  readonly depends: readonly (readonly string[])[];
}

/** Why there can be no such folder here; undefined when there can. */
export function whyNoDebianRoot(packages: readonly string[]): string | undefined {
  const release = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "";
  if (!/^VERSION_CODENAME=bookworm$/m.test(release)) return "this machine is no Debian 12";
  if (process.env.IPREF_DEBOOTSTRAP === "1") return undefined;
  const { installed } = installedPackages();
  const missing = packages.filter((name) => !installed.has(name));
  return missing.length === 0 ? undefined : `needs the packages ${missing.join(", ")} here`;
}

/** Fills a new folder with the packages and what they need. */
export function makeDebianRoot(root: string, packages: readonly string[]): void {
  mkdirSync(root, { recursive: true });
  if (process.env.IPREF_DEBOOTSTRAP === "1") {
    const include = `--include=${packages.join(",")}`;
    execFileSync("debootstrap", ["--variant=minbase", include, "bookworm", root], {
      stdio: "ignore",
      timeout: DEBOOTSTRAP_TIME_MAX_MS,
    });
    return;
  }
  const names = closureOf(packages);
  for (const name of MERGED) {
    mkdirSync(join(root, "usr", name), { recursive: true });
    symlinkSync(`usr/${name}`, join(root, name));
  }
  for (const name of FOLDERS) mkdirSync(join(root, name), { recursive: true });
  for (const name of ["tmp", "var/tmp"]) chmodSync(join(root, name), 0o1777);
  symlinkSync("/run", join(root, "var/run"));
  copyFiles(root, names);
  copyRecords(root, names);
  cpSync("/etc/alternatives", join(root, "etc/alternatives"), { recursive: true });
  for (const [from, to] of [
    ["passwd.master", "passwd"],
    ["group.master", "group"],
  ] as const) {
    copyFileSync(join("/usr/share/base-passwd", from), join(root, "etc", to));
  }
  writeFileSync(join(root, "etc/shadow"), "root:*:19000:0:99999:7:::\n", { mode: 0o640 });
  execFileSync("ldconfig", ["-r", root]);
  execFileSync("chroot", [root, "dpkg", "--triggers-only", "-a"], { stdio: "ignore" });
}

/** All essential packages, the named ones, and their dependencies as they are met here. */
function closureOf(wanted: readonly string[]): string[] {
  const { installed, providers } = installedPackages();
  const essential = [...installed].filter(([, { isEssential }]) => isEssential);
  const queue = [...essential.map(([name]) => name), ...wanted];
  const found = new Set<string>();
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (found.has(name)) continue;
    const entry = installed.get(name);
    assert.ok(entry !== undefined, `the package ${name} is not installed here`);
    found.add(name);
    for (const alternatives of entry.depends) {
      const met = alternatives.map((each) => (installed.has(each) ? each : providers.get(each)));
      const first = met.find((each) => each !== undefined);
      if (first !== undefined) queue.push(first);
    }
  }
  return [...found].sort();
}

function installedPackages() {
  const format =
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the language of dpkg-query(1)
    "${Package}\t${Essential}\t${Pre-Depends}, ${Depends}\t${Provides}\t${db:Status-Abbrev}\n";
  const text = output("dpkg-query", ["-W", "-f", format]);
  const installed = new Map<string, InstalledPackage>();
  const providers = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [name = "", essential, depends = "", provides = "", status = ""] = line.split("\t");
    if (!status.startsWith("ii")) continue;
    const groups = depends.split(",").map((group) => group.split("|").map(plainName));
    installed.set(name, { isEssential: essential === "yes", depends: groups });
    for (const each of provides.split(",").map(plainName)) {
      if (each !== "" && !providers.has(each)) providers.set(each, name);
    }
  }
  return { installed, providers };
}

function plainName(text: string): string {
  return text.trim().split(/[ :(]/)[0] ?? "";
}

/** Files and links; folders come with them. What dpkg was told to leave out is not there. */
function copyFiles(root: string, names: readonly string[]): void {
  const listed = new Set(output("dpkg", ["-L", ...names]).split("\n"));
  const paths = [...listed].filter((path) => {
    const kind = path.startsWith("/") ? lstatSync(path, { throwIfNoEntry: false }) : undefined;
    return kind?.isFile() || kind?.isSymbolicLink();
  });
  const pack = spawnSync("tar", ["-C", "/", "--no-recursion", "-cf", "-", "-T", "-"], {
    input: paths.map((path) => path.slice(1)).join("\n"),
    maxBuffer: 2 ** 30,
  });
  assert.equal(pack.status, 0, pack.stderr.toString());
  const unpack = spawnSync("tar", ["-C", root, "-xf", "-"], { input: pack.stdout });
  assert.equal(unpack.status, 0, unpack.stderr.toString());
}

function copyRecords(root: string, names: readonly string[]): void {
  const status = output("dpkg-query", ["-s", ...names])
    .replaceAll(/^Triggers-(Pending|Awaited):.*\n/gm, "")
    .replaceAll(/^Status: .*$/gm, "Status: install ok installed");
  writeFileSync(join(root, DPKG, "status"), status);
  writeFileSync(join(root, DPKG, "info", "format"), "1\n");
  const wanted = new Set(names);
  copyTriggers(root, wanted);
  for (const file of readdirSync(join(DPKG, "info"))) {
    const isOurs = wanted.has(file.replace(/(:[a-z0-9]+)?\.[a-z0-9]+$/, ""));
    if (isOurs) copyFileSync(join(DPKG, "info", file), join(root, DPKG, "info", file));
  }
}

/** Who wants to hear of what, deb-triggers(5): the last word of a line is a package. */
function copyTriggers(root: string, wanted: ReadonlySet<string>): void {
  for (const file of readdirSync(join(DPKG, "triggers"))) {
    if (file === "Lock" || file === "Unincorp") continue;
    const lines = readFileSync(join(DPKG, "triggers", file), "utf8").split("\n");
    const ours = lines.filter((line) => wanted.has(/([^ /]+)(\/noawait)?$/.exec(line)?.[1] ?? ""));
    if (ours.length > 0) writeFileSync(join(root, DPKG, "triggers", file), `${ours.join("\n")}\n`);
  }
}

function output(command: string, args: readonly string[]): string {
  return execFileSync(command, args, { encoding: "utf8", maxBuffer: BYTES_MAX });
}
