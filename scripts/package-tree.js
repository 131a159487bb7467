/**
 * Puts the built system into a folder as it is installed: programs, npm packages they run with,
 * units, manual pages, completion, documents. For `make install` and for the Debian package.
 *
 *   node scripts/package-tree.js --prefix /usr/local [--root DESTDIR] [--runtime] [--debian]
 *
 * --runtime   with the Node.js that runs this script, for machines whose own is too old
 * --debian    file names as Debian has them, and the configuration below /etc
 *
 * Prints the path of each file below the root. Build first.
 */

import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, extname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

const SOURCE = fileURLToPath(new URL("../", import.meta.url));
const PROGRAMS = ["ipref", "ipref-gw", "ipref-coredns", "ipref-dns-agent"];
const UNITS = PROGRAMS.map((name) =>
  name.replace(/-gw$/, "-gateway").replace("coredns", "resolver"),
);
/** Programs whose tables outgrow the usual young generation. */
const MANY_OBJECTS = ["ipref-gw", "ipref-coredns"];
/** What a program of npm needs to run, and its licence; not its sources and documents. */
const RUN_FILE = /(\.(c|m)?js|\.json|\.node|\.wasm|licen[cs]e[^/]*|notice[^/]*)$/i;
const LEFT_OUT =
  /\.(d|test)\.(c|m)?ts$|\.map$|\.tsbuildinfo$|musl|cnoke|trampolines|\/(\.[^/]+|bin|tests?|tools|deps)\//i;
const DOCUMENTS = ["README.md", "CHANGELOG.md", "LICENSE", "NOTICE", "docs"];
const SHELLS = {
  bash: () => "share/bash-completion/completions/ipref",
  zsh: (isDebian) => `share/zsh/${isDebian ? "vendor-completions" : "site-functions"}/_ipref`,
  fish: () => "share/fish/vendor_completions.d/ipref.fish",
};

/** One installation: `root` in front of every path, `prefix` in front of the system's own. */
class Tree {
  constructor({ root, prefix, isDebian }) {
    Object.assign(this, { root, prefix, isDebian, files: [] });
  }

  /** Path on this machine of a path below the prefix, or of one that begins with "/". */
  place(path) {
    const inside = path.startsWith("/") ? path : join(this.prefix, path);
    const target = join(this.root, inside);
    mkdirSync(dirname(target), { recursive: true });
    this.files.push(inside);
    return target;
  }

  write(path, content, mode = 0o644) {
    const target = this.place(path);
    writeFileSync(target, content);
    chmodSync(target, mode);
  }

  copy(from, path, mode = 0o644) {
    this.write(path, readFileSync(from), mode);
  }

  link(path, to) {
    const target = this.place(path);
    rmSync(target, { force: true });
    symlinkSync(to, target);
  }
}

/** Files below a folder, as paths relative to it, in the order of their names. */
function filesBelow(folder) {
  return readdirSync(folder, { recursive: true })
    .map(String)
    .filter((name) => statSync(join(folder, name)).isFile())
    .sort();
}

/** Folders of the npm packages that the programs run with, on this machine. */
export function runtimePackages() {
  const { packages } = JSON.parse(readFileSync(join(SOURCE, "package-lock.json"), "utf8"));
  return Object.entries(packages)
    .filter(([path, { dev }]) => path !== "" && !dev && existsSync(join(SOURCE, path)))
    .map(([path]) => path);
}

function addPrograms(tree) {
  const { name, version, license, type } = JSON.parse(
    readFileSync(join(SOURCE, "package.json"), "utf8"),
  );
  const library = "lib/ipref";
  tree.write(`${library}/package.json`, `${JSON.stringify({ name, version, license, type })}\n`);
  const compiled = join(SOURCE, "dist", "src");
  for (const file of filesBelow(compiled)) {
    const isRun = /\.(js|wasm)$/.test(file);
    if (isRun) tree.copy(join(compiled, file), `${library}/dist/src/${file}`);
  }
  for (const folder of runtimePackages()) {
    for (const file of filesBelow(join(SOURCE, folder))) {
      const path = `${folder}/${file}`;
      if (file.includes("node_modules/") || !RUN_FILE.test(file) || LEFT_OUT.test(path)) continue;
      // Debian's copyright file has the licences.
      if (tree.isDebian && /licen[cs]e/i.test(basename(file))) continue;
      tree.copy(join(SOURCE, path), `${library}/${path}`);
      if (extname(file) === ".node") strip(join(tree.root, tree.files.at(-1)));
    }
  }
  for (const program of PROGRAMS) {
    tree.write(`${library}/bin/${program}`, launcher(program), 0o755);
    tree.link(`bin/${program}`, `../lib/ipref/bin/${program}`);
  }
}

function launcher(program) {
  const flags = MANY_OBJECTS.includes(program) ? "--max-semi-space-size=16 " : "";
  return [
    "#!/bin/sh",
    'root=$(dirname "$(dirname "$(readlink -f "$0")")")',
    "node=$root/bin/node",
    '[ -x "$node" ] || node=node',
    `exec "$node" ${flags}"$root/dist/src/programs/${program}.js" "$@"`,
    "",
  ].join("\n");
}

