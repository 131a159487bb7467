#!/bin/sh
# Makes a clone runnable: checks Node, installs npm packages, compiles, writes bin/.
# Does only what is missing or out of date. Progress goes to standard error.
#
#   scripts/prepare.sh          the programs
#   scripts/prepare.sh --all    the programs, the tests and the benchmarks

set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
cd "$root"

NODE_WANTED="20.19"
EXIT_UNAVAILABLE=69

say() {
  echo "ipref: $*" >&2
}

check_node() {
  if ! command -v node >/dev/null 2>&1; then
    say "Node.js is missing; install version $NODE_WANTED or later, e.g. apt-get install nodejs npm"
    exit "$EXIT_UNAVAILABLE"
  fi
  node -e '
    const [have, want] = [process.versions.node, process.argv[1]].map((text) => text.split(".").map(Number));
    process.exit(have[0] > want[0] || (have[0] === want[0] && have[1] >= want[1]) ? 0 : 1);
  ' "$NODE_WANTED" || {
    say "Node.js $(node --version) is too old; install version $NODE_WANTED or later"
    exit "$EXIT_UNAVAILABLE"
  }
}

# Equal lock files mean that the packages are the right ones, whatever the times of the files.
install_packages() {
  stamp=node_modules/.ipref-package-lock.json
  if cmp -s package-lock.json "$stamp"; then return 0; fi
  if [ -e node_modules/.package-lock.json ] && # npm has run since the lock file was changed
    [ -z "$(find package-lock.json -newer node_modules/.package-lock.json)" ]; then
    cp package-lock.json "$stamp"
    return 0
  fi
  if ! command -v npm >/dev/null 2>&1; then
    say "npm is missing; install it, e.g. apt-get install npm"
    exit "$EXIT_UNAVAILABLE"
  fi
  say "installing npm packages"
  npm ci --include=dev --no-audit --no-fund --loglevel=error >&2 || {
    say "npm could not install the packages; is the npm registry reachable?"
    exit "$EXIT_UNAVAILABLE"
  }
  cp package-lock.json "$stamp"
}

# compile STAMP PROJECT SOURCES...
compile() {
  stamp=$1
  project=$2
  shift 2
  if [ -e "$stamp" ] && [ -z "$(find "$@" tsconfig.json tsconfig.base.json -newer "$stamp" | head -n 1)" ]; then
    return 0
  fi
  say "building"
  mkdir -p dist
  touch "$stamp.new"
  if ! node_modules/.bin/tsc -b "$project" >&2; then
    rm -f "$stamp.new"
    say "the build failed"
    exit 1
  fi
  mv "$stamp.new" "$stamp"
}

# The WebAssembly kernel, and the constants that it shares with TypeScript.
compile_kernel() {
  target=dist/src/kernel/kernel.wasm
  sources="src/kernel/assembly src/kernel/jobs.ts src/tables/address-record.ts
    src/tables/peer-record.ts scripts/build-kernel.sh"
  # shellcheck disable=SC2086
  if [ -e "$target" ] && [ -z "$(find $sources -newer "$target" | head -n 1)" ]; then return 0; fi
  scripts/build-kernel.sh "$target" >&2 || {
    say "building the WebAssembly kernel failed"
    exit 1
  }
}

# launcher NAME PROGRAM [NODE FLAGS]
launcher() {
  cat >"bin/$1.new" <<END
#!/bin/sh
root=\$(dirname "\$(dirname "\$(readlink -f "\$0")")")
exec node ${3:-} "\$root/dist/src/programs/$2.js" "\$@"
END
  chmod 755 "bin/$1.new"
  mv "bin/$1.new" "bin/$1"
}

write_launchers() {
  mkdir -p bin
  launcher ipref-gw ipref-gw "--enable-source-maps --max-semi-space-size=16"
  launcher gw ipref-gw "--enable-source-maps --max-semi-space-size=16"
  launcher ipref-coredns ipref-coredns "--enable-source-maps --max-semi-space-size=16"
  launcher coredns ipref-coredns "--enable-source-maps --max-semi-space-size=16"
  launcher ipref-dns-agent ipref-dns-agent "--enable-source-maps"
  launcher dns-agent ipref-dns-agent "--enable-source-maps"
  launcher ipref ipref "--enable-source-maps"
}

# What root makes in somebody's clone belongs to the owner of the clone.
give_to_owner() {
  if [ "$(id -u)" != 0 ] || [ "$(stat -c %u .)" = 0 ]; then return 0; fi
  chown -R --reference=. node_modules dist bin 2>/dev/null || true
}

is_current() {
  cmp -s package-lock.json node_modules/.ipref-package-lock.json && [ -x bin/ipref-gw ] &&
    [ -x bin/ipref-coredns ] && [ -x bin/ipref-dns-agent ] && [ "bin/ipref-gw" -nt scripts/prepare.sh ]
}

check_node
mkdir -p node_modules
if [ -w node_modules ] && command -v flock >/dev/null 2>&1; then
  exec 9>node_modules/.ipref-build-lock
  flock 9
fi
install_packages
case "${1:-}" in
  --all) compile dist/.built-all . src test bench ;;
  *) compile dist/.built-programs src/programs src ;;
esac
compile_kernel
if ! is_current; then write_launchers; fi
give_to_owner
