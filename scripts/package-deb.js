/**
 * Builds the Debian package for Debian 12 and later on the architecture of this machine:
 *
 *   npm run package:deb
 *   node scripts/package-deb.js [--version VERSION] [--output FOLDER] [--fast]
 *
 * --fast leaves the package large, for tests. Prints the path of the package. Build first; needs
 * dpkg-deb(1) and nothing else of Debian. The same sources and Node.js give the same package when
 * SOURCE_DATE_EPOCH is set, and otherwise with the same commit.
 */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { installTree, runtimeLicence, runtimePackages } from "./package-tree.js";
import { sourceDateSeconds } from "./source-date.js";

const SOURCE = fileURLToPath(new URL("../", import.meta.url));
const DEBIAN = join(SOURCE, "packaging", "debian");
const ARCHITECTURES = { x64: "amd64", arm64: "arm64" };
/** As Debian's tools take it from the environment, dpkg-buildpackage(1). */
const { DEBFULLNAME = "IPREF gateway system", DEBEMAIL = "ipref@localhost.localdomain" } =
  process.env;
const MAINTAINER = `${DEBFULLNAME} <${DEBEMAIL}>`;
const SCRIPTS = ["postinst", "prerm", "postrm"];
const RULE = "-".repeat(72);

/** The papers of everything in the package. */
function copyright() {
  const modules = runtimePackages().flatMap((folder) => {
    const names = readdirSync(join(SOURCE, folder)).filter((name) => /^licen[cs]e/i.test(name));
    const { name, version, license } = JSON.parse(
      readFileSync(join(SOURCE, folder, "package.json"), "utf8"),
    );
    // Debian has the Apache License; the package need not bring it.
    const isCommon = license === "Apache-2.0";
    const texts = (isCommon ? [] : names).map((file) =>
      readFileSync(join(SOURCE, folder, file), "utf8"),
    );
    return [RULE, `${name} ${version}, from npm: ${license}`, RULE, ...texts, ""];
  });
  return [
    "IPREF gateway system",
    "",
    readFileSync(join(SOURCE, "NOTICE"), "utf8"),
    "On Debian systems the GNU General Public License, version 2, is in",
    "/usr/share/common-licenses/GPL-2, and the Apache License, version 2.0, in",
    "/usr/share/common-licenses/Apache-2.0.",
    "",
    ...modules,
    RULE,
    `Node.js ${process.version}, /usr/lib/ipref/bin/node`,
    RULE,
    readFileSync(runtimeLicence(), "utf8"),
  ].join("\n");
}

function changelog(version, seconds) {
  const date = new Date(seconds * 1000).toUTCString().replace("GMT", "+0000");
  return [
    `ipref (${version}) unstable; urgency=medium`,
    "",
    "  * See the changelog of the sources, README.md and docs.",
    "",
    ` -- ${MAINTAINER}  ${date}`,
    "",
  ].join("\n");
}

/** What Debian wants beside the files of the system. */
function addPapers(root, version, seconds) {
  const doc = join(root, "usr/share/doc/ipref");
  const overrides = join(root, "usr/share/lintian/overrides");
  mkdirSync(overrides, { recursive: true });
  writeFileSync(join(doc, "copyright"), copyright());
  const log = gzipSync(changelog(version, seconds), { level: 9 });
  writeFileSync(join(doc, "changelog.gz"), log);
  writeFileSync(join(doc, "README.Debian"), readFileSync(join(DEBIAN, "README.Debian")));
  writeFileSync(join(overrides, "ipref"), readFileSync(join(DEBIAN, "lintian-overrides")));
}

/** Files below the root, as dpkg names them. */
function packagedFiles(root) {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .filter((path) => !path.startsWith("DEBIAN/"))
    .sort();
}

function addControl(root, version, architecture) {
  const files = packagedFiles(root);
  const bytes = files.reduce((sum, file) => sum + statSync(join(root, file)).size, 0);
  const sums = files
    .filter((file) => !file.startsWith("etc/"))
    .map((file) => {
      const sum = createHash("md5")
        .update(readFileSync(join(root, file)))
        .digest("hex");
      return `${sum}  ${file}\n`;
    });
  const facts = {
    VERSION: version,
    ARCHITECTURE: architecture,
    MAINTAINER,
    SIZE: String(Math.ceil(bytes / 1024)),
  };
  const control = readFileSync(join(DEBIAN, "control"), "utf8");
  const folder = join(root, "DEBIAN");
  mkdirSync(folder);
  writeFileSync(
    join(folder, "control"),
    control.replaceAll(/@([A-Z]+)@/g, (_, name) => facts[name]),
  );
  writeFileSync(join(folder, "md5sums"), sums.join(""));
  const conffiles = files.filter((file) => file.startsWith("etc/")).map((file) => `/${file}\n`);
  writeFileSync(join(folder, "conffiles"), conffiles.join(""));
  for (const name of SCRIPTS) {
    writeFileSync(join(folder, name), readFileSync(join(DEBIAN, name)));
    chmodSync(join(folder, name), 0o755);
  }
}

/** Builds the package; returns its path. */
function build({ version, output, isFast }) {
  const architecture = ARCHITECTURES[process.arch];
  if (architecture === undefined) throw new Error(`No package for ${process.arch}`);
  if (!existsSync(join(SOURCE, "dist", "src", "programs", "ipref.js"))) {
    throw new Error("The programs are not built: npm run build");
  }
  const seconds = sourceDateSeconds();
  const work = mkdtempSync(join(tmpdir(), "ipref-deb-"));
  process.umask(0o022);
  try {
    const root = join(work, "root");
    mkdirSync(root);
    installTree({ root, prefix: "/usr", withRuntime: true, isDebian: true });
    addPapers(root, version, seconds);
    addControl(root, version, architecture);
    mkdirSync(output, { recursive: true });
    const file = join(output, `ipref_${version}_${architecture}.deb`);
    const packing = isFast ? ["-Zgzip", "-z1"] : ["-Zxz"];
    execFileSync("dpkg-deb", [...packing, "--root-owner-group", "--build", root, file], {
      env: { ...process.env, SOURCE_DATE_EPOCH: String(seconds) },
      stdio: ["ignore", "ignore", "inherit"],
    });
    return file;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const { values } = parseArgs({
  options: {
    version: { type: "string" },
    output: { type: "string", default: join(SOURCE, "dist", "packages") },
    fast: { type: "boolean", default: false },
  },
});
const own = JSON.parse(readFileSync(join(SOURCE, "package.json"), "utf8")).version;
console.log(
  build({
    version: values.version ?? own,
    output: resolve(values.output),
    isFast: values.fast,
  }),
);