/** The Node.js of this machine and its licence. */
function addRuntime(tree) {
  tree.copy(process.execPath, "lib/ipref/bin/node", 0o755);
  strip(join(tree.root, tree.files.at(-1)));
  // Debian's copyright file has it.
  if (!tree.isDebian) tree.copy(runtimeLicence(), "lib/ipref/bin/LICENSE.node");
}

/** Where the licence of the running Node.js is: beside it (nodejs.org), or with Debian's papers. */
export function runtimeLicence() {
  const home = dirname(dirname(process.execPath));
  const places = ["LICENSE", "share/doc/nodejs/LICENSE", "share/doc/nodejs/copyright"];
  const found = places.map((path) => join(home, path)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`No licence of Node.js below ${home}`);
  return found;
}

/** Without symbols for debuggers; a machine without strip(1) has larger files. */
function strip(path) {
  spawnSync("strip", ["--strip-unneeded", path], { stdio: "ignore" });
}

function addService(tree) {
  const units = join(SOURCE, "packaging", "systemd");
  const folder = tree.isDebian ? "/lib" : "lib";
  for (const unit of UNITS) {
    const text = readFileSync(join(units, `${unit}.service`), "utf8");
    const own = text.replaceAll("/usr/bin/ipref", `${tree.prefix}/bin/ipref`);
    tree.write(`${folder}/systemd/system/${unit}.service`, own);
  }
  tree.copy(join(units, "ipref.sysusers"), "lib/sysusers.d/ipref.conf");
  tree.copy(join(units, "ipref.tmpfiles"), "lib/tmpfiles.d/ipref.conf");
}

function addManual(tree) {
  const folder = mkdtempSync(join(tmpdir(), "ipref-man-"));
  execFileSync(process.execPath, [join(SOURCE, "scripts", "write-man.js"), folder]);
  for (const file of readdirSync(folder).sort()) {
    const text = readFileSync(join(folder, file));
    tree.write(`share/man/man${file.at(-1)}/${file}.gz`, gzipSync(text, { level: 9 }));
  }
  rmSync(folder, { recursive: true });
}

function addCompletion(tree) {
  const program = join(SOURCE, "dist", "src", "programs", "ipref.js");
  for (const [shell, place] of Object.entries(SHELLS)) {
    const script = execFileSync(process.execPath, [program, "completion", shell]);
    tree.write(place(tree.isDebian), script);
  }
}

function addDocuments(tree) {
  for (const name of DOCUMENTS) {
    const from = join(SOURCE, name);
    const isFile = statSync(from).isFile();
    for (const file of isFile ? [""] : filesBelow(from)) {
      // The licence is in Debian's copyright file; its changelog has a name of its own.
      if (tree.isDebian && ["LICENSE", "CHANGELOG.md"].includes(name)) continue;
      tree.copy(join(from, file), join("share/doc/ipref", name, file));
    }
  }
  for (const name of ["wireshark", "grafana", "prometheus"]) {
    const folder = join(SOURCE, "packaging", name);
    if (!existsSync(folder)) continue;
    for (const file of filesBelow(folder)) {
      tree.copy(join(folder, file), `share/ipref/${name}/${file}`);
    }
  }
  tree.copy(join(SOURCE, "docs", "ipref.schema.json"), "share/ipref/ipref.schema.json");
  for (const file of readdirSync(join(SOURCE, "examples"))) {
    tree.copy(join(SOURCE, "examples", file), `share/doc/ipref/examples/${file}`);
  }
}

/** Never over a file of the administrator: Debian's tools ask, `make install` leaves it. */
function addConfiguration(tree) {
  const folder = join(SOURCE, "packaging", "debian");
  const places = {
    "ipref.toml": "/etc/ipref/ipref.toml",
    "ipref-gateway.default": "/etc/default/ipref-gateway",
    "ipref-resolver.default": "/etc/default/ipref-resolver",
    "ipref-dns-agent.default": "/etc/default/ipref-dns-agent",
  };
  for (const [name, path] of Object.entries(places)) {
    if (existsSync(join(tree.root, path))) continue;
    tree.copy(join(folder, name), path);
  }
}

/** Fills the tree; returns the paths of all its files. */
export function installTree({ root, prefix, withRuntime, isDebian }) {
  const tree = new Tree({ root, prefix, isDebian });
  addPrograms(tree);
  if (withRuntime) addRuntime(tree);
  addService(tree);
  addManual(tree);
  addCompletion(tree);
  addDocuments(tree);
  if (isDebian) addConfiguration(tree);
  return tree.files;
}

if (process.argv[1] !== undefined && basename(process.argv[1]) === "package-tree.js") {
  const { values } = parseArgs({
    options: {
      root: { type: "string", default: "/" },
      prefix: { type: "string", default: "/usr/local" },
      runtime: { type: "boolean", default: false },
      debian: { type: "boolean", default: false },
    },
  });
  const files = installTree({
    root: values.root === "" ? "/" : values.root,
    prefix: values.prefix,
    withRuntime: values.runtime,
    isDebian: values.debian,
  });
  for (const file of files) console.log(relative("/", file));
}
